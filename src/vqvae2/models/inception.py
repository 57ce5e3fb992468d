"""Inception-v3 as the FID uses it: the graph of 2015, and its preprocessing of images.

The weights are those of that graph, as published with pytorch-fid, with their parameter names. The usual Inception-v3
differs: here, average pooling leaves out the padding, and the last block pools by the maximum.

Shapes: B images, C channels, H x W pixels.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqvae2.errors import CheckpointError
from vqvae2.images import to_pixels, to_rgb
from vqvae2.models.classifier import ClassifierOutput

__all__ = ["INCEPTION_FILE", "INCEPTION_SHA256_START", "Inception", "load_inception", "resize_like_tensorflow"]

INCEPTION_FILE = "pt_inception-2015-12-05-6726825d.pth"
"""Name of the file of published weights; it ends with the start of their SHA-256."""
INCEPTION_SHA256_START = "6726825d"
_SIDE_PIXELS = 299
_NUM_FEATURES = 2048
_NUM_CLASSES = 1008  # the 1,000 of ImageNet, and a few that are unused

# One convolution: output channels, then height and width of its kernel.
_Kernel = tuple[int, int, int]
# A branch of a block: convolutions in sequence. Two in a list share their input, and their outputs are concatenated.
_Branch = list[_Kernel | list[_Kernel]]


def _block_5(pool_channels: int) -> dict[str, _Branch]:
    return {
        "branch1x1": [(64, 1, 1)],
        "branch5x5": [(48, 1, 1), (64, 5, 5)],
        "branch3x3dbl": [(64, 1, 1), (96, 3, 3), (96, 3, 3)],
        "branch_pool": [(pool_channels, 1, 1)],
    }


def _block_6(channels: int) -> dict[str, _Branch]:
    long: _Branch = [(channels, 1, 1), (channels, 7, 1), (channels, 1, 7), (channels, 7, 1), (192, 1, 7)]
    return {
        "branch1x1": [(192, 1, 1)],
        "branch7x7": [(channels, 1, 1), (channels, 1, 7), (192, 7, 1)],
        "branch7x7dbl": long,
        "branch_pool": [(192, 1, 1)],
    }


def _block_7() -> dict[str, _Branch]:
    fork: list[_Kernel] = [(384, 1, 3), (384, 3, 1)]
    return {
        "branch1x1": [(320, 1, 1)],
        "branch3x3": [(384, 1, 1), fork],
        "branch3x3dbl": [(448, 1, 1), (384, 3, 3), fork],
        "branch_pool": [(192, 1, 1)],
    }


_BLOCKS: dict[str, dict[str, _Branch]] = {
    "Mixed_5b": _block_5(32),
    "Mixed_5c": _block_5(64),
    "Mixed_5d": _block_5(64),
    "Mixed_6a": {
        "branch3x3": [(384, 3, 3)],
        "branch3x3dbl": [(64, 1, 1), (96, 3, 3), (96, 3, 3)],
        "branch_pool": [],
    },
    "Mixed_6b": _block_6(128),
    "Mixed_6c": _block_6(160),
    "Mixed_6d": _block_6(160),
    "Mixed_6e": _block_6(192),
    "Mixed_7a": {
        "branch3x3": [(192, 1, 1), (320, 3, 3)],
        "branch7x7x3": [(192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3)],
        "branch_pool": [],
    },
    "Mixed_7b": _block_7(),
    "Mixed_7c": _block_7(),
}
_HALVING = ("Mixed_6a", "Mixed_7a")
_POOLING_BY_MAXIMUM = "Mixed_7c"


class Inception(nn.Module):
    """Inception-v3 of the FID.

    ```
    images (B, C, H, W) in [-1, 1]
      -> pixels 0..255 (B, 3, H, W) -> resize (B, 3, 299, 299)
      -> five convolutions, two max pools (B, 192, 35, 35)
      -> Mixed_5b, c, d (B, 288, 35, 35)
      -> Mixed_6a, b, c, d, e (B, 768, 17, 17)
      -> Mixed_7a, b, c (B, 2048, 8, 8)
      -> mean = features (B, 2048) -> fc = logits (B, 1008)
    ```

    Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision"; the graph is the one that Heusel
    et al. 2017 and Salimans et al. 2016 measure with.
    """

    preprocessing = (
        "grey repeated to three channels, transparency over white; rounded to pixels 0..255; resized to 299x299 as "
        "TensorFlow 1 does, bilinear from the upper left corners of pixels, without antialiasing; (pixel - 128) / 128"
    )
    """The preprocessing in words. It is that of the FID's own graph, which published FIDs use."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Convolution(3, (32, 3, 3), stride=2, padded=False)
        self.Conv2d_2a_3x3 = _Convolution(32, (32, 3, 3), padded=False)
        self.Conv2d_2b_3x3 = _Convolution(32, (64, 3, 3))
        self.Conv2d_3b_1x1 = _Convolution(64, (80, 1, 1))
        self.Conv2d_4a_3x3 = _Convolution(80, (192, 3, 3), padded=False)
        channels = 192
        for name, branches in _BLOCKS.items():
            block = _Block(channels, branches, halves=name in _HALVING, pools_by_maximum=name == _POOLING_BY_MAXIMUM)
            self.add_module(name, block)
            channels = block.out_channels
        assert channels == _NUM_FEATURES
        self.fc = nn.Linear(_NUM_FEATURES, _NUM_CLASSES)

    def forward(self, images: Tensor) -> ClassifierOutput:
        """Look at images.

        Args:
            images: float `(B, C, H, W)` in [-1, 1] of any size, grey (C = 1), RGB (3) or RGBA (4).

        Returns:
            Features `(B, 2048)`, which the FID uses. Logits `(B, 1008)` without the bias of the last layer, as Salimans
            et al. 2016 compute them; torch-fidelity calls these "logits_unbiased".

        Raises:
            ValueError: If the images have another number of channels.
        """
        pixels = to_pixels(to_rgb(images)).permute(0, 3, 1, 2).to(self.fc.weight.dtype)
        x = (resize_like_tensorflow(pixels, _SIDE_PIXELS) - 128.0) / 128.0
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = functional.max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = functional.max_pool2d(x, 3, stride=2)
        for name in _BLOCKS:
            x = self.get_submodule(name)(x)
        features = x.mean(dim=(2, 3))
        return ClassifierOutput(logits=functional.linear(features, self.fc.weight), features=features)


