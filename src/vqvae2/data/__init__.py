"""Images and codes on disk, and the order in which they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vqvae2.data.batches import ShuffledBatches, evenly_spread, ordered_batches
from vqvae2.data.collection import Split
from vqvae2.data.prefetch import prefetched
from vqvae2.data.prepared import Images, ReadBatch, read_batches, spread_batches
from vqvae2.data.sources.builtin import BUILTIN_GROUP_PATTERN, BuiltinImages
from vqvae2.data.sources.folder import ImageFolder
from vqvae2.data.sources.opening import open_images
from vqvae2.data.sources.source import ImageRecord, ImageSource, ImageSurvey, ReadingUnits, ShardError, survey_images
from vqvae2.data.sources.tar import TarShards
from vqvae2.data.split import validation_mask
from vqvae2.data.stores.code_store import CodeStore, CodeStoreWriter, create_code_store
from vqvae2.data.stores.growing import GrowingArrays
from vqvae2.data.stores.image_store import ImageStore, prepare_images, write_images
from vqvae2.data.stores.streamed import StreamedImages, index_images, open_prepared

if TYPE_CHECKING:
    from vqvae2.data.sources.hub import HubFolder
    from vqvae2.data.sources.parquet import ParquetImages

__all__ = [
    "BUILTIN_GROUP_PATTERN",
    "BuiltinImages",
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


def __getattr__(name: str) -> Any:
    """Import the sources whose libraries take long to import only where they are used."""
    if name == "HubFolder":
        from vqvae2.data.sources.hub import HubFolder

        return HubFolder
    if name == "ParquetImages":
        from vqvae2.data.sources.parquet import ParquetImages

        return ParquetImages
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
