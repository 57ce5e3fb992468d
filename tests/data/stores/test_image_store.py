"""Laws of the images on disk."""

import json

import numpy as np
import pytest

from vqvae2.data import ImageRecord, ImageStore, prepare_images, validation_mask
from vqvae2.errors import ConfigError, DataError
from vqvae2.images import decode_image, encode_png


class Images:
    """A source in memory: images of different sizes, in classes by turns, broken where it is said."""

    classes = ("even", "odd")

    def __init__(self, count: int, *, broken: tuple[int, ...] = (), given_validation: list[bool] | None = None) -> None:
        generator = np.random.default_rng(count)
        self.names = tuple(f"{'odd' if index % 2 else 'even'}/{index:03}.png" for index in range(count))
        self.given_validation = None if given_validation is None else np.array(given_validation)
        self.data = [
            encode_png(generator.integers(0, 256, (4 + index % 3, 5, 3), dtype=np.uint8)) for index in range(count)
        ]
        for index in broken:
            self.data[index] = b"broken"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> ImageRecord:
        return ImageRecord(self.names[index], index % 2, self.data[index])


class DeepImages(Images):
    """Grey images of 16 bits."""

    def __init__(self, count: int, *, broken: tuple[int, ...] = ()) -> None:
        super().__init__(count)
        generator = np.random.default_rng(count)
        self.data = [
            b"broken" if index in broken else encode_png(generator.integers(0, 65536, (4, 5, 1), dtype=np.uint16))
            for index in range(count)
        ]


class UnlabelledImages(Images):
    classes = ()

    def __getitem__(self, index: int) -> ImageRecord:
        return super().__getitem__(index)._replace(label=None)


class VanishingImages(Images):
    """One file cannot even be read."""

    def __getitem__(self, index: int) -> ImageRecord:
        if index == 1:
            raise DataError("the file cannot be read: gone")
        return super().__getitem__(index)


class InterruptedImages(Images):
    """Somebody presses Ctrl-C when half is done."""

    def __getitem__(self, index: int) -> ImageRecord:
        if index == len(self) // 2:
            raise KeyboardInterrupt
        return super().__getitem__(index)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_the_store_holds_what_decoding_gives(channels, resize, tmp_path):
    source = Images(7)
    store = prepare_images(source, tmp_path / "store", size=(4, 4), channels=channels, resize=resize)
    for index in range(7):
        expected = decode_image(source.data[index], channels=channels, size=(4, 4), resize=resize)
        assert np.array_equal(store.pixels[index], expected)
    assert (store.num_images, store.size, store.channels) == (7, (4, 4), channels)
    assert store.names == source.names
    assert store.classes == source.classes
    assert store.labels.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert store.labels.dtype == np.int64
    assert store.skipped == ()


@pytest.mark.parametrize("size", [(3, 7), (7, 3)])
def test_images_get_any_height_and_width(size, tmp_path):
    source = Images(5, broken=(1,))
    store = prepare_images(source, tmp_path / "store", size=size, channels=3, resize="pad")
    assert store.pixels.shape == (4, *size, 3)
    assert store.size == ImageStore.open(tmp_path / "store").size == size
    for place, index in enumerate((0, 2, 3, 4)):
        expected = decode_image(source.data[index], channels=3, size=size, resize="pad")
        assert np.array_equal(store.pixels[place], expected)


@pytest.mark.parametrize("broken", [(), (0, 3)])
def test_a_store_of_16_bits_keeps_every_value(broken, tmp_path):
    source = DeepImages(6, broken=broken)
    made = prepare_images(source, tmp_path / "store", size=(4, 5), channels=1, bit_depth=16)
    good = [index for index in range(6) if index not in broken]
    for store in (made, ImageStore.open(tmp_path / "store")):
        assert (store.bit_depth, store.pixels.dtype, store.size) == (16, np.uint16, (4, 5))
        for place, index in enumerate(good):
            assert np.array_equal(store.pixels[place], decode_image(source.data[index], channels=1, bit_depth=16))


def test_a_store_has_8_bits_unless_asked(tmp_path):
    store = prepare_images(DeepImages(4), tmp_path / "store", size=(4, 5), channels=1)
    assert (store.bit_depth, store.pixels.dtype) == (8, np.uint8)


