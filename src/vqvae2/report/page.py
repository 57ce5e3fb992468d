"""The page: which sections it has, what it shows first, and its file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vqvae2.metrics.results import Results
from vqvae2.report.circumstances import circumstances_section, left_out_section, next_section
from vqvae2.report.dial import dial_section
from vqvae2.report.distances import distances_section, frechet_name, memorization_section
from vqvae2.report.examples import picture_sections
from vqvae2.report.frame import Section, card, cards, render
from vqvae2.report.likelihood import accuracy_section, likelihood_section
from vqvae2.report.published import PAPER
from vqvae2.report.text import decoded_by, escape, format_count, format_number, format_percent
from vqvae2.report.training import codebook_section, training_section
from vqvae2.system.files import atomic_write_bytes

__all__ = ["REPORT_FILE", "render_page", "write_page"]

REPORT_FILE = "report.html"


def write_page(results: Results, directory: Path, *, title: str, next_steps: Sequence[str] = ()) -> Path:
    """Write `report.html` whole or not at all, and give its path.

    Args:
        results: What was measured; a section without numbers or pictures is left out.
        directory: The folder of the run or the evaluation, with its pictures, logs and codes.
        title: Of the page.
        next_steps: Commands that the page suggests.
    """
    path = directory / REPORT_FILE
    atomic_write_bytes(path, render_page(results, directory, title=title, next_steps=next_steps).encode())
    return path


def render_page(results: Results, directory: Path, *, title: str, next_steps: Sequence[str] = ()) -> str:
    """Make the page as one HTML document, see `write_page`."""
    shown = cards([*_model_cards(results), *_sample_cards(results)])
    summary = Section(key="summary", title="At a glance", lead=_introduction(results), body=shown)
    sections = [
        *(picture_sections(results.pictures, directory, results.decoder) if results.pictures is not None else []),
        codebook_section(results, directory),
        training_section(results, directory),
        likelihood_section(results),
        accuracy_section(results),
        dial_section(results, directory),
        distances_section(results),
        memorization_section(results, directory),
        left_out_section(results),
        circumstances_section(results),
        next_section(next_steps),
    ]
    footer = "The numbers of this page are in results.json, in the same folder. Nothing here comes from the network."
    return render(title, [summary, *(section for section in sections if section.body)], footer=footer)


def _introduction(results: Results) -> str:
    counts = results.num_images
    text = (
        "This is a VQ-VAE-2. Its tokenizer turns an image into small grids of code numbers, coarse ones and fine "
        "ones, and back; its priors learn which codes go together, and so can invent new images. It was trained on "
        f"{format_count(counts.train)} images, and measured on {format_count(counts.validation)} others that were held "
        "out."
    )
    if results.decoder == "sharp":
        text += (
            " Its reconstructions and samples are decoded by the sharp decoder, which draws details that the codes "
            "leave open and does not aim at the least squared error."
        )
    if counts.skipped:
        files = "file" if counts.skipped == 1 else "files"
        text += f" {format_count(counts.skipped)} {files} could not be read, and were left out."
    return (
        f"{text} Where {PAPER} or others give a number, it stands beside ours in small print: it is of ImageNet, and "
        "shows what to expect of a model of that size."
    )


def _model_cards(results: Results) -> Iterator[str]:
    if results.reconstruction is not None:
        errors = results.reconstruction.validation
        ssim = "" if errors.ssim is None else f", SSIM {format_number(errors.ssim)}"
        hint = (
            f"Likeness of held-out images and their reconstructions{decoded_by(results.decoder)}. Higher is better; 20 "
            f"is rough, 30 is close. MSE {format_number(errors.mse)} in [&minus;1, 1]{ssim}."
        )
        yield card("Reconstruction PSNR", f"{format_number(errors.psnr_db)} <i>dB</i>", hint)
        usage = {level.name: format_percent(level.usage) for level in results.reconstruction.levels}
        yield card("Codes in use", _named(usage), "Share of each codebook that held-out images use. All is best.")
    if results.likelihood is not None:
        hint = (
            "What the codes of an image cost when the priors compress them. Lower is better. That is "
            f"1/{format_number(results.likelihood.compression_ratio)} of the raw pixels."
        )
        yield card("Bits per pixel", format_number(results.likelihood.bits_per_pixel), hint)
        nll = {level.name: format_number(level.nll_bits_per_code) for level in results.likelihood.levels}
        uniform = dict.fromkeys(format_number(level.uniform_bits_per_code) for level in results.likelihood.levels)
        hint = (
            "What the priors need on average to predict one code of a held-out image. Lower is better; guessing needs "
            f"{' and '.join(uniform)}."
        )
        yield card("Bits per code (NLL)", _named(nll), hint)


def _sample_cards(results: Results) -> Iterator[str]:
    accuracies = {row.trained_on: row.top1 for row in results.accuracy.classifiers} if results.accuracy else {}
    if "samples" in accuracies:
        hint = "Top-1 accuracy of a classifier trained on samples alone, beside that of one trained on real images."
        value = f"{format_percent(accuracies['samples'])} <i>of {format_percent(accuracies.get('real'))}</i>"
        yield card("Classification accuracy", value, hint)
    for network, measured in results.quality.items():
        words = {"samples": "samples", "validation images": "held out"}
        distances = {row.set: format_number(row.frechet_distance) for row in measured.sets}
        value = _named({word: distances[key] for key, word in words.items() if key in distances})
        hint = "Fréchet distance to training images. The nearer samples are to what held-out images have, the better."
        yield card(escape(frechet_name(network)), value, hint)
    if results.memorization:
        shares = {network: format_number(found.share_nearer, 2) for network, found in results.memorization.items()}
        hint = "How often a sample is nearer to a training image than a held-out image is: ½ is new, near 1 is copied."
        yield card("Share nearer", _named(shares), hint)


def _named(values: dict[str, str]) -> str:
    """Set values under each other, each before its name."""
    return "<br>".join(f"{value} <i>{escape(name)}</i>" for name, value in values.items())
