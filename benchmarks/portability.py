"""Files decode to the same codes on other thread counts, batch sizes, instruction sets and builds of torch.

    python benchmarks/portability.py vqvae2-demo --out docs/measurements/portability.json
    python benchmarks/portability.py vqvae2-demo --codes 100000 --python other-environment/bin/python

Codes are those of a run's validation images, or else drawn with the priors. Files are written here, in batches of 64
with two threads; each setting then decodes them in a process of its own, and walks the codes of the first images once
more to keep all logits. Their largest deviation from the reference's is compared with the guard, the distance that an
encoder keeps every logit from where its rounding changes. `--python` names interpreters of other environments, which
need the package's dependencies, but not the package. The exit status is 1 if a code differs. On a busy machine, set
OMP_WAIT_POLICY=PASSIVE, so that a thread that waits for another leaves it a core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine
from torch import Tensor

import vqvae2
from vqvae2 import BitstreamError, Codec, Codes, DrawRequest, Pipeline, Prior, VQVAE2Error, sample_codes, walk
from vqvae2.codec.bitstream import read_bitstream
from vqvae2.codec.entropy import GUARD_STEPS, STEPS_PER_NAT, round_logits
from vqvae2.data import ImageStore, ordered_batches
from vqvae2.errors import CheckpointError
from vqvae2.images import from_pixels

_BATCH_SIZE, _THREADS = 64, 2
_LOGIT_IMAGES = 8  # images of which all logits are kept
_DECODE = "decode"  # what a child is called with


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How files are decoded."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    threads: int = _THREADS
    batch_size: int = _BATCH_SIZE
    python: str = sys.executable
    device: str = "cpu"


_PLAIN_KERNELS = {"ATEN_CPU_CAPABILITY": "default"}
_REFERENCE = Setting(name="reference")


def settings(pythons: list[str]) -> list[Setting]:
    """Give all settings, the reference first."""
    everything = _PLAIN_KERNELS | {"ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
    variables = [("ATEN_CPU_CAPABILITY", "default"), ("ATEN_CPU_CAPABILITY", "avx2")]
    variables += [("ONEDNN_MAX_CPU_ISA", "SSE41"), ("ONEDNN_MAX_CPU_ISA", "AVX2")]
    variables += [("MKL_CBWR", "COMPATIBLE"), ("MKL_CBWR", "AVX2")]
    chosen = [
        _REFERENCE,
        Setting(name="1 thread", threads=1),
        Setting(name="batch 1", batch_size=1),
        Setting(name="batch 7", batch_size=7),
        *(Setting(name=f"{name}={value}", environment={name: value}) for name, value in variables),
        Setting(name="plainest kernels, 1 thread, batch 1", environment=everything, threads=1, batch_size=1),
    ]
    for python in pythons:
        chosen.append(Setting(name="another torch", python=python))
        chosen.append(Setting(name="another torch, plain kernels", environment=_PLAIN_KERNELS, python=python))
    if torch.cuda.is_available():
        chosen.append(Setting(name="CUDA", device="cuda"))
    return chosen


def take_codes(pipeline: Pipeline, folder: Path, num_codes: int) -> tuple[Codes, tuple[int, int], list[int | None]]:
    """Give codes of enough images, the size of these in pixels, and their classes."""
    store = ImageStore.open(folder / "images") if (folder / "images").exists() else None
    size = pipeline.config.image_size if store is None else store.size
    shapes = pipeline.tokenizer.config.code_shapes(*size)
    num_images = -(-num_codes // sum(height * width for height, width in shapes))
    if store is None:
        drawn = pipeline.labels(num_images, DrawRequest())
        codes = sample_codes(pipeline.priors, shapes, num_images, DrawRequest(label=drawn))
        return codes, size, [None] * num_images if drawn is None else drawn.tolist()
    # Training images only where there are not enough others.
    order = np.concatenate((store.indices("validation"), store.indices("train")))[:num_images]
    codes = Codes.concatenate(
        [
            pipeline.encode(from_pixels(torch.from_numpy(store.pixels[batch])))
            for batch in ordered_batches(order, _BATCH_SIZE)
        ]
    )
    has_classes = bool(pipeline.config.classes)
    return codes, size, [int(label) if has_classes and label >= 0 else None for label in store.labels[order]]


def write_files(
    codec: Codec, codes: Codes, size: tuple[int, int], labels: list[int | None], folder: Path
) -> dict[str, Any]:
    """Write a file an image, and all codes; say what the files are like."""
    files: list[bytes] = []
    for start in range(0, codes.batch_size, _BATCH_SIZE):
        batch = slice(start, start + _BATCH_SIZE)
        files += codec.compress_codes(codes.select(batch), size=size, mode="prior", labels=labels[batch])
    (folder / "files").mkdir()
    for number, data in enumerate(files):
        (folder / "files" / f"{number:06d}.vq2").write_bytes(data)
    for level, maps in enumerate(codes):
        np.save(folder / f"codes-{level}.npy", maps.numpy())
    num_codes = sum(level.numel() for level in codes)
    return {
        "images": len(files),
        "codes": num_codes,
        "bits_per_code": 8 * sum(map(len, files)) / num_codes,
        "files_with_a_moved_grid": sum(1 for offset in _offsets(folder) if offset),
    }


def _offsets(folder: Path) -> list[int]:
    """Where the grid of each file's logits lies."""
    offsets = []
    for path in sorted((folder / "files").iterdir()):
        with path.open("rb") as file:
            offsets.append(read_bitstream(file).header.offset)
    return offsets


