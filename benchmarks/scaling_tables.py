"""What a plan for a cluster says: from counts, a card's assumed rates and a set of images to tables.

Times are extrapolated: multiplications, or bytes, divided by an assumed rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scaling_counts import Counts, Stage, classifier_step_macs, count, inception_macs, stages, tokenizer_passes

from vqvae2 import EMAConfig, PixelSNAILConfig, PriorConfig, VQVAE2Config
from vqvae2.config import ClassifierTrainingConfig
from vqvae2.config.presets import PRESETS

__all__ = ["DATASETS", "TABLES", "Dataset", "Hardware", "Plan", "Row", "accelerator_hours", "accumulation", "make_plan"]

Row = dict[str, Any]

_SAMPLES = 50_000
_LOG_ROW_BYTES = 500  # about what a line of a tokenizer's `log.jsonl` takes
_LONGEST_LOG = 1000  # steps between two lines of a long training's log


@dataclass(frozen=True)
class Dataset:
    """The images of a run."""

    num_images: int
    num_classes: int
    source_bytes: float
    """Of the files as they are published."""


DATASETS = {"imagenet256": Dataset(1_281_167, 1000, 138e9), "ffhq1024": Dataset(70_000, 0, 89.1e9)}


@dataclass(frozen=True)
class Hardware:
    """Cards and what joins them; all of it assumed."""

    peak: float
    """bfloat16 FLOP/s of a card."""
    peak_float32: float
    memory: float
    """Bytes of a card."""
    bandwidth: float
    """Bytes a second between a card and its memory."""
    cards: tuple[int, ...]
    utilisation: tuple[float, ...]
    """Shares of the peak; the middle one stands where a table has one only."""
    network: tuple[float, ...]
    """Bits a second of the link of a node."""
    decoded_a_second: float = 0.0
    """Image files that a core of the machine decodes a second; 0 leaves that out."""

    @property
    def usual_utilisation(self) -> float:
        return self.utilisation[len(self.utilisation) // 2]


@dataclass(frozen=True)
class Plan:
    """A preset, its images, and what its models cost."""

    name: str
    dataset: Dataset
    stages: tuple[Stage, ...]
    counts: tuple[Counts, ...]

    def items(self) -> list[tuple[Stage, Counts]]:
        return list(zip(self.stages, self.counts, strict=True))


def accelerator_hours(macs: float, *, peak: float, utilisation: float) -> float:
    """Extrapolate the hours that one card takes for multiply-adds, each two operations, at a share of its peak."""
    return 2.0 * macs / (peak * utilisation) / 3600.0


def training_macs(stage: Stage, counts: Counts) -> float:
    """Multiply-adds of a whole training."""
    return float(counts.step_macs) * stage.training.batch_size * stage.training.steps


def model_bytes(counts: Counts) -> int:
    """Sum up what a card holds whatever the batch, but for its weights in bfloat16.

    That is, in float32: weights, gradients, the copy of them that is exchanged, AdamW's two moments, and the average
    of the weights.
    """
    return 4 * (6 * counts.parameters + 2 * counts.buffers)


def images_that_fit(counts: Counts, memory: float) -> int:
    """Give the number of images whose activations fit beside the model.

    A fifth of the memory is left for gradients of activations, workspaces and fragments.
    """
    return max(0, int((0.8 * memory - model_bytes(counts) - counts.kept_bytes_a_part) // counts.kept_bytes))


def count_table(plan: Plan, hardware: Hardware) -> list[Row]:
    rows = []
    for stage, counts in plan.items():
        rows.append(
            {
                "stage": stage.name,
                "parameters, M": counts.parameters / 1e6,
                "forward, G multiply-adds an image": counts.forward_macs / 1e9,
                "training step, G an image": counts.step_macs / 1e9,
                "batch": stage.training.batch_size,
                "steps": stage.training.steps,
                "epochs": stage.training.batch_size * stage.training.steps / plan.dataset.num_images,
                "whole training, FLOP": 2 * training_macs(stage, counts),
            }
        )
    return rows


def hours_table(plan: Plan, hardware: Hardware) -> list[Row]:
    passes = tokenizer_passes(plan.stages[0])
    work = [(f"{stage.name}, training", training_macs(stage, counts), False) for stage, counts in plan.items()]
    work += [
        ("extraction, float32", float(passes["encode"]) * plan.dataset.num_images, True),
        (f"decoding {_SAMPLES:,} samples, float32", float(passes["decode"]) * _SAMPLES, True),
        (f"Inception, 2 x {_SAMPLES:,} images, float32", 2.0 * inception_macs() * _SAMPLES, True),
    ]
    if plan.dataset.num_classes:
        training = ClassifierTrainingConfig()
        macs = classifier_step_macs(plan.stages[0].size, plan.dataset.num_classes)
        work.append(("classifier, default training", float(macs) * training.batch_size * training.steps, False))
    rows = []
    for name, macs, is_float32 in work:
        row: Row = {"work": name}
        for utilisation in hardware.utilisation:
            peak = hardware.peak_float32 if is_float32 else hardware.peak
            row[f"card hours at {utilisation:.0%}"] = accelerator_hours(macs, peak=peak, utilisation=utilisation)
        rows.append(row)
    rows.append({"work": "all"} | {name: sum(row[name] for row in rows) for name in rows[0] if name != "work"})
    return rows


def sampling_table(plan: Plan, hardware: Hardware, batch_sizes: tuple[int, ...] = (1, 64, 512)) -> list[Row]:
    """The least time that arithmetic and reading weights, keys and values allow; a step's launches come on top."""
    rows = []
    for stage, counts in plan.items()[1:]:
        positions = stage.size[0] * stage.size[1]
        a_code = counts.parameters - counts.row_parameters - counts.once_parameters
        weights = 4.0 * (positions * a_code + stage.size[0] * counts.row_parameters)
        keys_and_values = 4.0 * _kept_channels(stage) * positions * positions / 2
        row: Row = {"level": stage.name, "codes": positions, "weights read, GB a batch": weights / 1e9}
        for batch_size in batch_sizes:
            reading = (weights + batch_size * keys_and_values) / hardware.bandwidth
            arithmetic = 2.0 * counts.forward_macs * batch_size / (hardware.peak_float32 * hardware.usual_utilisation)
            batches = math.ceil(_SAMPLES / batch_size)
            row[f"card hours, batch {batch_size}"] = batches * max(reading, arithmetic) / 3600.0
        rows.append(row)
    return rows


