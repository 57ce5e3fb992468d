"""`vqvae2 decompress`: files of the package's own format as images again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.output_folder import FileTree, name_outputs
from vqvae2.cli.verb import Results
from vqvae2.cli.writer import CodecWriter, batches_of_one_key
from vqvae2.errors import BitstreamError, DataError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Decompress"]

_COMPRESSED = ".vq2"


@dataclass(frozen=True, kw_only=True)
class Decompress(CodecWriter):
    """Decode the files that `vqvae2 compress` wrote into PNG files, with the same pipeline.

    A file that is damaged or of another pipeline does not stop the others.

    Example: vqvae2 decompress compressed --pipeline photos-run --out decompressed
    """

    files: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILES")]
    """Folder of .vq2 files, at any depth, or one file of any name."""
    pipeline: Path
    """Folder of the pipeline or run that compressed the files, its id on the Hub (owner/name), or builtin."""
    max_levels: int | None = None
    """Decode only so many of the upper levels, for a preview: 1 is the top alone."""
    allow_cut: bool = False
    """If a file ends too early, decode the levels that are whole."""

    def run(self, terminal: Terminal) -> Results:
        pipeline = self.load_pipeline(self.pipeline)
        folder, names = self._find_files()
        outputs = name_outputs(names, ".png", without=_COMPRESSED)
        tree = FileTree(self.out, "decompressed.json", self.force, ".png", outputs, failures="failed")
        tree.facts["pipeline"] = self.pipeline
        tree.check()
        terminal.stage("decompress", f"{len(names)} files")
        start = time.perf_counter()
        for batch in _Decoder(self, pipeline, folder, tree.failed, terminal).decode(names):
            tree.write({name: (_row(stream), vqvae2.encode_png(pixels)) for name, (stream, pixels) in batch.items()})
        tree.finish(self.files, "decompressed")
        num_levels = pipeline.tokenizer.config.num_levels
        rows = [tree.rows[name] for name in names]
        upper = [{key: row[key] for key in ("file", "levels")} for row in rows if row["levels"] < num_levels]
        results = {"out": self.out, "images": len(rows), "seconds": time.perf_counter() - start}
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


class _Decoder:
    """Decodes the files of a folder, and notes in `failed` why some cannot be decoded."""

    def __init__(
        self, options: Decompress, pipeline: vqvae2.Pipeline, folder: Path, failed: dict[str, str], terminal: Terminal
    ) -> None:
        self._options, self._folder, self._failed = options, folder, failed
        self._codec, self._bit_depth = pipeline.codec, pipeline.config.bit_depth
        self._hooks = vqvae2.Hooks.for_listener(terminal)
        self._total_codes = 0

    def decode(self, names: tuple[str, ...]) -> Iterator[dict[str, tuple[vqvae2.Bitstream, np.ndarray]]]:
        """Yield the files that can be decoded, each with its pixels `(H, W, C)`, one batch of one size at a time.

        It looks at every file first, but holds no more than a batch of them at a time.
        """
        looked_at = ((name, self._read(name)) for name in names)
        keys = {name: self._codec.key(stream) for name, stream in looked_at if stream is not None}
        counts = {key: sum(height * width for height, width in key[0]) for key in set(keys.values())}
        self._total_codes = sum(counts[key] for key in keys.values())
        before = 0
        for key, batch in batches_of_one_key(keys, self._options.batch_size):
            streams = {name: stream for name in batch if (stream := self._read(name)) is not None}
            decoded = dict(self._decode_batch(streams, before, counts[key]))
            if decoded:
                yield {name: (streams[name], pixels) for name, pixels in decoded.items()}
            before += len(batch) * counts[key]

    def _read(self, name: str) -> vqvae2.Bitstream | None:
        try:
            with (self._folder / name).open("rb") as file:
                return self._codec.read(file, max_levels=self._options.max_levels, allow_cut=self._options.allow_cut)
        except BitstreamError as error:
            self._failed[name] = str(error)
        except OSError as error:
            self._failed[name] = f"the file cannot be read: {error.strerror}"
        return None

    def _decode_batch(
        self, streams: dict[str, vqvae2.Bitstream], before: int, codes_each: int
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Decode together, or one by one if one of them fails."""
        if not streams:
            return
        share = len(streams) * codes_each
        hooks = self._hooks.of_part(before=before, share=share, total=self._total_codes)
        try:
            images = self._codec.decompress_batch(list(streams.values()), hooks=hooks)
        except BitstreamError as error:
            if len(streams) == 1:
                self._failed[next(iter(streams))] = str(error)
                return
            for index, (name, stream) in enumerate(streams.items()):
                yield from self._decode_batch({name: stream}, before + index * codes_each, codes_each)
        else:
            for name, image in zip(streams, images, strict=True):
                yield name, vqvae2.to_pixels(image[None], bit_depth=self._bit_depth)[0].cpu().numpy()


def _row(stream: vqvae2.Bitstream) -> dict[str, int]:
    """Return what the listing says of an image."""
    height, width = stream.header.size
    return {"height": height, "width": width, "levels": len(stream.payloads)}
