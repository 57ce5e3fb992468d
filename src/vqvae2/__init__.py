"""VQ-VAE-2: a hierarchy of discrete image codes, and autoregressive priors over them.

>>> from vqvae2 import Pipeline
>>> pipeline = Pipeline.from_pretrained("vqvae2-demo")
>>> images = pipeline.sample(16)  # (16, 3, 64, 64), about [-1, 1]
"""

from importlib import import_module
from typing import TYPE_CHECKING

# Type checkers and editors read these imports; Python reads `_HOMES`, and imports a name when it is first used.
if TYPE_CHECKING:
    from vqvae2.codec.bitstream import Bitstream as Bitstream
    from vqvae2.codec.bitstream import Header as Header
    from vqvae2.codec.bitstream import read_bitstream as read_bitstream
    from vqvae2.codec.codec import Codec as Codec
    from vqvae2.codes import Codes as Codes
    from vqvae2.config import ClassifierConfig as ClassifierConfig
    from vqvae2.config import ClassifierTrainingConfig as ClassifierTrainingConfig
    from vqvae2.config import CodebookLossConfig as CodebookLossConfig
    from vqvae2.config import CodeSpace as CodeSpace
    from vqvae2.config import DecoderConfig as DecoderConfig
    from vqvae2.config import DecoderTrainingConfig as DecoderTrainingConfig
    from vqvae2.config import EMAConfig as EMAConfig
    from vqvae2.config import EvaluationConfig as EvaluationConfig
    from vqvae2.config import ExtractionConfig as ExtractionConfig
    from vqvae2.config import FSQConfig as FSQConfig
    from vqvae2.config import ImageConfig as ImageConfig
    from vqvae2.config import PixelSNAILConfig as PixelSNAILConfig
    from vqvae2.config import PriorConfig as PriorConfig
    from vqvae2.config import PriorTrainingConfig as PriorTrainingConfig
    from vqvae2.config import ResNetConfig as ResNetConfig
    from vqvae2.config import RunConfig as RunConfig
    from vqvae2.config import SamplingConfig as SamplingConfig
    from vqvae2.config import TokenizerTrainingConfig as TokenizerTrainingConfig
    from vqvae2.config import TransformerConfig as TransformerConfig
    from vqvae2.config import TuningConfig as TuningConfig
    from vqvae2.config import VQVAE2Config as VQVAE2Config
    from vqvae2.config.presets import PRESETS as PRESETS
    from vqvae2.data import open_images as open_images
    from vqvae2.errors import BitstreamError as BitstreamError
    from vqvae2.errors import CheckpointError as CheckpointError
    from vqvae2.errors import ConfigError as ConfigError
    from vqvae2.errors import DataError as DataError
    from vqvae2.errors import HubError as HubError
    from vqvae2.errors import OutputError as OutputError
    from vqvae2.errors import TrainingError as TrainingError
    from vqvae2.errors import VQVAE2Error as VQVAE2Error
    from vqvae2.evaluation.bench import EvaluationSubject as EvaluationSubject
    from vqvae2.evaluation.evaluation import Evaluation as Evaluation
    from vqvae2.evaluation.networks import EvaluationNetworks as EvaluationNetworks
    from vqvae2.evaluation.networks import FeatureNetwork as FeatureNetwork
    from vqvae2.evaluation.networks import find_network as find_network
    from vqvae2.evaluation.tuning import tune_sampling as tune_sampling
    from vqvae2.images import decode_image as decode_image
    from vqvae2.images import encode_png as encode_png
    from vqvae2.images import from_pixels as from_pixels
    from vqvae2.images import image_grid as image_grid
    from vqvae2.images import save_png as save_png
    from vqvae2.images import to_pixels as to_pixels
    from vqvae2.metrics.results import Results as Results
    from vqvae2.models.classifier import Classifier as Classifier
    from vqvae2.models.classifier import ClassifierOutput as ClassifierOutput
    from vqvae2.models.classifier import FeatureMaps as FeatureMaps
    from vqvae2.models.decoder import Decoder as Decoder
    from vqvae2.models.pixelsnail import PixelSNAILPrior as PixelSNAILPrior
    from vqvae2.models.prior import Prior as Prior
    from vqvae2.models.transformer import TransformerPrior as TransformerPrior
    from vqvae2.models.vqvae import VQVAE2 as VQVAE2
    from vqvae2.models.vqvae import VQVAE2Output as VQVAE2Output
    from vqvae2.pipeline.config import PipelineConfig as PipelineConfig
    from vqvae2.pipeline.model_card import CardFacts as CardFacts
    from vqvae2.pipeline.onnx import export_onnx as export_onnx
    from vqvae2.pipeline.pipeline import Pipeline as Pipeline
    from vqvae2.pipeline.sample_streams import sample_accepted as sample_accepted
    from vqvae2.pipeline.sample_streams import sample_all as sample_all
    from vqvae2.runs.run import Run as Run
    from vqvae2.runs.start import start_config as start_config
    from vqvae2.sampling.completion import complete_codes as complete_codes
    from vqvae2.sampling.completion import hidden_codes as hidden_codes
    from vqvae2.sampling.completion import mask_below as mask_below
    from vqvae2.sampling.hooks import Hooks as Hooks
    from vqvae2.sampling.request import DrawRequest as DrawRequest
    from vqvae2.sampling.sample import sample_codes as sample_codes
    from vqvae2.sampling.walk import walk as walk
    from vqvae2.system.version import __version__ as __version__
    from vqvae2.training.runtime import choose_device as choose_device
    from vqvae2.training.runtime import choose_runtime as choose_runtime
    from vqvae2.training.tracking import Tracking as Tracking

