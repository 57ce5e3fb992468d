"""Time and memory of an evaluation's distances, against the number of images.

    python benchmarks/evaluation.py --out docs/measurements/evaluation.json
    python benchmarks/evaluation.py --network resnet --counts 10000 40000

Two sets of images of 64x64 pixels are drawn at random, a network looks at both, and everything is measured of them that
does not need a pipeline: the Fréchet and the kernel distance, the Inception score, precision and recall, density and
coverage, and the nearest training images. Time does not depend on what the images show. Memory is what the process
holds by itself, above what it held before: pages of files that are mapped into it are not counted, since the system
drops them when it needs room. Each count runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine

from vqvae2.config import ClassifierConfig, ResNetConfig
from vqvae2.evaluation.features import ImageSet, extract_features
from vqvae2.evaluation.measures import measure_quality
from vqvae2.evaluation.networks import FeatureNetwork, find_network
from vqvae2.metrics.neighbours import nearest_neighbours
from vqvae2.models.checkpoint import build_model

_SIDE = 64


def random_images(count: int, seed: int) -> ImageSet:
    """Make images of noise, a batch at a time, so that they take no memory."""

    def read(start: int, stop: int) -> np.ndarray:
        generator = np.random.default_rng((seed, start))
        return generator.integers(0, 256, (stop - start, _SIDE, _SIDE, 3), dtype=np.uint8)

    return ImageSet(name="random images", num_images=count, fingerprint=f"random-{count}-{seed}", read=read)


def make_network(name: str) -> FeatureNetwork:
    """Give Lite0, or a residual network with weights drawn at random."""
    if name == "lite0":
        return find_network("lite0")
    config = ClassifierConfig(classes=tuple(map(str, range(10))), network=ResNetConfig(stem_stride=2))
    return FeatureNetwork("ResNet", build_model(config).eval(), "images as they are")


class PeakMemory:
    """The most memory of its own that this process holds while a thread looks."""

    def __init__(self) -> None:
        self.mib = self._held_mib()
        self._stop = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look every few milliseconds."""
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.mib = max(self.mib, self._held_mib())

    @staticmethod
    def _held_mib() -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def measure(network_name: str, count: int, device: str, results: Any) -> None:
    """Evaluate one set of that many images against another; put a row into a queue."""
    network = make_network(network_name)
    network.module.to(device)
    # What libraries set up at their first use does not grow; it is left out.
    with tempfile.TemporaryDirectory() as folder:
        compare(network, 64, Path(folder), device)
    peak = PeakMemory()
    before = peak.mib
    with tempfile.TemporaryDirectory() as folder, peak.watching():
        row = compare(network, count, Path(folder), device)
    results.put({"network": network.name, "num_images": count, **row, "peak_memory_mib": peak.mib - before})


def compare(network: FeatureNetwork, count: int, folder: Path, device: str) -> dict[str, float]:
    """Look at two sets of images, and compare them; give the seconds of both."""
    start = time.perf_counter()
    chosen = torch.device(device)
    samples, reference = (
        extract_features(network, random_images(count, seed), folder, device=chosen) for seed in (0, 1)
    )
    looked = time.perf_counter()
    measure_quality(samples, reference, device=chosen)
    measured = time.perf_counter()
    for features, k in ((samples.features, 3), (reference.features, 1)):  # the search for copies
        nearest_neighbours(features, reference.features, k=k, device=chosen)
    return {
        "features_seconds": looked - start,
        "quality_seconds": measured - looked,
        "memorization_seconds": time.perf_counter() - measured,
    }


def main() -> None:
    """Measure every count in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=["lite0", "resnet"], default="lite0")
    parser.add_argument("--counts", type=int, nargs="+", default=[2500, 5000, 10_000])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    rows = []
    print("| network | images a set | features, s | quality, s | memorization, s | peak memory, MiB |")
    print("|---|---|---|---|---|---|")
    for count in arguments.counts:
        results = context.Queue()
        process = context.Process(target=measure, args=(arguments.network, count, arguments.device, results))
        process.start()
        row = results.get()
        process.join()
        rows.append(row)
        seconds = " | ".join(f"{row[f'{name}_seconds']:.1f}" for name in ("features", "quality", "memorization"))
        print(f"| {row['network']} | {count} | {seconds} | {row['peak_memory_mib']:.0f} |", flush=True)
    if arguments.out is not None:
        earlier = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
        earlier[arguments.network] = {"machine": describe_machine(), "rows": rows}
        arguments.out.write_text(json.dumps(earlier, indent=2) + "\n")


if __name__ == "__main__":
    main()
