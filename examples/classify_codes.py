"""Train a model of your own on what `vqvae2 encode` wrote: a linear classifier, by the vectors of an image's codes."""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from vqvae2 import Pipeline

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("codes", type=Path, help="a folder of codes")
parser.add_argument("--pipeline", default="builtin", help="a folder, an id on the Hub, or builtin")
options = parser.parse_args()
facts = json.loads((options.codes / "codes.json").read_text())
books = Pipeline.from_pretrained(options.pipeline).codebooks
levels = [np.load(options.codes / f"level{level}.npy")[:, 0].astype(int) for level in range(len(books))]  # (N, h, w)
vectors = torch.cat([book[maps].flatten(1) for book, maps in zip(books, levels, strict=True)], dim=1)
labels, held_out = (torch.tensor(facts[name]) for name in ("labels", "is_validation"))
model = torch.nn.Linear(vectors.shape[1], len(facts["classes"]))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
train = (~held_out).nonzero()[:, 0]
for _ in range(300):
    batch = train[torch.randint(len(train), (64,))]
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(vectors[batch]), labels[batch]).backward()
    optimizer.step()
right = model(vectors[held_out]).argmax(1) == labels[held_out]
print(f"{right.double().mean().item():.1%} of {len(right)} held-out images are given their class")
