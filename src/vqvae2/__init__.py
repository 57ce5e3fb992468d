"""VQ-VAE-2: a hierarchy of discrete image codes, and autoregressive priors over them.

>>> from vqvae2 import Pipeline
>>> pipeline = Pipeline.from_pretrained("vqvae2-demo")
>>> images = pipeline.sample(16, seed=0)  # (16, 3, 64, 64), about [-1, 1]
"""

from vqvae2.codes import Codes
from vqvae2.completion import complete_codes, hidden_codes, mask_below
from vqvae2.config import (
    CodebookLossConfig,
    CodeSpace,
    EMAConfig,
    FSQConfig,
    ImageConfig,
    PixelSNAILConfig,
    PriorConfig,
    PriorTrainingConfig,
    SamplingConfig,
    TokenizerTrainingConfig,
    TransformerConfig,
    VQVAE2Config,
)
from vqvae2.device import choose_device, choose_runtime
from vqvae2.errors import CheckpointError, ConfigError, DataError, OutputError, TrainingError, VQVAE2Error
from vqvae2.models.pixelsnail import PixelSNAILPrior
from vqvae2.models.prior import Prior
from vqvae2.models.transformer import TransformerPrior
from vqvae2.models.vqvae import VQVAE2, VQVAE2Output
from vqvae2.pipeline import Pipeline
from vqvae2.pipeline_config import PipelineConfig
from vqvae2.presets import PRESETS, RunConfig
from vqvae2.runs import Run
from vqvae2.sampling import sample_codes
from vqvae2.version import __version__
from vqvae2.walk import walk

__all__ = [
    "PRESETS",
    "VQVAE2",
    "CheckpointError",
    "CodeSpace",
    "CodebookLossConfig",
    "Codes",
    "ConfigError",
    "DataError",
    "EMAConfig",
    "FSQConfig",
    "ImageConfig",
    "OutputError",
    "Pipeline",
    "PipelineConfig",
    "PixelSNAILConfig",
    "PixelSNAILPrior",
    "Prior",
    "PriorConfig",
    "PriorTrainingConfig",
    "Run",
    "RunConfig",
    "SamplingConfig",
    "TokenizerTrainingConfig",
    "TrainingError",
    "TransformerConfig",
    "TransformerPrior",
    "VQVAE2Config",
    "VQVAE2Error",
    "VQVAE2Output",
    "__version__",
    "choose_device",
    "choose_runtime",
    "complete_codes",
    "hidden_codes",
    "mask_below",
    "sample_codes",
    "walk",
]
