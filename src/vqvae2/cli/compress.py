"""`vqvae2 compress`: images as files of the package's own format."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.output_folder import FileTree, name_outputs
from vqvae2.cli.verb import Results
from vqvae2.cli.writer import CodecWriter, ImageWriter, read_bytes
from vqvae2.codec.bitstream import Mode
from vqvae2.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Compress"]


@dataclass(frozen=True, kw_only=True)
class Compress(CodecWriter, ImageWriter):
    """Write images as small files, which `vqvae2 decompress` decodes with the same pipeline.

    Each image becomes a .vq2 file of the same name, in the same sub-folder; a.png and a.jpg in one folder become
    a.png.vq2 and a.jpg.vq2. Files keep the codes bit for bit, and lose what the tokenizer loses of an image. If a
    folder is named like a class, its images are coded as images of that class.

    Example: vqvae2 compress photos --pipeline photos-run --out compressed
    """

    mode: Mode | None = None
    """Write codes by the priors' probabilities, or raw: larger, but at once; by default by the priors if there are
    any."""
    class_name: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """Class of all images, which only changes the size of files; by default their folders' names tell it."""
    max_levels: int | None = None
    """Write only so many of the upper levels: 1 is a preview."""
    verify: bool = True
    """Decode every file again and compare before it is written, which doubles the time."""

    def run(self, terminal: Terminal) -> Results:
        pipeline = self.load_pipeline(self.pipeline)
        mode: Mode = self.mode or ("prior" if pipeline.priors else "raw")
        if self.class_name is not None:
            pipeline.class_index(self.class_name)
            if mode == "raw":
                raise ConfigError("`class` must be left out if `mode` is raw, since raw codes need no class")
        folder, names = self.find_images(with_unused=True)
        outputs = dict(list(name_outputs(names, ".vq2").items())[: self.limit or None])  # no limit changes a name
        tree = FileTree(self.out, "compressed.json", self.force, ".vq2", outputs, failures="skipped")
        tree.check()
        start = time.perf_counter()
        original_bytes = raw_bytes = pixels = 0
        for batch in self._batches(pipeline, mode, folder, tree, terminal):
            files = {}
            for name, (data, num_bytes) in batch.items():
                header = vqvae2.read_bitstream(BytesIO(data), max_pixels=self.max_pixels).header
                files[name] = (_row(data, header, pipeline), data)
                original_bytes += num_bytes
                raw_bytes += _fixed_width_bytes(header, pipeline)
                pixels += header.size[0] * header.size[1]
                models = {"tokenizer": header.tokenizer, "priors": header.priors or None}
                tree.facts = {"pipeline": self.pipeline, "mode": mode, **models, "levels": header.num_levels}
            tree.write(files)
        tree.finish(self.images, "compressed")
        num_bytes = sum(row["bytes"] for row in tree.rows.values())
        return {
            "out": self.out,
            "images": len(tree.rows),
            "bytes": num_bytes,
            "bits_per_pixel": 8 * num_bytes / pixels,
            **({"percent_of_raw_codes": 100 * num_bytes / raw_bytes} if mode == "prior" else {}),
            "original_bytes": original_bytes,
            "seconds": time.perf_counter() - start,
        }

    def _batches(
        self, pipeline: vqvae2.Pipeline, mode: Mode, folder: Path, tree: FileTree, terminal: Terminal
    ) -> Iterator[dict[str, tuple[bytes, int]]]:
        """Yield the compressed bytes of images and the originals' sizes in bytes, one batch of one size at a time."""
        import torch

        config, codec = pipeline.tokenizer.config, pipeline.codec
        sizes = _find_sizes(codec, folder, tree)

        def num_codes(size: tuple[int, int]) -> int:
            return sum(height * width for height, width in config.code_shapes(*size)[: self.max_levels])

        terminal.stage("compress", f"{len(sizes)} images, {sum(map(num_codes, sizes.values()))} codes")
        for names, hooks in self.batches(sizes, num_codes, terminal):
            images: list[Tensor] = []
            read: dict[str, int] = {}
            for name in names:
                try:
                    data = read_bytes(folder / name)
                    pixels = vqvae2.decode_image(data, channels=config.in_channels, bit_depth=pipeline.config.bit_depth)
                except DataError as problem:
                    tree.failed[name] = str(problem)
                    continue
                images.append(vqvae2.from_pixels(torch.from_numpy(pixels)[None])[0])
                read[name] = len(data)
            files = codec.compress_batch(
                images,
                mode=mode,
                labels=[self._label(folder / name, pipeline, mode) for name in read],
                max_levels=self.max_levels,
                verify=self.verify,
                hooks=hooks,
            )
            yield {name: (data, read[name]) for name, data in zip(read, files, strict=True)}

    def _label(self, path: Path, pipeline: vqvae2.Pipeline, mode: Mode) -> int | None:
        """Find the class of an image: as asked for, or by the name of its folder."""
        name = self.class_name or Path(os.path.abspath(path)).parent.name
        return pipeline.class_index(name) if mode == "prior" and name in pipeline.config.classes else None


def _find_sizes(codec: vqvae2.Codec, folder: Path, tree: FileTree) -> dict[str, tuple[int, int]]:
    """Read heights and widths from the heads of files, and note which files cannot be compressed."""
    from vqvae2.images import image_info

    sizes: dict[str, tuple[int, int]] = {}
    for name in tree.outputs:
        try:
            info = image_info(read_bytes(folder / name))
            codec.check_size((info.height, info.width))
        except (DataError, ConfigError) as problem:
            tree.failed[name] = str(problem)
        else:
            sizes[name] = (info.height, info.width)
    return sizes


def _row(data: bytes, header: vqvae2.Header, pipeline: vqvae2.Pipeline) -> dict[str, object]:
    """Return what the listing says of a file."""
    height, width = header.size
    return {
        "height": height,
        "width": width,
        "bits_per_pixel": 8 * len(data) / (height * width),
        "class": None if header.label is None else pipeline.config.classes[header.label],
    }


def _fixed_width_bytes(header: vqvae2.Header, pipeline: vqvae2.Pipeline) -> int:
    """Count the bytes that the codes of a file would take at a fixed width."""
    from vqvae2.codec.fixed_width import packed_bytes

    config = pipeline.tokenizer.config
    shapes = config.code_shapes(*header.size)[: header.num_levels]
    return sum(
        packed_bytes(height * width, num_embeddings)
        for (height, width), num_embeddings in zip(shapes, config.codebook_sizes, strict=False)
    )
