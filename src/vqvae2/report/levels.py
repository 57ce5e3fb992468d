"""What is known of each level, put together from the results and, where they are silent, from the data itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vqvae2.report.data import ReportData
from vqvae2.report.text import TIMES, entries, number, part

__all__ = ["Level", "evaluated_levels", "levels_of"]


@dataclass(frozen=True, kw_only=True)
class Level:
    """The numbers of one level; None where there is none."""

    name: str
    grid: str
    """The code grid, as "8 x 8", or nothing."""
    num_embeddings: float | None
    usage: float | None
    """Share of the codes in use, 0..1."""
    perplexity: float | None
    nll_nats: float | None
    """Of one code of held-out images."""
    train_nll_nats: float | None
    unigram_nats: float | None
    """Of the same codes, by the frequency of each code alone."""
    given_above_nats: float | None
    """Of the same codes, by the code above each alone; None at the top too."""

    @property
    def gap_nats(self) -> float | None:
        if self.nll_nats is None or self.train_nll_nats is None:
            return None
        return self.nll_nats - self.train_nll_nats

    @property
    def gap_share(self) -> float | None:
        """The gap as a share of the cost on held-out images."""
        return self.gap_nats / self.nll_nats if self.gap_nats is not None and self.nll_nats else None

    @property
    def nll_bits(self) -> float | None:
        return None if self.nll_nats is None else self.nll_nats / math.log(2.0)

    @property
    def uniform_bits(self) -> float | None:
        return math.log2(self.num_embeddings) if self.num_embeddings else None

    @property
    def uniform_nats(self) -> float | None:
        return math.log(self.num_embeddings) if self.num_embeddings else None

    @property
    def saved(self) -> float | None:
        """Share of the cost of guessing that the prior saves."""
        if self.nll_bits is None or not self.uniform_bits:
            return None
        return 1.0 - self.nll_bits / self.uniform_bits


def levels_of(data: ReportData) -> list[Level]:
    """Collect the numbers of every level, top first."""
    given = data.results.get("levels")
    given = given if isinstance(given, Sequence) else []
    count = max(len(data.level_names), len(given))
    return [_level(data, index, given[index] if index < len(given) else {}) for index in range(count)]


def evaluated_levels(results: Mapping[str, Any]) -> list[Level]:
    """Collect the numbers of every level from those of an evaluation, top first."""
    measured: dict[str, dict[str, Any]] = {}
    for metric in ("reconstruction", "likelihood"):
        for entry in entries(part(results, metric), "levels"):
            measured.setdefault(str(entry.get("name")), {}).update(entry)
    return [_evaluated_level(name, values) for name, values in measured.items()]


def _evaluated_level(name: str, given: Mapping[str, Any]) -> Level:
    shape, uniform_bits = given.get("shape"), number(given, "uniform_bits_per_code")
    return Level(
        name=name,
        grid=f" {TIMES} ".join(map(str, shape)) if isinstance(shape, list | tuple) else "",
        num_embeddings=None if uniform_bits is None else 2.0**uniform_bits,
        usage=number(given, "usage"),
        perplexity=number(given, "perplexity"),
        nll_nats=number(given, "nll_nats_per_code"),
        train_nll_nats=number(given, "train_nll_nats_per_code"),
        unigram_nats=number(given, "unigram_nats_per_code"),
        given_above_nats=number(given, "given_above_nats_per_code"),
    )


def _level(data: ReportData, index: int, given: Any) -> Level:
    given = given if isinstance(given, Mapping) else {}
    name = data.level_names[index] if index < len(data.level_names) else given.get("name", f"level {index}")
    shape = given.get("shape") or (data.code_maps[index].shape[1:] if index < len(data.code_maps) else ())
    usage, perplexity = _measure(data.code_counts[index]) if index < len(data.code_counts) else (None, None)
    size = data.num_embeddings[index] if index < len(data.num_embeddings) else None
    nats, bits = number(given, "nll_nats_per_code"), number(given, "nll_bits_per_code")
    return Level(
        name=str(name),
        grid=f" {TIMES} ".join(map(str, shape)),
        num_embeddings=size if size is not None else number(given, "num_embeddings"),
        usage=_first(number(given, "usage"), usage),
        perplexity=_first(number(given, "perplexity"), perplexity),
        nll_nats=nats if nats is not None or bits is None else bits * math.log(2.0),
        train_nll_nats=number(given, "train_nll_nats_per_code"),
        unigram_nats=number(given, "unigram_nats_per_code"),
        given_above_nats=number(given, "given_above_nats_per_code"),
    )


def _measure(counts: np.ndarray) -> tuple[float | None, float | None]:
    total = counts.sum()
    if not total:
        return None, None
    shares = counts[counts > 0] / total
    return float((counts > 0).mean()), float(np.exp(-(shares * np.log(shares)).sum()))


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
