"""How many codes come out the same in bfloat16, and what that does to the error.

    python benchmarks/precision.py RUN

For the validation images of a run's folder: the codes that `encode` makes, in float32, against those of a forward pass
under bfloat16 autocast, as a training step runs it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from vqvae2.data import ImageStore, ordered_batches
from vqvae2.images import from_pixels
from vqvae2.metrics.distortion import ReconstructionError
from vqvae2.pipeline.pipeline import Pipeline


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    folder = parser.parse_args().run
    tokenizer, images = Pipeline.from_pretrained(folder).tokenizer, ImageStore.open(folder / "images")
    errors = {"float32": ReconstructionError(), "bfloat16": ReconstructionError()}
    same: list[list[torch.Tensor]] = []
    for batch in ordered_batches(images.indices("validation"), 64):
        original = from_pixels(torch.from_numpy(images.pixels[batch]))
        codes = tokenizer.encode(original)
        errors["float32"].update(tokenizer(original).reconstruction, original)
        with torch.autocast("cpu", torch.bfloat16):
            output = tokenizer(original)
        errors["bfloat16"].update(output.reconstruction, original)
        same.append([(ours == other).flatten() for ours, other in zip(codes, output.codes, strict=True)])
    for name, level in zip(tokenizer.config.level_names, zip(*same, strict=True), strict=True):
        print(f"{name}: {100.0 * torch.cat(level).float().mean().item():.1f} % of the codes are the same")
    for name, error in errors.items():
        print(f"{name}: MSE {error.mse:.5f}")


if __name__ == "__main__":
    main()
