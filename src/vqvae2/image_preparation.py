"""Read a collection of images into a folder once, and say what happens."""

from __future__ import annotations

from pathlib import Path

from vqvae2.config import ImageConfig
from vqvae2.data import ImageSource, ImageStore, prepare_images
from vqvae2.errors import OutputError
from vqvae2.listener import Listener
from vqvae2.processes import first_decides
from vqvae2.training.task import Progress

__all__ = ["prepare_once"]

_NAMED_FILES = 5  # unreadable files that are named while images are read; the store and the report name all


def prepare_once(source: ImageSource, directory: Path, config: ImageConfig, *, listener: Listener) -> ImageStore:
    """Decode, resize and split images, or open what was made of the same images before.

    The first process does it, with all cores of its machine, while the others wait.

    Args:
        source: The images.
        directory: Of the store.
        config: How the images are read; not looked at if they were read before.
        listener: Is told.

    Raises:
        OutputError: If the store was made of other images.
    """
    first_decides(lambda: _prepare(source, directory, config, listener))
    return ImageStore.open(directory)


def _prepare(source: ImageSource, directory: Path, config: ImageConfig, listener: Listener) -> None:
    if directory.exists():
        listener.stage("prepare images", "done before")
        images = ImageStore.open(directory)
        known = {*images.names, *(name for name, _ in images.skipped)}
        if known != set(source.names):
            raise OutputError(
                f"{directory.parent} was begun with {len(known)} files, of which {len(known & set(source.names))} "
                f"are among these {len(source)}; choose another folder, or use --force to start anew"
            )
        return
    height, width = config.size
    listener.stage(
        "prepare images",
        f"{len(source)} files to {height}x{width}, {config.channels} channels of {config.bit_depth} bits",
    )
    images = prepare_images(
        source,
        directory,
        size=config.size,
        channels=config.channels,
        bit_depth=config.bit_depth,
        resize=config.resize,
        validation_fraction=config.validation_fraction,
        group_pattern=config.group_pattern,
        on_progress=lambda done, total: listener.progress(Progress(done, total, "images")),
    )
    if images.skipped:
        named = "; ".join(f"{name}: {reason}" for name, reason in images.skipped[:_NAMED_FILES])
        more = f"; and {len(images.skipped) - _NAMED_FILES} more" if len(images.skipped) > _NAMED_FILES else ""
        listener.say(f"  skipped {len(images.skipped)} of {len(source)} files: {named}{more}")
