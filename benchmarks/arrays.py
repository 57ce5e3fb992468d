"""How many images a second `vqvae2 encode` and `vqvae2 score` take, beside the tokenizer alone, and in how much memory.

    python benchmarks/arrays.py PIPELINE IMAGES --counts 5000 10000 --out docs/measurements/arrays.json

Each command runs in a process of its own: `encode` on as many of the images, `score` on a tenth of them. Memory is the
most that the process held of its own (`RssAnon`), without files that are mapped into it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from machine import describe_machine

from vqvae2 import Pipeline

_BATCH_SIZE = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline")
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("--counts", type=int, nargs="+", default=[5000, 10_000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    alone = rate_alone(arguments.pipeline, arguments.rounds)
    print(f"tokenizer alone: {alone:.0f} images/s")
    rows: list[dict[str, object]] = []
    files = sorted(arguments.images.rglob("*.png"))
    for count in arguments.counts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for verb, number in (("encode", count), ("score", count // 10)):
                images = folder / f"images-{verb}"
                images.mkdir()
                for index, file in enumerate(files[:: max(1, len(files) // number)][:number]):
                    (images / f"{index}.png").symlink_to(file.resolve())
                out = folder / verb
                found = watch([verb, images, "--pipeline", arguments.pipeline, "--out", out])
                rows.append({"verb": verb, "images": number} | found)
                print(rows[-1])
    rows.append({"verb": "tokenizer alone", "images_per_second": alone})
    if arguments.out:
        arguments.out.write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=2) + "\n")


@torch.inference_mode()
def rate_alone(pipeline: str, rounds: int) -> float:
    """Encode batches that lie ready; return the median of images a second."""
    loaded = Pipeline.from_pretrained(pipeline)
    tokenizer = loaded.tokenizer
    images = torch.rand(_BATCH_SIZE, tokenizer.config.in_channels, *loaded.config.image_size) * 2.0 - 1.0
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        tokenizer.encode(images)
        seconds.append(time.perf_counter() - start)
    return _BATCH_SIZE / statistics.median(seconds)


def watch(arguments: list[object]) -> dict[str, object]:
    """Run a verb; return its seconds, when each stage began, and the most memory it held."""
    start, memory, stages = time.perf_counter(), [0], dict[str, float]()
    command = [sys.executable, "-m", "vqvae2", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None

    def follow() -> None:
        while process.poll() is None:
            memory.append(_held(process.pid))
            time.sleep(0.1)

    with ThreadPoolExecutor() as pool:
        pool.submit(follow)
        for line in process.stderr:
            if not line.startswith(" "):
                stages[line.split()[0].rstrip(":")] = time.perf_counter() - start
    if process.wait():
        raise SystemExit(f"{command} failed")
    return {"seconds": time.perf_counter() - start, "stages_begin": stages, "memory_mib": max(memory) // 1024}


def _held(process: int) -> int:
    """KiB of its own that a process holds now."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0)


if __name__ == "__main__":
    main()
