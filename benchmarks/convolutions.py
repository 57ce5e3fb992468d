"""The tokenizer's first, last and widest convolutions, as they are and written otherwise.

    python benchmarks/convolutions.py                                  # 256x256, batch 8
    python benchmarks/convolutions.py --size 64 --batch-size 32 --channels 64
    python benchmarks/convolutions.py --precision bfloat16

The first one, 4x4 with a stride of 2 from three channels, is also a 2x2 convolution of 12 channels, after each block of
2x2 pixels became one position; and the last, transposed, is a 3x3 convolution to 12 channels before positions become
blocks. The bias of the one before it can be added afterwards, as the package does with all that are transposed. A 1x1
convolution is also a product of matrices. Weights keep their shapes. Times are medians, forward and backward with
channels last.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import torch
from machine import describe_machine
from timing import step_seconds
from torch import Tensor
from torch.nn import functional

Convolution = Callable[[Tensor, Tensor, Tensor], Tensor]
_ROUNDS = 7


def first(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve `(B, 3, H, W)` with `(C, 3, 4, 4)` into `(B, C, H / 2, W / 2)`."""
    return functional.conv2d(images, weight, bias, stride=2, padding=1)


def first_of_blocks(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Do the same over blocks."""
    blocks = functional.pixel_unshuffle(functional.pad(images, (1, 1, 1, 1)), 2)
    return functional.conv2d(blocks, functional.pixel_unshuffle(weight, 2), bias)


def last(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve `(B, C, H / 2, W / 2)`, transposed, with `(C, 3, 4, 4)` into `(B, 3, H, W)`."""
    return functional.conv_transpose2d(features, weight, bias, stride=2, padding=1)


def last_of_blocks(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Do the same over blocks."""
    taps = functional.pixel_unshuffle(functional.pad(weight.transpose(0, 1), (1, 1, 1, 1)), 2)  # (3, 4 C, 3, 3)
    weight = taps.unflatten(1, (weight.shape[0], 4)).flip(3, 4).transpose(1, 2).flatten(0, 1)  # (12, C, 3, 3)
    return functional.pixel_shuffle(functional.conv2d(features, weight, bias.repeat_interleave(4), padding=1), 2)


def bias_afterwards(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Do the same as `last` with any `(C, O, 4, 4)`, in two operations."""
    return functional.conv_transpose2d(features, weight, stride=2, padding=1).add_(bias[:, None, None])


def as_product(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Do the same as a 1x1 convolution, by a product of matrices."""
    return functional.linear(features.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


def milliseconds(step: Callable[[], object], *, on_gpu: bool) -> float:
    """Give the median time of a step."""
    return 1e3 * statistics.median(step_seconds(step, _ROUNDS + 2, on_gpu=on_gpu)[2:])


def print_ways(name: str, ways: tuple[Convolution, Convolution], inputs: Tensor, *parameters: Tensor) -> None:
    """Print a row: times of two ways to compute the same, forward and backward, and how far apart they are."""
    parameters = tuple(parameter.detach().requires_grad_() for parameter in parameters)
    outputs = [way(inputs, *parameters) for way in ways]
    gradient = torch.ones_like(outputs[0])

    def train(way: Convolution) -> None:
        torch.autograd.grad(
            way(inputs, *parameters), [*parameters, *([inputs] if inputs.requires_grad else [])], gradient
        )

    times = [f"{milliseconds(partial(train, way), on_gpu=inputs.is_cuda):.1f}" for way in ways]
    difference = (outputs[0] - outputs[1]).abs().max() / outputs[0].abs().max()
    print(f"| {name} | {' | '.join(times)} | {difference.item():.1e} |")


def print_layout(memory_format: torch.memory_format, inputs: Tensor, weight: Tensor) -> None:
    """Print a row: times of a 3x3 convolution and of its gradients in a layout."""
    inputs, weight = (tensor.contiguous(memory_format=memory_format) for tensor in (inputs, weight))
    gradient, common = torch.randn_like(inputs), ([len(weight)], [1, 1], [1, 1], [1, 1], False, [0, 0], 1)
    steps: list[Callable[[], object]] = [partial(functional.conv2d, inputs, weight, padding=1)]
    for wanted in ([True, False, False], [False, True, False]):
        steps.append(partial(torch.ops.aten.convolution_backward, gradient, inputs, weight, *common, wanted))
    times = [f"{milliseconds(step, on_gpu=inputs.is_cuda):.1f}" for step in steps]
    print(f"| {str(memory_format).removeprefix('torch.')} | {' | '.join(times)} |")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--channels", type=int, default=128, help="of the tokenizer")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    size, batch_size, wide = arguments.size, arguments.batch_size, arguments.channels
    print(describe_machine())

    def random(*shape: int) -> Tensor:
        place = {"device": arguments.device, "dtype": getattr(torch, arguments.precision)}
        return torch.randn(*shape).to(**place).contiguous(memory_format=torch.channels_last)

    narrow, of_narrow = wide // 2, random(wide // 2, 1, 1, 1).flatten()  # at half of the size
    print(
        "| convolution | as it is, ms | otherwise, ms | largest difference, of the largest value |\n|---|---|---|---|"
    )
    weight = random(narrow, 3, 4, 4)
    print_ways("first", (first, first_of_blocks), random(batch_size, 3, size, size), weight, of_narrow)
    features = random(batch_size, narrow, size // 2, size // 2).requires_grad_()
    print_ways("last", (last, last_of_blocks), features, weight, of_narrow[:3])
    features = random(batch_size, wide, size // 4, size // 4).requires_grad_()
    print_ways("one before", (last, bias_afterwards), features, random(wide, narrow, 4, 4), of_narrow)
    features = random(batch_size, 2 * wide, size // 4, size // 4).requires_grad_()
    print_ways("1x1", (functional.conv2d, as_product), features, random(narrow, 2 * wide, 1, 1), of_narrow)
    print("\n| 3x3 | forward, ms | gradient of its inputs, ms | of its weights, ms |\n|---|---|---|---|")
    for memory_format in (torch.channels_last, torch.contiguous_format):
        print_layout(memory_format, random(batch_size, wide, size // 4, size // 4), random(wide, wide, 3, 3))


if __name__ == "__main__":
    main()