def decode(pipeline_folder: Path, folder: Path, *, batch_size: int, device: str) -> dict[str, Any]:
    """Decode all files, in a child; the codes of a batch that is refused all count as differing."""
    pipeline = Pipeline.from_pretrained(pipeline_folder).to(device)
    codes = _load_codes(folder)
    files = [path.read_bytes() for path in sorted((folder / "files").iterdir())]
    differing = 0
    for start in range(0, len(files), batch_size):
        wanted = codes.select(slice(start, start + batch_size))
        try:
            found = pipeline.codec.decompress_codes(files[start : start + batch_size])
        except BitstreamError:
            differing += sum(level.numel() for level in wanted)
        else:
            differing += sum(int((one != other).sum()) for one, other in zip(found, wanted, strict=True))
    return {
        "torch": torch.__version__,
        "kernels": "CUDA" if device == "cuda" else torch.backends.cpu.get_cpu_capability(),
        "codes": sum(level.numel() for level in codes),
        "differing": differing,
    }


def keep_logits(pipeline_folder: Path, folder: Path, out: Path, *, batch_size: int, device: str) -> None:
    """Walk the known codes of the first images, in batches as they are decoded in, and write all logits."""
    pipeline = Pipeline.from_pretrained(pipeline_folder).to(device)
    codes = _load_codes(folder)
    labels: list[int | None] = []
    for path in sorted((folder / "files").iterdir()):
        with path.open("rb") as file:
            labels.append(read_bitstream(file).header.label)
    num_kept = min(_LOGIT_IMAGES, codes.batch_size)
    for level, prior in enumerate(pipeline.priors):
        prior.double()
        logits: list[np.ndarray] = []
        for start in range(0, num_kept, batch_size):
            batch = slice(start, start + batch_size)
            maps = [above.to(device) for above in codes.select(batch).maps[: level + 1]]
            logits.append(_walk_logits(prior, maps, _classes(prior, labels[batch], device), num_kept - start))
        np.save(out / f"logits-{level}.npy", np.concatenate(logits))


def _walk_logits(prior: Prior, maps: list[Tensor], classes: Tensor | None, num_kept: int) -> np.ndarray:
    """Give the logits `(n, L, K)` of the first images of a batch, whose codes are the last of `maps`."""
    codes, (batch_size, height, width) = maps[-1].flatten(1), maps[-1].shape
    logits = np.empty((min(num_kept, batch_size), height * width, prior.num_embeddings))

    def choose(positions: Tensor, found: Tensor) -> Tensor:
        logits[:, positions.cpu().numpy()] = found[:num_kept].cpu()
        return codes[:, positions]

    walk(prior, choose, batch_size=batch_size, size=(height, width), above=maps[:-1], labels=classes)
    return logits


def _classes(prior: Prior, labels: list[int | None], device: str) -> Tensor | None:
    num_classes = prior.space.num_classes
    if not num_classes:
        return None
    return torch.tensor([num_classes if label is None else label for label in labels], device=device)


def _load_codes(folder: Path) -> Codes:
    paths = sorted(folder.glob("codes-*.npy"), key=lambda path: int(path.stem.split("-")[1]))
    return Codes(tuple(torch.from_numpy(np.load(path)) for path in paths))


