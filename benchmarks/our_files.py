"""Files of codes: how they are made, what is in them, and how long that takes."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from vqvae2 import Bitstream, Codes, Pipeline
from vqvae2.codec.bitstream import Mode
from vqvae2.codec.entropy import PRECISION_BITS, integer_counts, round_logits
from vqvae2.data import ordered_batches
from vqvae2.images import from_pixels, to_pixels

__all__ = ["OurSetting", "Subject", "describe_files", "seconds", "time_ours"]


@dataclass(frozen=True)
class OurSetting:
    """One way to write files with a pipeline."""

    name: str
    mode: Mode
    with_label: bool = False
    max_levels: int | None = None


class Subject:
    """A pipeline, and the images that it compresses.

    Args:
        pipeline: With priors.
        pixels: uint8 `(N, H, W, C)`.
        labels: Classes, `(N,)`, -1 where an image has none.
        batch_size: Images that walk together.
    """

    def __init__(self, pipeline: Pipeline, pixels: np.ndarray, labels: np.ndarray, *, batch_size: int) -> None:
        self.pipeline, self.pixels, self.batch_size = pipeline, pixels, batch_size
        self.labels = [None if label < 0 or not pipeline.config.classes else int(label) for label in labels]
        self.settings = [OurSetting("prior", "prior", with_label=True), OurSetting("raw", "raw")]
        if pipeline.tokenizer.config.num_levels > 1:
            self.settings.insert(0, OurSetting("top only", "prior", with_label=True, max_levels=1))
        if any(label is not None for label in self.labels):
            self.settings.append(OurSetting("prior without class", "prior"))

    def batches(self) -> list[np.ndarray]:
        return list(ordered_batches(np.arange(len(self.pixels)), self.batch_size))

    def compress(self, indices: np.ndarray, setting: OurSetting, *, verify: bool = False) -> list[bytes]:
        """Compress some images together."""
        return self.pipeline.codec.compress_batch(
            list(from_pixels(torch.from_numpy(self.pixels[indices]))),
            mode=setting.mode,
            labels=[self.labels[index] if setting.with_label else None for index in indices],
            max_levels=setting.max_levels,
            verify=verify,
        )

    def decompress(self, files: Sequence[bytes]) -> np.ndarray:
        """Decompress files together, uint8 `(B, H, W, C)`."""
        return to_pixels(torch.stack(self.pipeline.codec.decompress_batch(files))).cpu().numpy()


def describe_files(subject: Subject, files: dict[str, list[bytes]]) -> dict[str, Any]:
    """Say what our files hold beside codes, what the priors save, and how near that is to what they promise."""
    streams = {name: [subject.pipeline.codec.read(file) for file in of_name] for name, of_name in files.items()}
    whole = {name: statistics.fmean(map(len, of_name)) for name, of_name in files.items()}
    payloads = {name: statistics.fmean(map(_payload_bytes, of_name)) for name, of_name in streams.items()}
    rounded, exact = (statistics.fmean(bits) / 8 for bits in _promised_bits(subject, streams["prior"]))
    return {
        "header_and_checks_bytes": {name: whole[name] - payloads[name] for name in files},
        "header_and_checks_share": {name: 1.0 - payloads[name] / whole[name] for name in files},
        "saving_whole_files": 1.0 - whole["prior"] / whole["raw"],
        "saving_payloads": 1.0 - payloads["prior"] / payloads["raw"],
        "promised_bytes": rounded,
        "promised_bytes_unrounded": exact,
        "excess_bytes": whole["prior"] - rounded,
        "excess_share": whole["prior"] / rounded - 1.0,
        "payload_excess_bytes": payloads["prior"] - rounded,
        "payload_excess_share": payloads["prior"] / rounded - 1.0,
        "moved_grids": sum(stream.header.offset != 0 for stream in streams["prior"]),
    }


def _payload_bytes(stream: Bitstream) -> int:
    return sum(len(payload) for payload in stream.payloads)


@torch.inference_mode()
def _promised_bits(subject: Subject, streams: Sequence[Bitstream]) -> tuple[list[float], list[float]]:
    """Give -log2 p of the codes of each image: by the rounded probabilities of its file, and by the priors' own."""
    pipeline = subject.pipeline
    priors = [copy.deepcopy(prior).double().eval() for prior in pipeline.priors]
    num_classes = len(pipeline.config.classes)
    rounded, exact = [], []
    for indices in subject.batches():
        batch = [streams[index] for index in indices]
        codes = Codes(pipeline.encode(from_pixels(torch.from_numpy(subject.pixels[indices]))).maps)
        numbers = [num_classes if stream.header.label is None else stream.header.label for stream in batch]
        labels = torch.tensor(numbers, device=pipeline.device) if num_classes else None
        offsets = np.array([stream.header.offset for stream in batch])
        bits, own_bits = np.zeros(len(batch)), np.zeros(len(batch))
        for level, prior in enumerate(priors):
            above = codes.maps[:level]
            logits = prior(codes[level], above=above, labels=labels)  # (B, h, w, K)
            counts = integer_counts(round_logits(logits.cpu().numpy(), offsets[:, None, None, None]))
            chosen = np.take_along_axis(counts, codes[level].cpu().numpy()[..., None], axis=3)
            bits += (PRECISION_BITS - np.log2(chosen)).sum(axis=(1, 2, 3))
            nats = functional.cross_entropy(logits.permute(0, 3, 1, 2), codes[level], reduction="none").sum(dim=(1, 2))
            own_bits += nats.cpu().numpy() / np.log(2.0)
        rounded.extend(bits.tolist())
        exact.extend(own_bits.tolist())
    return rounded, exact


def time_ours(subject: Subject, *, num_images: int, rounds: int) -> list[dict[str, Any]]:
    """Time writing, verified writing and reading, image by image and as one batch: medians of rounds in turn."""
    height, width = subject.pipeline.config.image_size
    num_codes = sum(rows * columns for rows, columns in subject.pipeline.tokenizer.config.code_shapes(height, width))
    cells = []
    for setting in subject.settings:
        if setting.name in ("prior", "raw"):
            for size in sorted({1, subject.batch_size}):
                indices = np.resize(np.arange(len(subject.pixels)), num_images if size == 1 else size)
                cells.append((setting, size, list(ordered_batches(indices, size))))
    timings = [[_time_round(subject, setting, batches) for setting, _, batches in cells] for _ in range(rounds)]
    results = []
    for (setting, size, _), rows in zip(cells, zip(*timings, strict=True), strict=True):
        medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
        results.append(
            {"setting": setting.name, "batch_size": size}
            | {f"{name}_seconds_per_image": value for name, value in medians.items()}
            | {f"{name}_codes_per_second": num_codes / medians[name] for name in ("encode", "decode")}
        )
    return results


def _time_round(subject: Subject, setting: OurSetting, batches: Sequence[np.ndarray]) -> dict[str, float]:
    files = [subject.compress(batch, setting) for batch in batches]
    calls: dict[str, Callable[[], object]] = {
        "encode": lambda: [subject.compress(batch, setting) for batch in batches],
        "verified_encode": lambda: [subject.compress(batch, setting, verify=True) for batch in batches],
        "decode": lambda: [subject.decompress(of_batch) for of_batch in files],
    }
    return {name: seconds(call) / sum(map(len, batches)) for name, call in calls.items()}


def seconds(call: Callable[[], object]) -> float:
    """Time a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
