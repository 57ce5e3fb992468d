"""Train a tiny tokenizer as one of several processes, and save what became of it. Run by `test_processes.py`.

Arguments: rank, number of processes, file for their rendezvous, file to save to, quantizer family.
"""

import sys

import torch
from torch import distributed

from vqvae2.config import QUANTIZER_CONFIGS, VQVAE2Config
from vqvae2.models.vqvae import VQVAE2

STEPS, BATCH = 50, 8


def main(rank: int, world_size: int, rendezvous: str, out: str, family: str) -> None:
    torch.set_num_threads(1)
    if world_size > 1:
        distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world_size)
    torch.manual_seed(0)
    # Revival at half of uniform use: codes restart all the time.
    quantizer = QUANTIZER_CONFIGS[family](num_embeddings=12, embedding_dim=4, revival_threshold=0.5)
    model = VQVAE2(
        VQVAE2Config(strides=(2, 2), hidden_channels=8, residual_channels=4, residual_layers=1, quantizer=quantizer)
    ).double()
    images = torch.rand(STEPS, BATCH, 3, 16, 16, dtype=torch.float64) * 2 - 1
    model.initialize_codebooks(images[0])
    trained = torch.nn.parallel.DistributedDataParallel(model, broadcast_buffers=False) if world_size > 1 else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    torch.manual_seed(rank)  # what a process draws for itself must not matter
    share = BATCH // world_size
    losses = []
    for batch in images:
        output = trained(batch[rank * share : (rank + 1) * share])
        loss = output.reconstruction_loss + output.quantizer_loss + output.preview_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.update_codebooks()
        losses.append(loss.detach())
    torch.save({"model": model.state_dict(), "losses": torch.stack(losses)}, out)
    if world_size > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6])
