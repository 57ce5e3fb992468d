"""The scores of sets of images in features of a network: their names, and their cells in a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqvae2.report.text import escape, format_count, format_number, number

__all__ = ["STANDARD_NETWORK", "bias_note", "frechet_name", "score_cells", "score_header"]

STANDARD_NETWORK = "Inception-v3"
"""The one network whose distances have names of their own, and compare with published ones."""
_OTHER_SCORES = {
    "inception_score": "Inception score",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
}


def frechet_name(network: str) -> str:
    """Give the name of the Fréchet distance in features of a network: "FID" in those of Inception-v3 alone."""
    return "FID" if network == STANDARD_NETWORK else f"{network}-FD"


def score_header(network: str) -> list[str]:
    """Give the names of all scores, as HTML."""
    kernel_name = "KID" if network == STANDARD_NETWORK else f"{network}-KD"
    return [escape(frechet_name(network)), escape(kernel_name), *_OTHER_SCORES.values()]


def score_cells(row: Mapping[str, Any]) -> list[str]:
    """Give the scores themselves, in the order of the header."""
    return [format_number(number(row, name)) for name in ("frechet_distance", "kernel_distance", *_OTHER_SCORES)]


def bias_note(measured: Mapping[str, Any], num_features: float | None) -> str:
    """Warn of a Fréchet distance of fewer images than there are features; nothing if there are enough."""
    count = number(measured, "protocol", "num_images")
    if count is None or num_features is None or count >= num_features:
        return ""
    return (
        f'<p class="note">There are fewer images ({format_count(count)}) than features ({format_count(num_features)}): '
        "the Fréchet distance is then biased upwards, and compares only within this table.</p>"
    )