def memory_table(plan: Plan, hardware: Hardware) -> list[Row]:
    rows = []
    for stage, counts in plan.items():
        fit = images_that_fit(counts, hardware.memory)
        row: Row = {
            "stage": stage.name,
            "weights, gradients x2, AdamW, average, GB": model_bytes(counts) / 1e9,
            "weights in bfloat16, GB": counts.kept_bytes_a_part / 1e9,
            "activations, MB an image": counts.kept_bytes / 1e6,
            "images that fit": fit,
        }
        for cards in hardware.cards:
            row[f"accumulation on {cards}"] = accumulation(stage.training.batch_size, cards, fit)
        rows.append(row)
    return rows


def accumulation(batch_size: int, cards: int, fit: int) -> int | str:
    """The least number of parts of a batch with which each card's share of a part fits."""
    if batch_size % cards or not fit:
        return "no"
    share = batch_size // cards
    return next(parts for parts in range(1, share + 1) if share % parts == 0 and share // parts <= fit)


def disk_table(plan: Plan, hardware: Hardware, *, keep: int = 2) -> list[Row]:
    height, width = plan.stages[0].size
    tokenizer = plan.stages[0].model
    assert isinstance(tokenizer, VQVAE2Config)
    codes = sum(
        stage.size[0] * stage.size[1] * (1 if size <= 256 else 2)
        for stage, size in zip(plan.stages[1:], tokenizer.codebook_sizes, strict=True)
    )
    num = plan.dataset.num_images
    rows: list[Row] = [
        {"what": "images as published", "GB": plan.dataset.source_bytes / 1e9},
        {"what": "images decoded, 3 bytes a pixel", "GB": num * height * width * 3 / 1e9},
        {"what": "codes of all levels", "GB": num * codes / 1e9},
    ]
    for stage, counts in plan.items():
        # A state holds the weights, their average and AdamW's two moments; one more while a new one is written.
        state = 4 * (4 * counts.parameters + 2 * counts.buffers)
        models = 2 * 4 * (counts.parameters + counts.buffers)
        rows.append(
            {
                "what": f"{stage.name}: {keep} states and one in writing",
                "GB": state * (keep + 1) / 1e9,
                "one": state / 1e9,
            }
        )
        rows.append({"what": f"{stage.name}: best and last model", "GB": models / 1e9, "one": models / 2e9})
    lines = sum(stage.training.steps // min(max(1, stage.training.steps // 200), _LONGEST_LOG) for stage in plan.stages)
    rows.append({"what": f"logs, {lines:,} lines", "GB": lines * _LOG_ROW_BYTES / 1e9})
    rows.append({"what": "all", "GB": sum(row["GB"] for row in rows)})
    return rows


def network_table(plan: Plan, hardware: Hardware) -> list[Row]:
    rows = []
    for stage, counts in plan.items():
        exchanged = 4 * counts.parameters + codebook_bytes(stage)
        for cards in hardware.cards:
            share = 2.0 * (cards - 1) / cards
            step = step_seconds(stage, counts, cards=cards, hardware=hardware)
            row: Row = {"stage": stage.name, "cards": cards, "step, ms": 1e3 * step, "DDP, MB": share * exchanged / 1e6}
            for speed in hardware.network:
                taken = share * exchanged * 8 / speed
                row[f"ms at {speed / 1e9:.0f} Gbit/s"] = 1e3 * taken
                row[f"of the step, {speed / 1e9:.0f}"] = f"{100.0 * taken / step:.0f} %"
            row["FSDP, MB"] = 3.0 * (cards - 1) / cards * 4 * counts.parameters / 1e6
            rows.append(row)
    return rows


def codebook_bytes(stage: Stage) -> int:
    """Count what the quantizers add up over processes in a step.

    For each level, these are K counts, K x D sums, and K x D outputs from which dead codes start anew; each is a call
    of its own.
    """
    if not isinstance(stage.model, VQVAE2Config) or not isinstance(stage.model.quantizer, EMAConfig):
        return 0
    quantizer = stage.model.quantizer
    matrices = 2 if quantizer.revival_threshold > 0 else 1
    return 4 * stage.model.num_levels * quantizer.num_embeddings * (1 + matrices * quantizer.embedding_dim)


def step_seconds(stage: Stage, counts: Counts, *, cards: int, hardware: Hardware) -> float:
    """Extrapolate a training step's time, without network or reading."""
    flops = 2.0 * counts.step_macs * stage.training.batch_size
    return flops / (cards * hardware.peak * hardware.usual_utilisation)


def loading_table(plan: Plan, hardware: Hardware) -> list[Row]:
    height, width = plan.stages[0].size
    codes_bytes, rows = 0, []
    for stage, counts in plan.items():
        if isinstance(stage.model, PriorConfig):
            codes_bytes += 2 * stage.size[0] * stage.size[1]
        item = codes_bytes or height * width * 3
        for cards in hardware.cards:
            rate = stage.training.batch_size / step_seconds(stage, counts, cards=cards, hardware=hardware)
            row: Row = {"stage": stage.name, "cards": cards, "images/s": rate, "MB/s": rate * item / 1e6}
            if hardware.decoded_a_second:
                is_codes = isinstance(stage.model, PriorConfig)
                row["cores, if files were decoded"] = "" if is_codes else rate / hardware.decoded_a_second
            rows.append(row)
    return rows


def _kept_channels(stage: Stage) -> int:
    """Channels of keys and values that a walk keeps for a code, over all layers."""
    assert isinstance(stage.model, PriorConfig)
    network = stage.model.network
    layers = network.num_layers
    if isinstance(network, PixelSNAILConfig):
        layers = sum(network.attends_after(index) for index in range(layers))
    return layers * 2 * network.hidden_channels * network.num_kv_heads // network.num_heads


TABLES: dict[str, Callable[[Plan, Hardware], list[Row]]] = {
    "counts": count_table,
    "hours": hours_table,
    "sampling": sampling_table,
    "memory": memory_table,
    "disk": disk_table,
    "network": network_table,
    "loading": loading_table,
}


def make_plan(name: str, *, images: int = 0, classes: int = 0) -> Plan:
    """Count a preset's models; images and classes are those of the paper's set, or as given for other presets."""
    dataset = DATASETS.get(name, Dataset(images or 10_000, classes, 0.0))
    found = tuple(stages(PRESETS[name], num_classes=dataset.num_classes))
    return Plan(name, dataset, found, tuple(count(stage) for stage in found))
