"""Images and codes on disk, and the order in which they are read."""

from vqvae2.data.batches import ShuffledBatches, evenly_spread, ordered_batches
from vqvae2.data.builtin import BUILTIN_GROUP_PATTERN, BuiltinImages
from vqvae2.data.code_parts import CodeParts
from vqvae2.data.code_store import CodeStore, CodeStoreWriter, create_code_store
from vqvae2.data.growing_arrays import GrowingArrays
from vqvae2.data.image_folder import ImageFolder
from vqvae2.data.image_store import ImageStore, Split, prepare_images, write_images
from vqvae2.data.source import ImageRecord, ImageSource, ImageSurvey, survey_images
from vqvae2.data.split import validation_mask

__all__ = [
    "BUILTIN_GROUP_PATTERN",
    "BuiltinImages",
    "CodeParts",
    "CodeStore",
    "CodeStoreWriter",
    "GrowingArrays",
    "ImageFolder",
    "ImageRecord",
    "ImageSource",
    "ImageStore",
    "ImageSurvey",
    "ShuffledBatches",
    "Split",
    "create_code_store",
    "evenly_spread",
    "ordered_batches",
    "prepare_images",
    "survey_images",
    "validation_mask",
    "write_images",
]
