"""Named configurations of a whole run.

A preset's time is its `minutes`; with another budget, the same model is trained for longer or shorter. The number
in a name is the side in pixels of its images, which are square.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from vqvae2.config import (
    ClassifierNetworkConfig,
    ClassifierTrainingConfig,
    Config,
    EMAConfig,
    ImageConfig,
    NetworkConfig,
    PixelSNAILConfig,
    PriorTrainingConfig,
    ResNetConfig,
    TokenizerTrainingConfig,
    TransformerConfig,
    VQVAE2Config,
)
from vqvae2.errors import ConfigError

__all__ = ["MEASURED", "PRESETS", "ClassifierRunConfig", "RunConfig", "choose_preset", "choose_size", "find_preset"]


@dataclass(frozen=True, kw_only=True)
class RunConfig(Config):
    """Everything that a run does."""

    minutes: float = 30.0
    """Time for the whole run, turned into steps by timing a few of them; 0 takes the steps as configured."""
    images: ImageConfig = field(default_factory=ImageConfig)
    tokenizer: VQVAE2Config = field(default_factory=VQVAE2Config)
    tokenizer_training: TokenizerTrainingConfig = field(default_factory=TokenizerTrainingConfig)
    priors: tuple[NetworkConfig, ...] = (PixelSNAILConfig(), PixelSNAILConfig())
    """The network of each level's prior, top first; the last stands for further levels too."""
    prior_trainings: tuple[PriorTrainingConfig, ...] = (PriorTrainingConfig(), PriorTrainingConfig())
    num_samples: int = 64
    """Images to draw at the end."""

    def __post_init__(self) -> None:
        for name in ("priors", "prior_trainings"):
            if not getattr(self, name):
                raise ConfigError(f"`{name}` must hold at least one entry, got none")
        if self.images.channels != self.tokenizer.in_channels:
            raise ConfigError(
                f"`tokenizer.in_channels` must equal `images.channels` ({self.images.channels}), "
                f"got {self.tokenizer.in_channels}"
            )
        if min(self.images.size) < self.tokenizer.stride:
            height, width = self.images.size
            raise ConfigError(
                f"`images.size` must be at least {self.tokenizer.stride} pixels each way, the product of "
                f"`tokenizer.strides` {self.tokenizer.strides}, got {height} {width}"
            )
        for name in ("minutes", "num_samples"):
            if getattr(self, name) < 0:
                raise ConfigError(f"`{name}` must be at least 0, got {getattr(self, name)}")

    def prior(self, level: int) -> NetworkConfig:
        """The network of a level's prior; 0 is the top."""
        return self.priors[min(level, len(self.priors) - 1)]

    def prior_training(self, level: int) -> PriorTrainingConfig:
        """The training of a level's prior; 0 is the top."""
        return self.prior_trainings[min(level, len(self.prior_trainings) - 1)]

    def with_prior(self, level: int, network: NetworkConfig, training: PriorTrainingConfig) -> RunConfig:
        """The same run with another prior on one level."""
        levels = range(self.tokenizer.num_levels)
        return replace(
            self,
            priors=tuple(network if index == level else self.prior(index) for index in levels),
            prior_trainings=tuple(training if index == level else self.prior_training(index) for index in levels),
        )


@dataclass(frozen=True, kw_only=True)
class ClassifierRunConfig(Config):
    """How images are read, and a classifier trained on them."""

    images: ImageConfig = field(default_factory=ImageConfig)
    network: ClassifierNetworkConfig = field(default_factory=ResNetConfig)
    training: ClassifierTrainingConfig = field(default_factory=ClassifierTrainingConfig)


