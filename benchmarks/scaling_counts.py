"""Counts what a model costs: parameters, multiplications, and what its forward pass keeps for the backward pass.

Nothing is computed: models run on tensors that have shapes but no values, as they would on a CPU. What is counted are
products of matrices, convolutions and attention, by torch's counter; norms, activations, softmax, embeddings, sums,
the clipping of gradients and the optimizer are left out. Causal attention counts in full, as most kernels for masks
compute it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from vqvae2 import VQVAE2, Codes, CodeSpace, PriorConfig, RunConfig, VQVAE2Config
from vqvae2.config import ClassifierConfig, ResNetConfig, TrainingConfig
from vqvae2.models.checkpoint import build_model
from vqvae2.models.inception import Inception

__all__ = [
    "Counts",
    "Stage",
    "attention_macs",
    "classifier_step_macs",
    "convolution_macs",
    "count",
    "inception_macs",
    "loss",
    "make_batch",
    "stages",
    "tokenizer_passes",
]

_PREVIEW_WEIGHT = 0.01  # its value does not matter here, only that there is a gradient
# Tensors of one mode do not mix with those of another.
_NO_VALUES = FakeTensorMode()


@dataclass(frozen=True)
class Stage:
    """One model that a run trains."""

    name: str
    model: VQVAE2Config | PriorConfig
    size: tuple[int, int]
    """Pixels of the tokenizer's images, or the grid of the prior's codes."""
    training: TrainingConfig


@dataclass(frozen=True)
class Counts:
    """What a stage's model costs."""

    parameters: int
    row_parameters: int
    """Those of the parameters that a walk reads once a row of codes, not once a code."""
    once_parameters: int
    """Those that it reads once a batch."""
    buffers: int
    """Values that are saved beside the parameters."""
    forward_macs: int
    """Multiply-adds of a forward pass an image."""
    step_macs: int
    """The same with the backward pass."""
    kept_bytes: int
    """What the forward pass keeps an image, under bfloat16 autocast."""
    kept_bytes_a_part: int
    """What it keeps whatever the batch: the weights in bfloat16."""


def stages(config: RunConfig, *, num_classes: int) -> list[Stage]:
    """List what a run trains: the tokenizer, and each level's prior, top first."""
    tokenizer = config.tokenizer
    shapes = tokenizer.code_shapes(*config.images.size)
    found = [Stage("tokenizer", tokenizer, config.images.size, config.tokenizer_training)]
    for level, name in enumerate(tokenizer.level_names):
        space = CodeSpace.of_level(
            level, num_embeddings=tokenizer.codebook_sizes, shapes=shapes, num_classes=num_classes
        )
        prior = PriorConfig(space=space, network=config.prior(level))
        found.append(Stage(f"{name} prior", prior, shapes[level], config.prior_training(level)))
    return found


