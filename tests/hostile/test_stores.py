"""Whatever lies in a store of codes or images, it gives what was stored, or a `DataError`."""

import json

import numpy as np
import pytest
import torch

from vqvae2.codes import Codes
from vqvae2.config import ExtractionConfig
from vqvae2.data import CodeStore, GrowingArrays, ImageStore, create_code_store
from vqvae2.errors import DataError


@pytest.fixture
def codes(image_store, tmp_path):
    generator = np.random.default_rng(0)
    directory = tmp_path / "codes"
    options = {"shapes": [(2, 3), (4, 6)], "num_embeddings": [7, 300], "fingerprint": "f" * 32}
    options["extraction"] = ExtractionConfig(horizontal_flips=True)
    count = image_store.num_images
    with create_code_store(directory, image_store, **options) as writer:
        maps = [generator.integers(0, size, (count, *shape)) for shape, size in (((2, 3), 7), ((4, 6), 300))]
        batch = Codes(tuple(map(torch.from_numpy, maps)))
        writer.append(batch, batch)
    return directory, CodeStore.open(directory)


def open_codes(directory, wanted) -> bool:
    try:
        store = CodeStore.open(directory)
    except DataError:
        return False
    for level, (got, expected) in enumerate(zip(store.maps, wanted.maps, strict=False)):
        assert np.array_equal(got, expected)
        assert got.dtype.isnative
        assert got.size == 0 or got.max() < store.num_embeddings[level]
    check_lists(store)
    store.batch(np.arange(min(2, store.num_images)))
    return True


def check_lists(store):
    """What a store says of its images can be used without another look."""
    count = store.num_images
    assert (store.labels.shape, store.labels.dtype) == ((count,), np.int64)
    assert (store.is_validation.shape, store.is_validation.dtype) == ((count,), bool)
    assert all(type(name) is str for name in (*store.names, *store.classes))
    assert count == 0 or -1 <= store.labels.min() <= store.labels.max() < max(1, len(store.classes))


def open_images(directory, wanted) -> bool:
    try:
        store = ImageStore.open(directory)
    except DataError:
        return False
    assert store.pixels.shape == (store.num_images, *store.size, store.channels)
    assert store.pixels.dtype in (np.uint8, np.uint16)
    check_lists(store)
    return True


@pytest.fixture(params=["codes", "images"])
def store(request, image_store, tmp_path):
    """Folder, name of its header, names of its arrays, and a function that opens it and says whether it could."""
    if request.param == "images":
        return tmp_path / "images", "images.json", ["images.npy"], lambda: open_images(tmp_path / "images", image_store)
    directory, opened = request.getfixturevalue("codes")
    arrays = ["level0.npy", "level1.npy"]
    return directory, "codes.json", arrays, lambda: open_codes(directory, opened)


def test_changed_headers_open_or_are_refused(store, mutator):
    directory, header, _, opens = store
    path = directory / header
    data = path.read_bytes()
    values, outcomes = json.loads(data), set()
    for turn in range(120):
        path.write_bytes(mutator.change_json(values) if turn % 2 else mutator.change_bytes(data))
        outcomes.add(opens())
    assert outcomes == {True, False}  # names may differ


def test_changed_arrays_open_or_are_refused(store, mutator):
    directory, _, arrays, opens = store
    for name in arrays:
        path = directory / name
        data = path.read_bytes()
        for _ in range(60):
            path.write_bytes(mutator.change_bytes(data))
            opens()
        path.write_bytes(data)
    assert opens()


def test_foreign_files_are_refused(store, foreign_files):
    directory, header, arrays, opens = store
    for name in (header, *arrays):
        path = directory / name
        data = path.read_bytes()
        for foreign in foreign_files:
            path.write_bytes(foreign)
            assert not opens()
        path.write_bytes(data)


