"""Colour profiles: what a viewer shows is sRGB here."""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageCms

__all__ = ["srgb_transform"]

_MAX_PROFILE_BYTES = 2**22  # a printer's profile has some hundred thousand
_KEPT_TRANSFORMS = 16  # the images of a set share a few profiles
_SAME = 1  # of 255: no viewer shows such a difference
_COLOUR_STEPS = 9


def srgb_transform(image: Image.Image) -> ImageCms.ImageCmsTransform | None:
    """Return what turns an image's colours into sRGB, as RGB, or RGBA where it is.

    None where they are sRGB: the image has no profile, one that says the same, or one that does not fit its mode. Only
    images in mode L, RGB, RGBA and CMYK have a transform.
    """
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or len(profile) > _MAX_PROFILE_BYTES:
        return None
    return _make_transform(profile, image.mode) if image.mode in ("L", "RGB", "RGBA", "CMYK") else None


@functools.lru_cache(maxsize=_KEPT_TRANSFORMS)
def _make_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        opened, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(opened, srgb, mode, "RGBA" if mode == "RGBA" else "RGB")
    except (ImageCms.PyCMSError, OSError, ImportError):  # damaged, of another mode, or a PIL without LittleCMS
        return None
    if mode == "CMYK":
        return transform
    probe = _probe().convert(mode)
    after = np.asarray(ImageCms.applyTransform(probe, transform), dtype=np.int64)
    before = np.asarray(probe.convert("RGBA" if mode == "RGBA" else "RGB"), dtype=np.int64)
    return transform if abs(after - before).max() > _SAME else None


def _probe() -> Image.Image:
    """Make a picture of colours from all over the cube."""
    levels = np.linspace(0, 255, _COLOUR_STEPS).astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(_COLOUR_STEPS, -1, 3))
