"""Laws of the codes on disk."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqvae2.codes import Codes
from vqvae2.data import CodeStore, ImageStore, create_code_store
from vqvae2.errors import CheckpointError, ConfigError, DataError

SIDES = st.integers(1, 4)
LEVELS = st.lists(st.tuples(SIDES, SIDES, st.sampled_from([2, 3, 255, 256, 257, 65536])), min_size=1, max_size=3)


def images_of(count: int) -> ImageStore:
    return ImageStore(
        pixels=np.zeros((count, 1, 1, 1), dtype=np.uint8),
        names=tuple(f"{index}.png" for index in range(count)),
        labels=np.arange(count) % 2 - 1,
        classes=("only",),
        is_validation=np.arange(count) % 3 == 1,
        skipped=(),
    )


def random_codes(count: int, shapes: list[tuple[int, int]], num_embeddings: list[int]) -> Codes:
    """Draw codes, among them the highest of each level."""
    maps = [torch.randint(size, (count, *shape)) for shape, size in zip(shapes, num_embeddings, strict=True)]
    for codes, size in zip(maps, num_embeddings, strict=True):
        codes[-1, -1, -1] = size - 1
    return Codes(tuple(maps))


def write_store(
    directory: Path,
    codes: Codes,
    num_embeddings: list[int],
    *,
    flipped: Codes | None = None,
    batch_size: int = 2,
) -> CodeStore:
    count = codes.batch_size
    with create_code_store(
        directory,
        images_of(count),
        shapes=codes.shapes,
        num_embeddings=num_embeddings,
        fingerprint="abc",
        with_flipped=flipped is not None,
    ) as writer:
        for start in range(0, count, batch_size):
            part = slice(start, start + batch_size)
            writer.write(start, codes.select(part), flipped=None if flipped is None else flipped.select(part))
    return CodeStore.open(directory)


def same(codes: Codes, others: Codes) -> bool:
    return all(torch.equal(a, b) for a, b in zip(codes, others, strict=True))


@given(st.integers(1, 7), LEVELS, st.integers(1, 8), st.booleans())
@settings(max_examples=60, deadline=None)
def test_reading_gives_what_was_written(count, levels, batch_size, with_flipped):
    shapes, num_embeddings = [level[:2] for level in levels], [level[2] for level in levels]
    codes = random_codes(count, shapes, num_embeddings)
    flipped = random_codes(count, shapes, num_embeddings) if with_flipped else None
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "codes", codes, num_embeddings, flipped=flipped, batch_size=batch_size)
        assert same(store.batch(np.arange(count)), codes)
        assert store.has_flipped == with_flipped
        if flipped is not None:
            assert same(store.batch(np.arange(count), flipped=True), flipped)
        assert store.shapes == tuple(shapes)
        assert store.num_embeddings == tuple(num_embeddings)
        assert store.num_images == count


@pytest.mark.parametrize(
    ("num_embeddings", "dtype"), [(2, np.uint8), (256, np.uint8), (257, np.uint16), (65536, np.uint16)]
)
def test_a_code_takes_as_few_bytes_as_it_needs(num_embeddings, dtype, tmp_path):
    store = write_store(tmp_path / "codes", random_codes(50, [(8, 8)], [num_embeddings]), [num_embeddings])
    assert store.maps[0].dtype == dtype
    header_size = 128  # of an .npy file
    assert (tmp_path / "codes" / "level0.npy").stat().st_size == 50 * 64 * np.dtype(dtype).itemsize + header_size


@pytest.mark.parametrize("num_embeddings", [[65537], [512, 70000]])
def test_codes_that_do_not_fit_two_bytes_are_refused(num_embeddings, tmp_path):
    with (
        pytest.raises(ConfigError, match="`num_embeddings` must be at most 65536 to fit two bytes, got"),
        create_code_store(
            tmp_path / "codes", images_of(2), shapes=[(1, 1)] * 2, num_embeddings=num_embeddings, fingerprint="abc"
        ),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_names_classes_and_split_are_those_of_the_images(tmp_path):
    images, store = images_of(7), write_store(tmp_path / "codes", random_codes(7, [(2, 2)], [5]), [5])
    assert store.names == images.names
    assert store.classes == images.classes
    assert store.fingerprint == "abc"
    assert np.array_equal(store.labels, images.labels)
    for split in ("train", "validation"):
        assert np.array_equal(store.indices(split), images.indices(split))
    assert sorted([*store.indices("train"), *store.indices("validation")]) == list(range(7))


def test_a_batch_holds_the_codes_of_its_images_in_their_order(tmp_path):
    codes = random_codes(6, [(2, 3), (4, 6)], [9, 300])
    batch = write_store(tmp_path / "codes", codes, [9, 300]).batch(np.array([4, 0, 4]))
    chosen = codes.select(torch.tensor([4, 0, 4]))
    assert all(torch.equal(a, b) for a, b in zip(batch, chosen, strict=True))


def test_batches_may_be_written_in_any_order(tmp_path):
    codes = random_codes(5, [(2, 2)], [5])
    with create_code_store(
        tmp_path / "codes", images_of(5), shapes=[(2, 2)], num_embeddings=[5], fingerprint="abc"
    ) as writer:
        writer.write(3, codes.select(slice(3, 5)))
        writer.write(0, codes.select(slice(0, 3)))
    assert torch.equal(CodeStore.open(tmp_path / "codes").batch(np.arange(5))[0], codes[0])


def test_missing_codes_are_an_error_and_make_no_store(tmp_path):
    codes = random_codes(5, [(2, 2)], [5])

    def leave_some_out():
        with create_code_store(
            tmp_path / "codes", images_of(5), shapes=[(2, 2)], num_embeddings=[5], fingerprint="abc"
        ) as writer:
            writer.write(0, codes.select(slice(0, 2)))

    with pytest.raises(DataError, match="the codes of 3 of 5 images were never written"):
        leave_some_out()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("num_embeddings", "code"), [(5, 5), (256, 300), (256, -1), (300, 65536 + 7)])
def test_codes_beyond_the_codebook_are_refused(num_embeddings, code, tmp_path):
    codes = Codes((torch.zeros(2, 1, 1, dtype=torch.int64), torch.tensor([0, code]).reshape(2, 1, 1)))
    with pytest.raises(DataError, match=rf"`codes\[1\]` must be in 0..{num_embeddings - 1}, got .*{code}"):
        write_store(tmp_path / "codes", codes, [5, num_embeddings])
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_makes_no_store(tmp_path):
    def interrupt():
        with create_code_store(
            tmp_path / "codes", images_of(5), shapes=[(2, 2)], num_embeddings=[5], fingerprint="abc"
        ):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match=r"is not a store of vqvae2\.codes: it has no codes\.json"):
        CodeStore.open(tmp_path / "codes")


@pytest.mark.parametrize("kept", [True, False])
def test_codes_of_mirrored_images_come_where_they_are_kept_and_only_there(kept, tmp_path):
    codes = random_codes(5, [(2, 2)], [5])
    wanted = "the codes of the mirrored images" if kept else "None"
    with (
        pytest.raises(ValueError, match=f"`flipped` must be {wanted}, as `with_flipped` of the store says"),
        create_code_store(
            tmp_path / "codes",
            images_of(5),
            shapes=[(2, 2)],
            num_embeddings=[5],
            fingerprint="abc",
            with_flipped=kept,
        ) as writer,
    ):
        writer.write(0, codes, flipped=None if kept else codes)
    assert list(tmp_path.iterdir()) == []


def test_mirrored_codes_beyond_the_codebook_are_refused(tmp_path):
    codes = random_codes(2, [(1, 1)], [5])
    with pytest.raises(DataError, match=r"`flipped\[0\]` must be in 0..4, got 5..5"):
        write_store(tmp_path / "codes", codes, [5], flipped=Codes((torch.full((2, 1, 1), 5),)))


@pytest.fixture
def store_path(tmp_path):
    codes, flipped = (random_codes(5, [(2, 2), (4, 4)], [5, 300]) for _ in range(2))
    write_store(tmp_path / "codes", codes, [5, 300], flipped=flipped)
    return tmp_path / "codes"


@pytest.mark.parametrize("level", ["0", "1", "0_flipped", "1_flipped"])
@pytest.mark.parametrize("place", [-1, -20, 128])
def test_a_flipped_bit_is_noticed(level, place, store_path):
    path = store_path / f"level{level}.npy"
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"level{level}\.npy does not match its checksum; delete .* extract the codes"):
        CodeStore.open(store_path)


def test_truncated_or_missing_levels_are_refused(store_path):
    data = (store_path / "level1.npy").read_bytes()
    for kept in (len(data) - 1, 50, 0):
        (store_path / "level1.npy").write_bytes(data[:kept])
        with pytest.raises(DataError, match=r"level1\.npy is missing or damaged"):
            CodeStore.open(store_path)
    (store_path / "level1.npy").unlink()
    with pytest.raises(DataError, match=r"level1\.npy is missing or damaged"):
        CodeStore.open(store_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"names": None},
        {"labels": [0]},
        {"is_validation": [True]},
        {"checksums": []},
        {"checksums": None},
        {"flipped_checksums": ["one"]},
        {"flipped_checksums": None},
        {"num_embeddings": [5]},
        {"num_embeddings": ["five", 300]},
        {"shapes": [[2, 2]]},
        {"shapes": [2, 4]},
    ],
)
def test_a_header_that_contradicts_itself_is_refused(changes, store_path):
    header = json.loads((store_path / "codes.json").read_text()) | changes
    (store_path / "codes.json").write_text(json.dumps(header))
    with pytest.raises(DataError, match=r"codes\.json is damaged; delete .* and extract the codes again"):
        CodeStore.open(store_path)


def test_another_version_is_refused(store_path):
    header = json.loads((store_path / "codes.json").read_text()) | {"version": 1}
    (store_path / "codes.json").write_text(json.dumps(header))
    with pytest.raises(
        DataError, match=r"is of format version 1, this package reads 2; delete .*codes and make it again"
    ):
        CodeStore.open(store_path)


def test_codes_of_another_tokenizer_are_refused(store_path):
    store = CodeStore.open(store_path)
    store.require_tokenizer("abc")
    with pytest.raises(CheckpointError, match="made by tokenizer abc, but this is tokenizer xyz; delete the codes"):
        store.require_tokenizer("xyz")