def _cpu(size: int, strides: tuple[int, ...], *, minutes: float) -> RunConfig:
    """Small networks in small batches: on a CPU more steps are worth more than wider ones."""
    return RunConfig(
        minutes=minutes,
        images=ImageConfig(size=(size, size)),
        tokenizer=VQVAE2Config(
            strides=strides,
            hidden_channels=64,
            residual_channels=32,
            quantizer=EMAConfig(num_embeddings=256, embedding_dim=32),
        ),
        tokenizer_training=TokenizerTrainingConfig(steps=20_000, batch_size=32, learning_rate=2e-3, weight_decay=0.0),
        # Each family on the level where it is the better one at equal time: on the top's few codes, a convolutional
        # prior memorizes the images before it has learned what a transformer learns (`docs/results.md`). The rate stays
        # constant, since patience may end a training at any time, and the average of the weights settles them.
        priors=(
            TransformerConfig(hidden_channels=128, feedforward_channels=512, num_layers=6, dropout=0.2),
            PixelSNAILConfig(
                hidden_channels=64, residual_channels=64, num_layers=8, kernel_size=3, attention_every=0, dropout=0.2
            ),
        ),
        prior_trainings=(
            PriorTrainingConfig(steps=20_000, batch_size=16, learning_rate=1e-3, schedule="constant", weight_decay=0.1),
            PriorTrainingConfig(steps=20_000, batch_size=16, learning_rate=2e-3, schedule="constant", weight_decay=0.1),
        ),
    )


def _codec(size: int, strides: tuple[int, ...], *, minutes: float) -> RunConfig:
    """For files: all priors are convolutions of few channels, so that an image is decoded in seconds on a CPU."""
    prior = PixelSNAILConfig(
        hidden_channels=64, residual_channels=64, num_layers=8, kernel_size=3, attention_every=0, dropout=0.1
    )
    training = PriorTrainingConfig(
        steps=20_000, batch_size=8, learning_rate=2e-3, schedule="constant", weight_decay=0.1
    )
    return RunConfig(
        minutes=minutes,
        images=ImageConfig(size=(size, size)),
        tokenizer=VQVAE2Config(
            strides=strides,
            hidden_channels=64,
            residual_channels=32,
            quantizer=EMAConfig(num_embeddings=512, embedding_dim=32),
        ),
        tokenizer_training=TokenizerTrainingConfig(steps=20_000, batch_size=8, learning_rate=1e-3, weight_decay=0.0),
        priors=(prior, prior),
        prior_trainings=(training, training),
    )


def _gpu(size: int, strides: tuple[int, ...], *, batch_size: int, minutes: float) -> RunConfig:
    """The widths of the paper's tokenizer (Razavi et al. 2019, table 1), and priors much smaller than its own."""
    prior = PixelSNAILConfig(hidden_channels=256, residual_channels=256, num_layers=16, num_heads=8)
    training = PriorTrainingConfig(steps=100_000, batch_size=batch_size, learning_rate=5e-4, weight_decay=0.1)
    return RunConfig(
        minutes=minutes,
        images=ImageConfig(size=(size, size)),
        tokenizer=VQVAE2Config(strides=strides),
        tokenizer_training=TokenizerTrainingConfig(
            steps=100_000, batch_size=batch_size, learning_rate=1e-3, weight_decay=0.0
        ),
        # Attention at the top only, as in the paper: its cost grows with the square of the positions.
        priors=(prior, replace(prior, attention_every=0)),
        prior_trainings=(training, training),
    )


def _paper_prior(
    hidden: int, residual: int, layers: int, attention_layers: int, dropout: float, output: int, conditioning: int
) -> PixelSNAILConfig:
    """One column of the paper's table of priors; 5x5 convolutions and 8 heads throughout."""
    return PixelSNAILConfig(
        hidden_channels=hidden,
        residual_channels=residual,
        num_layers=layers,
        attention_every=layers // attention_layers if attention_layers else 0,
        num_heads=8,
        num_kv_heads=8,
        dropout=dropout,
        output_layers=output,
        conditioning_layers=conditioning,
    )


