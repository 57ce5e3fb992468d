"""The walk over fronts, against one parallel forward pass and against recomputing the prefix for every code.

    python benchmarks/sampling.py --out docs/measurements/sampling.json
    python benchmarks/sampling.py --networks file --grids 64 --batch-sizes 1 16 --baseline ../before
    python benchmarks/sampling.py --device cuda --networks pixelsnail transformer --dtype bfloat16 --launches

Priors of 16 layers of 256 channels: PixelSNAIL with gated 5x5 blocks and, on the top's 32x32 codes, attention after
every fourth; a transformer. Attention has 8 heads that share keys and values. The bottom's 64x64 codes are given the
top's. "file" is the prior of the preset `codec256`, 8 layers of 64 channels with 3x3 kernels. The prefix's
recomputation is what ports do: each code by a forward pass over all rows so far. That takes up to hours, so it is
extrapolated from forward passes over some numbers of rows, linear in between, and marked by "~". The baseline is the
walk of another checkout (`git worktree add ../before COMMIT`), in a process of its own that runs this script. Rounds of
all of them follow each other; given are medians.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine
from torch import Tensor

from vqvae2 import PRESETS, CodeSpace, PixelSNAILConfig, Prior, PriorConfig, TransformerConfig, walk
from vqvae2.config import LevelSampling, NetworkConfig
from vqvae2.models.checkpoint import build_model
from vqvae2.sampling.choice import choose_by_drawing, uniforms

_TOP_SIDE, _BOTTOM_SIDE = 32, 64
_CODES = 512
_NETWORKS: dict[str, NetworkConfig] = {
    "pixelsnail": PixelSNAILConfig(hidden_channels=256, residual_channels=256, num_layers=16, num_heads=8),
    "transformer": TransformerConfig(hidden_channels=256, feedforward_channels=1024, num_layers=16, num_heads=8),
    "file": PRESETS["codec256"].prior(1),
}
# Rows of the forward passes, as shares of the grid, from which the prefix's recomputation is extrapolated.
_FEWER_ROWS = (1 / 16, 1 / 4, 1 / 2)


@dataclass
class Cell:
    """A prior, and the inputs of one batch."""

    prior: Prior
    codes: Tensor
    above: list[Tensor]
    randomness: Tensor

    @property
    def size(self) -> tuple[int, int]:
        return self.codes.shape[1], self.codes.shape[2]

    def forward(self, rows: int) -> Tensor:
        """Run one parallel pass over the upper rows."""
        factor = self.size[0] // self.above[0].shape[1] if self.above else 1
        above = [level[:, : rows // factor] for level in self.above]
        logits: Tensor = self.prior(self.codes[:, :rows], above=above)
        return logits

    def walk(self, *, cuda_graphs: bool = True) -> Tensor:
        """Draw all codes."""
        choose = choose_by_drawing(self.randomness, LevelSampling())
        return walk(
            self.prior,
            choose,
            batch_size=len(self.codes),
            size=self.size,
            above=self.above,
            cuda_graphs=cuda_graphs,
        )


def make_prior(network: NetworkConfig, side: int, device: torch.device, dtype: torch.dtype) -> Prior:
    """Build a prior over the top or the bottom with weights drawn at random, since time does not depend on them."""
    space = CodeSpace(num_embeddings=(_CODES,))
    if side != _TOP_SIDE:
        space = CodeSpace(level=1, num_embeddings=(_CODES, _CODES), upsampling=(side // _TOP_SIDE,))
        if isinstance(network, PixelSNAILConfig):  # as in the presets, and the paper
            network = replace(network, attention_every=0)
    torch.manual_seed(0)
    prior = build_model(PriorConfig(space=space, network=network))
    assert isinstance(prior, Prior)
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return prior.to(device, dtype).eval()


def make_cell(prior: Prior, side: int, batch_size: int) -> Cell:
    device = next(prior.parameters()).device
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(_CODES, (batch_size, side, side), generator=generator).to(device)
    above = []
    if prior.space.level:
        above = [torch.randint(_CODES, (batch_size, _TOP_SIDE, _TOP_SIDE), generator=generator).to(device)]
    randomness = uniforms(range(batch_size), seed=0, level=prior.space.level, count=side * side).to(device)
    return Cell(prior, codes, above, randomness)


def seconds(call: Callable[[], object], *, repeat: int = 1) -> float:
    """Time a call, the median of some."""
    times = []
    for _ in range(repeat):
        _synchronize()
        start = time.perf_counter()
        call()
        _synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def baseline_seconds(checkout: Path, cell_arguments: list[str]) -> float:
    """Time the walk of another checkout in a process of its own."""
    command = [sys.executable, __file__, *cell_arguments, "--only-walk"]
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve() / "src")}
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


@torch.inference_mode()
def only_walk_seconds(arguments: argparse.Namespace, device: torch.device, dtype: torch.dtype) -> float:
    """Time a walk of the first network, grid and batch size."""
    prior = make_prior(_NETWORKS[arguments.networks[0]], arguments.grids[0], device, dtype)
    cell = make_cell(prior, arguments.grids[0], arguments.batch_sizes[0])
    cell.walk() if device.type == "cuda" else cell.forward(2)  # warms up
    return seconds(cell.walk)


@torch.inference_mode()
def measure(cell: Cell, *, rounds: int, baseline: Callable[[], float] | None) -> dict[str, Any]:
    """Time all of them in turn."""
    height, width = cell.size
    fewer_rows = [max(2, round(share * height)) for share in _FEWER_ROWS]
    cell.forward(2)  # warms up
    if cell.codes.is_cuda:
        cell.walk()
    walks: list[float] = []
    baselines: list[float] = []
    passes: dict[int, list[float]] = {rows: [] for rows in (*fewer_rows, height)}
    for _ in range(rounds):
        walks.append(seconds(cell.walk))
        if baseline is not None:
            baselines.append(baseline())
        for rows, times in passes.items():
            times.append(seconds(lambda rows=rows: cell.forward(rows), repeat=3 if rows < height / 2 else 1))
    points = [statistics.median(times) for times in passes.values()]
    prefix = width * float(np.interp(np.arange(1, height + 1), list(passes), points).sum())
    forward, walked = points[-1], statistics.median(walks)
    state = cell.prior.start(len(cell.codes), cell.size, above=cell.above)
    compared = {"baseline_seconds": statistics.median(baselines)} if baselines else {}
    return compared | {
        "steps": len(state.fronts.ends),
        "forward_seconds": forward,
        "walk_seconds": walked,
        "prefix_seconds_extrapolated": prefix,
        "walk_over_forward": walked / forward,
        "prefix_over_walk": prefix / walked,
        "codes_per_second": cell.codes.numel() / walked,
        "walk_buffers_mib": buffer_bytes(state) / 2**20,
        "rounds": {"forward": passes[height], "walk": walks, "baseline": baselines},
    }


def buffer_bytes(state: object) -> int:
    """Add up what a state of a walk and its parts allocate beside weights."""
    parts, seen, storages = [state], set(), {}
    for part in parts:  # which grow
        if id(part) in seen or isinstance(part, torch.nn.Module):
            continue
        seen.add(id(part))
        if isinstance(part, torch.Tensor):
            storages[part.untyped_storage().data_ptr()] = part.untyped_storage().nbytes()
        elif isinstance(part, list | tuple | dict):
            parts += part.values() if isinstance(part, dict) else part
        elif inspect.isfunction(part):  # layers
            parts += [cell.cell_contents for cell in part.__closure__ or ()]
        elif type(part).__module__.startswith("vqvae2."):
            parts += [value for name, value in vars(part).items() if "weight" not in name]
    return sum(storages.values())


@torch.inference_mode()
def measure_launches(cell: Cell) -> dict[str, Any]:
    """Time the walk on a GPU with and without graphs, and which share of its time no kernel runs."""
    results: dict[str, Any] = {}
    for name, cuda_graphs in (("graphs", True), ("no graphs", False)):
        cell.walk(cuda_graphs=cuda_graphs)
        walked = seconds(lambda graphs=cuda_graphs: cell.walk(cuda_graphs=graphs), repeat=3)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
            cell.walk(cuda_graphs=cuda_graphs)
        busy = sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6
        results[name] = {
            "walk_seconds": walked,
            "codes_per_second": cell.codes.numel() / walked,
            "idle_share": max(0.0, 1.0 - busy / walked),
        }
    return results


def print_table(results: dict[str, Any]) -> None:
    """Print all results that there are."""
    print(
        "| prior, grid, batch | steps | forward, s | walk, s | times the forward | baseline, s | prefix, s | codes/s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, row in results.items():
        baseline = row.get("baseline_seconds")
        print(
            f"| {name} | {row['steps']} | {row['forward_seconds']:.2f} | {row['walk_seconds']:.2f} "
            f"| {row['walk_over_forward']:.2f} | {'' if baseline is None else f'{baseline:.2f}'} "
            f"| ~{row['prefix_seconds_extrapolated']:.0f} | {row['codes_per_second']:.0f} |"
        )
        for mode, launched in row.get("launches", {}).items():
            print(
                f"|   with {mode} | | | {launched['walk_seconds']:.2f} | | | | {launched['codes_per_second']:.0f}, "
                f"no kernel runs {100 * launched['idle_share']:.0f} % of the time |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(_NETWORKS), default=list(_NETWORKS))
    parser.add_argument("--grids", nargs="+", type=int, choices=[_TOP_SIDE, _BOTTOM_SIDE], default=[32, 64])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 4, 16, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float64"], default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--baseline", type=Path, metavar="DIR", help="checkout whose walk is timed too")
    parser.add_argument("--only-walk", action="store_true", help="print the seconds of one walk, and nothing else")
    parser.add_argument("--launches", action="store_true", help="on a GPU: time the walk with and without graphs")
    parser.add_argument("--out", type=Path, help="JSON to add the results to")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out and arguments.out.exists() else {}
    done: dict[str, Any] = {}
    device, dtype = torch.device(arguments.device), getattr(torch, arguments.dtype)
    if arguments.only_walk:
        print(only_walk_seconds(arguments, device, dtype))
        return
    print(describe_machine(), flush=True)
    for network in arguments.networks:
        for side in arguments.grids:
            prior = make_prior(_NETWORKS[network], side, device, dtype)
            for batch_size in arguments.batch_sizes:
                cell = make_cell(prior, side, batch_size)
                cell_arguments = ["--networks", network, "--grids", str(side), "--batch-sizes", str(batch_size)]
                cell_arguments += [f"--{name}={getattr(arguments, name)}" for name in ("device", "dtype", "threads")]
                baseline = None
                if arguments.baseline is not None:
                    baseline = functools.partial(baseline_seconds, arguments.baseline, cell_arguments)
                row = measure(cell, rounds=arguments.rounds, baseline=baseline)
                if arguments.launches:
                    row["launches"] = measure_launches(cell)
                name = f"{network}, {side}x{side}, {batch_size}"
                if (arguments.device, arguments.dtype) != ("cpu", "float32"):
                    name += f", {arguments.device}, {arguments.dtype}"
                done[name] = row
                results[name] = row | {"machine": describe_machine()}
                print(name, json.dumps(row), flush=True)
                if arguments.out is not None:
                    arguments.out.parent.mkdir(parents=True, exist_ok=True)
                    arguments.out.write_text(json.dumps(results, indent=1))
    print_table(done)


if __name__ == "__main__":
    main()