_HOMES = {
    "codec.bitstream": "Bitstream Header read_bitstream",
    "codec.codec": "Codec",
    "codes": "Codes",
    "config": "ClassifierConfig ClassifierTrainingConfig CodebookLossConfig CodeSpace DecoderConfig "
    "DecoderTrainingConfig EMAConfig EvaluationConfig ExtractionConfig FSQConfig ImageConfig PixelSNAILConfig "
    "PriorConfig PriorTrainingConfig ResNetConfig RunConfig SamplingConfig TokenizerTrainingConfig TransformerConfig "
    "TuningConfig VQVAE2Config",
    "config.presets": "PRESETS",
    "data": "open_images",
    "errors": "BitstreamError CheckpointError ConfigError DataError HubError OutputError TrainingError VQVAE2Error",
    "evaluation.bench": "EvaluationSubject",
    "evaluation.evaluation": "Evaluation",
    "evaluation.networks": "EvaluationNetworks FeatureNetwork find_network",
    "evaluation.tuning": "tune_sampling",
    "images": "decode_image encode_png from_pixels image_grid save_png to_pixels",
    "metrics.results": "Results",
    "models.classifier": "Classifier ClassifierOutput FeatureMaps",
    "models.decoder": "Decoder",
    "models.pixelsnail": "PixelSNAILPrior",
    "models.prior": "Prior",
    "models.transformer": "TransformerPrior",
    "models.vqvae": "VQVAE2 VQVAE2Output",
    "pipeline.config": "PipelineConfig",
    "pipeline.model_card": "CardFacts",
    "pipeline.onnx": "export_onnx",
    "pipeline.pipeline": "Pipeline",
    "pipeline.sample_streams": "sample_accepted sample_all",
    "runs.run": "Run",
    "runs.start": "start_config",
    "sampling.completion": "complete_codes hidden_codes mask_below",
    "sampling.hooks": "Hooks",
    "sampling.request": "DrawRequest",
    "sampling.sample": "sample_codes",
    "sampling.walk": "walk",
    "system.version": "__version__",
    "training.runtime": "choose_device choose_runtime",
    "training.tracking": "Tracking",
}
_MODULE_OF = {name: f"vqvae2.{module}" for module, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_MODULE_OF, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: importing all of them would take seconds."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
