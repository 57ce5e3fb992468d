"""Parts of the tokenizer's networks compute what torch's own layers do."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from vqvae2.nn.residual import Upsample


@pytest.mark.parametrize("stride", [2, 4])
def test_upsampling_is_a_transposed_convolution_with_its_bias(stride: int) -> None:
    torch.manual_seed(0)
    upsample = Upsample(5, 6, 3, stride).double()
    inputs = torch.randn(2, 5, 3, 4, dtype=torch.float64)

    expected = inputs
    for layer in upsample:
        if isinstance(layer, nn.ConvTranspose2d):
            expected = functional.conv_transpose2d(expected, layer.weight, layer.bias, stride=2, padding=1)
        else:
            expected = expected.relu()
    gradients = torch.autograd.grad(expected.square().sum(), list(upsample.parameters()))

    actual = upsample(inputs)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(torch.autograd.grad(actual.square().sum(), list(upsample.parameters())), gradients)


def test_weights_of_earlier_files_fit() -> None:
    assert [*Upsample(5, 6, 3, 4).state_dict()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
