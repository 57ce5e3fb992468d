"""Train a small tokenizer in a loop of one's own, and save it as a pipeline, on which `vqvae2 reconstruct` works."""

import argparse

import numpy as np
import torch

from vqvae2 import VQVAE2, Pipeline, PipelineConfig, VQVAE2Config, choose_device, decode_image, from_pixels, open_images

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("images", help="a folder of images, or builtin: for the built-in ones")
parser.add_argument("--out", default="tokenizer")
parser.add_argument("--steps", type=int, default=500)
options = parser.parse_args()
source, device = open_images(options.images), choose_device()
pixels = np.stack([decode_image(source.read(index), channels=3, size=(64, 64)) for index in range(len(source))])
model = VQVAE2(VQVAE2Config(strides=(4, 2), hidden_channels=64)).to(device)
images = from_pixels(torch.from_numpy(pixels).to(device))
model.initialize_codebooks(images[torch.randperm(len(images))[:256]])
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for _ in range(options.steps):
    output = model(images[torch.randint(len(images), (32,))])
    optimizer.zero_grad()
    (output.reconstruction_loss + output.quantizer_loss + output.preview_loss).backward()
    optimizer.step()
    model.update_codebooks()  # moving averages of what the encoder gave in this step
Pipeline(model.eval().cpu(), PipelineConfig(image_size=(64, 64))).save_pretrained(options.out)
print(f"{options.out}: a squared error of {output.reconstruction_loss.item():.4f} in the last step")
