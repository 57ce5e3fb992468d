"""`vqvae2 encode`: the codes of images as arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, ClassVar

import tyro

import vqvae2
from vqvae2.cli.console import Terminal
from vqvae2.cli.verb import Results
from vqvae2.cli.writer import Writer
from vqvae2.config import ImageConfig, Resize
from vqvae2.errors import OutputError
from vqvae2.system.files import atomic_write_bytes, claim_folder, read_json, remove_entries
from vqvae2.system.progress import Progress

__all__ = ["Encode"]

_RECORD = "encode.json"
_DECODED = ("images", ".images.partial")
_ENTRIES = ("codes", ".codes.partial", *_DECODED, "image-summary.json", _RECORD)


@dataclass(frozen=True, kw_only=True)
class Encode(Writer):
    """Write the codes of images as arrays that NumPy reads, for models of your own.

    Images are brought to the pipeline's size. `codes/level0.npy` is the top, and `codes/codes.json` has names, classes
    and labels in the same order. The same command resumes, and several processes share the work.

    Example: vqvae2 encode photos --pipeline photos-run --out encoded
    """

    images: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="IMAGES")]
    """Folder of images (sub-folders are classes), folder or pattern of Parquet or tar files, or `hub:OWNER/NAME`."""
    resize: Resize = "crop"
    """How images get the pipeline's size: crop covers it and cuts evenly, pad adds a border, stretch distorts."""
    batch_size: int = 64
    """Images at a time."""

    is_shared: ClassVar[bool] = True

    def run(self, terminal: Terminal) -> Results:
        from vqvae2.data import CodeStore
        from vqvae2.models.checkpoint import fingerprint
        from vqvae2.runs.images import prepare_once
        from vqvae2.system.processes import first_decides
        from vqvae2.training.extraction import extract_codes

        pipeline, source = self.load_pipeline(), vqvae2.open_images(self.images)
        config = ImageConfig(
            size=pipeline.config.image_size,
            channels=pipeline.tokenizer.config.in_channels,
            bit_depth=pipeline.config.bit_depth,
            resize=self.resize,
        )
        record = {
            "images": source.origin,
            "resize": self.resize,
            "tokenizer": fingerprint(pipeline.tokenizer),
            "bit_depth": config.bit_depth,
            "size": list(config.size),
        }
        first_decides(lambda: self._begin(record))
        if first_decides((self.out / "codes").exists):
            terminal.stage("encode", "done before")
            codes = CodeStore.open(self.out / "codes")
        else:
            # A decoded copy, from which a command that was stopped goes on.
            images = prepare_once(source, self.out / "images", config, listener=terminal)
            terminal.stage("encode", f"{images.num_images} images")
            codes = extract_codes(
                pipeline.tokenizer,
                images,
                self.out / "codes",
                batch_size=self.batch_size,
                on_progress=lambda done, total: terminal.progress(Progress(done, total, "images")),
            )
            first_decides(lambda: remove_entries(self.out, _DECODED))
        return {"codes": self.out / "codes", "images": codes.num_images, "shapes": codes.shapes}

    def _begin(self, record: dict[str, object]) -> None:
        """Claim the folder, or find that the same command began in it."""
        if self.force:
            remove_entries(self.out, _ENTRIES)
        path = self.out / _RECORD
        if not path.exists():
            claim_folder(self.out, _ENTRIES, owner="this command", force=self.force)
            atomic_write_bytes(path, json.dumps(record, indent=2).encode())
        elif read_json(path) != record:
            raise OutputError(
                f"{self.out} was begun with other images, another tokenizer or another `resize`; choose another "
                "folder, or use --force to start anew"
            )
