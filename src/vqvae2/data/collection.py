"""Names, classes and split of a set of images: what every store keeps of them.

Shapes: N images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, FailFast, model_validator

__all__ = ["Collection", "CollectionHeader", "Split"]

Split = Literal["train", "validation"]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Collection:
    """What is known of N images, whatever else is kept of them."""

    names: tuple[str, ...]
    labels: np.ndarray
    """int64 `(N,)`, -1 where an image has no class."""
    classes: tuple[str, ...]
    is_validation: np.ndarray
    """Which images are held out, bool `(N,)`."""

    @property
    def num_images(self) -> int:
        return len(self.names)

    def indices(self, split: Split) -> np.ndarray:
        """Numbers of the images of one side of the split, int64."""
        return np.flatnonzero(self.is_validation == (split == "validation"))

    def to_header(self) -> dict[str, object]:
        """Return what `CollectionHeader` reads, as values that `json` can write."""
        return {
            "names": list(self.names),
            "labels": self.labels.tolist(),
            "classes": list(self.classes),
            "is_validation": self.is_validation.tolist(),
        }


class CollectionHeader(BaseModel):
    """These values in the JSON header of a store, which may come from others."""

    model_config = ConfigDict(strict=True)

    # The first wrong entry must end the check: an error for each would take far more memory than the file.
    names: Annotated[list[str], FailFast()]
    labels: Annotated[list[int], FailFast()]
    classes: Annotated[list[str], FailFast()]
    is_validation: Annotated[list[bool], FailFast()]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not len(self.names) == len(self.labels) == len(self.is_validation):
            raise ValueError("`names`, `labels` and `is_validation` must have one entry per image")
        if self.labels and not -1 <= min(self.labels) <= max(self.labels) < len(self.classes):
            raise ValueError(f"`labels` must be in -1..{len(self.classes) - 1}")
        return self

    def fields(self) -> dict[str, Any]:
        """Return the arguments of a `Collection`."""
        return {
            "names": tuple(self.names),
            "labels": np.array(self.labels, dtype=np.int64),
            "classes": tuple(self.classes),
            "is_validation": np.array(self.is_validation, dtype=bool),
        }
