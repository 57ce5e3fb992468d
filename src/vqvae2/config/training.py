"""Configs of trainings."""

from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from vqvae2.config.base import BelowOne, Config, Share, require

Device = Literal["auto", "cpu", "cuda", "mps"]
"""Where to compute; auto takes a GPU if there is one."""
Precision = Literal["auto", "float32", "bfloat16"]
"""Of products and convolutions; auto takes bfloat16 where it is faster."""
LossNetwork = Literal["auto", "lite0", "vgg16", "own", "none"]
"""Which frozen network the loss of a second decoder looks through."""
TrackerName = Literal["tensorboard", "wandb", "trackio"]
"""What shows curves and pictures while training."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Config):
    """One training, of any model."""

    steps: PositiveInt = 2000
    """Optimizer steps."""
    batch_size: PositiveInt = 64
    """Images per step."""
    accumulation: PositiveInt = 1
    """Parts of a batch whose gradients are added up, to save memory; divides `batch_size`."""
    learning_rate: PositiveFloat = 1e-3
    """The highest rate."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """After the warm-up, the rate falls to 0 along a cosine, or stays constant."""
    warmup_fraction: Share = 0.05
    """Share of the steps in which the rate rises linearly from 0."""
    weight_decay: NonNegativeFloat = 0.01
    """AdamW's weight decay, on the weights of convolutions and linear layers."""
    max_grad_norm: PositiveFloat = 1.0
    """Gradients are scaled down to this norm."""
    ema_decay: BelowOne = 0.999
    """Decay of the moving average of the weights, which is validated and saved; 0 takes the weights themselves."""
    max_validations: PositiveInt = 20
    """Validate after each epoch, but at most this often, evenly spread; always after the last step."""
    patience: NonNegativeInt = 0
    """End the training after this many validations in a row without a better score; 0 for never. Either way, the best
    validated model is kept. The schedule covers all `steps`, so a training that ends early has not seen the low rates
    at the end of its cosine; if it ends long before, ask for fewer `steps`."""
    checkpoint_seconds: NonNegativeFloat = 60.0
    """Least time between two checkpoints to resume from; the last step always writes one."""
    keep_checkpoints: PositiveInt = 2
    """Checkpoints to keep; if the newest is damaged, training resumes from the one before."""
    seed: NonNegativeInt = 0
    """Seed of initialization, order, flips and dropout."""

    def __post_init__(self) -> None:
        require(
            self.batch_size % self.accumulation == 0,
            f"`accumulation` must divide `batch_size` ({self.batch_size}), got {self.accumulation}",
        )


@dataclass(frozen=True, kw_only=True)
class TokenizerTrainingConfig(TrainingConfig):
    """The training of a tokenizer."""

    horizontal_flips: bool = False
    """Mirror half of the training images at random."""


@dataclass(frozen=True, kw_only=True)
class PriorTrainingConfig(TrainingConfig):
    """The training of a prior."""

    patience: NonNegativeInt = 5
    """End the training after this many validations in a row without a better score, and keep the best model; 0 for
    never. A prior memorizes a small set of images long before it has seen all `steps`, which the schedule covers
    nonetheless. 5 is a quarter of the default `max_validations`."""
    label_dropout: Share = 0.1
    """Share of images whose class is hidden from the prior, so that it also works without one."""
    horizontal_flips: bool = False
    """At each step, show the codes of the mirrored image for half of the training images, at random. Extraction then
    keeps these codes too."""


@dataclass(frozen=True, kw_only=True)
class ClassifierTrainingConfig(TrainingConfig):
    """The training of a classifier."""

    steps: PositiveInt = 4000
    batch_size: PositiveInt = 128
    learning_rate: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 0.05
    ema_decay: BelowOne = 0.99
    """Decay of the moving average of the weights, which is validated and saved; 0 takes the weights themselves. Keep
    it short: the average uses batch norm statistics of the last few steps."""
    label_smoothing: BelowOne = 0.1
    """Share of the target that is spread over all classes (Szegedy et al. 2016, sec. 7)."""
    horizontal_flips: bool = True
    """Mirror half of the training images at random; not for digits and letters."""
    shift_fraction: BelowOne = 0.125
    """Shift each training image at random by up to this share of its height and width, and repeat its border. The
    default is the customary 4 pixels of 32; 0 for none."""


@dataclass(frozen=True, kw_only=True)
class DecoderTrainingConfig(TrainingConfig):
    """The training of a second decoder."""

    batch_size: PositiveInt = 8
    weight_decay: NonNegativeFloat = 0.0
    ema_decay: BelowOne = 0.995
    """Decay of the moving average of the weights, which is validated and saved; 0 takes the weights themselves."""
    patience: Literal[0] = 0
    """Always 0: the squared error of a sharp decoder may rise, so all steps are taken, and the last model is kept."""
    horizontal_flips: bool = False
    """Mirror half of the training images at random."""
    loss_network: LossNetwork = "auto"
    """Frozen network of the loss: lite0, EfficientNet-Lite0 of the extra `eval`; vgg16 with a file of its weights; own,
    one that `Run.train_decoder` is given; none for a discriminator of pixels alone; auto takes lite0 if it is
    installed."""
    loss_network_pixels: PositiveInt = 128
    """Shorter side to which smaller images are enlarged for the network, by a whole number."""
    feature_weight: NonNegativeFloat = 0.06
    """Weight of the distance in features of the network, beside the squared error of pixels in [-1, 1]."""
    adversarial_weight: NonNegativeFloat = 0.03
    """Weight of deceiving a discriminator; 0 trains without one."""
    ramp_steps: NonNegativeInt = 200
    """Steps in which this weight rises from 0."""
    lecam_weight: NonNegativeFloat = 0.1
    """Weight of the penalty that keeps the discriminator unsure, for small sets."""
    drawn_share: BelowOne = 0.0
    """Share of the bottom codes that the bottom's prior draws, each given the true ones before it, so that the decoder
    learns to decode what priors draw; 0 needs no prior."""
    shift_fraction: BelowOne = 0.125
    """Network and discriminator see each pair of images shifted at random, by up to this share of height and width."""
