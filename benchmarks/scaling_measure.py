"""Times on the CPU what a plan for a cluster rests on: products, training steps, and the decoding of images.

What is taken is the time for which a thread had a core, so that other programs count little.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from scaling_counts import Stage, count, loss, make_batch
from torch import Tensor

from vqvae2 import VQVAE2, PixelSNAILConfig, PriorConfig
from vqvae2.models.checkpoint import build_model
from vqvae2.training.optimization import build_optimizer

__all__ = ["measure_decoding", "measure_products", "measure_steps", "shallow"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def measure_products(side: int, *, rounds: int = 5) -> dict[str, float]:
    """Give the best rate of products of square matrices, in multiply-adds a second, by type."""
    num_threads = torch.get_num_threads()

    def seconds(left: Tensor, right: Tensor) -> float:
        return _seconds(lambda: left @ right, num_threads=num_threads)

    rates = {}
    for name, dtype in _DTYPES.items():
        left, right = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
        rates[name] = side**3 / min(seconds(left, right) for _ in range(rounds))
    return rates


def measure_steps(stage: Stage, *, batch_size: int, rounds: int = 1) -> dict[str, Any]:
    """Time a training step, with AdamW, in float32 and bfloat16, and give its rate in multiply-adds a second."""
    counts = count(stage)
    torch.manual_seed(0)
    model = build_model(stage.model).train()
    optimizer = build_optimizer(model, stage.training)
    batch = make_batch(stage.model, stage.size, batch_size)
    if isinstance(model, VQVAE2):  # zeros would all get one code
        batch["images"].uniform_(-1.0, 1.0)
        model.initialize_codebooks(batch["images"])
    row: dict[str, Any] = {"batch_size": batch_size, "step_macs": counts.step_macs}
    for name in _DTYPES:

        def step(name: str = name) -> None:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=name == "bfloat16"):
                value = loss(model, batch)
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if isinstance(model, VQVAE2):
                model.update_codebooks()

        step()
        seconds = statistics.median(_seconds(step, num_threads=torch.get_num_threads()) for _ in range(rounds))
        row[name] = {"seconds": seconds, "macs_a_second": counts.step_macs * batch_size / seconds}
    return row


def shallow(stage: Stage, *, num_layers: int = 1) -> Stage:
    """Take one or a few layers of each part of a prior: as wide, so as efficient, but done in seconds."""
    if not isinstance(stage.model, PriorConfig):
        return stage
    network = stage.model.network
    changes: dict[str, Any] = {
        "num_layers": min(network.num_layers, num_layers),
        "conditioning_layers": min(network.conditioning_layers, num_layers),
    }
    if isinstance(network, PixelSNAILConfig):
        changes["attention_every"] = num_layers if network.attention_every else 0
        changes["output_layers"] = min(network.output_layers, num_layers)
    return replace(stage, model=replace(stage.model, network=replace(network, **changes)))


def measure_decoding(*, rounds: int = 5) -> dict[str, dict[str, float]]:
    """Time PIL, on one core, at decoding JPEG photographs of 500x400 and PNGs of 1024x1024 pixels to RGB.

    The pictures are made up, with so much noise that they take about as many bytes as those of ImageNet and FFHQ do.
    """
    results = {}
    for name, size, noise in (("JPEG", (500, 400), 11.0), ("PNG", (1024, 1024), 1.5)):
        file = io.BytesIO()
        picture(size, noise=noise).save(file, name, **({"quality": 95} if name == "JPEG" else {}))
        data = file.getvalue()

        def decode(data: bytes = data) -> None:
            Image.open(io.BytesIO(data)).convert("RGB").load()

        seconds = statistics.median(_seconds(decode, repeat=5) for _ in range(rounds))
        results[name] = {"images_a_second": 1.0 / seconds, "bytes": len(data), "pixels": size[0] * size[1]}
    return results


def picture(size: tuple[int, int], *, noise: float) -> Image.Image:
    """Make a picture `(width, height)` with detail at all scales, and noise of that deviation on top."""
    width, height = size
    rng = np.random.default_rng(0)
    total = np.zeros((height, width, 3), np.float32)
    for scale in (4, 16, 64, 256):
        small = rng.integers(0, 256, (-(-height // scale) + 1, -(-width // scale) + 1, 3), dtype=np.uint8)
        total += np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC), np.float32) * scale**0.5
    total /= sum(scale**0.5 for scale in (4, 16, 64, 256))
    total += rng.normal(0.0, noise, total.shape)
    return Image.fromarray(total.clip(0, 255).astype(np.uint8))


def _seconds(call: Callable[[], object], *, repeat: int = 1, num_threads: int = 1) -> float:
    start = time.process_time()
    for _ in range(repeat):
        call()
    return (time.process_time() - start) / repeat / num_threads
