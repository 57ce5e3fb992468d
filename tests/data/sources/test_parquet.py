"""Laws of images in Parquet files."""

import tracemalloc

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from vqvae2.config import ImageConfig
from vqvae2.data import ShardError, ShuffledBatches, open_images, prepare_images
from vqvae2.data.sources import parquet as module
from vqvae2.errors import DataError


def test_rows_are_images_with_the_classes_that_datasets_notes(make_png, write_parquet, tmp_path):
    images = [make_png(number) for number in range(11)]
    labels = [number % 3 - (number == 5) * 3 for number in range(11)]
    source = open_images(write_parquet(tmp_path / "x.parquet", images, labels, classes=["b", "a", "c"]))
    assert source.names == tuple(f"x.parquet/{number:07d}" for number in range(11))
    assert source.classes == ("b", "a", "c")
    assert source.labels.tolist() == [label if label >= 0 else -1 for label in labels]
    for number in (10, 0, 5, 3, 4):
        assert source.read(number) == images[number]


def test_paths_name_the_rows_if_all_differ(make_png, write_parquet, tmp_path):
    images = [make_png(number) for number in range(2)]
    source = open_images(write_parquet(tmp_path / "x.parquet", images, paths=["a/1.png", "a/2.png"]))
    assert source.names == ("x.parquet/a/1.png", "x.parquet/a/2.png")
    source = open_images(write_parquet(tmp_path / "y.parquet", images, paths=["1.png", "1.png"]))
    assert source.names == ("y.parquet/0000000", "y.parquet/0000001")


@pytest.mark.parametrize("labels", [[10, 2, 2], ["b", "a", "a"], None])
@pytest.mark.parametrize("column", ["image", "picture", "anything"])
def test_files_of_other_programs_are_read(labels, column, make_png, tmp_path):
    images = [make_png(number) for number in range(3)]
    columns = {"id": [7, 8, 9], column: images} | ({} if labels is None else {"label": labels})
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    source = open_images(tmp_path / "x.parquet")
    assert [source.read(number) for number in range(3)] == images
    expected = () if labels is None else ("2", "10") if 10 in labels else ("a", "b")
    assert source.classes == expected
    assert source.labels.tolist() == ([-1] * 3 if labels is None else [1, 0, 0])


@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        (pyarrow.array(["b", "a", "b"]).dictionary_encode(), ("a", "b"), [1, 0, 1]),
        (pyarrow.array([10, 2, None]).dictionary_encode(), ("2", "10"), [1, 0, -1]),
        (pyarrow.array([10.0, 2.0, float("nan")]), ("2", "10"), [1, 0, -1]),
        (pyarrow.array([2.0, 2.0, None], pyarrow.float32()), ("2",), [0, 0, -1]),
        (pyarrow.array(["10", "2", ""]), ("2", "10"), [1, 0, -1]),
        (pyarrow.array(["10", "2", "-1"], pyarrow.large_string()), ("2", "10"), [1, 0, -1]),
        (pyarrow.array([True, False, None]), ("False", "True"), [1, 0, -1]),
    ],
    ids=str,
)
@pytest.mark.parametrize("column", ["label", "Category"])
def test_labels_of_every_type_are_classes(labels, classes, numbers, column, make_png, tmp_path):
    columns = {"image": [make_png(number) for number in range(3)], column: labels}
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    source = open_images(tmp_path / "x.parquet")
    assert (source.classes, source.labels.tolist(), source.remarks) == (classes, numbers, {})


@pytest.mark.parametrize(
    ("labels", "text"), [([0.5, 1.0], "`label` holds fractions such as 0.5"), ([[1], [2]], "`label` is of type list<")]
)
def test_labels_that_are_no_classes_are_remarked(labels, text, make_png, tmp_path):
    table = pyarrow.table({"image": [make_png(number) for number in range(2)], "label": labels})
    parquet.write_table(table, tmp_path / "x.parquet")
    source = open_images(tmp_path / "x.parquet")
    assert source.classes == ()
    assert text in source.remarks["labels that are not read"]


def test_without_labels_folders_in_the_paths_are_classes_and_a_split(make_png, write_parquet, tmp_path):
    paths = ["train/cat/1.png", "notes/2.png", "train/dog/3.png", "val/cat/4.png", "train/cat/5.png"]
    images = [make_png(number) for number in range(5)]
    source = open_images(write_parquet(tmp_path / "x.parquet", images, paths=paths, row_group_size=1))
    assert source.names == tuple(f"x.parquet/{path}" for path in paths if path != "notes/2.png")
    assert (source.classes, source.labels.tolist()) == (("cat", "dog"), [0, 1, 0, 0])
    assert source.given_validation.tolist() == [False, False, True, False]
    assert [source.read(number) for number in range(4)] == [images[number] for number in (0, 2, 3, 4)]
    assert source.units.numbers.tolist() == [0, 1, 2, 3]


def test_a_row_without_an_image_is_passed_over(make_png, write_parquet, tmp_path):
    path = write_parquet(tmp_path / "x.parquet", [make_png(0), None, make_png(2)], [0, 1, 2])
    store = prepare_images(open_images(path), tmp_path / "store", ImageConfig(size=(4, 4)))
    assert store.labels.tolist() == [0, 2]
    assert store.skipped == (("x.parquet/0000001", "the row holds no image"),)


