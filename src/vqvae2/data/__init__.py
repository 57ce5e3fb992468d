"""Images and codes on disk, and the order in which they are read."""

from __future__ import annotations

from vqvae2.data.batches import ShuffledBatches as ShuffledBatches
from vqvae2.data.batches import evenly_spread as evenly_spread
from vqvae2.data.batches import ordered_batches as ordered_batches
from vqvae2.data.collection import Split as Split
from vqvae2.data.prefetch import prefetched as prefetched
from vqvae2.data.prepared import Images as Images
from vqvae2.data.prepared import ReadBatch as ReadBatch
from vqvae2.data.prepared import spread_batches as spread_batches
from vqvae2.data.sources.builtin import BuiltinImages as BuiltinImages
from vqvae2.data.sources.folder import ImageFolder as ImageFolder
from vqvae2.data.sources.opening import open_images as open_images
from vqvae2.data.sources.source import ImageSource as ImageSource
from vqvae2.data.sources.source import ImageSurvey as ImageSurvey
from vqvae2.data.sources.source import ReadingUnits as ReadingUnits
from vqvae2.data.sources.source import ShardError as ShardError
from vqvae2.data.sources.source import survey_images as survey_images
from vqvae2.data.split import validation_mask as validation_mask
from vqvae2.data.stores.code_store import CodeStore as CodeStore
from vqvae2.data.stores.code_store import create_code_store as create_code_store
from vqvae2.data.stores.growing import GrowingArrays as GrowingArrays
from vqvae2.data.stores.image_store import ImageStore as ImageStore
from vqvae2.data.stores.image_store import prepare_images as prepare_images
from vqvae2.data.stores.image_store import write_images as write_images
from vqvae2.data.stores.streamed import StreamedImages as StreamedImages
from vqvae2.data.stores.streamed import index_images as index_images
from vqvae2.data.stores.streamed import open_prepared as open_prepared
from vqvae2.data.summary import ImageSummary as ImageSummary
from vqvae2.data.summary import summarize_images as summarize_images