class _Convolution(nn.Module):
    """A convolution, normalized over batches, and ReLU."""

    def __init__(self, in_channels: int, kernel: _Kernel, *, stride: int = 1, padded: bool = True) -> None:
        super().__init__()
        out_channels, height, width = kernel
        padding = (height // 2, width // 2) if padded else 0
        self.conv = nn.Conv2d(in_channels, out_channels, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)), inplace=True)


class _Block(nn.Module):
    """Branches side by side, of which the last one pools; their channels are joined.

    Branches are convolutions, by the start of their parameters' names. In a block that halves, the last step of each
    branch takes every second position, does not pad, and pools by the maximum.
    """

    def __init__(self, in_channels: int, branches: dict[str, _Branch], *, halves: bool, pools_by_maximum: bool) -> None:
        super().__init__()
        self.out_channels = 0
        self._halves = halves
        self._pools_by_maximum = pools_by_maximum
        self._steps: dict[str, list[list[str]]] = {branch: [] for branch in branches}
        for branch, kernels in branches.items():
            channels = in_channels
            for number, step in enumerate(kernels, start=1):
                fork = step if isinstance(step, list) else [step]
                name = f"{branch}_{number}" if len(kernels) > 1 else branch
                names = [name] if len(fork) == 1 else [f"{name}{letter}" for letter in "ab"]
                last = halves and number == len(kernels)
                for part, kernel in zip(names, fork, strict=True):
                    self.add_module(part, _Convolution(channels, kernel, stride=2 if last else 1, padded=not last))
                self._steps[branch].append(names)
                channels = sum(kernel[0] for kernel in fork)
            self.out_channels += channels

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for branch, steps in self._steps.items():
            out = self._pool(x) if branch == "branch_pool" else x
            for names in steps:
                out = torch.cat([self.get_submodule(name)(out) for name in names], dim=1)
            outputs.append(out)
        return torch.cat(outputs, dim=1)

    def _pool(self, x: Tensor) -> Tensor:
        if self._halves:
            return functional.max_pool2d(x, 3, stride=2)
        if self._pools_by_maximum:
            return functional.max_pool2d(x, 3, stride=1, padding=1)
        return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def load_inception(path: Path) -> Inception:
    """Build the network, in evaluation mode, from a file of its published weights; no code that it may hold runs.

    Raises:
        CheckpointError: If the file is missing, or its hash is not that of these weights.
    """
    remedy = f"give {INCEPTION_FILE} as published with pytorch-fid"
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; {remedy}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(INCEPTION_SHA256_START):
        raise CheckpointError(
            f"{path} must be the weights of the FID, with a SHA-256 of {INCEPTION_SHA256_START}..., "
            f"but has {found}; {remedy}"
        )
    weights = torch.load(path, map_location="cpu", weights_only=True)
    network = Inception()
    network.load_state_dict({name: value for name, value in weights.items() if not name.startswith("AuxLogits.")})
    return network.eval()


def resize_like_tensorflow(pixels: Tensor, side: int) -> Tensor:
    """Resize images to a square as TensorFlow 1 does: position i of the result lies at i * H / side in the original.

    So the centres of pixels move towards the upper left corner, and a smaller result is not antialiased. `(B, C, H, W)`
    becomes `(B, C, side, side)`, interpolated between the two nearest pixels along each axis.
    """
    for dim in (3, 2):  # W, then H
        size = pixels.shape[dim]
        positions = torch.arange(side, device=pixels.device, dtype=pixels.dtype) * (size / side)
        before = positions.long()
        after = (before + 1).clamp(max=size - 1)
        weights = (positions - before).view(-1, *(1,) * (3 - dim))
        pixels = torch.lerp(pixels.index_select(dim, before), pixels.index_select(dim, after), weights)
    return pixels
