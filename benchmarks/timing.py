"""How long a step takes, and what it consists of."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["print_profile", "profile", "step_seconds"]

_SHOWN = 12  # operations in a table


def step_seconds(step: Callable[[], object], count: int, *, on_gpu: bool) -> list[float]:
    """Time so many steps, each from the end of the one before to its own on the device."""
    times = []
    if on_gpu:
        torch.cuda.synchronize()
    for _ in range(count):
        start = time.perf_counter()
        step()
        if on_gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return times


def profile(step: Callable[[], object], *, on_gpu: bool) -> dict[str, Any]:
    """Time the parts of one step: operations on a CPU, kernels on a GPU; `idle` is the share in which none of them ran.

    The profiler itself makes a step of many small operations slower.
    """
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CPU, *([activity.CUDA] if on_gpu else [])]) as recorded:
        (seconds,) = step_seconds(step, 1, on_gpu=on_gpu)
    device = torch.autograd.DeviceType.CUDA if on_gpu else torch.autograd.DeviceType.CPU
    parts = [
        {
            "name": event.key,
            "calls": event.count,
            "seconds": 1e-6 * (event.self_device_time_total if on_gpu else event.self_cpu_time_total),
        }
        for event in recorded.key_averages()
        if event.device_type == device and (on_gpu or event.key.startswith("aten::"))
    ]
    busy = sum(part["seconds"] for part in parts)
    parts.sort(key=lambda part: -part["seconds"])
    return {
        "seconds": seconds,
        "idle": 1 - busy / seconds,
        "calls": sum(part["calls"] for part in parts),
        "parts": parts,
    }


def print_profile(name: str, found: dict[str, Any]) -> None:
    """Print the longest parts of a step that `profile` gave."""
    whole = f"{1e3 * found['seconds']:.1f} ms, {found['calls']} operations, idle {found['idle']:.0%}"
    print(f"\n{name}: {whole}\n")
    print("| operation | calls | milliseconds | share |\n|---|---|---|---|")
    for part in found["parts"][:_SHOWN]:
        share = part["seconds"] / found["seconds"]
        print(f"| `{part['name'][:60]}` | {part['calls']} | {1e3 * part['seconds']:.1f} | {share:.1%} |")
