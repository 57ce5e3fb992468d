"""Tokenizer and priors as one object, which is read from and written to one folder, or a repository of the Hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import torch
from torch import Tensor

from vqvae2.codec.codec import Codec, Source
from vqvae2.codec.hierarchy_coder import Mode, OnProgress
from vqvae2.codes import Codes
from vqvae2.config import CodeSpace, SamplingConfig
from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.images import crop_to
from vqvae2.models.checkpoint import fingerprint
from vqvae2.models.prior import Prior
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.folder import TOKENIZER_FOLDER, prior_folder, read_pipeline_folder, write_pipeline_folder
from vqvae2.pipeline.hub import check_repo_id, find_pipeline_folder, upload_pipeline
from vqvae2.pipeline.model_card import CardFacts, model_card
from vqvae2.sampling.choice import draw_labels
from vqvae2.sampling.completion import DrawnRows, fill_hidden, hidden_codes
from vqvae2.sampling.redrawing import fit_mask, redraw_codes, require_size
from vqvae2.sampling.sample import sample_codes

__all__ = ["TOKENIZER_FOLDER", "Pipeline", "prior_folder"]


@dataclass(eq=False)
class Pipeline:
    """A tokenizer, and perhaps priors for all of its levels.

    Args:
        tokenizer: In evaluation mode.
        config: Size and bit depth of images, and classes.
        priors: One a level, top first, in evaluation mode; empty if there are none.

    Raises:
        CheckpointError: If the priors are not one for each level, or belong to another tokenizer, or the bit depth is
            16 where images are not grey.
    """

    tokenizer: VQVAE2
    config: PipelineConfig
    priors: Sequence[Prior] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        num_levels, channels = self.tokenizer.config.num_levels, self.tokenizer.config.in_channels
        if self.config.bit_depth == 16 and channels != 1:
            raise CheckpointError(
                f"`config.bit_depth` must be 8 for a tokenizer of {channels} channels, got 16; only grey has 16 bits"
            )
        own = fingerprint(self.tokenizer) if self.priors else ""
        for prior in self.priors:
            if prior.config.tokenizer != own:
                raise CheckpointError(
                    f"the prior of level {prior.space.level} was trained on codes of tokenizer "
                    f"{prior.config.tokenizer or '(not known)'}, but this is tokenizer {own}; "
                    "extract codes with this one and train the prior again"
                )
        if self.priors and [prior.space.level for prior in self.priors] != list(range(num_levels)):
            raise CheckpointError(
                f"`priors` must be one for each of {num_levels} levels, top first, "
                f"got levels {[prior.space.level for prior in self.priors]}"
            )
        for level, prior in enumerate(self.priors):
            self._check_space(level, prior.space)

    def _check_space(self, level: int, space: CodeSpace) -> None:
        """Check that a prior is over the codes that the tokenizer makes, and over the pipeline's classes."""
        config = self.tokenizer.config
        wanted = CodeSpace.of_level(
            level,
            num_embeddings=config.codebook_sizes,
            shapes=config.code_shapes(config.stride, config.stride),
            num_classes=len(self.config.classes),
        )
        if space != wanted:
            raise CheckpointError(
                f"the prior of level {level} must be over {wanted}, as tokenizer and classes are, but is over {space}; "
                "train it again"
            )

    @property
    def device(self) -> torch.device:
        return next(self.tokenizer.parameters()).device

    def to(self, device: torch.device | str) -> Self:
        """Move all parts, in place."""
        for part in (self.tokenizer, *self.priors):
            part.to(device)
        self.__dict__.pop("codec", None)  # which holds copies of the priors
        return self

    @classmethod
    def from_pretrained(
        cls, source: Path | str, *, revision: str | None = None, token: str | bool | None = None
    ) -> Pipeline:
        """Load a pipeline from its folder, or from the Hub, on the CPU.

        A folder whose priors are not all there yet (a run in the middle) gives a pipeline without priors. Nothing that
        such files hold is run, whoever made them, see `docs/trust.md`.

        Args:
            source: A folder, or else the id of a repository, "owner/name"; a folder of that name goes first.
            revision: Branch, tag or commit of the repository; None takes its main branch.
            token: For the Hub; None takes the one that is logged in.

        Raises:
            CheckpointError: If the folder is not a pipeline, a part is missing or damaged, or a prior belongs to
                another tokenizer; or if there is no such folder, and this is no id.
            ConfigError: If there is a `revision` to a folder.
            HubError: If the Hub cannot be reached, or lacks what is asked for, or refuses.
        """
        return cls(*read_pipeline_folder(find_pipeline_folder(source, revision=revision, token=token)))

    def save_pretrained(
        self,
        directory: Path | str,
        *,
        name: str | None = None,
        license: str = "unknown",
        data_name: str | None = None,
        measured: Path | str | None = None,
    ) -> None:
        """Write the folder that `from_pretrained` reads, with a model card, `README.md`.

        A pipeline that is there is replaced once the new one is whole; other files stay, and so does a card that
        somebody else wrote.

        Args:
            directory: A new folder, one with a pipeline, or one whose files have other names.
            name: How the card calls the pipeline, and loads it; None takes the name of the folder.
            license: Of the weights, by its short name on the Hub, for example "apache-2.0".
            data_name: What the pipeline was trained on, in words.
            measured: Folder of the run or of the pipeline whose `results.json` and `evaluation/results.json` the card
                tells; None tells of nothing measured.

        Raises:
            OutputError: If the folder is that of a run, or files of others have the names that are needed.
            ConfigError: If `license` is no short name.
            CheckpointError: If results are there, but damaged.
        """
        facts = CardFacts(license=license, data_name=data_name, measured=None if measured is None else Path(measured))
        directory = Path(directory).absolute()
        config = replace(self.config, has_priors=bool(self.priors))

        def card(folder: Path) -> str:
            return model_card(self.tokenizer, config, self.priors, folder, name=name or directory.name, facts=facts)

        write_pipeline_folder(directory, self.tokenizer, config, self.priors, card=card)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        token: str | bool | None = None,
        commit_message: str = "Upload a vqvae2 pipeline",
        license: str = "unknown",
        data_name: str | None = None,
        measured: Path | str | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes to a repository of the Hub, in one commit.

        Args:
            repo_id: "owner/name"; the repository is made if there is none. Its card is replaced, and so is a pipeline
                that it holds; other files stay.
            private: Whether a new repository is.
            token: For the Hub; None takes the one that is logged in.
            commit_message: Of the commit.
            license: As for `save_pretrained`, and so are the others.
            data_name: As above.
            measured: As above.

        Returns:
            The address of the commit.

        Raises:
            ConfigError: If `repo_id` is no id, or `license` no short name.
            CheckpointError: If results are there, but damaged.
            HubError: If the Hub cannot be reached, or refuses.
        """
        check_repo_id(repo_id)
        with TemporaryDirectory() as parent:
            folder = Path(parent) / "pipeline"
            self.save_pretrained(folder, name=repo_id, license=license, data_name=data_name, measured=measured)
            return upload_pipeline(folder, repo_id, private=private, token=token, commit_message=commit_message)

    def class_index(self, name: str) -> int:
        """Find a class by its name.

        Raises:
            ConfigError: If there is no such class.
        """
        if name not in self.config.classes:
            known = ", ".join(self.config.classes) or "none; this pipeline has no classes"
            raise ConfigError(f"`class` must be one of the pipeline's classes ({known}), got {name!r}")
        return self.config.classes.index(name)

    @cached_property
    def codec(self) -> Codec:
        """Compresses many images together, see `Codec`; made of the parts as they are at its first use."""
        return Codec(self.tokenizer, self.priors, bit_depth=self.config.bit_depth)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Codes:
        """Encode images `(B, C, H, W)` in [-1, 1]; see `VQVAE2.encode`."""
        return self.tokenizer.encode(images.to(self.device))

    @torch.inference_mode()
    def decode(self, codes: Codes, *, levels: int | None = None) -> Tensor:
        """Decode codes into images `(B, C, H, W)`, about [-1, 1]; see `VQVAE2.decode`."""
        return self.tokenizer.decode(codes.to(self.device), levels=levels)

    def reconstruct(self, images: Tensor, *, levels: int | None = None) -> Tensor:
        """Encode and decode images `(B, C, H, W)` of any size in [-1, 1], from the upper `levels` levels or all."""
        return crop_to(self.decode(self.encode(images), levels=levels), *images.shape[-2:])

    def compress(
        self,
        image: Tensor,
        *,
        mode: Mode | None = None,
        label: int | None = None,
        max_levels: int | None = None,
        verify: bool = True,
        on_progress: OnProgress | None = None,
    ) -> bytes:
        """Compress one image `(C, H, W)` in [-1, 1], of any size, into a file's bytes; see `Codec.compress_batch`."""
        return self.codec.compress(
            image, mode=mode, label=label, max_levels=max_levels, verify=verify, on_progress=on_progress
        )

    def decompress(
        self,
        source: Source,
        *,
        max_levels: int | None = None,
        allow_cut: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Tensor:
        """Decompress a file into `(C, H, W)`, about [-1, 1]; see `Codec.decompress_batch`."""
        return self.codec.decompress(source, max_levels=max_levels, allow_cut=allow_cut, on_progress=on_progress)

    @torch.inference_mode()
    def sample(
        self,
        num_images: int,
        *,
        seed: int = 0,
        first_image: int = 0,
        label: int | Tensor | None = None,
        config: SamplingConfig | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        on_row: Callable[[DrawnRows], None] | None = None,
        compile: bool = False,
    ) -> Tensor:
        """Draw new images, as one batch.

        Args:
            num_images: B.
            seed: Image k of a seed is the same whatever the batch it is drawn in, see `sample_codes`.
            first_image: k of the first image.
            label: Class of all images, or of each, int64 `(B,)`; None draws classes with their training frequencies.
            config: Temperature, top-k, top-p and guidance.
            on_progress: Called with the number of codes drawn so far, of all images together, and their total.
            on_row: Called after each row of codes with what there is; see `complete_codes`.
            compile: Whether the walks' steps are compiled, see `walk`.

        Returns:
            `(B, C, H, W)`, about [-1, 1].

        Raises:
            CheckpointError: If the pipeline has no priors.
            ConfigError: If `label` or the config does not fit.
        """
        labels = self.labels(num_images, seed=seed, first_image=first_image, label=label)
        codes = sample_codes(
            self.priors,
            self.tokenizer.config.code_shapes(*self.config.image_size),
            images=range(first_image, first_image + num_images),
            seed=seed,
            labels=labels,
            config=config,
            on_progress=on_progress,
            on_row=on_row,
            compile=compile,
        )
        return crop_to(self.decode(codes), *self.config.image_size)

    @torch.inference_mode()
    def complete(
        self,
        images: Tensor,
        mask: Tensor,
        *,
        num_variants: int = 1,
        seed: int = 0,
        first_image: int = 0,
        label: int | None = None,
        margin: int = 0,
        keep_pixels: bool = True,
        config: SamplingConfig | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        on_row: Callable[[DrawnRows], None] | None = None,
    ) -> Tensor:
        """Draw a part of images anew, several ways; what stood there has no say in it.

        Known pixels are spread over the hidden ones, see `fill_hidden`, and the image is encoded. The priors then draw
        the codes whose cells hold a hidden pixel; see `complete_codes` for which known codes a drawn one follows.

        Args:
            images: `(B, C, H, W)` in [-1, 1], of the pipeline's image size.
            mask: bool `(B, H, W)`, or `(H, W)` for all images; True where to draw. See `mask_below`.
            num_variants: Completions of each image, V.
            seed: The random numbers of variant v of image k come from `seed`, k and v alone; see `sample_codes`.
            first_image: k of the first image.
            label: Class of all images; None tells the priors no class.
            margin: How many codes around the masked ones are drawn too, see `hidden_codes`.
            keep_pixels: Put the known pixels themselves into the results, and not what the decoder makes of them.
            config: Temperature, top-k, top-p and guidance.
            on_progress: Called with the number of codes visited so far, of all variants together, and their total.
            on_row: Called after each row of codes with what there is; see `complete_codes`.

        Returns:
            `(B, V, C, H, W)`, about [-1, 1].

        Raises:
            CheckpointError: If the pipeline has no priors.
            ConfigError: If `num_variants`, `first_image`, `margin`, `label` or the config does not fit.
            ValueError: If `images` or `mask` is of another shape or type.
        """
        require_size(images, self.config.image_size)
        self._check_label(label)
        images = images.to(self.device)
        mask = fit_mask(mask, images)
        drawn = redraw_codes(
            self.priors,
            self.encode(fill_hidden(images, mask)),
            hidden_codes(mask, self.tokenizer.config, margin=margin),
            num_variants=num_variants,
            seed=seed,
            first_image=first_image,
            label=label,
            config=config,
            on_progress=on_progress,
            on_row=on_row,
        )
        variants = self._decode_variants(drawn, num_variants)
        return torch.where(mask[:, None, None], variants, images[:, None]) if keep_pixels else variants

    @torch.inference_mode()
    def vary(
        self,
        images: Tensor,
        *,
        keep_levels: int = 1,
        num_variants: int = 1,
        seed: int = 0,
        first_image: int = 0,
        label: int | None = None,
        config: SamplingConfig | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        on_row: Callable[[DrawnRows], None] | None = None,
    ) -> Tensor:
        """Keep the codes of the upper levels of images, and draw those below anew, several ways.

        Args:
            images: `(B, C, H, W)` in [-1, 1], of the pipeline's image size.
            keep_levels: How many levels to keep, from the top.
            num_variants: As for `complete`, and so are all further ones.
            seed: As above.
            first_image: As above.
            label: As above.
            config: As above.
            on_progress: As above.
            on_row: As above.

        Returns:
            `(B, V, C, H, W)`, about [-1, 1].

        Raises:
            CheckpointError: If the pipeline has no priors.
            ConfigError: If `keep_levels`, `num_variants`, `first_image`, `label` or the config does not fit.
            ValueError: If `images` is of another shape.
        """
        num_levels = self.tokenizer.config.num_levels
        if not 1 <= keep_levels < num_levels:
            wanted = f"in 1..{num_levels - 1}" if num_levels > 1 else "left alone, since this pipeline has one level"
            raise ConfigError(f"`keep_levels` must be {wanted}, got {keep_levels}")
        require_size(images, self.config.image_size)
        self._check_label(label)
        codes = self.encode(images)
        drawn = redraw_codes(
            self.priors,
            codes,
            [torch.full(grid.shape, level >= keep_levels) for level, grid in enumerate(codes)],
            num_variants=num_variants,
            seed=seed,
            first_image=first_image,
            label=label,
            config=config,
            on_progress=on_progress,
            on_row=on_row,
        )
        return self._decode_variants(drawn, num_variants)

    def _decode_variants(self, codes: Codes, num_variants: int) -> Tensor:
        """Decode the codes of `num_variants` variants of each image: `(B, V, C, H, W)`."""
        images = crop_to(self.decode(codes), *self.config.image_size)
        return images.unflatten(0, (-1, num_variants))

    def labels(
        self, num_images: int, *, seed: int, first_image: int = 0, label: int | Tensor | None = None
    ) -> Tensor | None:
        """Give the classes that `sample` draws: int64 `(B,)`, or None without classes."""
        self._check_label(None if isinstance(label, Tensor) else label)
        if isinstance(label, Tensor):
            return label  # whose range the priors check
        if label is not None:
            return torch.full((num_images,), label)
        if not self.config.classes:
            return None
        images = range(first_image, first_image + num_images)
        return draw_labels(self.config.class_counts, images=images, seed=seed)

    def _check_label(self, label: int | None) -> None:
        """Check that there are priors, and the class among theirs."""
        if not self.priors:
            raise CheckpointError("this pipeline has no priors, so it cannot sample; train a prior for every level")
        num_classes = len(self.config.classes)
        if label is not None and not 0 <= label < num_classes:
            wanted = f"in 0..{num_classes - 1}" if num_classes else "None, since this pipeline has no classes"
            raise ConfigError(f"`label` must be {wanted}, got {label}")
