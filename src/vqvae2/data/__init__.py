"""Images and codes on disk, and the order in which they are read."""

from vqvae2.data.batches import ShuffledBatches, evenly_spread, ordered_batches
from vqvae2.data.builtin import BUILTIN_GROUP_PATTERN, BuiltinImages
from vqvae2.data.code_parts import CodeParts
from vqvae2.data.code_store import CodeStore, CodeStoreWriter, create_code_store
from vqvae2.data.growing_arrays import GrowingArrays
from vqvae2.data.hub_images import HubFolder
from vqvae2.data.image_folder import ImageFolder
from vqvae2.data.image_store import ImageStore, prepare_images, write_images
from vqvae2.data.open_images import open_images
from vqvae2.data.parquet_images import ParquetImages
from vqvae2.data.prefetch import prefetched
from vqvae2.data.prepared_images import Images, ReadBatch, Split, read_batches, spread_batches
from vqvae2.data.source import ImageRecord, ImageSource, ImageSurvey, ReadingUnits, ShardError, survey_images
from vqvae2.data.split import validation_mask
from vqvae2.data.streamed_images import StreamedImages, index_images, open_prepared
from vqvae2.data.tar_shards import TarShards

__all__ = [
    "BUILTIN_GROUP_PATTERN",
    "BuiltinImages",
    "CodeParts",
    "CodeStore",
    "CodeStoreWriter",
    "GrowingArrays",
    "HubFolder",
    "ImageFolder",
    "ImageRecord",
    "ImageSource",
    "ImageStore",
    "ImageSurvey",
    "Images",
    "ParquetImages",
    "ReadBatch",
    "ReadingUnits",
    "ShardError",
    "ShuffledBatches",
    "Split",
    "StreamedImages",
    "TarShards",
    "create_code_store",
    "evenly_spread",
    "index_images",
    "open_images",
    "open_prepared",
    "ordered_batches",
    "prefetched",
    "prepare_images",
    "read_batches",
    "spread_batches",
    "survey_images",
    "validation_mask",
    "write_images",
]
