"""Make the golden files: once for each version of the format, and never again.

    python tests/codec/make_golden.py tests/codec/golden

A file that was written once must decode for ever, so these stay as they are. Weights lie beside them, since random
initialization differs between processors.
"""

import json
import sys
from pathlib import Path

import torch

from conftest import make_pipeline
from vqvae2.codec import hierarchy_coder
from vqvae2.codes import Codes

SIZE = (13, 20)


def main() -> None:
    """Write a pipeline, files of its codes, and these codes."""
    folder = Path(sys.argv[1])
    pipeline = make_pipeline((2, 2), num_embeddings=50, num_classes=2, scale=0.3)
    pipeline.save_pretrained(folder / "pipeline")
    generator = torch.Generator().manual_seed(0)
    shapes = pipeline.tokenizer.config.code_shapes(*SIZE)
    codes = Codes(tuple(torch.randint(50, (1, *shape), generator=generator) for shape in shapes))
    top = Codes(codes.maps[:1])
    write = pipeline.codec.compress_codes
    files = {
        "raw": write(codes, size=SIZE, mode="raw"),
        "prior": write(codes, size=SIZE),
        "class": write(codes, size=SIZE, labels=[1]),
        "top": write(top, size=SIZE),
    }
    hierarchy_coder.GRID_OFFSETS = (74,)
    files["offset"] = write(codes, size=SIZE)
    for name, (data,) in files.items():
        (folder / f"{name}.vq2").write_bytes(data)
    (folder / "codes.json").write_text(json.dumps([level[0].tolist() for level in codes]) + "\n")


if __name__ == "__main__":
    main()
