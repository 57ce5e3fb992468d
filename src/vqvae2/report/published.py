"""What is published of the paper's model, to stand beside what we measure.

All of it is of ImageNet at 256x256 pixels: by the paper itself (Razavi et al. 2019, "Generating Diverse High-Fidelity
Images with VQ-VAE-2"), and, where its text gives no number, by later papers that measured the same model.
"""

from __future__ import annotations

from typing import NamedTuple

from vqvae2.report.text import TIMES

__all__ = ["ACCURACIES", "DATA", "MSE", "NLL_NATS", "PAPER", "SCORES", "UNFILTERED", "WITH_REJECTION", "Score"]

PAPER = "Razavi et al. 2019"
DATA = f"ImageNet, 256\N{NO-BREAK SPACE}{TIMES}\N{NO-BREAK SPACE}256"

NLL_NATS = {"top": ("3.40", "3.41"), "bottom": ("3.45", "3.45")}
"""Table 1: nats per code of each level, on training and on validation images."""
MSE = ("0.0047", "0.0050")
"""Table 1: on training and on validation images; the range of the pixels is not stated."""
ACCURACIES = {
    "real": (73.09, 91.47),
    "reconstructions": (69.90, 89.46),
    "samples": (54.83, 77.59),
    "samples of BigGAN-deep": (42.65, 65.92),
}
"""Table 2: top-1 and top-5 accuracy in percent of a ResNet-50, by what it was trained on."""


class Score(NamedTuple):
    """Scores of one set of images of the paper's model, in features of Inception-v3; None where none is given."""

    name: str
    fid: str
    inception_score: str | None = None
    precision: str | None = None
    recall: str | None = None


UNFILTERED = Score("samples, unfiltered", "31.11", "about 45", "0.36", "0.57")
WITH_REJECTION = Score("samples, with rejection", "about 10", "about 330")
SCORES = (
    Score("reconstructions", "about 10"),
    UNFILTERED,
    Score("samples, unfiltered, another protocol", "38.05", "43.44"),
    WITH_REJECTION,
)
"""Reported by others, under protocols of their own."""
