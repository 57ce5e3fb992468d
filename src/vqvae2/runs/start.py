"""Start a run from a pipeline: the config and the weights that it takes over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from vqvae2.config import NetworkConfig, PriorConfig, RunConfig, VQVAE2Config, require_same_config
from vqvae2.models.checkpoint import MODEL_FILE, build_model, load_model, read_model_file
from vqvae2.models.decoder import Decoder
from vqvae2.models.prior import Prior
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline.config import PipelineConfig, read_pipeline_config
from vqvae2.pipeline.folder import SHARP_FOLDER, TOKENIZER_FOLDER, prior_folder
from vqvae2.pipeline.hub import find_pipeline_folder
from vqvae2.system.files import atomic_write_bytes

__all__ = ["Start", "start_config"]

_LABELS = "conditioning.label.weight"  # one row for each class, and one for none


def start_config(config: RunConfig, source: str) -> RunConfig:
    """Let a run start from a pipeline: with its image size, tokenizer and networks of priors.

    Args:
        config: Says all else, also the dropout of the priors: another set of images may need another one.
        source: Folder of the pipeline, `builtin`, or its id on the Hub.

    Raises:
        CheckpointError: If there is no such pipeline.
        HubError: If the Hub has none, or cannot be reached.
    """
    start = Start.open(source)
    tokenizer, of_pipeline = start.tokenizer_config, start.config
    images = replace(
        config.images,
        size=of_pipeline.image_size,
        channels=tokenizer.in_channels,
        bit_depth=of_pipeline.bit_depth,
    )
    priors = (replace(network, dropout=config.prior(level).dropout) for level, network in enumerate(start.networks))
    return replace(config, start_from=source, images=images, tokenizer=tokenizer, priors=tuple(priors) or config.priors)


@dataclass(frozen=True)
class Start:
    """A pipeline that a run starts from."""

    source: str
    folder: Path
    config: PipelineConfig
    tokenizer_config: VQVAE2Config

    @classmethod
    def open(cls, source: str) -> Start:
        """Find the pipeline; see `find_pipeline_folder` for errors."""
        folder = find_pipeline_folder(source)
        config = read_pipeline_config(folder)
        tokenizer = read_model_file(folder / TOKENIZER_FOLDER / MODEL_FILE).config
        assert isinstance(tokenizer, VQVAE2Config)
        return cls(source, folder, config, tokenizer)

    @property
    def networks(self) -> tuple[NetworkConfig, ...]:
        """Those of the priors, top first; none if it has no priors."""
        levels = range(self.tokenizer_config.num_levels if self.config.has_priors else 0)
        configs = [read_model_file(self._prior_file(level)).config for level in levels]
        return tuple(config.network for config in configs if isinstance(config, PriorConfig))

    def check(self, config: RunConfig) -> None:
        """Refuse to start a run with a tokenizer of another config.

        Raises:
            OutputError: If it has one.
        """
        place, remedy = f"`start_from` {self.source} holds a tokenizer", "or start from another pipeline"
        require_same_config(place, self.tokenizer_config, config.tokenizer, remedy=remedy)

    def tokenizer(self) -> VQVAE2:
        model, _ = load_model(self.folder / TOKENIZER_FOLDER / MODEL_FILE, kind="tokenizer")
        assert isinstance(model, VQVAE2)
        return model.float()

    def sharp_decoder(self) -> Decoder | None:
        if not self.config.has_sharp_decoder:
            return None
        model, _ = load_model(self.folder / SHARP_FOLDER / MODEL_FILE, kind="decoder")
        assert isinstance(model, Decoder)
        return model.float()

    def copy_tokenizer(self, directory: Path) -> None:
        """Copy the files of the tokenizer and its sharp decoder into the folder of a run, unless they are there."""
        for folder in (TOKENIZER_FOLDER, SHARP_FOLDER):
            file, copy = self.folder / folder / MODEL_FILE, directory / folder / MODEL_FILE
            if file.exists() and not copy.exists():
                copy.parent.mkdir(exist_ok=True)
                atomic_write_bytes(copy, file.read_bytes())

    def prior_weights(self, config: PriorConfig, classes: Sequence[str]) -> Mapping[str, Tensor] | None:
        """Give the weights that a prior of this config starts from; None if they do not fit its network or its codes.

        A deeper network has places for all of them, and its new layers begin by adding nothing. Each class takes the
        row of the class of the same name, and a new one that of images without a class. A prior without classes has no
        place for what only they need, and one that gets them no start for it.
        """
        if not self.config.has_priors:
            return None
        own, _ = load_model(self._prior_file(config.space.level), kind="prior")
        assert isinstance(own, Prior)
        taken = {name: weight.float() for name, weight in own.state_dict().items()}
        same_classes = replace(config.space, num_classes=own.space.num_classes)
        wanted = _shapes(build_model(replace(config, space=same_classes)).state_dict())
        if not _shapes(taken).items() <= wanted.items():
            return None
        if own.space.num_classes and config.space.num_classes:
            rows, no_class = {name: row for row, name in enumerate(self.config.classes)}, len(self.config.classes)
            numbers = [*(rows.get(name, no_class) for name in classes), no_class]
            taken[_LABELS] = taken[_LABELS][torch.tensor(numbers)]
        elif config.space.num_classes:
            # As without classes.
            taken[_LABELS] = torch.zeros(config.space.num_classes + 1, config.network.hidden_channels)
        return taken

    def _prior_file(self, level: int) -> Path:
        return self.folder / prior_folder(level, self.tokenizer_config.num_levels) / MODEL_FILE


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in weights.items()}
