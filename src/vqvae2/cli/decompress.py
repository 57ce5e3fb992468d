"""`vqvae2 decompress`: files of the package's own format as images again."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.output_folder import OutputFolder, name_outputs
from vqvae2.cli.verb import Results
from vqvae2.cli.writer import CodecWriter, DecodingWriter
from vqvae2.errors import BitstreamError, DataError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Decompress"]

_COMPRESSED = ".vq2"


@dataclass(frozen=True, kw_only=True)
class Decompress(CodecWriter, DecodingWriter):
    """Decode the files that `vqvae2 compress` wrote into PNG files, with the same pipeline.

    A file that is damaged or of another pipeline does not stop the others.

    Example: vqvae2 decompress compressed --pipeline photos-run --out decompressed
    """

    files: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILES")]
    """Folder of .vq2 files, at any depth, or one file of any name."""
    allow_cut: bool = False
    """If a file ends too early, decode the levels that are whole."""

    def run(self, terminal: Terminal) -> Results:
        pipeline = self.load_pipeline()
        folder, names = self._find_files()
        outputs = name_outputs(names, ".png", without=_COMPRESSED)
        facts: dict[str, object] = {"pipeline": self.pipeline}
        tree = OutputFolder(self.out, "decompressed.json", self.force, ".png", outputs, "failed", facts=facts)
        tree.check()
        terminal.stage("decompress", f"{len(names)} files")
        start, bit_depth, decoder = time.perf_counter(), pipeline.config.bit_depth, pipeline.config.default_decoder
        # Only keys stay: no more than a batch of files is held at a time.
        keys = {name: pipeline.codec.key(stream) for name, stream in self._read(pipeline, folder, names, tree)}
        for batch, hooks in self.batches(keys, lambda key: sum(map(math.prod, key[0])), terminal):
            streams = dict(self._read(pipeline, folder, batch, tree))
            files = {}
            for name, image in _decode(pipeline.codec, streams, tree.failed, hooks).items():
                height, width = streams[name].header.size
                levels = len(streams[name].payloads)
                row = {"height": height, "width": width, "levels": levels, "decoder": decoder}
                pixels = vqvae2.to_pixels(image[None], bit_depth=bit_depth)[0].cpu().numpy()
                files[name] = (row, vqvae2.encode_png(pixels))
            tree.write(files)
        results = tree.finish(self.files, "decompressed") | {"seconds": time.perf_counter() - start}
        num_levels, rows = pipeline.tokenizer.config.num_levels, (tree.rows[name] for name in names)
        upper = [{key: row[key] for key in ("file", "levels")} for row in rows if row["levels"] < num_levels]
        return results | ({"levels_of_the_pipeline": num_levels, "from_upper_levels": upper} if upper else {})

    def _find_files(self) -> tuple[Path, tuple[str, ...]]:
        """Return the folder of the files and their names in it."""
        from vqvae2.data.sources.listing import walk_files

        if self.files.is_file():
            return self.files.parent, (self.files.name,)
        names: list[str] = []
        if self.files.is_dir():
            names = sorted(name for name in walk_files(self.files) if Path(name).suffix.lower() == _COMPRESSED)
        if not names:
            reason = "holds none" if self.files.is_dir() else "does not exist"
            raise DataError(f"`files` must be a folder of {_COMPRESSED} files, or one file, but {self.files} {reason}")
        return self.files, tuple(names)

    def _read(
        self, pipeline: vqvae2.Pipeline, folder: Path, names: Iterable[str], tree: OutputFolder
    ) -> Iterator[tuple[str, vqvae2.Bitstream]]:
        """Yield the name and the content of each file that can be read, and note why others cannot."""
        for name in names:
            try:
                with (folder / name).open("rb") as file:
                    stream = pipeline.codec.read(file, max_levels=self.max_levels, allow_cut=self.allow_cut)
            except BitstreamError as error:
                tree.failed[name] = str(error)
            except OSError as error:
                tree.failed[name] = f"the file cannot be read: {error.strerror}"
            else:
                yield name, stream


def _decode(
    codec: vqvae2.Codec, streams: dict[str, vqvae2.Bitstream], failed: dict[str, str], hooks: vqvae2.Hooks
) -> dict[str, Tensor]:
    """Decode files together, or one by one if one of them fails; note in `failed` why."""
    try:
        return dict(zip(streams, codec.decompress_batch(list(streams.values()), hooks=hooks), strict=True))
    except BitstreamError as error:
        if len(streams) == 1:
            failed[next(iter(streams))] = str(error)
            return {}
    parts = (_decode(codec, {name: stream}, failed, vqvae2.Hooks()) for name, stream in streams.items())
    return {name: image for part in parts for name, image in part.items()}
