"""Exchange the top codes of two images and keep the lower ones: a picture of what each level holds."""

import argparse
from pathlib import Path

import numpy as np
import torch

from vqvae2 import Codes, Pipeline, decode_image, from_pixels, image_grid, save_png, to_pixels

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("images", nargs=2, type=Path)
parser.add_argument("--pipeline", default="builtin", help="a folder, an id on the Hub, or builtin")
parser.add_argument("--out", type=Path, default=Path("exchanged.png"))
options = parser.parse_args()

pipeline = Pipeline.from_pretrained(options.pipeline)
size, channels = pipeline.config.image_size, pipeline.tokenizer.config.in_channels
pixels = [decode_image(path.read_bytes(), channels=channels, size=size) for path in options.images]
images = from_pixels(torch.from_numpy(np.stack(pixels)))

top, *lower = pipeline.encode(images)
exchanged = pipeline.decode(Codes((top.flip(0), *lower)))  # the lower codes of each, under the top codes of the other
rows = torch.cat((images, pipeline.decode(Codes((top, *lower)), levels=1), exchanged))
save_png(image_grid(to_pixels(rows).numpy(), columns=2), options.out)
print(f"{options.out}: each image; what its top codes say alone; its lower codes under the other's top codes")
