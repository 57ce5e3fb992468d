"""What was found in a set of images and how it is read, told before anything long begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from vqvae2.config import ImageConfig
from vqvae2.data.sources.left_aside import counted
from vqvae2.data.sources.source import ImageSource
from vqvae2.data.split import split_images

__all__ = ["SUMMARY_FILE", "ImageSummary", "summarize_images"]

SUMMARY_FILE = "image-summary.json"
"""Where a run keeps the summary of its images."""

_NAMED_CLASSES = 8
_NAMED_IN_WARNINGS = 3
_MIN_OF_CLASS = 2  # training images


@dataclass(frozen=True, kw_only=True)
class ImageSummary:
    """How a set of images is read, in values that `json` can write."""

    origin: str
    """What opens the images."""
    files: int
    """Images that are used; whether each can be read is not known yet."""
    classes: str
    """How many classes there are, and the first ones with their numbers of images."""
    split: str
    """What says which images are held out."""
    train: int
    validation: int
    left_aside: Mapping[str, str]
    """What lies beside the images and is not used: by the kind of file, how many, and an example."""
    warnings: Mapping[str, str]
    """What looks odd, each with a remedy."""

    def to_dict(self) -> dict[str, object]:
        """Return the fields."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the summary as lines of text."""
        lines = [
            f"{counted(self.files, 'image')} in {self.origin}",
            f"classes: {self.classes}",
            f"split: {self.train} train, {self.validation} validation, by {self.split}",
        ]
        lines += [f"left aside, {kind}: {text}" for kind, text in self.left_aside.items()]
        return lines + [f"warning, {what}: {text}" for what, text in self.warnings.items()]


def summarize_images(source: ImageSource, config: ImageConfig) -> ImageSummary:
    """Tell what a source holds and how it is split, without reading any image.

    Raises:
        DataError: If there are fewer than two images, or all form one group of `config.group_pattern`.
    """
    collection = split_images(source, range(len(source)), config)
    training, held_out = (collection.labels[collection.indices(side)] for side in ("train", "validation"))
    in_training = np.bincount(training[training >= 0], minlength=len(source.classes))
    is_given = source.given_validation is not None and np.array_equal(collection.is_validation, source.given_validation)
    by_name = "a hash of the file names" if config.group_pattern is None else "a hash of the groups of `group_pattern`"
    return ImageSummary(
        origin=source.origin,
        files=len(source),
        classes=_name_classes(source),
        split=source.split_origin if is_given else by_name,
        train=len(training),
        validation=len(held_out),
        left_aside=dict(source.left_aside),
        warnings={**source.remarks, **_warn_of_classes(source.classes, in_training, training, held_out)},
    )


def _name_classes(source: ImageSource) -> str:
    counts = np.bincount(source.labels[source.labels >= 0], minlength=len(source.classes))
    named = [f"{name} {count}" for name, count in zip(source.classes[:_NAMED_CLASSES], counts, strict=False)]
    named += [f"and {len(source.classes) - _NAMED_CLASSES} more"] if len(source.classes) > _NAMED_CLASSES else []
    return f"{len(source.classes)} ({', '.join(named)})" if named else "none"


def _warn_of_classes(
    classes: tuple[str, ...], in_training: np.ndarray, training: np.ndarray, held_out: np.ndarray
) -> dict[str, str]:
    warnings = {}
    few = [f"{classes[index]} {in_training[index]}" for index in np.flatnonzero(in_training < _MIN_OF_CLASS)]
    if len(classes) == 1:
        warnings["one class only"] = (
            f"all images are of the class {classes[0]}; give each class a folder of its own, or no image a folder"
        )
    if few:
        more = f" and {len(few) - _NAMED_IN_WARNINGS} more" if len(few) > _NAMED_IN_WARNINGS else ""
        warnings["classes with fewer than two training images"] = (
            f"{', '.join(few[:_NAMED_IN_WARNINGS])}{more}; add images, or join these classes with others"
        )
    for side, labels in (("training", training), ("held-out", held_out)):
        without = int((labels < 0).sum())
        if classes and without:
            warnings[f"{side} images without a class"] = (
                f"{without} of {len(labels)}; move them into folders of the training images' classes, or name theirs"
            )
    return warnings
