"""What a model card tells of results: each number with its protocol, and by name what was not measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from vqvae2.config import DecoderName, SamplingConfig
from vqvae2.metrics.measurements import MeasuringProtocol, QualityResult
from vqvae2.metrics.results import Results

if TYPE_CHECKING:
    from vqvae2.pipeline.pipeline import Pipeline

__all__ = ["plain_text", "tell_all", "tell_sampling"]

_METRICS = (
    "error of reconstructions",
    "likelihood of codes",
    "distance of samples to real images",
    "classification accuracy score",
    "memorization",
)
_OF_CODES = ("likelihood of codes",)
_OF_IMAGES = tuple(metric for metric in _METRICS if metric not in _OF_CODES)
_SCORES = {
    "frechet_distance": "Fréchet distance",
    "frechet_distance_to_held_out": "Fréchet distance to held-out images",
    "kernel_distance": "kernel distance",
    "precision": "precision",
    "recall": "recall",
    "inception_score": "inception score",
}


def tell_all(pipeline: Pipeline, measured: Mapping[DecoderName, Results]) -> Iterator[str]:
    """Tell what was measured, of each decoder apart; likelihoods are of codes, and so the same for both."""
    told = {decoder: dict(_tell(measured[decoder])) if decoder in measured else {} for decoder in pipeline.decoders}
    if len(told) == 1:
        yield from _listed(told["faithful"], _METRICS)
        return
    yield from _listed(told["faithful"] | told["sharp"], _OF_CODES)
    for decoder, texts in told.items():
        yield f"### Decoded by the {decoder} decoder"
        yield from _listed(texts, _OF_IMAGES)


def tell_sampling(pipeline: Pipeline, measured: Mapping[DecoderName, Results]) -> Iterator[str]:
    """Tell how images are drawn by default, and what drawing at temperature 1 gives; nothing if both are the same."""
    own = pipeline.config.sampling
    tables = [(decoder, *entry) for decoder, results in measured.items() for entry in results.tuning.items()]
    if not pipeline.priors or (own.in_words == SamplingConfig().in_words and not tables):
        return
    yield "## Sampling settings"
    yield f"Images are drawn with {own.in_words} unless other settings are given. Values of levels: top first."
    for decoder, network, found in tables:
        by = f", decoded by the {decoder} decoder" if len(pipeline.decoders) > 1 else ""
        lines = [
            f"Samples beside held-out images in features of {plain_text(network)}{by}. The settings were chosen among "
            f"{len(found.candidates)} on these images. {_tell_protocol(found.protocol)}",
            "",
            "| settings | Fréchet distance to held-out images | kernel distance | precision | recall |",
            "|---|---|---|---|---|",
        ]
        chosen, first = found.scores_of(own), found.candidates[:1]
        for scores in (*first, *(() if chosen is None or chosen in first else (chosen,))):
            values = (scores.frechet_distance, scores.kernel_distance, scores.precision, scores.recall)
            lines.append(f"| {' | '.join([scores.sampling.in_words, *(f'{value:.4g}' for value in values)])} |")
        if chosen is None:
            lines += ["", f"Drawing with {own.in_words} was not measured so."]
        yield "\n".join(lines)


def _listed(told: Mapping[str, str], metrics: Sequence[str]) -> Iterator[str]:
    """Give what is told of some metrics, and name those of which nothing is."""
    yield from (told[metric] for metric in metrics if metric in told)
    missing = [metric for metric in metrics if metric not in told]
    if missing:
        yield f"Not measured, or not told here: {', '.join(missing)}."


def _tell(results: Results) -> Iterator[tuple[str, str]]:
    """Tell each of `_METRICS` that was measured, in Markdown, with its protocol."""
    errors, costs, accuracy = results.reconstruction, results.likelihood, results.accuracy
    if errors is not None:
        held_out = errors.validation
        ssim = "" if held_out.ssim is None else f", SSIM {held_out.ssim:.4f}"
        text = f"- Held-out images reconstructed: MSE {held_out.mse:.4g} with pixels in -1..1, "
        yield _METRICS[0], f"{text}PSNR {held_out.psnr_db:.2f} dB{ssim}. {_tell_protocol(errors.protocol)}"
    if costs is not None:
        levels = ", ".join(f"{plain_text(level.name)} {level.nll_nats_per_code:.4g}" for level in costs.levels)
        yield (
            _METRICS[1],
            f"- Codes of held-out images under the priors: {costs.bits_per_pixel:.4g} bits per pixel of the image; "
            f"nats per code: {levels}. These are likelihoods of codes, which do not compare with those of models of "
            f"pixels. {_tell_protocol(costs.protocol)}",
        )
    if results.quality:
        yield _METRICS[2], "\n\n".join(_tell_distances(*entry) for entry in results.quality.items())
    if accuracy is not None:
        rows = ", ".join(f"{plain_text(row.trained_on)} {row.top1:.1%}" for row in accuracy.classifiers)
        text = f"- Top-1 accuracy on real held-out images of classifiers trained on: {rows}. "
        yield _METRICS[3], text + _tell_protocol(accuracy.protocol)
    if results.memorization:
        lines = [
            f"- Memorization, in features of {plain_text(network)}: {found.share_nearer:.1%} of the samples lie nearer "
            f"to a training image than held-out images do. {_tell_protocol(found.protocol)}"
            for network, found in results.memorization.items()
        ]
        yield _METRICS[4], "\n".join(lines)


def _tell_distances(network: str, measured: QualityResult) -> str:
    header = ["set", *_SCORES.values()]
    lines = [
        f"Distances to training images in features of {plain_text(network)}. {_tell_protocol(measured.protocol)}",
        "",
        "Distances to training images reward memory; that to as many held-out images does not. Few images bias it "
        "upwards, but less for reconstructions, which meet their own originals.",
        "",
        f"| {' | '.join(header)} |",
        "|---" * len(header) + "|",
    ]
    for row in measured.sets:
        values = [getattr(row, name) for name in _SCORES]
        cells = ["" if value is None or math.isnan(value) else f"{value:.4g}" for value in values]
        lines.append(f"| {' | '.join([plain_text(row.set), *cells])} |")
    return "\n".join(lines)


def _tell_protocol(protocol: MeasuringProtocol) -> str:
    """Say in a line how a number was measured."""
    height, width = protocol.image_size
    parts = [
        f"{protocol.num_images:,} images",
        f"reference {plain_text(protocol.reference)} ({protocol.num_reference:,} images, "
        f"hash {plain_text(protocol.reference_fingerprint)})",
        f"at {height}x{width} pixels",
        f"resize {plain_text(protocol.resize)}",
        *([f"network {plain_text(protocol.network)}"] if protocol.network else []),
        *([f"samples drawn with {protocol.sampling.in_words}"] if protocol.sampling is not None else []),
        *(f"{name} {plain_text(protocol.versions[name])}" for name in ("vqvae2", "torch") if name in protocol.versions),
    ]
    return f"Protocol: {'; '.join(parts)}."


def plain_text(text: str) -> str:
    """Make text of others harmless in Markdown: one line, without marks, of at most 200 characters."""
    kept = "".join(character for character in " ".join(text.split()) if character not in "`<>[]|*\\")
    return kept[:200]
