"""Prepare the images of a run once, decoded or streamed, and report what happens."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

from vqvae2.config import ImageConfig
from vqvae2.data import (
    Images,
    ImageSource,
    ImageStore,
    StreamedImages,
    index_images,
    prepare_images,
    summarize_images,
)
from vqvae2.data.summary import SUMMARY_FILE, ImageSummary
from vqvae2.errors import OutputError
from vqvae2.system.files import atomic_write_bytes
from vqvae2.system.processes import first_decides
from vqvae2.system.progress import Listener, Progress

__all__ = ["announce_images", "announce_skipped", "prepare_once"]

_NAMED_FILES = 5  # unreadable files that are reported by name; the store and the report name all


def prepare_once(source: ImageSource, directory: Path, config: ImageConfig, *, listener: Listener) -> Images:
    """Decode, resize and split images, or open what was made of the same images before.

    First of all, a summary of the images is told, and kept as `image-summary.json` beside `directory`.

    With `config.stream`, only an index is made, and images are read from the source whenever they are needed. If they
    were prepared before, nothing else of the config matters. The first process does the work, with all cores of its
    machine, while the others wait.

    Raises:
        OutputError: If the store was made of other images.
        DataError: If the index was made of other images, or none can be made.
    """
    first_decides(lambda: _prepare(source, directory, config, listener))
    if config.stream:
        return StreamedImages(directory, source=source, on_skipped=announce_skipped(listener))
    return ImageStore.open(directory)


def announce_images(source: ImageSource, config: ImageConfig, listener: Listener) -> ImageSummary:
    """Tell what a source holds and how it is split, without reading any image; return it.

    Raises:
        DataError: If the images cannot be split, see `summarize_images`.
    """
    summary = summarize_images(source, config)
    first, *lines = summary.lines()
    listener.stage("read images", first)
    for line in lines:
        listener.say(f"  {line}")
    return summary


def _prepare(source: ImageSource, directory: Path, config: ImageConfig, listener: Listener) -> None:
    if directory.exists():
        listener.stage("prepare images", "done before")
        if not config.stream:
            images = ImageStore.open(directory)
            known = {*images.names, *(name for name, _ in images.skipped)}
            if known != set(source.names):
                raise OutputError(
                    f"{directory.parent} was begun with {len(known)} files, of which {len(known & set(source.names))} "
                    f"are among these {len(source)}; choose another folder, or use --force to start anew"
                )
        return
    summary = announce_images(source, config, listener)
    directory.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(directory.with_name(SUMMARY_FILE), json.dumps(summary.to_dict(), indent=2).encode())
    height, width = config.size
    shape = f"{height}x{width}, {config.channels} channels of {config.bit_depth} bits"
    if config.stream:
        listener.stage("prepare images", f"{len(source)} files, to be read as {shape} when needed")
        index_images(source, directory, config)
        return
    listener.stage("prepare images", f"{len(source)} files to {shape}")
    images = prepare_images(
        source, directory, config, on_progress=lambda done, total: listener.progress(Progress(done, total, "images"))
    )
    if images.skipped:
        named = [f"{name}: {reason}" for name, reason in images.skipped[:_NAMED_FILES]]
        more = [f"and {len(images.skipped) - _NAMED_FILES} more"] if len(images.skipped) > _NAMED_FILES else []
        listener.say(f"  skipped {len(images.skipped)} of {len(source)} files: {'; '.join(named + more)}")


def announce_skipped(listener: Listener) -> Callable[[str, str], None]:
    """Make the callback of `StreamedImages` that reports broken files in a few lines, however many there are."""
    count, lock = 0, threading.Lock()

    def announce(name: str, reason: str) -> None:
        nonlocal count
        with lock:
            count += 1
            if count <= _NAMED_FILES:
                listener.say(f"  {name} cannot be read, another image of its class takes its place: {reason}")
            elif count in (10, 100, 1000, 10_000, 100_000):
                listener.say(f"  {count} files so far cannot be read; skipped.jsonl beside the index names them")

    return announce
