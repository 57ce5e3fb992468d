"""Curves and pictures of trainings in TensorBoard, Weights & Biases or Trackio, through accelerate's trackers."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vqvae2.config import TrackerName
from vqvae2.errors import ConfigError
from vqvae2.images import image_grid, to_pixels, to_rgb
from vqvae2.system.processes import is_first_process

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["TRACKING_FOLDER", "Tracker", "Tracking"]

TRACKING_FOLDER = "tracking"
"""Name of the folder of event files in the folder of a run."""
_PROJECT = "vqvae2"


@dataclass(frozen=True)
class Tracking:
    """Which trackers to use, and for which run.

    Raises:
        ConfigError: If the package of a tracker is missing.
    """

    log_to: tuple[TrackerName, ...]
    directory: Path
    """Folder of the run."""

    def __post_init__(self) -> None:
        for name in self.log_to:
            if importlib.util.find_spec(name) is None:
                raise ConfigError(
                    f"`log_to` {name} needs the package {name}, which is not installed; pip install 'vqvae2[{name}]'"
                )


class Tracker:
    """Passes what a training measures to the accelerator's trackers, from the first process.

    Each stage becomes a run of its own in Weights & Biases and Trackio, whose steps only go up. Values are named after
    their stage, so TensorBoard shows all stages together. Without trackers, which the accelerator's `log_with` names,
    or outside a stage, this does nothing.
    """

    def __init__(self, accelerator: Accelerator, run: str) -> None:
        self._accelerator, self._run = accelerator, run
        self._stage: str | None = None

    @property
    def is_on(self) -> bool:
        """Whether `log` and `show` pass anything on."""
        return self._stage is not None and bool(self._accelerator.log_with) and is_first_process()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Name the stage of everything that is logged in this context. Trackers start with its first value."""
        self._stage = name
        try:
            yield
        finally:
            self._stage = None
            with redirect_stdout(sys.stderr):
                for tracker in self._accelerator.trackers:
                    tracker.finish()
            self._accelerator.trackers.clear()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log scalars of a step."""
        if self.is_on:
            self._start()
            self._accelerator.log({f"{self._stage}/{name}": value for name, value in values.items()}, step=step)

    def show(self, step: int, pictures: Mapping[str, Sequence[Tensor]]) -> None:
        """Log pictures of a step, each made of rows of equally many images, float `(B, C, H, W)` in [-1, 1]."""
        if not self.is_on:
            return
        self._start()
        for name, rows in pictures.items():
            pixels = to_pixels(to_rgb(torch.cat(list(rows)).cpu())).numpy()
            tag, picture = f"{self._stage}/{name}", image_grid(pixels, columns=len(rows[0]))
            for tracker in self._accelerator.trackers:
                if tracker.name == "tensorboard":
                    tracker.log_images({tag: picture[None]}, step=step, dataformats="NHWC")
                elif tracker.name == "trackio":  # accelerate has no way to show pictures there
                    import trackio

                    tracker.log({tag: trackio.Image(picture)}, step=step)
                else:
                    tracker.log_images({tag: [picture]}, step=step)

    def _start(self) -> None:
        if self._accelerator.trackers:
            return
        names = {"name": f"{self._run} {self._stage}", "group": self._run}
        init = {"wandb": names | {"dir": self._accelerator.project_dir}, "trackio": names | {"resume": "allow"}}
        try:
            with redirect_stdout(sys.stderr):  # stdout is for results, and some trackers greet there
                self._accelerator.init_trackers(_PROJECT, init_kwargs=init)
        except BaseException:
            self._accelerator.trackers.clear()  # half made ones cannot be finished, and would hide this error
            raise
