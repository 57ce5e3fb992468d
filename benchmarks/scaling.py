"""Print what a run at the paper's scale would cost: the tables of `docs/scaling.md`, in Markdown.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --peak 312 --peak-float32 19.5   # an A100 instead of an H100 SXM

Nothing is timed. Parameters, multiply-adds and memory are counted on the package's own models, run on tensors without
values; the counter sees products, convolutions and attention. Times are extrapolated: operations divided by a card's
peak and by the share of it that is assumed to be reached.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from vqvae2 import VQVAE2, CodeSpace, PixelSNAILConfig, PriorConfig, VQVAE2Config
from vqvae2.config import TrainingConfig
from vqvae2.config.presets import PRESETS
from vqvae2.models.checkpoint import build_model
from vqvae2.nn.fronts import Fronts

IMAGES, SAMPLES = {"imagenet256": (1_281_167, 1000), "ffhq1024": (70_000, 0)}, 50_000  # images and classes
CARDS, NETWORK = (8, 16, 64), (25, 100, 400)  # Gbit/s of a node's link
UTILISATIONS, USUAL = (0.2, 0.35, 0.5), 0.35
MEMORY, BANDWIDTH = 80e9, 3.35e12  # bytes of a card, and bytes a second to and from them
NO_VALUES = FakeTensorMode()  # one for all, since tensors of two modes do not mix


class Stage(NamedTuple):
    """A model that a run trains, on images of `size` pixels or on codes of that grid."""

    name: str
    model: VQVAE2Config | PriorConfig
    size: tuple[int, int]
    training: TrainingConfig


class Counts(NamedTuple):
    """What a model costs."""

    parameters: int
    walked_parameters: int  # read by a walk once a front; the others once a batch
    buffers: int
    forward_macs: int  # an image
    step_macs: int
    kept_bytes: int  # for the backward pass, an image, under bfloat16 autocast
    kept_bytes_a_batch: int  # the weights in bfloat16


def stages(preset: str, *, num_classes: int) -> Iterator[Stage]:
    """List what a run trains: the tokenizer, and each level's prior, top first."""
    config, tokenizer = PRESETS[preset], PRESETS[preset].tokenizer
    shapes, sizes = tokenizer.code_shapes(*config.images.size), tokenizer.codebook_sizes
    yield Stage("tokenizer", tokenizer, config.images.size, config.tokenizer_training)
    for level, name in enumerate(tokenizer.level_names):
        space = CodeSpace.of_level(level, num_embeddings=sizes, shapes=shapes, num_classes=num_classes)
        prior = PriorConfig(space=space, network=config.prior(level))
        yield Stage(f"{name} prior", prior, shapes[level], config.prior_training(level))


def loss(model: nn.Module, size: tuple[int, int], batch_size: int = 1) -> Tensor:
    """Compute what a training step differentiates, of zeros."""
    if isinstance(model, VQVAE2):
        output = model(torch.zeros(batch_size, model.config.in_channels, *size))
        return output.reconstruction_loss + output.quantizer_loss + output.preview_loss
    space, codes = model.config.space, torch.zeros(batch_size, *size, dtype=torch.int64)
    labels = torch.zeros(batch_size, dtype=torch.int64) if space.num_classes else None
    logits = model(codes, above=[codes[:, ::factor, ::factor] for factor in space.upsampling], labels=labels)
    return functional.cross_entropy(logits.float().flatten(0, 2), codes.flatten())


def macs(run: Callable[[], object]) -> int:
    """Count multiply-adds; causal attention counts in full."""
    # The counter does not know what attention is called on a CPU.
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    mapping = {attention: lambda *tensors, **_: sdpa_flop_count(*tensors[:3])}
    mapping[backward] = lambda *tensors, **_: sdpa_backward_flop_count(*tensors[:4])
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter, torch.autocast("cpu", torch.bfloat16):
        run()
    return counter.get_total_flops() // 2


def kept_bytes(model: nn.Module, size: tuple[int, int], batch_size: int) -> int:
    """Sum what a forward pass keeps for the backward pass beside the model, each storage once."""
    kept, keep = [], lambda tensor: kept.append(tensor) or tensor
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        loss(model, size, batch_size)
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    storages = {storage._cdata: storage.nbytes() for storage in (tensor.untyped_storage() for tensor in kept)}
    return sum(num_bytes for address, num_bytes in storages.items() if address not in own)


def count(stage: Stage) -> Counts:
    """Count a model without a value, since a network of the paper would take gigabytes."""
    with torch.device("meta"):
        model = build_model(stage.model)
    with NO_VALUES:  # "meta" has no autocast, so its tensors make way for such that say that they are on a CPU
        for module in model.modules():
            for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")
                setattr(module, name, nn.Parameter(empty) if isinstance(tensor, nn.Parameter) else empty)
        one, two = (kept_bytes(model, stage.size, batch_size) for batch_size in (1, 2))
        forward, step = macs(lambda: loss(model, stage.size)), macs(lambda: loss(model, stage.size).backward())
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    total, saved = sum(sizes.values()), sum(value.numel() for value in model.state_dict().values())
    once = sum(size for name, size in sizes.items() if "label" in name or name.startswith("conditioning"))
    return Counts(total, total - once, saved - total, forward, step, two - one, 2 * one - two)


