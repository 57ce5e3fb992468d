"""How many images a second the exported tokenizer encodes and decodes, beside PyTorch.

    vqvae2 export PIPELINE --out onnx
    python benchmarks/export.py PIPELINE onnx --out docs/measurements/export.json

Both compute in float32 with as many threads, in turn; numbers are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnxruntime
import torch
from machine import describe_machine

from vqvae2 import Pipeline
from vqvae2.pipeline.onnx import ENCODER_FILE, decoder_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("folder", type=Path, help="what `vqvae2 export` wrote of it")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pipeline = Pipeline.from_pretrained(arguments.pipeline)
    config, size = pipeline.tokenizer.config, pipeline.config.image_size
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads

    def computes(file: str, tensors: list[torch.Tensor]) -> Callable[[], object]:
        session = onnxruntime.InferenceSession(arguments.folder / file, options, providers=["CPUExecutionProvider"])
        names = [entry.name for entry in session.get_inputs()]
        return lambda: session.run(None, {name: t.numpy() for name, t in zip(names, tensors, strict=True)})

    rows = []
    for batch_size in arguments.batch_sizes:
        images = torch.rand(batch_size, config.in_channels, *size) * 2.0 - 1.0
        codes = pipeline.encode(images)
        contenders = {"encode": (partial(pipeline.encode, images), computes(ENCODER_FILE, [images]))}
        for name in pipeline.decoders:
            in_torch = partial(pipeline.decode, codes, decoder=name)
            contenders[f"decode, {name}"] = (in_torch, computes(decoder_file(name), list(codes.maps)))
        for work, (in_torch, in_onnxruntime) in contenders.items():
            rates = measure(in_torch, in_onnxruntime, rounds=arguments.rounds, images=batch_size)
            rows.append({"work": work, "batch_size": batch_size, **rates})
            print(f"{work}, batch {batch_size}: " + ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items()))
    if arguments.out:
        sizes = {path.name: path.stat().st_size for path in sorted(arguments.folder.glob("*.onnx"))}
        result = {"machine": describe_machine(), "bytes": sizes, "images_per_second": rows}
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


def measure(in_torch: Callable[[], object], in_onnxruntime: Callable[[], object], *, rounds: int, images: int) -> dict:
    """Time both in turn, after one call each; images a second by the median."""
    seconds: dict[str, list[float]] = {"torch": [], "onnxruntime": []}
    for turn in range(rounds + 1):
        for name, compute in zip(seconds, (in_torch, in_onnxruntime), strict=True):
            begin = time.perf_counter()
            compute()
            if turn:
                seconds[name].append(time.perf_counter() - begin)
    return {name: images / statistics.median(times) for name, times in seconds.items()}


if __name__ == "__main__":
    main()
