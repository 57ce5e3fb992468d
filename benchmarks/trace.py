#!/usr/bin/env python3
"""Follow one image through `Pipeline.compress`: the files of the package that it enters, and the deepest stack in them.

    python benchmarks/trace.py [PIPELINE]

Only frames of the package count. The image is random, and a first call outside the trace fills what is made once.
"""

import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch

import vqvae2
from vqvae2 import Pipeline

ROOT = Path(vqvae2.__path__[0])


def place(code: CodeType) -> str:
    return str(Path(code.co_filename).relative_to(ROOT))


def own_stack(frame: FrameType | None) -> list[CodeType]:
    """List the package's functions on the stack, the outermost first."""
    stack = []
    while frame is not None:
        if Path(frame.f_code.co_filename).is_relative_to(ROOT):
            stack.append(frame.f_code)
        frame = frame.f_back
    return stack[::-1]


def main() -> None:
    pipeline = Pipeline.from_pretrained(sys.argv[1] if len(sys.argv) > 1 else "builtin")
    shape = (pipeline.tokenizer.config.in_channels, *pipeline.config.image_size)
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    pipeline.compress(image)
    files: set[str] = set()
    deepest: list[CodeType] = []

    def watch(frame: FrameType, event: str, _: Any) -> None:
        nonlocal deepest
        if event == "call" and Path(frame.f_code.co_filename).is_relative_to(ROOT):
            files.add(place(frame.f_code))
            deepest = max(deepest, own_stack(frame), key=len)

    sys.setprofile(watch)
    pipeline.compress(image)
    sys.setprofile(None)
    print(f"{len(files)} files:", *sorted(files), sep="\n  ")
    print(f"a stack of {len(deepest)}:", *(f"{place(code)}: {code.co_qualname}" for code in deepest), sep="\n  ")


if __name__ == "__main__":
    main()
