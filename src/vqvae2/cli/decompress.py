"""The verb that makes images of files of the package's own format."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from vqvae2.cli.compress import batches_of_one_key
from vqvae2.cli.writer import TreeWriter, name_outputs
from vqvae2.codec.bitstream import Bitstream
from vqvae2.errors import BitstreamError, ConfigError, DataError
from vqvae2.sampling.hooks import Hooks

if TYPE_CHECKING:
    import numpy as np

    from vqvae2.cli.console import Terminal
    from vqvae2.pipeline.pipeline import Pipeline

__all__ = ["Decompress"]

_COMPRESSED = ".vq2"


@dataclass(frozen=True, kw_only=True)
class Decompress(TreeWriter):
    """Make PNG files of what `vqvae2 compress` wrote, with the same pipeline.

    A file that is damaged or of another pipeline does not stop the others.

    Example: vqvae2 decompress compressed --pipeline photos-run --out decompressed
    """

    listing = "decompressed.json"
    ending = ".png"

    files: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILES")]
    """Folder of .vq2 files, at any depth, or one file of any name."""
    pipeline: Path
    """Folder of the pipeline or run that they were compressed with."""
    max_levels: int | None = None
    """Decode from the upper levels only, for a preview: 1 is the top alone."""
    allow_cut: bool = False
    """Make do with the levels that are whole where a file ends too early."""
    batch_size: int = 16
    """Images at a time; those of one size walk together."""

    def run(self, terminal: Terminal) -> dict[str, Any]:
        from vqvae2.images import encode_png

        if self.batch_size < 1:
            raise ConfigError(f"`batch_size` must be at least 1, got {self.batch_size}")
        pipeline = self.load_pipeline(self.pipeline)
        folder, names = _find_files(self.files)
        outputs = name_outputs(names, self.ending, without=_COMPRESSED)
        self.check_out(outputs.values())
        terminal.stage("decompress", f"{len(names)} files")
        start = time.perf_counter()
        decoder = _Decoder(self, pipeline, folder, terminal)
        rows: dict[str, dict[str, Any]] = {}
        earlier = self.earlier_rows()
        for batch in decoder.decode(names):
            files = {name: encode_png(pixels) for name, (_, pixels) in batch.items()}
            rows |= {name: _row(outputs[name], name, files[name], stream) for name, (stream, _) in batch.items()}
            self._write_listing(names, rows, decoder.failed, earlier)
            for name, data in files.items():
                self.write(outputs[name], data)
        if decoder.failed:
            if rows:
                self._write_listing(names, rows, decoder.failed, earlier)
            raise BitstreamError(self.complaint(self.files, names, decoder.failed, "decompressed"))
        images = [rows[name] for name in names if name in rows]
        num_levels = pipeline.tokenizer.config.num_levels
        upper = [{key: row[key] for key in ("file", "levels")} for row in images if row["levels"] < num_levels]
        results = {"out": str(self.out), "images": len(rows), "seconds": time.perf_counter() - start}
        return results | ({"levels_of_the_pipeline": num_levels, "from_upper_levels": upper} if upper else {})

    def _write_listing(
        self,
        names: Sequence[str],
        rows: Mapping[str, dict[str, Any]],
        failed: Mapping[str, str],
        earlier: Sequence[dict[str, Any]],
    ) -> None:
        listing = {
            "pipeline": str(self.pipeline),
            "images": [rows[name] for name in names if name in rows],
            "failed": [{"file": name, "reason": failed[name]} for name in names if name in failed],
        }
        self.write_listing(listing, earlier)


class _Decoder:
    """Decodes the files of a folder, and keeps in `failed` why some cannot be."""

    def __init__(self, options: Decompress, pipeline: Pipeline, folder: Path, terminal: Terminal) -> None:
        self._options, self._pipeline, self._folder, self._terminal = options, pipeline, folder, terminal
        self.failed: dict[str, str] = {}
        self._total_codes = 0

    def decode(self, names: tuple[str, ...]) -> Iterator[dict[str, tuple[Bitstream, np.ndarray]]]:
        """Give the files that can be decoded, each with its pixels `(H, W, C)`, a batch of one size after the other.

        Every file is looked at first, but no more than a batch of them is held at a time.
        """
        codec = self._pipeline.codec
        looked_at = ((name, self._read(name)) for name in names)
        keys = {name: codec.key(stream) for name, stream in looked_at if stream is not None}
        counts = {key: sum(height * width for height, width in key[0]) for key in set(keys.values())}
        self._total_codes = sum(counts[key] for key in keys.values())
        before = 0
        for key, batch in batches_of_one_key(keys, self._options.batch_size):
            streams = {name: stream for name in batch if (stream := self._read(name)) is not None}
            decoded = dict(self._decode_batch(streams, before, counts[key]))
            if decoded:
                yield {name: (streams[name], pixels) for name, pixels in decoded.items()}
            before += len(batch) * counts[key]

    def _read(self, name: str) -> Bitstream | None:
        try:
            with (self._folder / name).open("rb") as file:
                return self._pipeline.codec.read(
                    file, max_levels=self._options.max_levels, allow_cut=self._options.allow_cut
                )
        except BitstreamError as error:
            self.failed[name] = str(error)
        except OSError as error:
            self.failed[name] = f"the file cannot be read: {error.strerror}"
        return None

    def _decode_batch(
        self, streams: dict[str, Bitstream], before: int, codes_each: int
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Decode together, or one by one if one of them fails."""
        from vqvae2.images import to_pixels

        if not streams:
            return
        share = len(streams) * codes_each
        hooks = Hooks.for_listener(self._terminal).of_part(before=before, share=share, total=self._total_codes)
        try:
            images = self._pipeline.codec.decompress_batch(list(streams.values()), hooks=hooks)
        except BitstreamError as error:
            if len(streams) == 1:
                self.failed[next(iter(streams))] = str(error)
                return
            for index, (name, stream) in enumerate(streams.items()):
                yield from self._decode_batch({name: stream}, before + index * codes_each, codes_each)
        else:
            for name, image in zip(streams, images, strict=True):
                yield name, to_pixels(image[None], bit_depth=self._pipeline.config.bit_depth)[0].cpu().numpy()


def _find_files(path: Path) -> tuple[Path, tuple[str, ...]]:
    """Give the folder of the files, and their names in it; hidden files and links to folders are passed over."""
    if path.is_file():
        return path.parent, (path.name,)
    if not path.is_dir():
        raise DataError(f"`files` must be a folder of {_COMPRESSED} files, or one file, but {path} does not exist")
    names: list[str] = []
    for folder, inner_folders, files in os.walk(path):
        inner_folders[:] = [name for name in inner_folders if not name.startswith(".")]
        found = (Path(folder) / name for name in files if not name.startswith("."))
        names += [
            file.relative_to(path).as_posix() for file in found if file.suffix.lower() == _COMPRESSED and file.is_file()
        ]
    if not names:
        raise DataError(f"`files` must be a folder of {_COMPRESSED} files, or one file, but {path} holds none")
    return path, tuple(sorted(names))


def _row(output: str, name: str, data: bytes, stream: Bitstream) -> dict[str, Any]:
    """Say of an image what the listing says."""
    height, width = stream.header.size
    return {
        "file": output,
        "original": name,
        "height": height,
        "width": width,
        "bytes": len(data),
        "levels": len(stream.payloads),
    }
