"""Images at the edges: files, pixels, and the tensors that networks take."""

from vqvae2.images.batches import PIXEL_TYPES as PIXEL_TYPES
from vqvae2.images.batches import check_images as check_images
from vqvae2.images.batches import crop_to as crop_to
from vqvae2.images.batches import from_pixels as from_pixels
from vqvae2.images.batches import pad_to_multiple as pad_to_multiple
from vqvae2.images.batches import require_channels as require_channels
from vqvae2.images.batches import resize_to_square as resize_to_square
from vqvae2.images.batches import shift as shift
from vqvae2.images.batches import to_8_bits as to_8_bits
from vqvae2.images.batches import to_pixels as to_pixels
from vqvae2.images.batches import to_rgb as to_rgb
from vqvae2.images.files import ImageInfo as ImageInfo
from vqvae2.images.files import begins_like_image as begins_like_image
from vqvae2.images.files import decode_image as decode_image
from vqvae2.images.files import encode_png as encode_png
from vqvae2.images.files import image_info as image_info
from vqvae2.images.files import save_png as save_png
from vqvae2.images.grids import cut_grid as cut_grid
from vqvae2.images.grids import image_grid as image_grid