def _paper_tokenizer_training(steps: int) -> TokenizerTrainingConfig:
    return TokenizerTrainingConfig(steps=steps, batch_size=128, learning_rate=3e-4, weight_decay=0.0)


def _paper_prior_training(steps: int, batch_size: int) -> PriorTrainingConfig:
    return PriorTrainingConfig(steps=steps, batch_size=batch_size, learning_rate=3e-4, weight_decay=0.0, patience=0)


_IMAGENET256 = RunConfig(
    minutes=0,
    images=ImageConfig(size=(256, 256)),
    tokenizer=VQVAE2Config(preview_weight=0.0),
    tokenizer_training=_paper_tokenizer_training(2_207_444),
    priors=(_paper_prior(512, 2048, 20, 4, 0.1, 20, 0), _paper_prior(512, 1024, 20, 0, 0.1, 0, 20)),
    prior_trainings=(_paper_prior_training(1_600_000, 1024), _paper_prior_training(754_000, 512)),
)
_FFHQ1024 = RunConfig(
    minutes=0,
    images=ImageConfig(size=(1024, 1024)),
    tokenizer=VQVAE2Config(strides=(8, 2, 2), preview_weight=0.0),
    tokenizer_training=_paper_tokenizer_training(304_741),
    priors=(
        _paper_prior(512, 2048, 20, 4, 0.5, 0, 0),
        _paper_prior(512, 1024, 20, 1, 0.3, 0, 8),
        _paper_prior(512, 1024, 10, 0, 0.25, 0, 8),
    ),
    prior_trainings=(
        _paper_prior_training(237_000, 1024),
        _paper_prior_training(57_400, 512),
        _paper_prior_training(270_000, 256),
    ),
)

PRESETS: dict[str, RunConfig] = {
    "cpu32": _cpu(32, (2, 2), minutes=20),
    "cpu64": _cpu(64, (4, 2), minutes=30),
    "codec256": _codec(256, (4, 2), minutes=60),
    "gpu32": _gpu(32, (2, 2), batch_size=128, minutes=60),
    "gpu64": _gpu(64, (4, 2), batch_size=128, minutes=90),
    "gpu128": _gpu(128, (4, 2), batch_size=128, minutes=240),
    "gpu256": _gpu(256, (4, 2), batch_size=64, minutes=720),
    "imagenet256": _IMAGENET256,
    "ffhq1024": _FFHQ1024,
}
"""Presets by name: by device and image size, and the paper's two.

The paper's (Razavi et al. 2019, tables 1 and 2) have its own sizes, batches and steps, and its loss without previews;
its learning rates are not known to us. They are meant for a cluster.
"""


MEASURED: dict[str, str] = {
    "cpu64": "training the tokenizer: 720 images/s at batch 32; two CPU cores, bfloat16",
    "codec256": "decoding a file of 256x256 pixels: 3 s; two CPU cores",
    "imagenet256": "training the tokenizer: 25 images/s at batch 8, 0.5 GiB; two CPU cores, bfloat16",
    "ffhq1024": "training the tokenizer: 2.4 images/s at batch 1, 0.5 GiB; two CPU cores, bfloat16",
}
"""What using a preset costs, where it was measured (`docs/results.md`)."""


def find_preset(name: str) -> RunConfig:
    """Look a preset up.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in PRESETS:
        raise ConfigError(f"`preset` must be one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]


def choose_preset(device: str, short_side_pixels: int) -> str:
    """Name the preset for a device ("cpu", "cuda" or "mps") and the images' typical shorter side."""
    sizes = (32, 64) if device == "cpu" else (32, 64, 128, 256)
    return f"{'cpu' if device == 'cpu' else 'gpu'}{choose_size(sizes, short_side_pixels)}"


def choose_size(sizes: tuple[int, ...], short_side_pixels: int) -> int:
    """Choose the largest of some sizes, smallest first, that does not enlarge most images by more than a third."""
    return max((size for size in sizes if size * 3 <= short_side_pixels * 4), default=sizes[0])
