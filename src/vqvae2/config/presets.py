"""Named configurations of a whole run.

A preset trains for its `minutes`. With another budget, the same model trains for longer or shorter. The number in a
name is the side of the images in pixels; images are square.
"""

from dataclasses import replace

from vqvae2.config.images import ImageConfig
from vqvae2.config.priors import PixelSNAILConfig, TransformerConfig
from vqvae2.config.run import RunConfig
from vqvae2.config.tokenizer import EMAConfig, VQVAE2Config
from vqvae2.config.training import DecoderTrainingConfig, PriorTrainingConfig, TokenizerTrainingConfig
from vqvae2.errors import ConfigError

_SMALL_CONVOLUTIONS = PixelSNAILConfig(
    hidden_channels=64, residual_channels=64, num_layers=8, kernel_size=3, attention_every=0, dropout=0.2
)
# The rate stays constant, since patience may end a training at any time; the average of the weights settles them.
_SMALL_TRAINING = PriorTrainingConfig(steps=20_000, learning_rate=8e-3, schedule="constant", weight_decay=0.1)
# Small networks in small batches at high rates: in minutes, many steps are worth more than precise gradients.
_CPU = RunConfig(
    tokenizer=VQVAE2Config(
        hidden_channels=64, residual_channels=32, quantizer=EMAConfig(num_embeddings=256, embedding_dim=32)
    ),
    tokenizer_training=TokenizerTrainingConfig(steps=80_000, learning_rate=4e-3, weight_decay=0.0),
    # Each family stands on the level where it is the better one at equal time: on the few codes of the top, a
    # convolutional prior memorizes the images before it has learned what a transformer learns (`docs/results.md`).
    priors=(
        TransformerConfig(hidden_channels=128, feedforward_channels=512, num_layers=6, dropout=0.2),
        _SMALL_CONVOLUTIONS,
    ),
    prior_trainings=(replace(_SMALL_TRAINING, learning_rate=4e-3), _SMALL_TRAINING),
)
# For files: all priors are convolutions of few channels, so that a CPU decodes an image in less than a second.
_CODEC = replace(
    _CPU,
    tokenizer=replace(_CPU.tokenizer, quantizer=EMAConfig(num_embeddings=512, embedding_dim=32)),
    tokenizer_training=TokenizerTrainingConfig(steps=20_000, learning_rate=1e-3, weight_decay=0.0),
    priors=(replace(_SMALL_CONVOLUTIONS, dropout=0.1),) * 2,
    prior_trainings=(_SMALL_TRAINING,) * 2,
)
# Three levels, as the paper has them for faces: the codes of the bottom carry texture, eight pixels a side each.
_FACES = replace(
    _CODEC,
    priors=(*_CPU.priors, _SMALL_CONVOLUTIONS),
    prior_trainings=(*_CPU.prior_trainings, _SMALL_TRAINING),
)
# The widths of the paper's tokenizer (Razavi et al. 2019, table 1), and priors much smaller than the paper's.
_GPU_PRIOR = PixelSNAILConfig(hidden_channels=256, residual_channels=256, num_layers=16, num_heads=8)
_GPU = RunConfig(
    tokenizer_training=TokenizerTrainingConfig(steps=100_000, learning_rate=1e-3, weight_decay=0.0),
    # Attention at the top only, as in the paper: its cost grows with the square of the number of positions.
    priors=(_GPU_PRIOR, replace(_GPU_PRIOR, attention_every=0)),
    prior_trainings=(PriorTrainingConfig(steps=100_000, learning_rate=5e-4, weight_decay=0.1),) * 2,
)

_PaperPrior = tuple[int, int, int, int, float, int, int, int, int]  # a column of the paper's table, and its training
_PAPER_TRAINING = PriorTrainingConfig(learning_rate=3e-4, weight_decay=0.0, patience=0)


def _preset(
    base: RunConfig, size: int, strides: tuple[int, ...], batches: tuple[int, int, int], minutes: int
) -> RunConfig:
    """Fit a recipe to an image size; batches are those of the tokenizer, of each prior, and of a second decoder."""
    return replace(
        base,
        minutes=minutes,
        images=ImageConfig(size=(size, size)),
        tokenizer=replace(base.tokenizer, strides=strides),
        tokenizer_training=replace(base.tokenizer_training, batch_size=batches[0]),
        prior_trainings=tuple(replace(training, batch_size=batches[1]) for training in base.prior_trainings),
        decoder_training=replace(base.decoder_training, batch_size=batches[2]),
    )