def test_no_more_than_the_window_is_held(make_png, write_parquet, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MAX_CACHED", 3)
    path = write_parquet(tmp_path / "x.parquet", [make_png(number) for number in range(60)], row_group_size=3)
    source = open_images(path)
    assert source.units.window == 3
    assert np.bincount(source.units.numbers).tolist() == [3] * 20
    reads = []
    read_images = module._Table.read_images
    monkeypatch.setattr(
        module._Table, "read_images", lambda table, group: reads.append(group) or read_images(table, group)
    )
    batches = ShuffledBatches(np.arange(60), batch_size=9, seed=0, num_steps=20, units=source.units)
    for batch in batches:
        for number in batch:
            assert source.read(number) == make_png(number)
            assert len(source._cache) <= 3
    assert len(reads) <= 20 * 3  # each row group once an epoch, unless it was still held


@pytest.mark.parametrize("cached_bytes", [1, 2**29])
def test_two_row_groups_are_held_however_large(cached_bytes, make_png, write_parquet, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CACHED_BYTES", cached_bytes)
    source = open_images(write_parquet(tmp_path / "x.parquet", [make_png(number) for number in range(8)]))
    assert source.units.window == (2 if cached_bytes == 1 else 256)


def test_a_row_group_that_is_too_large_is_refused_before_it_is_read(tmp_path, monkeypatch):
    assert module.MAX_ROW_GROUP_BYTES == 2**29
    monkeypatch.setattr(module, "MAX_ROW_GROUP_BYTES", 2**23)
    path = tmp_path / "x.parquet"
    table = pyarrow.table({"image": [bytes(2**21)] * 5})  # zeros, which take no room in the file
    parquet.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)
    assert path.stat().st_size < 2**16
    del table
    tracemalloc.start()
    before = pyarrow.total_allocated_bytes()
    with pytest.raises(
        DataError, match=r"x\.parquet has 104\d{5} bytes of `image` in row group 0, and at most 8388608"
    ):
        open_images(path)
    assert pyarrow.total_allocated_bytes() - before < 2**20
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_a_small_file_that_becomes_many_bytes_is_refused_before_it_does(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_ROW_GROUP_BYTES", 2**22)
    image = np.random.default_rng(0).bytes(300_000)
    parquet.write_table(pyarrow.table({"image": [image] * 300}), tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").stat().st_size < 400_000
    source = open_images(tmp_path / "x.parquet")
    with pytest.raises(ShardError, match=r"x\.parquet has more than 4194304 bytes of `image` in row group 0, more"):
        source.read(0)


def test_more_rows_in_a_row_group_than_have_names_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MAX_GROUP_ROWS", 99)
    parquet.write_table(pyarrow.table({"image": [b"x"] * 100}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet has 100 rows in a row group, and at most 99 are read"):
        open_images(tmp_path / "x.parquet")


def test_a_row_group_of_which_a_part_is_a_dictionary_is_read(write_parquet, tmp_path):
    generator = np.random.default_rng(0)
    images = [generator.bytes(int(size)) for size in generator.integers(1, 60_000, 100)]  # more than a dictionary takes
    images[50:60] = images[:10]  # equal images are stored once
    source = open_images(write_parquet(tmp_path / "x.parquet", [*images, None, b""], row_group_size=102))
    assert [source.read(number) for number in range(100)] == images
    assert source.read(101) == b""


def test_a_file_that_is_cut_damaged_or_removed_stops_what_opens_or_reads_it(make_png, write_parquet, tmp_path):
    path = write_parquet(tmp_path / "x.parquet", [make_png(number) for number in range(20)], [0] * 20)
    whole = path.read_bytes()
    source = open_images(path)
    for share in (0.0, 0.3, 0.9, 0.999):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ShardError, match=r"x\.parquet cannot be read \(.*\); restore it"):
            open_images(path)
    path.write_bytes(whole[:100])
    with pytest.raises(ShardError, match=r"x\.parquet"):
        prepare_images(source, tmp_path / "store", ImageConfig(size=(4, 4)))
    path.write_bytes(bytes(len(whole)))
    with pytest.raises(ShardError, match=r"x\.parquet cannot be read"):
        source.read(0)
    path.unlink()
    with pytest.raises(ShardError, match=r"x\.parquet"):
        source.read(10)


def test_files_without_images_are_refused(make_png, write_parquet, tmp_path):
    parquet.write_table(pyarrow.table({"text": ["a"], "label": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet must have a column of images, .* but has text, label"):
        open_images(tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"must be Parquet files with images, but .*y\.parquet has no rows"):
        open_images(write_parquet(tmp_path / "y.parquet", []))


def test_labels_that_are_no_classes_are_refused(make_png, write_parquet, tmp_path):
    path = write_parquet(tmp_path / "x.parquet", [make_png(0)], [2], classes=["a", "b"])
    with pytest.raises(DataError, match="labels must be numbers of the 2 classes of the first file"):
        open_images(path)
    write_parquet(tmp_path / "y/1.parquet", [make_png(0)], [0], classes=["a", "b"])
    write_parquet(tmp_path / "y/2.parquet", [make_png(0)], [0], classes=["b", "a"])
    with pytest.raises(DataError, match="labels must be numbers of the 2 classes of the first file"):
        open_images(tmp_path / "y")
