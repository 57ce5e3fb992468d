"""The folder of a pipeline: which files it has, how they fit together, and how it is read and written.

::

    config.json                    format, image size and bit depth, classes, sampling settings
    tokenizer/model.safetensors
    sharp-decoder/model.safetensors  if there is one
    prior-top/model.safetensors    one folder per level; a pipeline may have no priors
    prior-bottom/model.safetensors
    README.md                      the model card, where a pipeline was saved to be shared

The names are fixed here. No file says which others to read, so none can lead out of its folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from vqvae2.config import MAX_LEVELS, CodeSpace, DecoderName, level_names
from vqvae2.errors import CheckpointError, ConfigError, OutputError
from vqvae2.models.checkpoint import MODEL_FILE, fingerprint, load_model, save_model
from vqvae2.models.decoder import Decoder
from vqvae2.models.prior import Prior
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline.config import CONFIG_FILE, PipelineConfig, read_pipeline_config, write_pipeline_config
from vqvae2.sampling.sample import check_sampling
from vqvae2.system.files import atomic_directory

__all__ = [
    "CARD_FILE",
    "CARD_MARK",
    "EVALUATION_FOLDERS",
    "PIPELINE_FILES",
    "RUN_FILE",
    "SHARP_FOLDER",
    "TOKENIZER_FOLDER",
    "TUNING_FOLDERS",
    "check_parts",
    "prior_folder",
    "read_pipeline_folder",
    "write_pipeline_folder",
]

TOKENIZER_FOLDER = "tokenizer"
SHARP_FOLDER = "sharp-decoder"
RUN_FILE = "run.json"
"""Marks the folder of a run."""
EVALUATION_FOLDERS: dict[DecoderName, str] = {"faithful": "evaluation", "sharp": "evaluation-sharp"}
"""Where an evaluation of a pipeline goes, by the decoder that makes its images."""
TUNING_FOLDERS: dict[DecoderName, str] = {"faithful": "tuning", "sharp": "tuning-sharp"}
"""Where a search for sampling settings goes, likewise."""
CARD_FILE = "README.md"
CARD_MARK = (
    "<!-- Written by vqvae2, which writes it anew with each save. To keep changes of your own, remove this line. -->"
)
"""Marks each model card that we write."""


def prior_folder(level: int, num_levels: int) -> str:
    """Name the folder of a level's prior: prior-top, prior-bottom, ..."""
    return f"prior-{level_names(num_levels)[level]}"


_PART_FOLDERS = (
    TOKENIZER_FOLDER,
    SHARP_FOLDER,
    *sorted({prior_folder(level, count) for count in range(1, MAX_LEVELS + 1) for level in range(count)}),
)
PIPELINE_FILES = (*(f"{folder}/{MODEL_FILE}" for folder in _PART_FOLDERS), CONFIG_FILE)
"""All files that any pipeline is read from, the config last."""


def read_pipeline_folder(folder: Path) -> tuple[VQVAE2, PipelineConfig, list[Prior], Decoder | None]:
    """Load the parts of a pipeline on the CPU, without those that the config says it lacks, as in an unfinished run.

    Raises:
        CheckpointError: If the folder is not a pipeline, or a part is missing or damaged.
    """
    config = read_pipeline_config(folder)
    tokenizer, _ = load_model(folder / TOKENIZER_FOLDER / MODEL_FILE, kind="tokenizer")
    assert isinstance(tokenizer, VQVAE2)
    sharp_decoder: Decoder | None = None
    if config.has_sharp_decoder:
        decoder, _ = load_model(folder / SHARP_FOLDER / MODEL_FILE, kind="decoder")
        assert isinstance(decoder, Decoder)
        sharp_decoder = decoder
    priors: list[Prior] = []
    for level in range(tokenizer.config.num_levels if config.has_priors else 0):
        path = folder / prior_folder(level, tokenizer.config.num_levels) / MODEL_FILE
        prior, _ = load_model(path, kind="prior")
        assert isinstance(prior, Prior)
        priors.append(prior)
    return tokenizer, config, priors, sharp_decoder


