"""Configs: frozen, and checked when they are made, changed by `dataclasses.replace`, or read.

A config is all that is needed to build a model or to repeat a training, and every checkpoint carries its own.
`vqvae2.config.presets` holds the named ones.
"""

from vqvae2.config.base import MAX_LEVELS as MAX_LEVELS
from vqvae2.config.base import Config as Config
from vqvae2.config.base import require_same_config as require_same_config
from vqvae2.config.classifiers import ClassifierConfig as ClassifierConfig
from vqvae2.config.classifiers import ClassifierFamily as ClassifierFamily
from vqvae2.config.classifiers import Lite0Config as Lite0Config
from vqvae2.config.classifiers import ResNetConfig as ResNetConfig
from vqvae2.config.classifiers import network_for_size as network_for_size
from vqvae2.config.images import BUILTIN_GROUP_PATTERN as BUILTIN_GROUP_PATTERN
from vqvae2.config.images import MAX_DECODED_PIXELS as MAX_DECODED_PIXELS
from vqvae2.config.images import ImageConfig as ImageConfig
from vqvae2.config.images import Resize as Resize
from vqvae2.config.priors import NETWORK_CONFIGS as NETWORK_CONFIGS
from vqvae2.config.priors import CodeSpace as CodeSpace
from vqvae2.config.priors import LevelSampling as LevelSampling
from vqvae2.config.priors import NetworkConfig as NetworkConfig
from vqvae2.config.priors import NetworkFamily as NetworkFamily
from vqvae2.config.priors import PixelSNAILConfig as PixelSNAILConfig
from vqvae2.config.priors import PriorConfig as PriorConfig
from vqvae2.config.priors import SamplingConfig as SamplingConfig
from vqvae2.config.priors import TransformerConfig as TransformerConfig
from vqvae2.config.priors import network_of_family as network_of_family
from vqvae2.config.run import EVALUATION_METRICS as EVALUATION_METRICS
from vqvae2.config.run import ClassifierRunConfig as ClassifierRunConfig
from vqvae2.config.run import EvaluationConfig as EvaluationConfig
from vqvae2.config.run import EvaluationMetric as EvaluationMetric
from vqvae2.config.run import ExtractionConfig as ExtractionConfig
from vqvae2.config.run import RunConfig as RunConfig
from vqvae2.config.run import TuningConfig as TuningConfig
from vqvae2.config.run import provisional_configs as provisional_configs
from vqvae2.config.tokenizer import QUANTIZER_CONFIGS as QUANTIZER_CONFIGS
from vqvae2.config.tokenizer import CodebookLossConfig as CodebookLossConfig
from vqvae2.config.tokenizer import DecoderConfig as DecoderConfig
from vqvae2.config.tokenizer import DecoderName as DecoderName
from vqvae2.config.tokenizer import EMAConfig as EMAConfig
from vqvae2.config.tokenizer import FSQConfig as FSQConfig
from vqvae2.config.tokenizer import QuantizerConfig as QuantizerConfig
from vqvae2.config.tokenizer import QuantizerFamily as QuantizerFamily
from vqvae2.config.tokenizer import VQVAE2Config as VQVAE2Config
from vqvae2.config.tokenizer import level_names as level_names
from vqvae2.config.training import ClassifierTrainingConfig as ClassifierTrainingConfig
from vqvae2.config.training import DecoderTrainingConfig as DecoderTrainingConfig
from vqvae2.config.training import Device as Device
from vqvae2.config.training import LossNetwork as LossNetwork
from vqvae2.config.training import Precision as Precision
from vqvae2.config.training import PriorTrainingConfig as PriorTrainingConfig
from vqvae2.config.training import TokenizerTrainingConfig as TokenizerTrainingConfig
from vqvae2.config.training import TrackerName as TrackerName
from vqvae2.config.training import TrainingConfig as TrainingConfig
