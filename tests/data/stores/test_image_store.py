"""Laws of the images on disk."""

import json

import numpy as np
import pytest

from vqvae2.config import ImageConfig
from vqvae2.data import ImageStore, prepare_images, validation_mask
from vqvae2.data.sources.source import ImageSource
from vqvae2.errors import DataError
from vqvae2.images import decode_image, encode_png

CONFIG = ImageConfig(size=(4, 4))


class Images(ImageSource):
    """A source in memory: images of different sizes, in classes by turns, some of them broken."""

    classes, origin = ("even", "odd"), "memory"

    def __init__(self, count, *, broken=(), given=None, bit_depth=8, interrupted_at=None):
        generator = np.random.default_rng(count)
        self.names = tuple(f"{self.classes[index % 2]}/{index:03}.png" for index in range(count))
        self.labels = np.arange(count) % 2
        self.given_validation = None if given is None else np.array(given)
        self.interrupted_at = interrupted_at
        if bit_depth == 16:
            pixels = [generator.integers(0, 65536, (4, 5, 1), dtype=np.uint16) for _ in range(count)]
        else:
            pixels = [generator.integers(0, 256, (4 + index % 3, 5, 3), dtype=np.uint8) for index in range(count)]
        self.data = [b"broken" if index in broken else encode_png(pixels[index]) for index in range(count)]

    def read(self, index):
        if index == self.interrupted_at:
            raise KeyboardInterrupt
        if self.data[index] is None:
            raise DataError("the file cannot be read: gone")
        return self.data[index]


@pytest.mark.parametrize(
    "config",
    [
        *(ImageConfig(size=(4, 4), channels=channels) for channels in (1, 3, 4)),
        *(ImageConfig(size=(3, 7), resize=resize) for resize in ("crop", "pad", "stretch")),
        *(ImageConfig(size=(4, 5), channels=1, bit_depth=bits) for bits in (8, 16)),
    ],
    ids=lambda config: f"{config.size} {config.channels} {config.resize} {config.bit_depth}",
)
def test_the_store_holds_what_decoding_gives_and_opens_again(config, tmp_path):
    source, reports = Images(9, broken=(4,), bit_depth=16 if config.size == (4, 5) else 8), []
    made = prepare_images(source, tmp_path / "store", config, on_progress=lambda *report: reports.append(report))
    assert reports == [(done, 9) for done in range(1, 10)]
    good = [index for index in range(9) if index != 4]
    options = {name: getattr(config, name) for name in ("channels", "size", "resize", "bit_depth")}
    for store in (made, ImageStore.open(tmp_path / "store")):
        assert store.pixels.dtype == (np.uint16 if config.bit_depth == 16 else np.uint8)
        assert (store.size, store.channels, store.bit_depth) == (config.size, config.channels, config.bit_depth)
        for place, index in enumerate(good):
            assert np.array_equal(store.pixels[place], decode_image(source.data[index], **options))
        assert (store.num_images, store.names) == (8, tuple(source.names[index] for index in good))
        assert (store.classes, store.labels.dtype) == (source.classes, np.int64)
        assert store.labels.tolist() == [index % 2 for index in good]
        assert store.skipped == (
            (
                source.names[4],
                "not a readable image: the format is unknown, or a variant of TIFF that is not read; convert it to PNG",
            ),
        )
        assert np.array_equal(store.is_validation, made.is_validation)
        with pytest.raises(ValueError, match="read-only"):
            store.pixels[0] = 0


@pytest.mark.parametrize(("count", "broken"), [(4, (0, 1)), (11, (10,)), (11, tuple(range(9))), (300, (255, 256, 299))])
def test_broken_files_are_skipped_and_the_others_stay_aligned(count, broken, tmp_path):
    source = Images(count, broken=broken)
    source.data[broken[0]] = None
    source.labels, source.classes = np.arange(count) % 2 - 1, ("only",)
    store = prepare_images(source, tmp_path / "store", CONFIG)  # 256 images are decoded at a time
    good = [index for index in range(count) if index not in broken]
    assert store.names == tuple(source.names[index] for index in good)
    assert store.labels.tolist() == [index % 2 - 1 for index in good]
    assert store.pixels.shape == (len(good), 4, 4, 3)
    for place, index in enumerate(good):
        assert np.array_equal(store.pixels[place], decode_image(source.data[index], channels=3, size=(4, 4)))
    assert [name for name, _ in store.skipped] == [source.names[index] for index in broken]
    assert store.skipped[0][1] == "the file cannot be read: gone"
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["images.json", "images.npy"]


