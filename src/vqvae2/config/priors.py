"""Configs of priors: all that is needed to build one, and how codes are drawn from it."""

from dataclasses import field, fields
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from vqvae2.config.base import MAX_LAYERS, MAX_LEVELS, BelowOne, Config, Layers, SharesAboveZero, require

NetworkFamily = Literal["pixelsnail", "transformer"]


@dataclass(frozen=True, kw_only=True)
class CodeSpace(Config):
    """What a prior models: the codes of one level, given the levels above and perhaps a class."""

    level: Annotated[int, Field(ge=0, lt=MAX_LEVELS)] = 0
    """0 is the top."""
    num_embeddings: tuple[Annotated[int, Field(ge=2)], ...] = (512,)
    """Codebook size of each level, from the top down to this one."""
    upsampling: tuple[PositiveInt, ...] = ()
    """For each level above, top first: how many codes of this level lie along the side of one of its codes."""
    num_classes: NonNegativeInt = 0
    """0 for an unconditional prior."""

    def __post_init__(self) -> None:
        require(
            len(self.num_embeddings) == self.level + 1,
            f"`num_embeddings` must give a size for each of {self.level + 1} levels, got {self.num_embeddings}",
        )
        require(
            len(self.upsampling) == self.level,
            f"`upsampling` must give a factor for each of the {self.level} levels above, got {self.upsampling}",
        )

    @classmethod
    def of_level(
        cls, level: int, *, num_embeddings: tuple[int, ...], shapes: tuple[tuple[int, int], ...], num_classes: int
    ) -> Self:
        """Describe one level of a hierarchy, given codebook size and code grid of all its levels."""
        require(0 <= level < len(shapes), f"`level` must be in 0..{len(shapes) - 1} (0 is the top), got {level}")
        return cls(
            level=level,
            num_embeddings=num_embeddings[: level + 1],
            upsampling=tuple(shapes[level][0] // above[0] for above in shapes[:level]),
            num_classes=num_classes,
        )


def _require_odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError("must be odd")
    return size


@dataclass(frozen=True, kw_only=True)
class _NetworkConfig(Config):
    """What the networks of all priors share."""

    hidden_channels: PositiveInt = 128
    """Width of the residual stream."""
    num_layers: Annotated[int, Field(ge=1, le=MAX_LAYERS)] = 8
    """Blocks."""
    kernel_size: Annotated[int, Field(ge=3), AfterValidator(_require_odd)] = 5
    """Side of the causal convolutions; odd. A walk over a code grid of height h and width w takes w + (h - 1)
    (`kernel_size` + 1) / 2 steps."""
    num_heads: PositiveInt = 4
    """Heads of an attention layer."""
    num_kv_heads: PositiveInt = 1
    """Heads of keys and values, which the query heads share, since all of them are read to draw a code. The paper's
    networks have as many as `num_heads`."""
    dropout: BelowOne = 0.1
    """On each branch and on attention logits."""
    conditioning_layers: Layers = 4
    """Residual blocks over the levels above; unused at the top."""

    def __post_init__(self) -> None:
        require(
            self.hidden_channels % self.num_heads == 0,
            f"`hidden_channels` must be a multiple of `num_heads` ({self.num_heads}), got {self.hidden_channels}",
        )
        require(
            self.num_heads % self.num_kv_heads == 0,
            f"`num_kv_heads` must divide `num_heads` ({self.num_heads}), got {self.num_kv_heads}",
        )


@dataclass(frozen=True, kw_only=True)
class PixelSNAILConfig(_NetworkConfig):
    """The network of a PixelSNAIL prior (Razavi et al. 2019, table 2)."""

    family: Literal["pixelsnail"] = "pixelsnail"
    residual_channels: PositiveInt = 128
    """Width inside a gated block."""
    attention_every: NonNegativeInt = 4
    """An attention layer follows every so many gated blocks; 0 for none."""
    output_layers: Layers = 0
    """1x1 residual blocks on top."""

    @property
    def has_attention(self) -> bool:
        return any(map(self.attends_after, range(self.num_layers)))

    def attends_after(self, index: int) -> bool:
        """Whether an attention layer follows gated block `index`, counted from 0."""
        return self.attention_every > 0 and (index + 1) % self.attention_every == 0


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(_NetworkConfig):
    """The network of a transformer prior."""

    family: Literal["transformer"] = "transformer"
    kernel_size: Annotated[int, Field(ge=3), AfterValidator(_require_odd)] = 3
    """Side of the one causal convolution, over the codes; odd. See `PixelSNAILConfig` for what it costs."""
    feedforward_channels: PositiveInt = 512
    """Width inside a feed-forward layer."""
    has_attention: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.hidden_channels % (4 * self.num_heads) == 0,
            f"`hidden_channels` must be a multiple of 4 `num_heads` ({4 * self.num_heads}), since positions rotate "
            f"pairs of channels on two axes, got {self.hidden_channels}",
        )


