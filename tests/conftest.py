"""What all tests share: small machines' manners, and tiny models."""

import pytest
import torch

from vqvae2.config import CodeSpace, PixelSNAILConfig, PriorConfig
from vqvae2.models.pixelsnail import PixelSNAILPrior


@pytest.fixture(autouse=True)
def _reproducible():
    torch.set_num_threads(1)  # the test runner fills the cores with processes
    torch.manual_seed(0)


@pytest.fixture
def make_prior():
    """Build a tiny prior of a level, in float64, with weights large enough for its logits to matter."""

    def make(level: int = 0, *, num_classes: int = 0, num_embeddings: int = 5, **network: object) -> PixelSNAILPrior:
        defaults = {
            "hidden_channels": 8,
            "residual_channels": 6,
            "num_layers": 4,
            "attention_every": 2,
            "num_heads": 2,
            "output_layers": 1,
            "conditioning_layers": 2,
        }
        space = CodeSpace(
            level=level,
            num_embeddings=(*range(num_embeddings + level, num_embeddings, -1), num_embeddings),
            upsampling=tuple(2 ** (level - above) for above in range(level)),
            num_classes=num_classes,
        )
        prior = PixelSNAILPrior(PriorConfig(space=space, network=PixelSNAILConfig(**(defaults | network))))
        for parameter in prior.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
        return prior.double().eval()

    return make
