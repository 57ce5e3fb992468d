"""Images at the edges: files, pixels, and the tensors that networks take."""

from vqvae2.images.batches import (
    PIXEL_TYPES,
    crop_to,
    from_pixels,
    pad_to_multiple,
    require_channels,
    to_8_bits,
    to_pixels,
    to_rgb,
)
from vqvae2.images.files import ImageInfo, decode_image, encode_png, image_info, save_png
from vqvae2.images.grids import cut_grid, image_grid

__all__ = [
    "PIXEL_TYPES",
    "ImageInfo",
    "crop_to",
    "cut_grid",
    "decode_image",
    "encode_png",
    "from_pixels",
    "image_grid",
    "image_info",
    "pad_to_multiple",
    "require_channels",
    "save_png",
    "to_8_bits",
    "to_pixels",
    "to_rgb",
]