@pytest.mark.parametrize(
    "array",
    [
        np.array([{"a": 1}], dtype=object),
        np.zeros(40, dtype=[("a", "u1")]),
        np.zeros((40, 2, 2, 3), dtype=">u2"),
        np.zeros((40, 2, 2, 3), dtype=np.float32),
        np.zeros((40, 2, 2, 3), dtype="V1"),
        np.zeros((40, 2, 2, 3), dtype="M8[s]"),
        np.zeros((40, 12), dtype=np.uint8),
        np.zeros((0, 2, 2, 3), dtype=np.uint8),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_arrays_of_other_kinds_are_refused(codes, array):
    directory, _ = codes
    np.save(directory / "level0.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=r"level0\.npy"):
        CodeStore.open(directory)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (40, 2, 1000000000000, 3)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (40, 2, -2, 3)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999999, 2, 2, 3)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (40, 2, 2, 3)}",
        "{'descr': __import__('os').system('touch hacked'), 'fortran_order': False, 'shape': (40, 2, 2, 3)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (40, 2, 2, 3), 'more': 1}",
        "(" * 5000,
        "[" * 9000 + "]" * 9000,
        "-" * 9000 + "1",
        "9" * 9000,
    ],
    ids=lambda header: header[:70],
)
def test_headers_of_arrays_run_nothing_and_take_no_memory(codes, header, peak, monkeypatch, tmp_path):
    directory, _ = codes
    monkeypatch.chdir(tmp_path)
    text = header.encode() + b"\n"
    old = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(240)
    for data in (old, b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + text):  # a newer one may claim gigabytes
        (directory / "level0.npy").write_bytes(data)
        with peak() as grown, pytest.raises(DataError, match=r"level0\.npy"):
            CodeStore.open(directory)
        assert grown.mib < 32
    assert not (tmp_path / "hacked").exists()


def test_codes_beyond_their_codebook_are_refused(codes):
    directory, _ = codes
    header = json.loads((directory / "codes.json").read_text())
    header["num_embeddings"] = [7, 250]
    (directory / "codes.json").write_text(json.dumps(header))
    with pytest.raises(DataError, match=r"level1\.npy holds codes beyond its codebook of 250"):
        CodeStore.open(directory)


def test_headers_without_an_end_are_not_read(store, peak):
    directory, header, _, opens = store
    with (directory / header).open("wb") as file:
        file.truncate(2**40)  # which takes no room on the disk
    with peak() as grown:
        assert not opens()
        (directory / header).unlink()
        (directory / header).symlink_to("/dev/zero")
        assert not opens()
    assert grown.mib < 16


def test_progress_of_an_earlier_attempt_is_gone_on_with_or_begun_anew(tmp_path, mutator, foreign_files):
    wanted = {"a": ((5, 2), np.float32), "b": ((5,), np.int64)}
    first = GrowingArrays(tmp_path / "grown", wanted)
    first.append(a=np.ones((3, 2), dtype=np.float32), b=np.arange(3))
    partial = first.partial
    saved = {path.name: path.read_bytes() for path in partial.iterdir()}
    progress = json.loads(saved["progress.json"])
    for turn in range(90):
        name = ("progress.json", "a.npy", "b.npy")[turn % 3]
        data = mutator.change_json(progress) if name == "progress.json" else mutator.change_bytes(saved[name])
        partial.mkdir(exist_ok=True)
        for other, content in saved.items():
            (partial / other).write_bytes(data if other == name else content)
        arrays = GrowingArrays(tmp_path / "grown", wanted)
        assert 0 <= arrays.num_rows <= 5
        rows = 5 - arrays.num_rows
        if rows:
            arrays.append(a=np.zeros((rows, 2), dtype=np.float32), b=np.zeros(rows, dtype=np.int64))


@pytest.mark.parametrize("filler", [b"[],", b"{},", b'"",', b"0,", b"1.5,", b'{"a":0},', b"[[[[]]]],"])
def test_a_header_takes_a_bounded_multiple_of_its_text(codes, filler, peak):
    directory, _ = codes
    text = b'{"names": [' + filler * (2**20 // len(filler)) + b"0]}"
    (directory / "codes.json").write_bytes(text)
    with peak() as grown, pytest.raises(DataError):
        CodeStore.open(directory)
    assert grown.mib < 16 + 40 * len(text) / 2**20