def _paper(size: int, strides: tuple[int, ...], steps: int, *priors: _PaperPrior) -> RunConfig:
    """Build one of the paper's models (Razavi et al. 2019, tables 1 and 2), with its loss without previews.

    The learning rates are not known to us. The model is meant for a cluster.
    """
    networks, trainings = [], []
    for hidden, residual, layers, attention_layers, dropout, output, conditioning, prior_steps, batch_size in priors:
        networks.append(
            PixelSNAILConfig(
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
        )
        trainings.append(replace(_PAPER_TRAINING, steps=prior_steps, batch_size=batch_size))
    return RunConfig(
        minutes=0,
        images=ImageConfig(size=(size, size)),
        tokenizer=VQVAE2Config(strides=strides, preview_weight=0.0),
        tokenizer_training=TokenizerTrainingConfig(steps=steps, batch_size=128, learning_rate=3e-4, weight_decay=0.0),
        priors=tuple(networks),
        prior_trainings=tuple(trainings),
        decoder_training=DecoderTrainingConfig(batch_size=32),
    )


# fmt: off
PRESETS: dict[str, RunConfig] = {
    # device and size    recipe   size  strides  batches of tokenizer, priors, decoder    time
    "cpu32":     _preset(_CPU,      32,  (2, 2),  (8, 16, 8),                 minutes=20),  # on two CPU cores
    "cpu64":     _preset(_CPU,      64,  (4, 2),  (8, 16, 8),                 minutes=30),
    "codec256":  _preset(_CODEC,   256,  (4, 2),  (8, 8, 8),                  minutes=60),
    "faces256":  _preset(_FACES,   256,  (8, 2, 2), (8, 16, 8),               minutes=120),
    "gpu32":     _preset(_GPU,      32,  (2, 2),  (128, 128, 32),             minutes=60),  # on one GPU
    "gpu64":     _preset(_GPU,      64,  (4, 2),  (128, 128, 32),             minutes=90),
    "gpu128":    _preset(_GPU,     128,  (4, 2),  (128, 128, 32),             minutes=240),
    "gpu256":    _preset(_GPU,     256,  (4, 2),  (64, 64, 32),               minutes=720),
    "imagenet256": _paper(256, (4, 2), 2_207_444,
        # hidden, residual, layers, of attention, dropout, output layers, conditioning layers, steps, batch
        (512, 2048, 20, 4, 0.1,  20,  0, 1_600_000, 1024),  # top
        (512, 1024, 20, 0, 0.1,   0, 20,   754_000,  512),  # bottom
    ),
    "ffhq1024": _paper(1024, (8, 2, 2), 304_741,
        (512, 2048, 20, 4, 0.5,   0,  0,   237_000, 1024),  # top
        (512, 1024, 20, 1, 0.3,   0,  8,    57_400,  512),  # mid
        (512, 1024, 10, 0, 0.25,  0,  8,   270_000,  256),  # bottom
    ),
}
# fmt: on
"""Presets by name: by device and image size, and the paper's two."""

MEASURED: dict[str, str] = {
    "cpu64": "training the tokenizer: 220 images/s at batch 8; two CPU cores, bfloat16",
    "codec256": "decoding a file of 256x256 pixels: 0.3 s; two CPU cores",
    "imagenet256": "training the tokenizer: 25 images/s at batch 8, 0.5 GiB; two CPU cores, bfloat16",
    "ffhq1024": "training the tokenizer: 2.4 images/s at batch 1, 0.5 GiB; two CPU cores, bfloat16",
}
"""What using a preset costs, where it was measured (`docs/results.md`)."""


def find_preset(name: str) -> RunConfig:
    """Look a preset up.

    Raises:
        ConfigError: If no preset has that name.
    """
    if name not in PRESETS:
        raise ConfigError(f"`preset` must be one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]


def choose_preset(device: str, short_side_pixels: int) -> str:
    """Name the preset for a device ("cpu", "cuda" or "mps") and the typical shorter side of the images."""
    sizes = (32, 64) if device == "cpu" else (32, 64, 128, 256)
    return f"{'cpu' if device == 'cpu' else 'gpu'}{choose_size(sizes, short_side_pixels)}"


def choose_size(sizes: tuple[int, ...], short_side_pixels: int) -> int:
    """Choose the largest of some sizes, smallest first, that enlarges most images by at most a third."""
    return max((size for size in sizes if size * 3 <= short_side_pixels * 4), default=sizes[0])
