"""Files of codes against the image formats that people know: bytes, nearness to the image, and time.

    python benchmarks/codec.py RUN --out docs/measurements/codec.json --plot docs/images/codec.svg

RUN is a run's folder with priors. What is compressed are its validation images, so the models know their kind, but not
them; the other formats know neither. Sizes are of whole files, headers and checksums included, and every file is
decoded again before it is judged. PSNR is that of the mean squared error over all images, at 8 bits. The network's
distance is the Euclidean one between the features of an image and of its reconstruction, the mean over images; beside
it stands what part that is of the mean distance between two different images.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from image_formats import FORMATS, MeasuredFormat, library_versions
from machine import describe_machine
from our_files import Subject, describe_files, seconds, time_ours
from rate_curves import Point, plot_points

from vqvae2 import FeatureNetwork, Pipeline, VQVAE2Error, find_network
from vqvae2.data import ImageStore, evenly_spread, ordered_batches
from vqvae2.images import from_pixels, image_grid, save_png
from vqvae2.metrics.distortion import SSIM_WINDOW_PIXELS, ReconstructionError, StructuralSimilarity
from vqvae2.models.checkpoint import MODEL_FILE
from vqvae2.pipeline.folder import TOKENIZER_FOLDER, prior_folder

_NETWORK_BATCH_SIZE = 64
_PICTURES = 6
_PICTURE_PIXELS = 128  # smaller images are enlarged to about that


class Judge:
    """Says how near reconstructions come to their originals.

    Args:
        originals: uint8 `(N, H, W, C)`.
        network: In whose features distances are measured, or None for no such distance.
    """

    def __init__(self, originals: np.ndarray, network: FeatureNetwork | None) -> None:
        self._originals, self._network = originals, network
        self._features = None if network is None else self._look(originals)

    @cached_property
    def mean_distance(self) -> float | None:
        """The mean distance between two different originals."""
        return None if self._features is None else torch.pdist(self._features.double()).mean().item()

    def point(self, format_name: str, setting: str, files: Sequence[bytes], pixels: np.ndarray) -> Point:
        """Measure the files of all images, which decode to `pixels`."""
        error, similarity = ReconstructionError(), StructuralSimilarity()
        has_ssim = min(pixels.shape[1:3]) >= SSIM_WINDOW_PIXELS
        for batch in ordered_batches(np.arange(len(pixels)), _NETWORK_BATCH_SIZE):
            pair = [from_pixels(torch.from_numpy(images[batch])) for images in (pixels, self._originals)]
            error.update(*pair)
            if has_ssim:
                similarity.update(*pair)
        distance = None
        if self._features is not None:
            distance = (self._look(pixels) - self._features).norm(dim=1).double().mean().item()
        mean_bytes = statistics.fmean(len(file) for file in files)
        return Point(
            format=format_name,
            setting=setting,
            mean_bytes=mean_bytes,
            bits_per_pixel=8 * mean_bytes / (pixels.shape[1] * pixels.shape[2]),
            psnr_db=error.psnr_db if error.mse else None,
            ssim=similarity.ssim if has_ssim else None,
            distance=distance,
        )

    @torch.inference_mode()
    def _look(self, pixels: np.ndarray) -> torch.Tensor:
        assert self._network is not None
        batches = ordered_batches(np.arange(len(pixels)), _NETWORK_BATCH_SIZE)
        images = (from_pixels(torch.from_numpy(pixels[batch])) for batch in batches)
        return torch.cat([self._network.module(batch).features.float() for batch in images])


def measure_ours(subject: Subject, judge: Judge) -> tuple[list[Point], dict[str, list[bytes]]]:
    """Measure all our settings; gives the files of each, too."""
    points, files = [], {}
    for setting in subject.settings:
        batches = [subject.compress(indices, setting) for indices in subject.batches()]
        files[setting.name] = [file for batch in batches for file in batch]
        pixels = np.concatenate([subject.decompress(batch) for batch in batches])
        points.append(judge.point("vqvae2", setting.name, files[setting.name], pixels))
        print_point(points[-1], judge.mean_distance)
    return points, files


def measure_others(formats: Sequence[MeasuredFormat], pixels: np.ndarray, judge: Judge, *, tiny: bool) -> list[Point]:
    """Measure all other formats at all their settings."""
    points = []
    for one in formats:
        values = one.useful_values(pixels.shape[1:])
        for value in values[-2:] if tiny else values:
            files = [one.encode(image, value) for image in pixels]
            decoded = np.stack([one.decode(file, channels=pixels.shape[3]) for file in files])
            points.append(judge.point(one.name, one.setting(value), files, decoded))
            print_point(points[-1], judge.mean_distance)
    return points


def time_others(formats: Sequence[MeasuredFormat], pixels: np.ndarray, *, rounds: int) -> list[dict[str, Any]]:
    """Time the other formats, each at one middle setting, image by image."""
    rows = []
    for one in formats:
        files = [one.encode(image, one.middle) for image in pixels]
        encode, decode = (
            [seconds(call) / len(pixels) for _ in range(rounds)]
            for call in (
                lambda one=one: [one.encode(image, one.middle) for image in pixels],
                lambda one=one, files=files: [one.decode(file, channels=pixels.shape[3]) for file in files],
            )
        )
        rows.append(
            {
                "format": one.name,
                "setting": one.setting(one.middle),
                "encode_milliseconds_per_image": 1000.0 * statistics.median(encode),
                "decode_milliseconds_per_image": 1000.0 * statistics.median(decode),
            }
        )
    return rows


def show_pictures(subject: Subject, formats: Sequence[MeasuredFormat], path: Path) -> list[dict[str, str]]:
    """Draw some images beside what the formats make of them in about as many bytes as ours.

    A row an image: the original, ours by the priors, ours from the top alone, and each lossy format, at the setting
    whose file is the smallest of those that are no smaller than ours.

    Returns:
        Bytes of each file, with their settings, a row an image, too.
    """
    indices = np.unique(np.linspace(0, len(subject.pixels) - 1, _PICTURES).round().astype(int))
    ours = [setting for name in ("prior", "top only") for setting in subject.settings if setting.name == name]
    files = [subject.compress(indices, setting) for setting in ours]
    decoded = [subject.decompress(of_setting) for of_setting in files]
    cells, rows = [], []
    for row, index in enumerate(indices):
        original = subject.pixels[index]
        cells += [original, *(images[row] for images in decoded)]
        sizes = {setting.name: str(len(of_setting[row])) for setting, of_setting in zip(ours, files, strict=True)}
        rows.append({"image": str(index)} | sizes)
        for one in formats:
            value, data = one.nearest_file(original, len(files[0][row]))
            cells.append(one.decode(data, channels=original.shape[2]))
            rows[-1][one.name] = f"{len(data)} ({one.setting(value)})"
    path.parent.mkdir(parents=True, exist_ok=True)
    scale = max(1, _PICTURE_PIXELS // max(subject.pixels.shape[1:3]))
    enlarged = np.stack(cells).repeat(scale, axis=1).repeat(scale, axis=2)
    save_png(image_grid(enlarged, columns=len(cells) // len(indices), gap_pixels=2 * scale), path)
    return rows


def describe_run(run: Path, pipeline: Pipeline, images: ImageStore, *, num_images: int) -> dict[str, Any]:
    """Say what compresses, and how it came about."""
    num_levels = pipeline.tokenizer.config.num_levels
    parts = {"tokenizer": (pipeline.tokenizer, TOKENIZER_FOLDER)}
    for level, prior in enumerate(pipeline.priors):
        parts[prior_folder(level, num_levels)] = (prior, prior_folder(level, num_levels))
    return {
        "size": images.size,
        "channels": images.channels,
        "classes": len(pipeline.config.classes),
        "training_images": len(images.indices("train")),
        "validation_images": len(images.indices("validation")),
        "compressed_images": num_images,
        "models": {
            name: {
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "file_bytes": (run / folder / MODEL_FILE).stat().st_size,
            }
            for name, (model, folder) in parts.items()
        },
        "versions": {name: importlib.metadata.version(name) for name in ("pillow", "torch", "constriction")}
        | library_versions(),
        "machine": describe_machine(),
    }


def print_point(point: Point, mean_distance: float | None) -> None:
    """Print a row of the table."""
    psnr = "lossless" if point.psnr_db is None else f"{point.psnr_db:.2f}"
    ssim = "" if point.ssim is None else f"{point.ssim:.4f}"
    distance = ""
    if point.distance is not None and mean_distance is not None:
        distance = f" {point.distance:.2f} ({100.0 * point.distance / mean_distance:.0f} %) |"
    size = f"{point.mean_bytes:.1f} | {point.bits_per_pixel:.3f}"
    print(f"| {point.format} | {point.setting} | {size} | {psnr} | {ssim} |{distance}", flush=True)


def print_files(told: dict[str, Any], formats: Sequence[MeasuredFormat], shape: tuple[int, int, int]) -> None:
    """Print what stands in our files, and what the others take for a black image."""
    print("\n| our files | header and checks, bytes | share of the file |\n|---|---|---|")
    for name, count in told["header_and_checks_bytes"].items():
        print(f"| {name} | {count:.1f} | {100.0 * told['header_and_checks_share'][name]:.1f} % |")
    print(
        f"\nThe priors save {100.0 * told['saving_whole_files']:.1f} % of raw files, "
        f"{100.0 * told['saving_payloads']:.1f} % of raw codes. Files take {told['excess_bytes']:.1f} bytes "
        f"({100.0 * told['excess_share']:.1f} %) more than -log2 p as rounded, their codes "
        f"{told['payload_excess_bytes']:.2f} bytes ({100.0 * told['payload_excess_share']:.2f} %); rounding itself "
        f"costs {told['promised_bytes'] - told['promised_bytes_unrounded']:.3f} of {told['promised_bytes']:.1f} bytes."
    )
    blanks = ", ".join(f"{one.name} {len(one.blank(shape))}" for one in formats)
    print(f"Smallest file of a black image of that size, in bytes: {blanks}.")


def print_times(ours: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    """Print both tables of times."""
    print("\n| ours | batch | encode, s/image | encode and verify | decode | codes/s, encode | codes/s, decode |")
    print("|---|---|---|---|---|---|---|")
    for row in ours:
        times = [row[f"{name}_seconds_per_image"] for name in ("encode", "verified_encode", "decode")]
        speeds = [row[f"{name}_codes_per_second"] for name in ("encode", "decode")]
        print(
            f"| {row['setting']} | {row['batch_size']} | "
            + " | ".join([f"{value:.4f}" for value in times] + [f"{value:,.0f}" for value in speeds])
            + " |"
        )
    print("\n| format | setting | encode, ms/image | decode, ms/image |\n|---|---|---|---|")
    for row in others:
        times = [row[f"{name}_milliseconds_per_image"] for name in ("encode", "decode")]
        print(f"| {row['format']} | {row['setting']} | {times[0]:.2f} | {times[1]:.2f} |")


def choose_network(name: str) -> FeatureNetwork | None:
    """Find the network, or say in a line why there is none."""
    try:
        return None if name == "none" else find_network(name)
    except VQVAE2Error as error:
        print(f"Without distances in features: {error}")
        return None


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run with priors")
    parser.add_argument("--images", type=int, help="most validation images to take, evenly spread; all if not given")
    parser.add_argument("--batch-size", type=int, default=16, help="images that walk together")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="of the pipeline; the network of the distances is on the CPU")
    parser.add_argument("--network", default="lite0", help="lite0, the folder of a classifier, or none")
    parser.add_argument("--timed-images", type=int, default=4, help="images that are timed one by one")
    parser.add_argument("--rounds", type=int, default=3, help="of timing")
    parser.add_argument("--tiny", action="store_true", help="two settings a format and one round, to try the script")
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--plot", type=Path, help="SVG to draw the curves into")
    parser.add_argument("--pictures", type=Path, help="PNG to show some images in, at about as many bytes")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    pipeline, images = Pipeline.from_pretrained(arguments.run), ImageStore.open(arguments.run / "images")
    if images.bit_depth != 8 or images.channels not in (1, 3):
        raise SystemExit("the other formats are compared on grey or RGB images of 8 bits only")
    if not pipeline.priors:
        raise SystemExit(f"{arguments.run} has no priors yet; train one for every level first")
    validation = images.indices("validation")
    indices = evenly_spread(validation, most=arguments.images or len(validation))
    pixels = np.ascontiguousarray(images.pixels[indices])
    subject = Subject(pipeline.to(arguments.device), pixels, images.labels[indices], batch_size=arguments.batch_size)
    formats = [one for one in FORMATS if one.is_available]
    network = choose_network(arguments.network)
    judge = Judge(pixels, network)
    columns = ["format", "setting", "bytes", "bits/pixel", "PSNR, dB", "SSIM"]
    if network is not None:
        columns.append(f"{network.name} distance (of {judge.mean_distance:.2f} between two images)")
    print("\n| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    points, files = measure_ours(subject, judge)
    points += measure_others(formats, pixels, judge, tiny=arguments.tiny)
    told = describe_files(subject, files)
    print_files(told, formats, pixels.shape[1:])
    rounds = 1 if arguments.tiny else arguments.rounds
    our_times = time_ours(subject, num_images=arguments.timed_images, rounds=rounds)
    other_times = time_others(formats, pixels[: arguments.timed_images], rounds=rounds)
    print_times(our_times, other_times)
    results = {
        "run": describe_run(arguments.run, pipeline, images, num_images=len(pixels)),
        "network": None if network is None else network.name,
        "mean_distance_between_images": judge.mean_distance,
        "points": [asdict(point) for point in points],
        "formats": {one.name: {"notes": one.notes, "blank_bytes": len(one.blank(pixels.shape[1:]))} for one in formats},
        "our_files": told,
        "our_times": our_times,
        "other_times": other_times,
    }
    print("\n" + json.dumps(results["run"]))
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(results, indent=1))
    if arguments.plot is not None:
        plot_points(points, arguments.plot, network=None if network is None else network.name)
    if arguments.pictures is not None:
        lossy = [one for one in formats if not one.is_lossless]
        rows = show_pictures(subject, lossy, arguments.pictures)
        print("\n| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
        for row in rows:
            print("| " + " | ".join(row.values()) + " |")


if __name__ == "__main__":
    main()
