"""Laws of images that are read as they are needed."""

import json

import numpy as np
import pytest

from vqvae2.config import ImageConfig
from vqvae2.data import (
    ImageStore,
    ShardError,
    StreamedImages,
    index_images,
    open_images,
    open_prepared,
    prepare_images,
    spread_batches,
)
from vqvae2.data.stores import streamed as module
from vqvae2.errors import DataError
from vqvae2.images import decode_image

CONFIG = ImageConfig(size=(4, 5), validation_fraction=0.3)


@pytest.fixture(params=["folder", "tar", "parquet"])
def make_source(request, make_png, write_tar, write_parquet, tmp_path):
    """Write forty images of two classes, some of them broken, in one of the ways."""

    def make(broken: tuple[int, ...] = ()):
        data = [b"broken" if number in broken else make_png(number) for number in range(40)]
        names = [f"{'ab'[number % 2]}/{number:02d}.png" for number in range(40)]
        if request.param == "parquet":
            labels = [number % 2 for number in range(40)]
            return open_images(write_parquet(tmp_path / "x.parquet", data, labels, classes=["a", "b"], paths=names))
        if request.param == "tar":
            return open_images(write_tar(tmp_path / "x.tar", dict(zip(names, data, strict=True))))
        for name, content in zip(names, data, strict=True):
            (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "photos" / name).write_bytes(content)
        return open_images(tmp_path / "photos")

    return make


def test_streamed_images_are_those_of_a_store(make_source, tmp_path):
    source = make_source()
    store = prepare_images(source, tmp_path / "store", CONFIG)
    made = index_images(source, tmp_path / "index", CONFIG)
    for images in (made, open_prepared(tmp_path / "index")):
        for name in ("names", "classes", "skipped", "num_images", "size", "channels", "bit_depth"):
            assert getattr(images, name) == getattr(store, name)
        for name in ("labels", "is_validation"):
            assert np.array_equal(getattr(images, name), getattr(store, name))
        chosen = np.random.default_rng(0).permutation(40)
        for _ in range(2):  # validation images are kept from the first time on
            read, stored = images.read(chosen), store.read(chosen)
            assert np.array_equal(read, stored)
            read[:], stored[:] = 7, 7  # which changes neither
        assert images.read([3]).dtype == store.read([3]).dtype
        assert images.fingerprint(chosen) == store.fingerprint(chosen)
        for split in ("train", "validation"):
            assert np.array_equal(images.indices(split), store.indices(split))
    assert isinstance(open_prepared(tmp_path / "store"), ImageStore)
    assert [path.name for path in (tmp_path / "index").iterdir()] == ["index.json"]


def test_batches_are_read_in_their_order(make_source, tmp_path):
    images = index_images(make_source(), tmp_path / "index", CONFIG)
    chosen = np.random.default_rng(0).permutation(40)[:33]
    batches = list(spread_batches(images, chosen, 7, lambda batch: batch))
    assert np.array_equal(np.concatenate([batch.indices for batch in batches]), chosen)
    assert np.array_equal(np.concatenate([batch.pixels for batch in batches]), images.read(chosen))


def test_a_broken_image_is_replaced_by_the_next_of_its_class_and_side(make_source, tmp_path):
    broken = (0, 1, 2, 17, 38, 39)
    told = []
    source = make_source(broken)
    images = index_images(source, tmp_path / "index", CONFIG, on_skipped=lambda *entry: told.append(entry))
    pixels = images.read(np.arange(40))
    is_broken = [source.read(number) == b"broken" for number in range(40)]
    for number in range(40):
        tried = [number, *range(number + 1, 40), *range(number)]
        alike = [
            other
            for other in tried
            if images.labels[other] == images.labels[number]
            and images.is_validation[other] == images.is_validation[number]
            and not is_broken[other]
        ]
        assert np.array_equal(pixels[number], decode_image(source.read(alike[0]), channels=3, size=(4, 5)))
    assert np.array_equal(images.read(np.arange(40)[::-1]), pixels[::-1])
    names = sorted(name for number, name in enumerate(source.names) if is_broken[number])
    assert sorted(name for name, _ in told) == names  # each once
    assert sorted(images.skipped) == sorted(told)
    assert {reason for _, reason in told} == {
        "not a readable image: the format is unknown, or a variant of TIFF that is not read; convert it to PNG"
    }


def test_what_was_found_broken_is_remembered(make_source, tmp_path):
    index_images(make_source((4, 8)), tmp_path / "index", CONFIG).read(np.arange(40))
    path = tmp_path / "index" / "skipped.jsonl"
    path.write_text(path.read_text() + '["half a li')
    told = []
    images = open_prepared(tmp_path / "index", on_skipped=lambda *entry: told.append(entry))
    assert len(images.skipped) == 2
    images.read(np.arange(40))
    assert told == []


@pytest.mark.parametrize("readable", [0, 1])
def test_a_search_for_a_replacement_ends_after_some_tries_or_with_the_class(
    readable, make_source, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "_MAX_TRIES", 3 if readable else 100)
    images = index_images(make_source(tuple(range(0, 40 - 2 * readable, 2))), tmp_path / "index", CONFIG)
    message = r"cannot be read \(not a readable .*\), and neither can the images of its class and side"
    with pytest.raises(DataError, match=message):
        images.read(images.indices("train"))


def test_kept_validation_images_have_a_bound(make_source, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CACHED_BYTES", 3 * 4 * 5 * 3)
    images = index_images(make_source(), tmp_path / "index", CONFIG)
    images.read(np.arange(40))
    assert len(images._cache) == 3
    assert images.is_validation[list(images._cache)].all()


def test_other_images_are_refused(make_source, tmp_path):
    source = make_source()
    index_images(source, tmp_path / "index", CONFIG)
    source.names, source.origin = source.names[:-1], "elsewhere"
    with pytest.raises(
        DataError, match=r"must be the 40 files that .*index was begun with, but elsewhere has 39, 39 of"
    ):
        StreamedImages(tmp_path / "index", source=source)


def test_a_source_that_has_gone_is_named(write_tar, make_png, tmp_path):
    path = write_tar(tmp_path / "x.tar", {f"{number}.png": make_png(number) for number in range(9)})
    images = index_images(open_images(path), tmp_path / "index", CONFIG)
    path.unlink()
    with pytest.raises(ShardError, match=r"x\.tar cannot be read"):
        images.read([0])
    with pytest.raises(DataError, match=r"x\.tar does not exist"):
        open_prepared(tmp_path / "index")


def test_a_damaged_index_is_refused(make_source, tmp_path):
    index_images(make_source(), tmp_path / "index", CONFIG)
    path = tmp_path / "index" / "index.json"
    header = json.loads(path.read_text())
    for changes in ({"labels": [0]}, {"size": 4}, {"bit_depth": 12}, {"names": None}):
        path.write_text(json.dumps(header | changes))
        with pytest.raises(DataError, match=r"index\.json is damaged; delete .* and make it again"):
            open_prepared(tmp_path / "index")


def test_one_image_is_too_few(make_png, write_tar, tmp_path):
    source = open_images(write_tar(tmp_path / "x.tar", {"1.png": make_png(1)}))
    with pytest.raises(DataError, match=r"at least two images are needed, got 1 in .*x\.tar"):
        index_images(source, tmp_path / "index", CONFIG)
