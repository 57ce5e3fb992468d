"""The page of a run: what it shows first, and the files."""

from __future__ import annotations

import json
from pathlib import Path

from vqvae2.report.data import ReportData
from vqvae2.report.frame import Section, card, cards, render
from vqvae2.report.levels import Level, levels_of
from vqvae2.report.sections import sections_of
from vqvae2.report.text import escape, format_count, format_number, format_percent, number
from vqvae2.system.atomic import atomic_write_bytes

__all__ = ["render_page", "write_report"]


def write_report(data: ReportData, directory: Path) -> Path:
    """Write `report.html` and `results.json`, each in one stroke, so that neither is ever half there.

    Args:
        data: What to show.
        directory: Made if it is missing.

    Returns:
        Path of the page.
    """
    directory.mkdir(parents=True, exist_ok=True)
    page = directory / "report.html"
    atomic_write_bytes(directory / "results.json", (json.dumps(data.results, indent=2) + "\n").encode())
    atomic_write_bytes(page, render_page(data).encode())
    return page


def render_page(data: ReportData) -> str:
    """Make the page, see `render`."""
    summary = Section(key="summary", title="At a glance", lead=_introduction(data), body=_cards(data))
    footer = "The numbers of this page are in results.json, in the same folder. Nothing here comes from the network."
    return render(data.title, [summary, *sections_of(data)], footer=footer)


def _introduction(data: ReportData) -> str:
    counts = {name: number(data.results, "num_images", name) for name in ("train", "validation", "skipped")}
    text = (
        "This is a VQ-VAE-2. Its tokenizer turns an image into small grids of code numbers, coarse ones and fine "
        "ones, and back; its priors learn which codes go together, and so can invent new images."
    )
    if counts["train"] is not None:
        text += f" It was trained on {format_count(counts['train'])} images"
        if counts["validation"] is not None:
            text += f", and measured on {format_count(counts['validation'])} others that were held out"
        text += "."
    if counts["skipped"]:
        files = "file" if counts["skipped"] == 1 else "files"
        text += f" {format_count(counts['skipped'])} {files} could not be read and so left out."
    return text


def _cards(data: ReportData) -> str:
    levels, results = levels_of(data), data.results
    shown = []
    psnr, mse = number(results, "validation", "psnr_db"), number(results, "validation", "mse")
    if psnr is not None:
        hint = "Likeness of held-out images and their reconstructions. Higher is better; 20 is rough, 30 is close."
        shown.append(card("Validation PSNR", f"{format_number(psnr)} <i>dB</i>", hint))
    if mse is not None:
        hint = "Mean squared error behind the PSNR, for pixel values in [&minus;1, 1]. Lower is better."
        shown.append(card("Validation MSE", format_number(mse), hint))
    ssim = number(results, "validation", "ssim")
    if ssim is not None:
        hint = "Structural similarity of the same images: whether edges and textures are where they were. 1 is best."
        shown.append(card("Validation SSIM", format_number(ssim), hint))
    usage = _by_level(levels, [format_percent(level.usage) if level.usage is not None else "" for level in levels])
    if usage:
        shown.append(card("Codes in use", usage, "Share of each codebook that held-out images use. All is best."))
    bits = number(results, "bits_per_pixel")
    if bits is not None:
        ratio = number(results, "compression_ratio")
        coder = " when the priors compress them" if any(level.nll_nats is not None for level in levels) else ""
        hint = f"What the codes of an image cost{coder}. Lower is better."
        if ratio is not None:
            hint += f" That is 1/{format_number(ratio)} of the raw pixels."
        shown.append(card("Bits per pixel", format_number(bits), hint))
    nll = _by_level(levels, [format_number(level.nll_bits) if level.nll_bits is not None else "" for level in levels])
    if nll:
        uniform = " and ".join(
            dict.fromkeys(format_number(level.uniform_bits) for level in levels if level.uniform_bits is not None)
        )
        hint = "What the priors need on average to predict one code of a held-out image. Lower is better"
        shown.append(card("Bits per code (NLL)", nll, f"{hint}; guessing needs {uniform}." if uniform else f"{hint}."))
    return cards(shown)


def _by_level(levels: list[Level], values: list[str]) -> str:
    named = [f"{value} <i>{escape(level.name)}</i>" for level, value in zip(levels, values, strict=True) if value]
    return "<br>".join(named)
