"""Print what a pixel of each image costs as codes of the priors and as a PNG; draw them all, the least likely last."""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from vqvae2 import Pipeline, decode_image, encode_png, from_pixels, image_grid, open_images, save_png

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("images", help="a folder of images")
parser.add_argument("--pipeline", default="builtin", help="a folder, an id on the Hub, or builtin")
parser.add_argument("--out", type=Path, default=Path("likelihood.png"))
options = parser.parse_args()
pipeline, source = Pipeline.from_pretrained(options.pipeline), open_images(options.images)
size, channels = pipeline.config.image_size, pipeline.tokenizer.config.in_channels
pixels = [decode_image(source.read(index), channels=channels, size=size) for index in range(len(source))]
codes, bits = pipeline.encode(from_pixels(torch.from_numpy(np.stack(pixels)))), torch.zeros(len(source))
with torch.inference_mode():
    for level, prior in enumerate(pipeline.priors):  # each level's codes, given those of the levels above
        logits = prior(codes[level], above=codes.maps[:level]).movedim(-1, 1)
        bits += cross_entropy(logits, codes[level], reduction="none").sum((1, 2)) / math.log(2)
order = bits.argsort().tolist()
for index in order:
    costs = [count / math.prod(size) for count in (bits[index].item(), 8 * len(encode_png(pixels[index])))]
    print(f"{costs[0]:.3f} bits a pixel as codes, {costs[1]:.3f} as a PNG: {source.names[index]}")
save_png(image_grid(np.stack([pixels[index] for index in order]), columns=8), options.out)
