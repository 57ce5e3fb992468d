"""What a model card tells of the results of a run and of an evaluation, each beside its protocol.

The files may be of any age, or altered: a number that is not there is not told, and nothing else is made of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vqvae2.errors import CheckpointError
from vqvae2.system.json_files import read_json

__all__ = ["CARD_METRICS", "number_in", "plain_text", "read_results", "tell_results"]

CARD_METRICS = (
    "error of reconstructions",
    "likelihood of codes",
    "distance of samples to real images",
    "classification accuracy score",
    "memorization",
)
"""What a card tells of, or says was not measured."""

_MAX_BYTES = 16 * 2**20
_QUALITY = {
    "frechet_distance": "Fréchet distance",
    "kernel_distance": "kernel distance",
    "precision": "precision",
    "recall": "recall",
    "inception_score": "Inception score",
}


def read_results(path: Path) -> dict[str, Any]:
    """Read a file of results; nothing, if there is none.

    Raises:
        CheckpointError: If it is damaged.
    """
    try:
        values = read_json(path, max_bytes=_MAX_BYTES, allow_nan=True)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable ({error}); measure again, or leave it out") from error
    return values if isinstance(values, dict) else {}


def tell_results(results: dict[str, Any], evaluation: dict[str, Any]) -> dict[str, str]:
    """Tell each of `CARD_METRICS` that was measured, in Markdown; what the evaluation has goes before the run's.

    Args:
        results: Of a run, or nothing.
        evaluation: Of an evaluation, or nothing.
    """
    told = dict(_tell_evaluation(evaluation))
    for name, text in _tell_run(results):
        told.setdefault(name, text)
    return {name: told[name] for name in CARD_METRICS if name in told}


def number_in(values: Any, *keys: str) -> float | None:
    """Give a number that lies under keys in dictionaries; None where there is none, or it is not finite."""
    found = _at(values, *keys)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return float(found) if abs(found) < 1e300 else None  # which no NaN is, either


def plain_text(text: Any) -> str:
    """Make text of others harmless in Markdown: one line, without marks, of at most 200 characters."""
    kept = "".join(character for character in " ".join(str(text).split()) if character not in "`<>[]|*\\")
    return kept[:200]


def _tell_evaluation(evaluation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    error, likelihood = evaluation.get("reconstruction"), evaluation.get("likelihood")
    yield from _tell_error(_at(error, "validation"), _tell_protocol(_at(error, "protocol")))
    yield from _tell_likelihood(likelihood, _tell_protocol(_at(likelihood, "protocol")))
    by_network = {name: _networks(evaluation.get(name)) for name in ("quality", "memorization")}
    distances = [_tell_distances(name, values) for name, values in by_network["quality"]]
    if any(distances):
        yield "distance of samples to real images", "\n\n".join(text for text in distances if text)
    yield from _tell_accuracy(evaluation.get("accuracy"))
    nearer = [
        f"- Memorization, in features of {plain_text(name)}: {share:.1%} of the samples lie nearer to a training image "
        f"than held-out images do. {_tell_protocol(_at(values, 'protocol'))}"
        for name, values in by_network["memorization"]
        if (share := number_in(values, "share_nearer")) is not None
    ]
    if nearer:
        yield "memorization", "\n".join(nearer)


def _tell_run(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    count = number_in(results, "validation", "num_images")
    versions = ", ".join(
        f"{name} {plain_text(_at(results, 'versions', name))}"
        for name in ("vqvae2", "torch")
        if _at(results, "versions", name)
    )
    if count is None:
        return
    protocol = f"Protocol: {count:,.0f} held-out images of the run{f'; {versions}' if versions else ''}."
    yield from _tell_error(results.get("validation"), protocol)
    yield from _tell_likelihood(results, protocol)


def _tell_error(values: Any, protocol: str) -> Iterator[tuple[str, str]]:
    mse, psnr, ssim = (number_in(values, name) for name in ("mse", "psnr_db", "ssim"))
    parts = [
        *([] if mse is None else [f"MSE {mse:.4g} with pixels in -1..1"]),
        *([] if psnr is None else [f"PSNR {psnr:.2f} dB"]),
        *([] if ssim is None else [f"SSIM {ssim:.4f}"]),
    ]
    if parts:
        yield "error of reconstructions", f"- Held-out images reconstructed: {', '.join(parts)}. {protocol}"


def _tell_likelihood(values: Any, protocol: str) -> Iterator[tuple[str, str]]:
    bits = number_in(values, "bits_per_pixel")
    if bits is None:
        return
    levels = _at(values, "levels")
    each = [
        f"{plain_text(level['name'])} {nats:.4g}"
        for level in (levels if isinstance(levels, list) else [])
        if (nats := number_in(level, "nll_nats_per_code")) is not None and "name" in level
    ]
    by_level = f"; nats per code: {', '.join(each)}" if each else ""
    yield (
        "likelihood of codes",
        f"- Codes of held-out images under the priors: {bits:.4g} bits per pixel of the image{by_level}. These are "
        f"likelihoods of codes, which do not compare with those of models of pixels. {protocol}",
    )


def _tell_distances(network: str, values: Any) -> str:
    rows = _at(values, "sets")
    rows = [row for row in (rows if isinstance(rows, list) else []) if number_in(row, "frechet_distance") is not None]
    if not rows:
        return ""
    columns = [name for name in _QUALITY if any(number_in(row, name) is not None for row in rows)]
    lines = [
        f"Distances to training images in features of {plain_text(network)}. {_tell_protocol(_at(values, 'protocol'))}",
        "",
        f"| set | {' | '.join(_QUALITY[name] for name in columns)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    lines += [f"| {plain_text(row.get('set'))} | {' | '.join(_cell(row, name) for name in columns)} |" for row in rows]
    return "\n".join(lines)


def _tell_accuracy(values: Any) -> Iterator[tuple[str, str]]:
    rows = _at(values, "classifiers")
    told = [
        f"{plain_text(row.get('trained_on'))} {top1:.1%}"
        for row in (rows if isinstance(rows, list) else [])
        if (top1 := number_in(row, "top1")) is not None
    ]
    if told:
        yield (
            "classification accuracy score",
            f"- Top-1 accuracy on real held-out images of classifiers trained on: {', '.join(told)}. "
            f"{_tell_protocol(_at(values, 'protocol'))}",
        )


def _tell_protocol(protocol: Any) -> str:
    """Say in a line how a number came about; with too little to say, that this is not known."""
    reference, count = _at(protocol, "reference"), number_in(protocol, "num_images")
    if reference is None or count is None:
        return "Protocol: not recorded."
    size = _at(protocol, "image_size")
    parts = [
        f"{count:,.0f} images",
        f"reference {plain_text(reference)} ({number_in(protocol, 'num_reference') or 0:,.0f} images, "
        f"hash {plain_text(_at(protocol, 'reference_fingerprint'))})",
        *([f"at {size[0]}x{size[1]} pixels"] if isinstance(size, list) and len(size) == 2 else []),
        *(f"{name} {plain_text(value)}" for name in ("resize", "network") if (value := _at(protocol, name))),
        *(f"{name} {plain_text(value)}" for name in ("vqvae2", "torch") if (value := _at(protocol, "versions", name))),
    ]
    return f"Protocol: {'; '.join(parts)}."


def _networks(values: Any) -> Sequence[tuple[str, Any]]:
    return list(values.items()) if isinstance(values, dict) else []


def _cell(row: Any, name: str) -> str:
    value = number_in(row, name)
    return "" if value is None else f"{value:.4g}"


def _at(values: Any, *keys: str) -> Any:
    for key in keys:
        if not isinstance(values, dict) or key not in values:
            return None
        values = values[key]
    return values
