"""VQ-VAE-2: a hierarchy of discrete image codes, and autoregressive priors over them.

>>> from vqvae2 import Pipeline
>>> pipeline = Pipeline.from_pretrained("vqvae2-demo")
>>> images = pipeline.sample(16, seed=0)  # (16, 3, 64, 64), about [-1, 1]
"""

from vqvae2.codec.bitstream import Bitstream, Header, read_bitstream
from vqvae2.codec.codec import Codec
from vqvae2.codes import Codes
from vqvae2.config import (
    ClassifierConfig,
    ClassifierTrainingConfig,
    CodebookLossConfig,
    CodeSpace,
    EMAConfig,
    EvaluationConfig,
    FSQConfig,
    ImageConfig,
    PixelSNAILConfig,
    PriorConfig,
    PriorTrainingConfig,
    ResNetConfig,
    SamplingConfig,
    TokenizerTrainingConfig,
    TransformerConfig,
    VQVAE2Config,
)
from vqvae2.config.presets import PRESETS, RunConfig
from vqvae2.data import open_images
from vqvae2.errors import (
    BitstreamError,
    CheckpointError,
    ConfigError,
    DataError,
    HubError,
    OutputError,
    TrainingError,
    VQVAE2Error,
)
from vqvae2.evaluation.evaluation import Evaluation
from vqvae2.evaluation.feature_network import FeatureNetwork
from vqvae2.evaluation.networks import find_network
from vqvae2.images import decode_image, encode_png, from_pixels, image_grid, save_png, to_pixels
from vqvae2.models.classifier import Classifier, ClassifierOutput
from vqvae2.models.pixelsnail import PixelSNAILPrior
from vqvae2.models.prior import Prior
from vqvae2.models.transformer import TransformerPrior
from vqvae2.models.vqvae import VQVAE2, VQVAE2Output
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.pipeline.sample_streams import sample_accepted, sample_all
from vqvae2.runs.run import Run
from vqvae2.sampling.completion import complete_codes, hidden_codes, mask_below
from vqvae2.sampling.sample import sample_codes
from vqvae2.sampling.walk import walk
from vqvae2.system.version import __version__
from vqvae2.training.runtime import choose_device, choose_runtime

__all__ = [
    "PRESETS",
    "VQVAE2",
    "Bitstream",
    "BitstreamError",
    "CheckpointError",
    "Classifier",
    "ClassifierConfig",
    "ClassifierOutput",
    "ClassifierTrainingConfig",
    "CodeSpace",
    "CodebookLossConfig",
    "Codec",
    "Codes",
    "ConfigError",
    "DataError",
    "EMAConfig",
    "Evaluation",
    "EvaluationConfig",
    "FSQConfig",
    "FeatureNetwork",
    "Header",
    "HubError",
    "ImageConfig",
    "OutputError",
    "Pipeline",
    "PipelineConfig",
    "PixelSNAILConfig",
    "PixelSNAILPrior",
    "Prior",
    "PriorConfig",
    "PriorTrainingConfig",
    "ResNetConfig",
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
    "decode_image",
    "encode_png",
    "find_network",
    "from_pixels",
    "hidden_codes",
    "image_grid",
    "mask_below",
    "open_images",
    "read_bitstream",
    "sample_accepted",
    "sample_all",
    "sample_codes",
    "save_png",
    "to_pixels",
    "walk",
]
