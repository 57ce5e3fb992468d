"""Tokenizer and priors as one object, read from and written to one folder or a repository of the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self
from unicodedata import normalize

import torch
from torch import Tensor

from vqvae2.codec.bitstream import MAX_CODED_PIXELS, Mode
from vqvae2.codec.codec import Codec, Source
from vqvae2.codes import Codes
from vqvae2.config import DecoderName
from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.images import check_images, crop_to
from vqvae2.metrics.results import Fingerprints
from vqvae2.models.checkpoint import fingerprint
from vqvae2.models.decoder import Decoder, decode_vectors
from vqvae2.models.prior import Prior, code_nats
from vqvae2.models.vqvae import VQVAE2, check_codes
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.folder import check_parts, read_pipeline_folder, write_pipeline_folder
from vqvae2.pipeline.hub import check_repo_id, find_pipeline_folder, upload_pipeline
from vqvae2.pipeline.model_card import CardFacts, model_card
from vqvae2.sampling.choice import draw_labels
from vqvae2.sampling.completion import complete_codes, fill_hidden, hidden_codes
from vqvae2.sampling.hooks import Hooks
from vqvae2.sampling.request import DrawRequest
from vqvae2.sampling.sample import sample_codes

__all__ = ["Pipeline"]


@dataclass(eq=False)
class Pipeline:
    """A tokenizer, with or without priors for its levels.

    Args:
        tokenizer: In evaluation mode.
        config: Size and bit depth of images, classes, and how codes are drawn by default.
        priors: One per level, top first, in evaluation mode; empty if there are none.
        max_pixels: Of the largest image that the codec reads and writes.
        sharp_decoder: In evaluation mode; None if there is none.

    Raises:
        CheckpointError: If the parts do not fit each other.
    """

    tokenizer: VQVAE2
    config: PipelineConfig
    priors: Sequence[Prior] = field(default_factory=tuple)
    max_pixels: int = MAX_CODED_PIXELS
    sharp_decoder: Decoder | None = None

    def __post_init__(self) -> None:
        check_parts(self.tokenizer, self.config, self.priors, self.sharp_decoder)

    @property
    def device(self) -> torch.device:
        return next(self.tokenizer.parameters()).device

    @property
    def decoders(self) -> tuple[DecoderName, ...]:
        """Names of the decoders that there are, the default one first."""
        if self.sharp_decoder is None:
            return ("faithful",)
        return ("sharp", "faithful") if self.config.default_decoder == "sharp" else ("faithful", "sharp")

    def fingerprints(self, decoder: DecoderName | None = None) -> Fingerprints:
        """Hash the models behind images that a decoder makes; None takes the default one.

        Raises:
            ConfigError: If the pipeline has no such decoder.
        """
        second = self._decoder_in_place(decoder)
        return Fingerprints(
            tokenizer=fingerprint(self.tokenizer),
            priors=tuple(map(fingerprint, self.priors)),
            sharp_decoder="" if second is None else fingerprint(second),
        )

    def to(self, device: torch.device | str) -> Self:
        """Move all parts, in place."""
        for part in (self.tokenizer, *self.priors, self.sharp_decoder):
            if part is not None:
                part.to(device)
        self.__dict__.pop("codec", None)  # which holds copies of the priors
        return self

    @classmethod
    def from_pretrained(
        cls, source: Path | str, *, revision: str | None = None, token: str | bool | None = None
    ) -> Pipeline:
        """Load a pipeline on the CPU, from its folder or from the Hub; see `find_pipeline_folder` for the arguments.

        The folder of an unfinished run gives a pipeline without priors. Loading executes nothing that the files hold,
        whoever made them, see `docs/trust.md`.

        Raises:
            CheckpointError: If there is no such pipeline, or a part is missing, damaged, or does not fit the others.
            ConfigError: If a folder is given with a `revision`.
            HubError: If the Hub cannot be reached, refuses, or has no such repository.
        """
        folder = find_pipeline_folder(source, revision=revision, token=token)
        tokenizer, config, priors, sharp_decoder = read_pipeline_folder(folder)
        return cls(tokenizer, config, priors, sharp_decoder=sharp_decoder)

    def save_pretrained(
        self, directory: Path | str, *, name: str | None = None, facts: CardFacts = CardFacts()
    ) -> None:
        """Write the folder that `from_pretrained` reads, with a model card, `README.md`.

        An existing pipeline is replaced once the new one is complete. Other files stay, and so does a card that
        somebody else wrote.

        Args:
            directory: A new folder, one with a pipeline, or one whose files have other names.
            name: How the card calls the pipeline, and loads it; None takes the name of the folder.
            facts: What the card says that the models do not: licence, data, and results.

        Raises:
            OutputError: If the folder is that of a run, or files of others have the names that are needed.
            CheckpointError: If results are damaged, or a part was changed so that the others no longer fit it.
        """
        check_parts(self.tokenizer, self.config, self.priors, self.sharp_decoder)
        directory = Path(directory).absolute()
        config = replace(self.config, has_priors=bool(self.priors), has_sharp_decoder=self.sharp_decoder is not None)

        def card(folder: Path) -> str:
            return model_card(self, folder, name=name or directory.name, facts=facts)

        write_pipeline_folder(directory, self.tokenizer, config, self.priors, self.sharp_decoder, card=card)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        token: str | bool | None = None,
        commit_message: str = "Upload a vqvae2 pipeline",
        facts: CardFacts = CardFacts(),
    ) -> str:
        """Upload what `save_pretrained` writes to a repository of the Hub, in one commit, and return its address.

        Args:
            repo_id: "owner/name"; the repository is made if there is none. Its card and pipeline are replaced, and
                other files stay.
            private: Whether a new repository is private.
            token: For the Hub; None takes the one that is logged in.
            commit_message: Of the commit.
            facts: See `save_pretrained`.

        Raises:
            ConfigError: If `repo_id` is no id.
            CheckpointError: If results are damaged.
            HubError: If the Hub cannot be reached, or refuses.
        """
        check_repo_id(repo_id)
        with TemporaryDirectory() as parent:
            folder = Path(parent) / "pipeline"
            self.save_pretrained(folder, name=repo_id, facts=facts)
            return upload_pipeline(folder, repo_id, private=private, token=token, commit_message=commit_message)

    def using(self, decoder: DecoderName | None) -> Self:
        """Give the same parts with another default decoder, which all methods take; None keeps the one there is.

        `to` moves the parts of both, but files are coded by copies: move a pipeline first.

        Raises:
            ConfigError: If the pipeline has no such decoder.
        """
        if decoder in (None, self.config.default_decoder):
            return self
        self._decoder_in_place(decoder)
        return replace(self, config=replace(self.config, default_decoder=decoder))

    def class_index(self, name: str) -> int:
        """Find a class by its name, whichever way its accents are written.

        Raises:
            ConfigError: If there is no such class.
        """
        if name not in self.config.classes:
            composed = [normalize("NFC", known) for known in self.config.classes]
            if normalize("NFC", name) in composed:
                return composed.index(normalize("NFC", name))
            known = ", ".join(self.config.classes) or "none; this pipeline has no classes"
            raise ConfigError(f"`class` must be one of the pipeline's classes ({known}), got {name!r}")
        return self.config.classes.index(name)

    @cached_property
    def codec(self) -> Codec:
        """Compresses many images together, see `Codec`; made of the parts as they are at its first use."""
        return Codec(
            self.tokenizer,
            self.priors,
            bit_depth=self.config.bit_depth,
            max_pixels=self.max_pixels,
            decoder=self._decoder_in_place(None),
        )

    @torch.no_grad()
    def encode(self, images: Tensor) -> Codes:
        """Encode images `(B, C, H, W)` in [-1, 1]; see `VQVAE2.encode`.

        Raises:
            ValueError: If they are of another shape or type, or hold other values.
        """
        check_images(images, "images", channels=self.tokenizer.config.in_channels)
        return self.tokenizer.encode(images.to(self.device))

    @torch.no_grad()
    def decode(self, codes: Codes, *, levels: int | None = None, decoder: DecoderName | None = None) -> Tensor:
        """Decode codes into images `(B, C, H, W)`, about [-1, 1]; see `VQVAE2.decode`.

        None takes the default decoder of the pipeline.

        Raises:
            ConfigError: If the pipeline has no such decoder.
            ValueError: If the codes are not of this tokenizer, or `levels` does not fit.
        """
        check_codes(codes, self.tokenizer.config)
        return self.tokenizer.decode(codes.to(self.device), levels=levels, decoder=self._decoder_in_place(decoder))

    @property
    def codebooks(self) -> list[Tensor]:
        """The vectors `(K, D)` of each level's codes, top first."""
        return self.tokenizer.codebooks

    @torch.no_grad()
    def decode_vectors(self, vectors: Sequence[Tensor], *, decoder: DecoderName | None = None) -> Tensor:
        """Decode vectors `(B, D, h, w)` of all levels, top first, such as means of those of codes, into images.

        None takes the default decoder of the pipeline. `VQVAE2.embed` gives the vectors of codes.

        Raises:
            ConfigError: If the pipeline has no such decoder.
        """
        return decode_vectors(self._decoder_in_place(decoder) or self.tokenizer, [v.to(self.device) for v in vectors])

    def reconstruct(self, images: Tensor, *, levels: int | None = None) -> Tensor:
        """Encode and decode images `(B, C, H, W)` of any size in [-1, 1], from the upper `levels` levels or all."""
        return crop_to(self.decode(self.encode(images), levels=levels), *images.shape[-2:])

    @torch.no_grad()
    def log_likelihood(self, images: Tensor | Codes, *, label: int | None = None) -> tuple[Tensor, ...]:
        """Give the log-likelihood of each code of some images.

        Args:
            images: `(B, C, H, W)` in [-1, 1], of the pipeline's image size; or their codes, of all levels.
            label: Class of all images; None tells the priors none.

        Returns:
            For each level, top first, float32 `(B, h, w)` in nats, at most 0. The sum is that of an image's codes; what
            the tokenizer loses is not in it.

        Raises:
            CheckpointError: If the pipeline has no priors.
            ConfigError: If there is no such class.
            ValueError: If images or codes are of another shape or type, or hold other values.
        """
        self._check(DrawRequest(label=label), None if isinstance(images, Codes) else images)
        codes = images.to(self.device) if isinstance(images, Codes) else self.encode(images)
        wanted = self.tokenizer.config.code_shapes(*self.config.image_size)
        if codes.shapes != wanted:
            raise ValueError(f"`images` must be codes of shapes {wanted}, got {codes.shapes}")
        check_codes(codes, self.tokenizer.config)
        labels = None if label is None else torch.full((codes.batch_size,), label, device=self.device)
        return tuple(
            -code_nats(prior, Codes(codes.maps[: level + 1]), labels) for level, prior in enumerate(self.priors)
        )

    def compress(
        self,
        image: Tensor,
        *,
        mode: Mode | None = None,
        label: int | None = None,
        max_levels: int | None = None,
        verify: bool = True,
        hooks: Hooks = Hooks(),
    ) -> bytes:
        """Compress one image `(C, H, W)` in [-1, 1], of any size, into a file's bytes; see `Codec.compress_batch`."""
        return self.codec.compress_batch(
            [image], mode=mode, labels=[label], max_levels=max_levels, verify=verify, hooks=hooks
        )[0]

    def decompress(
        self, source: Source, *, max_levels: int | None = None, allow_cut: bool = False, hooks: Hooks = Hooks()
    ) -> Tensor:
        """Decompress a file into `(C, H, W)`, about [-1, 1]; see `Codec.decompress_batch`."""
        return self.codec.decompress_batch([source], max_levels=max_levels, allow_cut=allow_cut, hooks=hooks)[0]

    @torch.no_grad()
    def sample(self, num_images: int, request: DrawRequest = DrawRequest(), *, hooks: Hooks = Hooks()) -> Tensor:
        """Draw B new images as one batch, `(B, C, H, W)`, about [-1, 1].

        Image k of a seed is the same whatever the batch it is drawn in, see `sample_codes`. Without a label, classes
        are as frequent as in the training images.

        Raises:
            CheckpointError: If the pipeline has no priors.
            ConfigError: If the request does not fit the pipeline.
        """
        request = self._with_settings(replace(request, label=self.labels(num_images, request)))
        shapes = self.tokenizer.config.code_shapes(*self.config.image_size)
        codes = sample_codes(self.priors, shapes, num_images, request, hooks=hooks)
        return crop_to(self.decode(codes), *self.config.image_size)

    @torch.no_grad()
    def complete(
        self,
        images: Tensor,
        mask: Tensor,
        request: DrawRequest = DrawRequest(),
        *,
        margin: int = 0,
        keep_pixels: bool = True,
        hooks: Hooks = Hooks(),
    ) -> Tensor:
        """Draw a part of images anew, several ways, regardless of what stood there.

        Known pixels are spread over the hidden ones, see `fill_hidden`, and the image is encoded. The priors then draw
        the codes whose cells hold a hidden pixel; `complete_codes` says which known codes influence a drawn one.

        Args:
            images: `(B, C, H, W)` in [-1, 1], of the pipeline's image size.
            mask: bool `(B, H, W)`, or `(H, W)` for all images; True where to draw. See `mask_below`.
            request: What to draw: `num_variants` V of each image.
            margin: How many codes around the masked ones to draw too, see `hidden_codes`.
            keep_pixels: Whether known pixels stay as they are, instead of what the decoder makes of them.
            hooks: Called after each row of codes.

        Returns:
            `(B, V, C, H, W)`, about [-1, 1].

        Raises:
            CheckpointError: If the pipeline has no priors.
            ConfigError: If the request or `margin` does not fit the pipeline.
            ValueError: If `images` or `mask` is of another shape or type.
        """
        self._check(request, images)
        images = images.to(self.device)
        wanted = (len(images), *self.config.image_size)
        if mask.dtype != torch.bool or tuple(mask.shape) not in (wanted, wanted[1:]):
            raise ValueError(
                f"`mask` must be bool of shape {wanted} or {wanted[1:]}, got {mask.dtype} of shape {tuple(mask.shape)}"
            )
        mask = mask.to(self.device).expand(wanted)
        codes = self.tokenizer.encode(fill_hidden(images, mask))
        hidden = hidden_codes(mask, self.tokenizer.config, margin=margin)
        variants = self._draw_variants(codes, hidden, request, hooks)
        return torch.where(mask[:, None, None], variants, images[:, None]) if keep_pixels else variants

    @torch.no_grad()
    def vary(
        self, images: Tensor, request: DrawRequest = DrawRequest(), *, keep_levels: int = 1, hooks: Hooks = Hooks()
    ) -> Tensor:
        """Keep the codes of the upper `keep_levels` levels of images, and draw those below anew, several ways.

        Arguments, result and errors are otherwise those of `complete`.
        """
        num_levels = self.tokenizer.config.num_levels
        if not 1 <= keep_levels < num_levels:
            wanted = f"in 1..{num_levels - 1}" if num_levels > 1 else "left alone, since this pipeline has one level"
            raise ConfigError(f"`keep_levels` must be {wanted}, got {keep_levels}")
        self._check(request, images)
        codes = self.tokenizer.encode(images.to(self.device))
        hidden = [torch.full_like(maps, level >= keep_levels, dtype=torch.bool) for level, maps in enumerate(codes)]
        return self._draw_variants(codes, hidden, request, hooks)

    def labels(self, num_images: int, request: DrawRequest) -> Tensor | None:
        """Give the classes that `sample` draws: int64 `(B,)`, or None without classes."""
        self._check(request)
        if isinstance(request.label, Tensor):
            return request.label  # whose range the priors check
        if request.label is not None:
            return torch.full((num_images,), request.label)
        if not self.config.classes:
            return None
        images = range(request.first_image, request.first_image + num_images)
        return draw_labels(self.config.class_counts, images=images, seed=request.seed)

    def _decoder_in_place(self, name: DecoderName | None) -> Decoder | None:
        """Return the second decoder if it is asked for, by name or as the default; None means the tokenizer's own."""
        name = name or self.config.default_decoder
        if name not in self.decoders:
            known = " or ".join(map(repr, sorted(self.decoders)))
            remedy = "; train a sharp one with `vqvae2 train-decoder RUN`" if name == "sharp" else ""
            raise ConfigError(f"`decoder` must be {known} for this pipeline, got {name!r}{remedy}")
        return self.sharp_decoder if name == "sharp" else None

    def _draw_variants(self, codes: Codes, hidden: Sequence[Tensor], request: DrawRequest, hooks: Hooks) -> Tensor:
        """Draw and decode variants of each image: `(B, V, C, H, W)`."""
        drawn = complete_codes(self.priors, codes, hidden, self._with_settings(request), hooks=hooks)
        images = crop_to(self.decode(drawn), *self.config.image_size)
        return images.unflatten(0, (-1, request.num_variants))

    def _with_settings(self, request: DrawRequest) -> DrawRequest:
        """Fill in the pipeline's own settings if the request has none."""
        own = self.config.sampling_for(has_class=request.label is not None)
        return replace(request, sampling=request.sampling or own)

    def _check(self, request: DrawRequest, images: Tensor | None = None) -> None:
        """Check the size of images, that there are priors, and that one class for all images is theirs."""
        height, width = self.config.image_size
        if images is not None:
            check_images(images, "images", channels=self.tokenizer.config.in_channels)
            if images.shape[-2:] != (height, width):
                raise ValueError(
                    f"`images` must be of shape (B, C, {height}, {width}), the pipeline's image size, "
                    f"got {tuple(images.shape)}"
                )
        if not self.priors:
            raise CheckpointError("this pipeline has no priors, so it cannot sample; train a prior for every level")
        num_classes, label = len(self.config.classes), request.label
        if not (label is None or isinstance(label, Tensor) or 0 <= label < num_classes):
            wanted = f"in 0..{num_classes - 1}" if num_classes else "None, since this pipeline has no classes"
            raise ConfigError(f"`label` must be {wanted}, got {label}")