def test_opening_again_gives_the_same_store(tmp_path):
    made = prepare_images(Images(9, broken=(4,)), tmp_path / "store", size=(4, 4), channels=3)
    opened = ImageStore.open(tmp_path / "store")
    assert np.array_equal(made.pixels, opened.pixels)
    assert np.array_equal(made.labels, opened.labels)
    assert np.array_equal(made.is_validation, opened.is_validation)
    assert (made.names, made.classes, made.skipped) == (opened.names, opened.classes, opened.skipped)


def test_the_pixels_cannot_be_changed(tmp_path):
    store = prepare_images(Images(4), tmp_path / "store", size=(4, 4), channels=3)
    with pytest.raises(ValueError, match="read-only"):
        store.pixels[0] = 0


def test_images_without_a_class_are_labelled_minus_one(tmp_path):
    store = prepare_images(UnlabelledImages(4), tmp_path / "store", size=(4, 4), channels=3)
    assert store.labels.tolist() == [-1] * 4
    assert store.classes == ()


@pytest.mark.parametrize("broken", [(0,), (5,), (10,), (0, 1, 2), (3, 4, 9, 10), tuple(range(9))])
def test_broken_files_are_skipped_and_the_others_stay_aligned(broken, tmp_path):
    source = Images(11, broken=broken)
    store = prepare_images(source, tmp_path / "store", size=(4, 4), channels=3)
    good = [index for index in range(11) if index not in broken]
    assert store.names == tuple(source.names[index] for index in good)
    assert store.labels.tolist() == [index % 2 for index in good]
    assert store.pixels.shape == (len(good), 4, 4, 3)
    for place, index in enumerate(good):
        assert np.array_equal(store.pixels[place], decode_image(source.data[index], channels=3, size=(4, 4)))
    assert store.skipped == tuple(
        (source.names[index], "not a readable image: the format is unknown") for index in broken
    )
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["images.json", "images.npy"]


def test_a_file_that_cannot_be_opened_is_skipped_too(tmp_path):
    store = prepare_images(VanishingImages(4), tmp_path / "store", size=(4, 4), channels=3)
    assert store.names == ("even/000.png", "even/002.png", "odd/003.png")
    assert store.skipped == (("odd/001.png", "the file cannot be read: gone"),)


def test_more_images_than_are_decoded_at_a_time_keep_their_order(tmp_path):
    source = Images(600, broken=(255, 256, 511))
    store = prepare_images(source, tmp_path / "store", size=(2, 2), channels=1)
    good = [index for index in range(600) if index not in (255, 256, 511)]
    for place, index in enumerate(good):
        assert np.array_equal(store.pixels[place], decode_image(source.data[index], channels=1, size=(2, 2)))


@pytest.mark.parametrize("good", [0, 1])
def test_too_few_readable_images_are_an_error_and_leave_nothing(good, tmp_path):
    source = Images(3, broken=tuple(range(good, 3)))
    with pytest.raises(
        DataError, match=rf"at least two readable images are needed, got {good} of 3 files; .*\.png: not"
    ):
        prepare_images(source, tmp_path / "store", size=(4, 4), channels=3)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_source_is_an_error(tmp_path):
    with pytest.raises(DataError, match="at least two readable images are needed, got 0 of 0 files"):
        prepare_images(Images(0), tmp_path / "store", size=(4, 4), channels=3)


def test_an_interruption_leaves_nothing_that_opens(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        prepare_images(InterruptedImages(8), tmp_path / "store", size=(4, 4), channels=3)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match=r"is not a store of vqvae2\.images: it has no images\.json"):
        ImageStore.open(tmp_path / "store")


def test_a_split_that_cannot_be_made_leaves_nothing(tmp_path):
    with pytest.raises(ConfigError, match="group_pattern"):
        prepare_images(Images(4), tmp_path / "store", size=(4, 4), channels=3, group_pattern="(")
    assert list(tmp_path.iterdir()) == []


def test_the_split_is_that_of_the_names(tmp_path):
    source = Images(40)
    store = prepare_images(
        source, tmp_path / "store", size=(4, 4), channels=3, validation_fraction=0.3, group_pattern=r"^\d\d"
    )
    expected = validation_mask(source.names, fraction=0.3, group_pattern=r"^\d\d")
    assert np.array_equal(store.is_validation, expected)
    assert np.array_equal(store.indices("validation"), np.flatnonzero(expected))
    assert np.array_equal(store.indices("train"), np.flatnonzero(~expected))


def test_a_given_split_is_respected(tmp_path):
    source = Images(6, broken=(1,), given_validation=[True, False, False, True, False, False])
    store = prepare_images(source, tmp_path / "store", size=(4, 4), channels=3)
    assert store.is_validation.tolist() == [True, False, True, False, False]