def make_batch(model: VQVAE2Config | PriorConfig, size: tuple[int, int], batch_size: int) -> dict[str, Any]:
    """Make the arguments of a forward pass; zeros, since no time depends on them."""
    height, width = size
    if isinstance(model, VQVAE2Config):
        return {"images": torch.zeros(batch_size, model.in_channels, height, width)}
    above = [
        torch.zeros(batch_size, height // factor, width // factor, dtype=torch.int64)
        for factor in model.space.upsampling
    ]
    labels = torch.zeros(batch_size, dtype=torch.int64) if model.space.num_classes else None
    codes = torch.zeros(batch_size, height, width, dtype=torch.int64)
    return {"codes": codes, "above": above, "labels": labels}


def loss(model: nn.Module, batch: dict[str, Any]) -> Tensor:
    """Compute what a training step differentiates."""
    output = model(**batch)
    if isinstance(model, VQVAE2):
        return output.reconstruction_loss + output.quantizer_loss + _PREVIEW_WEIGHT * output.preview_loss
    return functional.cross_entropy(output.float().flatten(0, 2), batch["codes"].flatten())


def count(stage: Stage) -> Counts:
    """Count a stage's model."""
    model = _without_values(build_model, stage.model)
    with _NO_VALUES:
        batches = [make_batch(stage.model, stage.size, size) for size in (1, 2)]
        kept = [_kept_bytes(model, batch) for batch in batches]
        forward, step = _macs(lambda: loss(model, batches[0])), _macs(lambda: loss(model, batches[0]).backward())
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    once = sum(size for name, size in sizes.items() if "label" in name or name.startswith("conditioning"))
    return Counts(
        parameters=sum(sizes.values()),
        row_parameters=sum(size for name, size in sizes.items() if ".above." in name and "conditioning" not in name),
        once_parameters=once,
        buffers=sum(buffer.numel() for buffer in model.state_dict().values()) - sum(sizes.values()),
        forward_macs=forward,
        step_macs=step,
        kept_bytes=kept[1] - kept[0],
        kept_bytes_a_part=2 * kept[0] - kept[1],
    )


def tokenizer_passes(stage: Stage) -> dict[str, int]:
    """Count the multiply-adds an image of encoding and of decoding."""
    assert isinstance(stage.model, VQVAE2Config)
    model = _without_values(build_model, stage.model).eval()
    assert isinstance(model, VQVAE2)
    shapes = stage.model.code_shapes(*stage.size)
    with _NO_VALUES, torch.no_grad():
        images = make_batch(stage.model, stage.size, 1)["images"]
        codes = Codes(tuple(torch.zeros(1, *shape, dtype=torch.int64) for shape in shapes))
        encoded, decoded = (
            _macs(lambda: model.encode(images), bfloat16=False),
            _macs(lambda: model.decode(codes), bfloat16=False),
        )
    return {"encode": encoded, "decode": decoded}


def classifier_step_macs(size: tuple[int, int], num_classes: int) -> int:
    """Count the multiply-adds an image of a training step of the package's default classifier."""
    config = ClassifierConfig(classes=tuple(map(str, range(num_classes))), network=ResNetConfig())
    model = _without_values(build_model, config)
    with _NO_VALUES:
        images, labels = torch.zeros(2, 3, *size), torch.zeros(2, dtype=torch.int64)
        return _macs(lambda: functional.cross_entropy(model(images).logits.float(), labels).backward()) // 2


def inception_macs() -> int:
    """Count the multiply-adds of Inception-v3 for an image, which it resizes to 299x299."""
    model = _without_values(Inception).eval()
    with _NO_VALUES, torch.no_grad():
        images = torch.zeros(1, 3, 299, 299)
        return _macs(lambda: model(images), bfloat16=False)


def convolution_macs() -> tuple[int, int]:
    """Count one 3x3 convolution of 8 to 16 channels on 10x12 positions by the counter, and by hand."""
    with _NO_VALUES:
        images, weight = torch.zeros(1, 8, 10, 12), torch.zeros(16, 8, 3, 3)
        counted = _macs(lambda: functional.conv2d(images, weight, padding=1), bfloat16=False)
    return counted, 10 * 12 * 16 * 8 * 3 * 3


def attention_macs() -> tuple[int, int]:
    """Count attention of 4 heads of 8 channels over 20 positions by the counter, and by hand: two products a pair."""
    with _NO_VALUES:
        heads = torch.zeros(1, 4, 20, 8)
        counted = _macs(lambda: functional.scaled_dot_product_attention(heads, heads, heads), bfloat16=False)
    return counted, 2 * 4 * 20 * 20 * 8


def _without_values(build: Callable[..., nn.Module], *arguments: Any) -> nn.Module:
    """Build a model whose tensors have no values: a network of the paper would take seconds and gigabytes."""
    with torch.device("meta"):
        model = build(*arguments)
    # Models ask a tensor's device whether it has autocast, which "meta" has not; these tensors say that they are on a
    # CPU.
    with _NO_VALUES:
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                setattr(module, name, nn.Parameter(_empty_like(parameter)))
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, _empty_like(buffer))
    return model.train()


def _empty_like(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")


def _macs(run: Callable[[], object], *, bfloat16: bool = True) -> int:
    # The counter does not know by itself what attention is called on a CPU.
    forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    mapping = {forward: _attention_flops, backward: _attention_backward_flops}
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    with counter, torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        run()
    flops: int = counter.get_total_flops()
    return flops // 2


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    flops: int = sdpa_flop_count(query, key, value)
    return flops


def _attention_backward_flops(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    flops: int = sdpa_backward_flop_count(gradient, query, key, value)
    return flops


def _kept_bytes(model: nn.Module, batch: dict[str, Any]) -> int:
    """Sum the memory that a forward pass under bfloat16 keeps beside the model and the batch, each piece once."""
    with _kept_storages() as kept, torch.autocast("cpu", torch.bfloat16):
        value = loss(model, batch)
    for tensor in (*model.parameters(), *model.buffers()):
        kept.pop(tensor.untyped_storage()._cdata, None)
    del value
    return sum(kept.values())


@contextmanager
def _kept_storages() -> Iterator[dict[int, int]]:
    """Collect the storages, by address, that are saved for a backward pass, with their bytes."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept
