"""Tiny pipelines of any make, and the second decoder."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
import torch

from vqvae2.config import NETWORK_CONFIGS, CodeSpace, EMAConfig, PriorConfig, VQVAE2Config
from vqvae2.models.checkpoint import build_model, fingerprint
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.pipeline import Pipeline

_NETWORKS = {
    "pixelsnail": {"residual_channels": 6, "num_layers": 2, "attention_every": 2},
    "transformer": {"feedforward_channels": 12, "num_layers": 2},
}


def make_pipeline(
    strides: Sequence[int] = (2, 2),
    *,
    num_embeddings: int = 20,
    families: Sequence[str] = ("transformer", "pixelsnail"),
    num_classes: int = 2,
    channels: int = 3,
    bit_depth: int = 8,
    scale: float = 0.4,
    seed: int = 0,
) -> Pipeline:
    """Build a pipeline of random weights, whose logits spread the more the larger `scale` is."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tokenizer = VQVAE2(
            VQVAE2Config(
                in_channels=channels,
                strides=tuple(strides),
                hidden_channels=8,
                residual_channels=4,
                residual_layers=1,
                quantizer=EMAConfig(num_embeddings=num_embeddings, embedding_dim=4),
            )
        ).eval()
        priors = []
        shapes = tokenizer.config.code_shapes(tokenizer.config.stride, tokenizer.config.stride)
        for level, family in enumerate(families[: len(strides)]):
            space = CodeSpace.of_level(
                level, num_embeddings=tokenizer.config.codebook_sizes, shapes=shapes, num_classes=num_classes
            )
            options = {"hidden_channels": 8, "num_heads": 2, "conditioning_layers": 1, **_NETWORKS[family]}
            network = NETWORK_CONFIGS[family](**options)
            prior = build_model(PriorConfig(space=space, network=network, tokenizer=fingerprint(tokenizer))).eval()
            for parameter in prior.parameters():
                torch.nn.init.normal_(parameter, std=scale)
            priors.append(prior)
    config = PipelineConfig(
        image_size=(16, 24),
        bit_depth=bit_depth,
        classes=tuple(f"class {index}" for index in range(num_classes)),
        class_counts=(1,) * num_classes,
        has_priors=bool(priors),
    )
    return Pipeline(tokenizer, config, priors)


@pytest.fixture(name="make_pipeline", scope="session")
def _make_pipeline():
    return make_pipeline


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The second decoder, `reference.py`."""
    spec = importlib.util.spec_from_file_location("codec_reference", Path(__file__).with_name("reference.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