def test_a_given_split_of_which_one_side_is_unreadable_is_made_anew(tmp_path):
    source = Images(6, broken=(0, 3), given_validation=[True, False, False, True, False, False])
    store = prepare_images(source, tmp_path / "store", size=(4, 4), channels=3)
    assert 0 < store.is_validation.sum() < 4


def test_progress_counts_up_to_the_total(tmp_path):
    reports = []
    prepare_images(
        Images(5, broken=(4,)), tmp_path / "store", size=(4, 4), channels=3, on_progress=lambda *r: reports.append(r)
    )
    assert reports == [(done, 5) for done in range(1, 6)]


@pytest.fixture
def store_path(tmp_path):
    prepare_images(Images(6), tmp_path / "store", size=(4, 4), channels=3)
    return tmp_path / "store"


def change_header(path, **changes):
    header = json.loads((path / "images.json").read_text()) | changes
    (path / "images.json").write_text(json.dumps(header))


def test_a_damaged_header_is_refused(store_path):
    header = (store_path / "images.json").read_bytes()
    for damaged in (b"", header[: len(header) // 2], b"\xff" + header):
        (store_path / "images.json").write_bytes(damaged)
        with pytest.raises(DataError, match=r"images\.json is damaged; delete .* and make it again"):
            ImageStore.open(store_path)


@pytest.mark.parametrize(
    "key", ["names", "labels", "classes", "is_validation", "skipped", "size", "channels", "bit_depth"]
)
def test_a_header_that_lacks_something_is_refused(key, store_path):
    header = json.loads((store_path / "images.json").read_text())
    del header[key]
    (store_path / "images.json").write_text(json.dumps(header))
    with pytest.raises(DataError, match=r"images\.json is damaged"):
        ImageStore.open(store_path)


@pytest.mark.parametrize(
    "changes",
    [
        *({"names": None}, {"labels": [0]}, {"labels": ["a"] * 6}, {"is_validation": [True]}),
        *({"skipped": ["ab", "c"]}, {"size": 4}, {"size": [4, 4, 4]}, {"bit_depth": 12}, {"bit_depth": [8]}),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(changes, store_path):
    change_header(store_path, **changes)
    with pytest.raises(DataError, match=r"images\.json is damaged"):
        ImageStore.open(store_path)


def test_another_format_or_version_is_refused(store_path):
    change_header(store_path, version=99)
    with pytest.raises(DataError, match=r"is of format version 99, this package reads 2"):
        ImageStore.open(store_path)
    change_header(store_path, magic="something")
    with pytest.raises(DataError, match=r"must be the header of vqvae2\.images, but is of something else"):
        ImageStore.open(store_path)
    (store_path / "images.json").write_text("[]")
    with pytest.raises(DataError, match=r"must be the header of vqvae2\.images, but is of something else"):
        ImageStore.open(store_path)


def test_truncated_or_missing_pixels_are_refused(store_path):
    pixels = (store_path / "images.npy").read_bytes()
    for kept in (len(pixels) - 1, 100, 3, 0):
        (store_path / "images.npy").write_bytes(pixels[:kept])
        with pytest.raises(DataError, match=r"images\.npy is missing or damaged; delete .* and make it again"):
            ImageStore.open(store_path)
    (store_path / "images.npy").unlink()
    with pytest.raises(DataError, match=r"images\.npy is missing or damaged"):
        ImageStore.open(store_path)


@pytest.mark.parametrize("pixels", [np.zeros((5, 4, 4, 3), dtype=np.uint8), np.zeros((6, 4, 4, 3), dtype=np.float32)])
def test_pixels_of_another_shape_or_type_are_refused(pixels, store_path):
    np.save(store_path / "images.npy", pixels)
    with pytest.raises(DataError, match=r"images\.npy must hold \(6, 4, 4, 3\), but holds (uint8|float32) \("):
        ImageStore.open(store_path)


def test_pixels_of_another_bit_depth_are_refused(store_path):
    change_header(store_path, bit_depth=16)
    with pytest.raises(DataError, match=r"images\.npy must hold .*, but holds uint8"):
        ImageStore.open(store_path)


def test_pickled_pixels_are_refused(store_path):
    np.save(store_path / "images.npy", np.array([{}] * 6, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"images\.npy is missing or damaged"):
        ImageStore.open(store_path)


def test_a_file_in_the_place_of_the_store_is_refused(tmp_path):
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(DataError, match="store"):
        ImageStore.open(tmp_path / "store")