def check_parts(
    tokenizer: VQVAE2, config: PipelineConfig, priors: Sequence[Prior], sharp_decoder: Decoder | None
) -> None:
    """Check that the parts of a pipeline fit each other.

    Raises:
        CheckpointError: If the priors are not one for each level, or belong to another tokenizer or other classes, or
            the bit depth is 16 where images are not grey; if the config's sampling settings do not fit the priors; or
            if a sharp decoder is missing, of another tokenizer, or of another precision.
    """
    own = tokenizer.config
    if config.bit_depth == 16 and own.in_channels != 1:
        raise CheckpointError(
            f"`config.bit_depth` must be 8 for a tokenizer of {own.in_channels} channels, got 16; only grey has 16 bits"
        )
    if config.has_sharp_decoder != (sharp_decoder is not None):
        raise CheckpointError(
            f"`sharp_decoder` must be {'given' if config.has_sharp_decoder else 'None'}, as `config` says"
        )
    tokenizer_hash = fingerprint(tokenizer) if priors or sharp_decoder else ""
    if sharp_decoder is not None:
        _check_decoder(sharp_decoder, tokenizer, tokenizer_hash)
    for prior in priors:
        if prior.config.tokenizer != tokenizer_hash:
            raise CheckpointError(
                f"the prior of level {prior.space.level} was trained on codes of tokenizer "
                f"{prior.config.tokenizer or '(not known)'}, but this is tokenizer {tokenizer_hash}; "
                "extract codes with this one and train the prior again"
            )
    levels = [prior.space.level for prior in priors]
    if priors and levels != list(range(own.num_levels)):
        raise CheckpointError(
            f"`priors` must be one for each of {own.num_levels} levels, top first, got levels {levels}"
        )
    if priors:
        try:
            check_sampling(priors, config.sampling)
        except ConfigError as error:
            raise CheckpointError(f"`config.sampling`: {error}") from error
    for level, prior in enumerate(priors):
        wanted = CodeSpace.of_level(
            level,
            num_embeddings=own.codebook_sizes,
            shapes=own.code_shapes(own.stride, own.stride),
            num_classes=len(config.classes),
        )
        if prior.space != wanted:
            raise CheckpointError(
                f"the prior of level {level} must be over {wanted}, as tokenizer and classes are, but is over "
                f"{prior.space}; train it again"
            )


def _check_decoder(decoder: Decoder, tokenizer: VQVAE2, tokenizer_hash: str) -> None:
    if decoder.config.tokenizer != tokenizer_hash:
        raise CheckpointError(
            f"the sharp decoder was trained for tokenizer {decoder.config.tokenizer}, but this is tokenizer "
            f"{tokenizer_hash}; train it again"
        )
    if decoder.config.tokenizer_config != tokenizer.config:
        raise CheckpointError(
            f"the sharp decoder was trained for tokenizer {tokenizer_hash}, but with another config than this "
            "tokenizer has; restore the files of both from a copy, or train it again"
        )
    wanted, precision = (next(part.parameters()).dtype for part in (tokenizer.decoder, decoder))
    if precision != wanted:
        raise CheckpointError(
            f"the sharp decoder must have weights of {wanted}, as the tokenizer's own decoder has, got {precision}; "
            "convert one of them"
        )


def write_pipeline_folder(
    directory: Path,
    tokenizer: VQVAE2,
    config: PipelineConfig,
    priors: Sequence[Prior],
    sharp_decoder: Decoder | None,
    *,
    card: Callable[[Path], str],
) -> None:
    """Write a pipeline once it is complete, perhaps in the place of another; other files stay.

    The folder holds the old pipeline until the new one is written. Then the old config goes first and the new one comes
    last, so an interruption in between leaves a folder that is no pipeline, never one of mixed parts.

    Args:
        directory: A new folder, one with a pipeline, or one whose files have other names.
        tokenizer: Of the pipeline.
        config: Of the pipeline.
        priors: One per level, or none.
        sharp_decoder: Of the pipeline, if it has one.
        card: Makes the model card, given the folder with all other files. A card that we did not write stays.

    Raises:
        OutputError: If the folder is that of a run, or files of others have the names that are needed.
    """
    _check_place(directory)

    def write(folder: Path) -> None:
        save_model(tokenizer, folder / TOKENIZER_FOLDER / MODEL_FILE)
        if sharp_decoder is not None:
            save_model(sharp_decoder, folder / SHARP_FOLDER / MODEL_FILE)
        for prior in priors:
            save_model(prior, folder / prior_folder(prior.space.level, tokenizer.config.num_levels) / MODEL_FILE)
        write_pipeline_config(config, folder)
        (folder / CARD_FILE).write_text(card(folder), encoding="utf-8")

    if not directory.exists():
        with atomic_directory(directory) as partial:
            write(partial)
        return
    partial = directory / ".vqvae2.partial"  # inside, so that it is on the same disk
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        write(partial)
        _replace(directory, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_place(directory: Path) -> None:
    if directory.is_file():
        raise OutputError(f"{directory} must be a folder for a pipeline, but is a file; choose another")
    if (directory / RUN_FILE).exists():
        raise OutputError(
            f"{directory} is the folder of a run, whose models belong to its trainings; choose another folder"
        )
    try:
        read_pipeline_config(directory)
    except CheckpointError:
        names = (CONFIG_FILE, *_PART_FOLDERS)
        in_the_way = [name for name in names if (directory / name).exists()]
        if in_the_way:
            raise OutputError(
                f"{directory} holds {', '.join(in_the_way)}, but no pipeline; choose another folder"
            ) from None


def _replace(directory: Path, partial: Path) -> None:
    (directory / CONFIG_FILE).unlink(missing_ok=True)
    for name in PIPELINE_FILES[:-1]:
        old, new = directory / name, partial / name
        if new.exists():
            old.parent.mkdir(exist_ok=True)
            new.replace(old)
        elif old.exists():
            old.unlink()
            if not any(old.parent.iterdir()):
                old.parent.rmdir()
    card = directory / CARD_FILE
    if not card.exists() or CARD_MARK in card.read_text(encoding="utf-8", errors="replace").splitlines():
        (partial / CARD_FILE).replace(card)  # else somebody has made the card their own
    (partial / CONFIG_FILE).replace(directory / CONFIG_FILE)