def accumulation(batch_size: int, cards: int, fit: int) -> int | str:
    """Give the fewest parts of a batch with which each card's share of a part fits."""
    share = batch_size // cards
    parts = (parts for parts in range(1, share + 1) if share % parts == 0 and share // parts <= fit)
    return "no" if batch_size % cards else next(parts, "no")


def rows(stage: Stage, num_images: int, peak: float, peak_float32: float) -> Iterator[tuple[str, dict]]:
    """Make a stage's rows, each with the name of its table; peaks are FLOP a second."""
    counts, positions = count(stage), math.prod(stage.size)
    batch, steps = stage.training.batch_size, stage.training.steps
    flops = 2.0 * counts.step_macs * batch
    costs = {"forward, G multiply-adds": counts.forward_macs / 1e9, "step, G": counts.step_macs / 1e9}
    training = {"batch": batch, "steps": steps, "epochs": batch * steps / num_images, "training, FLOP": flops * steps}
    yield "counts", {"parameters, M": counts.parameters / 1e6} | costs | training
    yield "hours of a card", {f"at {share:.0%}": flops * steps / (peak * share) / 3600 for share in UTILISATIONS}

    # Weights, gradients and the copy of them that is exchanged, AdamW's two moments, averaged weights; float32.
    held = 4 * (6 * counts.parameters + 2 * counts.buffers)
    fit = int((0.8 * MEMORY - held - counts.kept_bytes_a_batch) // counts.kept_bytes)
    beside = {"weights in bfloat16, GB": counts.kept_bytes_a_batch / 1e9, "an image, MB": counts.kept_bytes / 1e6}
    parts = {f"parts on {cards}": accumulation(batch, cards, fit) for cards in CARDS}
    yield "memory", {"model, GB": held / 1e9} | beside | {"images that fit": fit} | parts

    # Two checkpoints and one in writing, of weights, their average and two moments; the best and the last model.
    checkpoints, models = 12 * (4 * counts.parameters + 2 * counts.buffers), 8 * (counts.parameters + counts.buffers)
    data = num_images * positions * (2 if isinstance(stage.model, PriorConfig) else 3)
    yield "disk", {"data, GB": data / 1e9, "checkpoints, GB": checkpoints / 1e9, "models, GB": models / 1e9}

    exchanged, read_bytes = 4 * counts.parameters, 3 * positions
    if isinstance(stage.model, PriorConfig):
        read_bytes = 2 * positions * (1 + sum(factor**-2 for factor in stage.model.space.upsampling))
        network = stage.model.network
        num_fronts = len(Fronts(stage.size, network.kernel_size // 2).ends)
        read = 4.0 * num_fronts * counts.walked_parameters
        row = {"codes": positions, "fronts": num_fronts, "weights read, GB a batch": read / 1e9}
        is_snail, layers = isinstance(network, PixelSNAILConfig), range(network.num_layers)
        num_attentions = sum(not is_snail or network.attends_after(layer) for layer in layers)
        kept = 2 * num_attentions * network.hidden_channels * network.num_kv_heads // network.num_heads
        for size in (1, 64):
            # Weights, and keys and values of half of the codes on average, in float32.
            reading = (read + 2.0 * size * kept * positions * num_fronts) / BANDWIDTH
            seconds = max(reading, 2.0 * size * counts.forward_macs / (peak_float32 * USUAL))
            row[f"card hours, batch {size}"] = math.ceil(SAMPLES / size) * seconds / 3600
        yield "50,000 samples", row
    else:  # an EMA quantizer's counts, sums, and outputs from which dead codes start anew
        quantizer = stage.model.quantizer
        exchanged += 4 * stage.model.num_levels * quantizer.num_embeddings * (1 + 2 * quantizer.embedding_dim)
    for cards in CARDS:
        seconds, sent = flops / (cards * peak * USUAL), (cards - 1) / cards * 2e-6 * exchanged
        shares = {f"at {speed} Gbit/s": f"{0.008 * sent / speed / seconds:.0%}" for speed in NETWORK}
        speeds = {"images/s": batch / seconds, "MB/s": 1e-6 * read_bytes * batch / seconds}
        yield "network", {"cards": cards, "step, ms": 1e3 * seconds, "sent, MB": sent} | shares | speeds


def shown(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.2e}" if value >= 1e9 else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=list(IMAGES))
    parser.add_argument("--peak", type=float, default=989.0, help="TFLOP/s of a card in bfloat16, without sparsity")
    parser.add_argument("--peak-float32", type=float, default=67.0, help="the same in float32")
    arguments = parser.parse_args()
    tables = defaultdict(list)
    for preset in arguments.presets:
        num_images, num_classes = IMAGES.get(preset, (10_000, 0))
        for stage in stages(preset, num_classes=num_classes):
            for table, row in rows(stage, num_images, 1e12 * arguments.peak, 1e12 * arguments.peak_float32):
                tables[table].append({"stage": f"{preset}: {stage.name}"} | row)
    for table, found in tables.items():
        print(f"\n{table}\n\n| {' | '.join(found[0])} |\n|{'---|' * len(found[0])}")
        print("\n".join(f"| {' | '.join(map(shown, row.values()))} |" for row in found))


if __name__ == "__main__":
    main()