def run_child(setting: Setting, pipeline_folder: Path, folder: Path) -> dict[str, Any]:
    """Decode in a process of its own, whose logits it leaves in a folder of its own."""
    out = Path(tempfile.mkdtemp(dir=folder))
    sources = str(Path(vqvae2.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": sources, "OMP_NUM_THREADS": str(setting.threads)} | setting.environment
    arguments = [pipeline_folder, folder, out, setting.threads, setting.batch_size, setting.device]
    command = [setting.python, __file__, _DECODE, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{setting.name}: {setting.python} failed\n{done.stderr}")
    described = asdict(setting) | {"python": Path(setting.python).name}
    return {"setting": described, "logits": out} | json.loads(done.stdout.splitlines()[-1])


def child(arguments: list[str]) -> None:
    pipeline_folder, folder, out = map(Path, arguments[:3])
    torch.set_num_threads(int(arguments[3]))
    how: dict[str, Any] = {"batch_size": int(arguments[4]), "device": arguments[5]}
    result = decode(pipeline_folder, folder, **how)
    keep_logits(pipeline_folder, folder, out, **how)
    print(json.dumps(result))


def deviations(row: dict[str, Any], reference: Path, folder: Path, levels: list[str]) -> list[dict[str, Any]]:
    """Compare a child's logits with the reference's, a level."""
    compared = []
    for level, name in enumerate(levels):
        found, wanted = (np.load(logits / f"logits-{level}.npy") for logits in (row["logits"], reference))
        offsets = np.array(_offsets(folder)[: len(found)])[:, None, None]
        steps = [round_logits(logits, offsets) for logits in (found, wanted)]
        compared.append(
            {
                "level": name,
                "logits": found.size,
                "largest_deviation_nats": float(np.abs(found - wanted).max()),
                "rounded_otherwise": int((steps[0] != steps[1]).sum()),
            }
        )
    return compared


def measure(
    chosen: list[Setting], pipeline_folder: Path, folder: Path, levels: list[str], report: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """Run all settings, the reference first."""
    reference: Path | None = None
    for setting in chosen:
        report(setting.name)
        row = run_child(setting, pipeline_folder, folder)
        reference = reference or row["logits"]
        row["levels"] = deviations(row, reference, folder, levels)
        del row["logits"]
        yield row


def print_table(results: dict[str, Any]) -> None:
    """Print a row a setting."""
    rows = results["rows"]
    names = [level["level"] for level in rows[0]["levels"]]
    print(f"guard: {results['guard_nats']:.1e} nats; {results['bits_per_code']:.2f} bits a code")
    print("| setting | torch | kernels | codes | differ | " + " | ".join(names) + " | rounded otherwise |")
    print("|---|---|---|---|---|" + "---|" * len(names) + "---|")
    for row in rows:
        deviation = " | ".join(f"{level['largest_deviation_nats']:.1e}" for level in row["levels"])
        otherwise = sum(level["rounded_otherwise"] for level in row["levels"])
        logits = sum(level["logits"] for level in row["levels"])
        print(
            f"| {row['setting']['name']} | {row['torch']} | {row['kernels']} | {row['codes']} | {row['differing']} "
            f"| {deviation} | {otherwise} of {logits} |"
        )


def main() -> int:
    """Compare all settings; 1 if a code differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("--codes", type=int, default=10_000, help="codes to decode at least")
    parser.add_argument("--python", nargs="+", default=[], help="interpreters of other environments")
    parser.add_argument("--settings", nargs="+", help="names of the settings to compare with the reference; else all")
    parser.add_argument("--out", type=Path, help="JSON to write the results to")
    arguments = parser.parse_args()
    chosen = settings(arguments.python)
    if arguments.settings is not None:
        chosen = [setting for setting in chosen if setting.name in ("reference", *arguments.settings)]
    torch.set_num_threads(_THREADS)
    pipeline = Pipeline.from_pretrained(arguments.pipeline)
    if not pipeline.priors:
        raise CheckpointError(f"{arguments.pipeline} has no priors; give a pipeline with one for every level")
    families = [prior.config.network.family for prior in pipeline.priors]
    levels = [f"{name}, {family}" for name, family in zip(pipeline.tokenizer.config.level_names, families, strict=True)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        codes, size, labels = take_codes(pipeline, arguments.pipeline, arguments.codes)
        results: dict[str, Any] = {"machine": describe_machine(), "guard_nats": GUARD_STEPS / STEPS_PER_NAT}
        results |= write_files(pipeline.codec, codes, size, labels, folder)
        rows = measure(chosen, arguments.pipeline, folder, levels, lambda name: print(name, file=sys.stderr))
        results["rows"] = list(rows)
    print(results["machine"])
    print_table(results)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(results, indent=1))
    return int(any(row["differing"] for row in results["rows"]))


if __name__ == "__main__":
    if sys.argv[1:2] == [_DECODE]:
        child(sys.argv[2:])
    else:
        try:
            sys.exit(main())
        except VQVAE2Error as error:
            sys.exit(str(error))
