"""What it costs to read images from a store, a folder, tar shards and Parquet files.

    python benchmarks/loading.py speed --images 20000     # images a second, at 64x64 pixels, and memory
    python benchmarks/loading.py memory --images 100000   # resident memory while so many images are streamed
    python benchmarks/loading.py share --images 20000     # of a training step of the preset cpu64

The sets are made in a temporary folder, of the built-in images again and again: archives of 1,000 images, Parquet files
of 10,000 in row groups of 100. They lie in the page cache, so that what is measured is this package, not a disk. Each
measurement is made in a process of its own. Images are read as a training reads them: shuffled, in batches, ahead of
need. Decoding dominates, so what is read per second depends on the images: these are WebP files of 64x64 pixels and
3 kB.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from machine import describe_machine
from pyarrow import parquet

from vqvae2 import PRESETS, ImageConfig, choose_runtime
from vqvae2.data import (
    BuiltinImages,
    Images,
    ShuffledBatches,
    index_images,
    open_images,
    open_prepared,
    prefetched,
    prepare_images,
)
from vqvae2.training.loop import fit
from vqvae2.training.tokenizer import TokenizerTask

_KINDS = ("store", "folder", "tar", "parquet")
_SIZE = (64, 64)
_IMAGES_A_TAR, _IMAGES_A_FILE, _IMAGES_A_GROUP = 1000, 10_000, 100
_BATCH = 64


def make_set(kind: str, folder: Path, count: int) -> None:
    """Write so many images, and what a training opens: decoded ones, or the index of a stream."""
    source = BuiltinImages()
    records = [(source.read(index), int(label)) for index, label in enumerate(source.labels)]
    images = ((number, records[number % len(records)]) for number in range(count))
    raw = folder / "raw"
    raw.mkdir(parents=True)
    if kind == "tar":
        for shard, part in enumerate(_parts(images, _IMAGES_A_TAR)):
            with tarfile.open(raw / f"{shard:05d}.tar", "w") as archive:
                for number, (image, label) in part:
                    for ending, data in (("webp", image), ("cls", str(label).encode())):
                        header = tarfile.TarInfo(f"{number:07d}.{ending}")
                        header.size = len(data)
                        archive.addfile(header, io.BytesIO(data))
    elif kind == "parquet":
        for shard, part in enumerate(_parts(images, _IMAGES_A_FILE)):
            columns = {"image": [image for _, (image, _) in part], "label": [label for _, (_, label) in part]}
            table = pyarrow.table(columns)
            parquet.write_table(table, raw / f"{shard:05d}.parquet", row_group_size=_IMAGES_A_GROUP)
    else:
        for number, (image, label) in images:
            path = raw / source.classes[label] / f"{number:07d}.webp"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(image)
    opened = open_images(raw)
    make = prepare_images if kind == "store" else index_images
    make(opened, folder / "images", ImageConfig(size=_SIZE))


def batches(images: Images) -> Iterator[np.ndarray]:
    """Read training batches without end, as a training does."""
    order = ShuffledBatches(images.indices("train"), batch_size=_BATCH, seed=0, num_steps=10**9, units=images.units)
    return prefetched(images.read(batch) for batch in order)


def measure_speed(folder: Path, count: int) -> dict[str, Any]:
    """Read one epoch, after a few batches to begin with."""
    start = time.perf_counter()
    images = open_prepared(folder / "images")
    opened = time.perf_counter() - start
    reader = batches(images)
    next(reader)
    start, cpu, steps = time.perf_counter(), time.process_time(), max(1, count // _BATCH)
    for _ in itertools.islice(reader, steps):
        pass
    seconds = time.perf_counter() - start
    return {
        "images_per_second": round(steps * _BATCH / seconds),
        "images_per_cpu_second": round(steps * _BATCH / (time.process_time() - cpu)),  # whatever else the machine does
        "open_seconds": round(opened, 2),
        "resident_mb": resident_mb(),
    }


def measure_memory(folder: Path, count: int) -> dict[str, Any]:
    """Note the resident memory before, after a tenth, and after all of the images."""
    images = open_prepared(folder / "images")
    reader, seen, marks = batches(images), 0, {"opened": resident_mb()}
    for wanted in (count // 10, count // 2, count):
        while seen < wanted:
            seen += len(next(reader))
        marks[f"after {wanted}"] = resident_mb()
    return {"resident_mb": marks}


def measure_share(folder: Path, count: int) -> dict[str, Any]:
    """Train the tokenizer of cpu64 for a while; which share of a step is spent waiting for images."""
    preset = PRESETS["cpu64"]
    training = replace(preset.tokenizer_training, steps=min(60, max(4, count // 32)))
    images = open_prepared(folder / "images")
    task = TokenizerTask(preset.tokenizer, images, training)
    with tempfile.TemporaryDirectory() as out:
        fit(task, training, Path(out), runtime=choose_runtime("cpu", "auto"))
        rows = [json.loads(line) for line in (Path(out) / "log.jsonl").read_text().splitlines()][2:]
    data, step = (float(np.median([row[name] for row in rows])) for name in ("data_seconds", "step_seconds"))
    return {"data_ms": round(1e3 * data, 2), "step_ms": round(1e3 * step, 1), "share": round(data / (data + step), 4)}


def resident_mb() -> int:
    """Resident memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * 4096 / 1e6)


def _parts(images: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while part := list(itertools.islice(images, size)):
        yield part


_MEASURES = {"speed": measure_speed, "memory": measure_memory, "share": measure_share}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=_MEASURES)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--kinds", nargs="+", choices=_KINDS, default=_KINDS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # set in the process that measures
    arguments = parser.parse_args()
    if arguments.folder:
        print(json.dumps(_MEASURES[arguments.what](arguments.folder, arguments.images)))
        return
    print(describe_machine())
    with tempfile.TemporaryDirectory() as above:
        for kind in arguments.kinds:
            folder = Path(above) / kind
            make_set(kind, folder, arguments.images)
            command = [sys.executable, __file__, arguments.what, "--folder", folder, "--images", arguments.images]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
            sys.stderr.write(done.stderr)
            done.check_returncode()
            print(f"{kind:8s} {done.stdout.strip()}", flush=True)
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