NetworkConfig = Annotated[PixelSNAILConfig | TransformerConfig, Field(discriminator="family")]

NETWORK_CONFIGS: dict[NetworkFamily, type[PixelSNAILConfig | TransformerConfig]] = {
    "pixelsnail": PixelSNAILConfig,
    "transformer": TransformerConfig,
}


def network_of_family(network: NetworkConfig, family: NetworkFamily) -> NetworkConfig:
    """Return a network of another family with the same width, depth, heads and dropout, and its own `kernel_size`."""
    if family == network.family:
        return network
    names = (field_.name for field_ in fields(_NetworkConfig) if field_.name != "kernel_size")
    shared = {name: getattr(network, name) for name in names}
    width = network.hidden_channels
    if family == "transformer":
        return TransformerConfig(**shared, feedforward_channels=4 * width)
    return PixelSNAILConfig(**shared, residual_channels=width)


@dataclass(frozen=True, kw_only=True)
class PriorConfig(Config):
    """A prior: the codes that it models, and its network."""

    space: CodeSpace = field(default_factory=CodeSpace)
    network: NetworkConfig = field(default_factory=PixelSNAILConfig)
    tokenizer: str = ""
    """Fingerprint of the tokenizer that made the codes."""


class LevelSampling(NamedTuple):
    """How the codes of one level are drawn; see `SamplingConfig`."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


@dataclass(frozen=True, kw_only=True)
class SamplingConfig(Config):
    """How codes are drawn from the probabilities of a prior.

    The first three fields hold one value per level, top first. The last value also serves all further levels.
    """

    temperature: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)] = (1.0,)
    """Divides the logits: below 1 for likelier images, above 1 for more varied ones; 0 takes the likeliest code. One
    value for all levels, or one per level, top first."""
    top_k: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = (0,)
    """Draw from the k likeliest codes only; 0 for all. One value, or one per level."""
    top_p: SharesAboveZero = (1.0,)
    """Draw only from the fewest codes whose probabilities reach this sum. One value, or one per level."""
    guidance_scale: NonNegativeFloat = 1.0
    """Above 1 for images that are more typical of their class, at twice the time; 1 takes the priors as they are. Needs
    a class, and priors trained with `label_dropout`."""

    def level(self, level: int) -> LevelSampling:
        """Return how the codes of a level are drawn; level 0 is the top."""
        values = (getattr(self, name) for name in LevelSampling._fields)
        return LevelSampling(*(entries[min(level, len(entries) - 1)] for entries in values))

    @property
    def in_words(self) -> str:
        """All that restrains or changes the priors, such as "temperature 0.9 / 1, top-p 0.95"; levels are top first."""
        words = []
        for name, plain in (*LevelSampling()._asdict().items(), ("guidance_scale", 1.0)):
            value = getattr(self, name)
            entries = value if isinstance(value, tuple) else (value,)
            if set(entries) != {plain}:
                shown = entries[:1] if len(set(entries)) == 1 else entries
                words.append(f"{name.replace('_', '-')} {' / '.join(f'{entry:g}' for entry in shown)}")
        return ", ".join(words) or "temperature 1"
