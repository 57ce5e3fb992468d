"""A model that is larger than the limit is not made, whatever it is made of."""

import pytest
import torch

from vqvae2.config import (
    ClassifierConfig,
    CodebookLossConfig,
    FSQConfig,
    PixelSNAILConfig,
    PriorConfig,
    ResNetConfig,
    TransformerConfig,
    VQVAE2Config,
)
from vqvae2.models.checkpoint import AllocationLimit, AllocationLimitError, build_model

CONFIGS = [
    VQVAE2Config(hidden_channels=16),
    VQVAE2Config(hidden_channels=16, quantizer=CodebookLossConfig()),
    VQVAE2Config(hidden_channels=16, quantizer=FSQConfig()),
    PriorConfig(network=PixelSNAILConfig(hidden_channels=16, residual_channels=16)),
    PriorConfig(network=TransformerConfig(hidden_channels=16, feedforward_channels=16)),
    ClassifierConfig(classes=("a", "b"), network=ResNetConfig(hidden_channels=8)),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_every_model_is_made_within_twice_its_elements_and_not_within_half(config):
    saved = sum(tensor.numel() for tensor in build_model(config).state_dict().values())
    with AllocationLimit(2 * saved):
        build_model(config)
    with pytest.raises(AllocationLimitError), AllocationLimit(saved // 2):
        build_model(config)


ABOVE_A_HUNDRED = [
    *(lambda: torch.empty(10**30), lambda: torch.zeros(10, 10, 2), lambda: torch.ones((101,))),
    *(
        lambda: torch.full((101,), 1.0),
        lambda: torch.randn(size=(101,)),
        lambda: torch.eye(11),
        lambda: torch.eye(2, 51),
    ),
    *(lambda: torch.arange(101), lambda: torch.arange(0, 101), lambda: torch.nn.Linear(10**9, 10**9)),
    lambda: [torch.empty(60), torch.empty(60)],
]


@pytest.mark.parametrize("make", ABOVE_A_HUNDRED, ids=range(len(ABOVE_A_HUNDRED)))
def test_what_is_above_the_limit_is_not_made(make):
    with pytest.raises(AllocationLimitError), AllocationLimit(100):
        make()


def test_what_is_below_the_limit_is_made_as_ever():
    with AllocationLimit(100):
        made = [torch.zeros(()), torch.zeros(2, 3), torch.eye(3), torch.arange(3), torch.full((2,), 4.0)]
    assert [tuple(tensor.shape) for tensor in made] == [(), (2, 3), (3, 3), (3,), (2,)]