@pytest.mark.parametrize(("good", "count"), [(0, 0), (0, 3), (1, 3)])
def test_too_few_readable_images_are_an_error_and_leave_nothing(good, count, tmp_path):
    source = Images(count, broken=tuple(range(good, count)))
    with pytest.raises(DataError, match=rf"at least two .* got {good} of {count} files" + r"; .*\.png: " * bool(count)):
        prepare_images(source, tmp_path / "store", CONFIG)
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing_that_opens(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        prepare_images(Images(8, interrupted_at=4), tmp_path / "store", CONFIG)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match=r"is not a store of vqvae2\.images: it has no images\.json"):
        ImageStore.open(tmp_path / "store")


def test_the_split_is_that_of_the_names_unless_one_is_given_of_which_both_sides_are_readable(tmp_path):
    source, config = Images(40), ImageConfig(size=(4, 4), validation_fraction=0.3, group_pattern=r"\d\d")
    store = prepare_images(source, tmp_path / "store", config)
    expected = validation_mask(source.names, config)
    assert np.array_equal(store.is_validation, expected)
    assert np.array_equal(store.indices("validation"), np.flatnonzero(expected))
    assert np.array_equal(store.indices("train"), np.flatnonzero(~expected))
    given = [True, False, False, True, False, False]
    store = prepare_images(Images(6, broken=(1,), given=given), tmp_path / "given", CONFIG)
    assert store.is_validation.tolist() == [True, False, True, False, False]
    store = prepare_images(Images(6, broken=(0, 3), given=given), tmp_path / "anew", CONFIG)
    assert 0 < store.is_validation.sum() < 4


def test_a_fingerprint_tells_images_and_their_order(tmp_path):
    store = prepare_images(Images(4), tmp_path / "store", CONFIG)
    first, again, *others = [
        store.fingerprint(np.array(i)) for i in ([0, 1, 2], [0, 1, 2], [0, 2, 1], [0, 1], [0, 1, 3])
    ]
    assert first == again
    assert len({first, *others}) == 4


@pytest.fixture
def store_path(tmp_path):
    prepare_images(Images(6), tmp_path / "store", CONFIG)
    return tmp_path / "store"


NEEDED = ("names", "labels", "classes", "is_validation", "skipped", "size", "channels", "bit_depth")


@pytest.mark.parametrize(
    "changes",
    [
        *({"version": 99}, {"magic": "x"}, *({name: "none"} for name in NEEDED)),
        *({"names": None}, {"labels": [0]}, {"labels": ["a"] * 6}, {"labels": [2] * 6}, {"is_validation": [True]}),
        *({"skipped": ["ab", "c"]}, {"size": 4}, {"size": [4, 4, 4]}, {"bit_depth": 12}, {"bit_depth": [8]}),
    ],
    ids=str,
)
def test_a_header_that_lacks_something_or_contradicts_itself_is_refused(changes, store_path):
    header = json.loads((store_path / "images.json").read_text()) | changes
    header = {name: value for name, value in header.items() if value != "none"}
    (store_path / "images.json").write_text(json.dumps(header))
    messages = {"version": "is of format version 99, .* reads 2", "magic": r"must be the header of vqvae2\.images"}
    with pytest.raises(DataError, match=rf"images\.json {messages.get(next(iter(changes)), 'is damaged')}"):
        ImageStore.open(store_path)


@pytest.mark.parametrize(
    ("name", "message"), [("images.npy", "is missing or damaged; delete"), ("images.json", "is damaged; delete")]
)
def test_a_cut_or_missing_file_is_refused(name, message, store_path):
    path = store_path / name
    data = path.read_bytes()
    for kept in (len(data) - 1, 100, 3, 0, None):
        path.unlink() if kept is None else path.write_bytes(data[:kept])
        with pytest.raises(DataError, match=name if kept is None else f"{name} {message}"):
            ImageStore.open(store_path)


@pytest.mark.parametrize(("count", "dtype"), [(5, np.uint8), (6, np.float32), (6, np.uint16)])
def test_pixels_of_another_shape_or_type_are_refused(count, dtype, store_path):
    np.save(store_path / "images.npy", np.zeros((count, 4, 4, 3), dtype=dtype))
    with pytest.raises(DataError, match=r"images\.npy must hold \(6, 4, 4, 3\), but holds"):
        ImageStore.open(store_path)


def test_a_file_in_the_place_of_the_store_is_refused(tmp_path):
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(DataError, match="store"):
        ImageStore.open(tmp_path / "store")
