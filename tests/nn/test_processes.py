"""Several processes train one codebook. As a script, this file is one of the processes."""

import subprocess
import sys

import pytest
import torch
from torch import distributed

from vqvae2.config import QUANTIZER_CONFIGS, VQVAE2Config
from vqvae2.models.vqvae import VQVAE2

FAMILIES = ("ema", "codebook-loss")
STEPS, BATCH = 50, 8


def train(family: str, rank: int, world_size: int) -> dict:
    """Train a tiny tokenizer on this process's share of each batch."""
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
    losses = []
    for batch in images:
        output = trained(batch.chunk(world_size)[rank])
        loss = output.reconstruction_loss + output.quantizer_loss + output.preview_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.update_codebooks()
        losses.append(loss.detach())
    return {"model": model.state_dict(), "losses": torch.stack(losses)}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes come to, for each family."""
    folder = tmp_path_factory.mktemp("two")
    processes = [
        subprocess.Popen([sys.executable, __file__, str(rank), folder], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("family", FAMILIES)
def test_two_processes_learn_the_codebook_of_one_with_the_joined_batch(two, family):
    alone, (first, second) = train(family, 0, 1), [process[family] for process in two]
    for name, value in first["model"].items():
        assert torch.equal(value, second["model"][name]), name
        torch.testing.assert_close(value, alone["model"][name], rtol=1e-5, atol=1e-7, msg=name)
    joined = (first["losses"] + second["losses"]) / 2
    torch.testing.assert_close(joined, alone["losses"], rtol=1e-5, atol=0)


if __name__ == "__main__":
    rank, folder = int(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.save({family: train(family, rank, 2) for family in FAMILIES}, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()
