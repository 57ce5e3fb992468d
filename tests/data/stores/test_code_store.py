"""Laws of the codes on disk."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqvae2.codes import Codes
from vqvae2.config import ExtractionConfig
from vqvae2.data import CodeStore, ImageStore, create_code_store
from vqvae2.errors import CheckpointError, ConfigError, DataError

PLAIN = ExtractionConfig()
SIDES = st.integers(1, 4)
LEVELS = st.lists(st.tuples(SIDES, SIDES, st.sampled_from([2, 255, 256, 257, 65536])), min_size=1, max_size=3)


def images_of(count: int) -> ImageStore:
    return ImageStore(
        pixels=np.zeros((count, 1, 1, 1), dtype=np.uint8),
        names=tuple(f"{index}.png" for index in range(count)),
        labels=np.arange(count) % 2 - 1,
        classes=("only",),
        is_validation=np.arange(count) % 3 == 1,
        size=(1, 1),
        channels=1,
        bit_depth=8,
    )


def random_codes(count, shapes, num_embeddings) -> Codes:
    """Draw codes, among them the highest of each level."""
    maps = [torch.randint(size, (count, *shape)) for shape, size in zip(shapes, num_embeddings, strict=True)]
    for codes, size in zip(maps, num_embeddings, strict=True):
        codes[-1, -1, -1] = size - 1
    return Codes(tuple(maps))


def creating(directory, codes, num_embeddings, *, count=None, fingerprint="abc", extraction=PLAIN):
    images = images_of(codes.batch_size if count is None else count)
    options = {"fingerprint": fingerprint, "extraction": extraction}
    return create_code_store(directory, images, shapes=codes.shapes, num_embeddings=num_embeddings, **options)


def write_store(directory, codes, num_embeddings, *, others=(), batch_size=2, **options) -> CodeStore:
    """Write the codes of images, and those of their `others`, further views."""
    extraction = ExtractionConfig(augment=len(others))
    with creating(directory, codes, num_embeddings, extraction=extraction, **options) as writer:
        for start in range(writer.num_images, codes.batch_size, batch_size):
            part = slice(start, start + batch_size)
            writer.append(*(view.select(part) for view in (codes, *others)))
            assert writer.num_images == min(start + batch_size, codes.batch_size)
    return CodeStore.open(directory)


def same(codes: Codes, others: Codes) -> bool:
    return all(torch.equal(a, b) for a, b in zip(codes, others, strict=True))


@given(st.integers(1, 7), LEVELS, st.integers(1, 8), st.integers(0, 2))
@settings(max_examples=20, deadline=None)
def test_reading_gives_what_was_written_and_what_is_known_of_the_images(count, levels, batch_size, augment):
    shapes, num_embeddings = [level[:2] for level in levels], [level[2] for level in levels]
    codes = random_codes(count, shapes, num_embeddings)
    others = [random_codes(count, shapes, num_embeddings) for _ in range(augment)]
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "codes", codes, num_embeddings, others=others, batch_size=batch_size)
        assert same(store.batch(np.arange(count)), codes)
        assert store.extraction == ExtractionConfig(augment=augment)
        for view, written in enumerate((codes, *others)):
            assert same(store.batch(np.arange(count), view), written)
        views = np.random.default_rng(count).integers(0, 1 + augment, count)  # another one of each image
        picked = [(codes, *others)[view].select(slice(index, index + 1)) for index, view in enumerate(views)]
        assert same(store.batch(np.arange(count), views), Codes.concatenate(picked))
        assert (store.shapes, store.num_embeddings) == (tuple(shapes), tuple(num_embeddings))
        chosen = np.random.default_rng(count).integers(0, count, 5)  # in any order, also twice
        assert same(store.batch(chosen), codes.select(torch.from_numpy(chosen)))
    images = images_of(count)
    assert (store.names, store.classes, store.fingerprint) == (images.names, images.classes, "abc")
    assert store.labels.tolist() == images.labels.tolist()
    for split in ("train", "validation"):
        assert np.array_equal(store.indices(split), images.indices(split))


@pytest.mark.parametrize(
    ("num_embeddings", "dtype"), [(2, np.uint8), (256, np.uint8), (257, np.uint16), (65536, np.uint16)]
)
def test_a_code_takes_as_few_bytes_as_it_needs(num_embeddings, dtype, tmp_path):
    store = write_store(tmp_path / "codes", random_codes(50, [(8, 8)], [num_embeddings]), [num_embeddings])
    assert store.maps[0].dtype == dtype
    header_size = 128  # of an .npy file
    assert (tmp_path / "codes" / "level0.npy").stat().st_size == 50 * 64 * np.dtype(dtype).itemsize + header_size


def test_codes_that_do_not_fit_two_bytes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="`num_embeddings` must be at most 65536 to fit two bytes, got 70000"):
        write_store(tmp_path / "codes", random_codes(2, [(1, 1), (2, 2)], [512, 70000]), [512, 70000])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("num_embeddings", "code"), [(5, 5), (256, 300), (256, -1), (300, 65536 + 7)])
@pytest.mark.parametrize("view", [0, 1])
def test_codes_beyond_the_codebook_are_refused(view, num_embeddings, code, tmp_path):
    good = Codes((torch.zeros(2, 1, 1, dtype=torch.int64),) * 2)
    bad = Codes((good[0], torch.tensor([0, code]).reshape(2, 1, 1)))
    codes, other = (good, bad) if view else (bad, good)
    with pytest.raises(DataError, match=rf"`views` .* in 0..{num_embeddings - 1} at level 1, got .*{code}"):
        write_store(tmp_path / "codes", codes, [5, num_embeddings], others=[other])
    assert not (tmp_path / "codes").exists()


def test_a_store_without_all_images_does_not_appear(tmp_path):
    with pytest.raises(DataError, match="the codes of 2 of 7 images are missing"):
        write_store(tmp_path / "codes", random_codes(5, [(2, 2)], [5]), [5], count=7)
    with pytest.raises(DataError, match=r"is not a store of vqvae2\.codes: it has no codes\.json"):
        CodeStore.open(tmp_path / "codes")


@pytest.mark.parametrize(
    ("changes", "start"),
    [({}, 4), ({"fingerprint": "xyz"}, 0), ({"extraction": replace(PLAIN, max_shift_pixels=3)}, 0)],
    ids=str,
)
def test_an_interrupted_store_resumes_if_tokenizer_and_views_are_the_same(changes, start, tmp_path):
    codes = random_codes(5, [(2, 2)], [5])

    def interrupt():
        with creating(tmp_path / "codes", codes, [5]) as writer:
            writer.append(codes.select(slice(0, 1)))
            writer.append(codes.select(slice(1, 4)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert not (tmp_path / "codes").exists()
    with creating(tmp_path / "codes", codes, [5], **changes) as writer:
        assert writer.num_images == start
        writer.append(codes.select(slice(start, 5)))
    assert same(CodeStore.open(tmp_path / "codes").batch(np.arange(5)), codes)
    assert [path.name for path in tmp_path.iterdir()] == ["codes"]


@pytest.mark.parametrize("count", [1, 3])
def test_all_views_come_and_no_more(count, tmp_path):
    codes = random_codes(5, [(2, 2)], [5])
    with (
        pytest.raises(ValueError, match=f"`views` must be the 2 that `extraction` asks for, got {count}"),
        creating(tmp_path / "codes", codes, [5], extraction=replace(PLAIN, horizontal_flips=True)) as writer,
    ):
        writer.append(*[codes] * count)


@pytest.fixture
def store_path(tmp_path):
    codes, *others = (random_codes(5, [(2, 2), (4, 4)], [5, 300]) for _ in range(2))
    write_store(tmp_path / "codes", codes, [5, 300], others=others)
    return tmp_path / "codes"


def test_a_flipped_bit_is_noticed(store_path):
    for level in (0, 1):
        path = store_path / f"level{level}.npy"
        whole = path.read_bytes()
        for place in (-1, -20, 128):
            data = bytearray(whole)
            data[place] ^= 1
            path.write_bytes(data)
            with pytest.raises(DataError, match=rf"level{level}\.npy does not match its checksum; delete"):
                CodeStore.open(store_path)
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "changes",
    [
        *({"names": None}, {"labels": [0]}, {"is_validation": [True]}, {"checksums": []}, {"checksums": None}),
        *({"extraction": {"augment": 1e300}}, {"extraction": None}, {"num_embeddings": [5]}),
        *({"num_embeddings": ["five", 300]}, {"num_embeddings": [5, 1]}, {"shapes": [[2, 2]]}, {"shapes": [2, 4]}),
        *({"shapes": [], "num_embeddings": [], "checksums": []}, {"tokenizer": 1}),
    ],
    ids=str,
)
def test_a_header_that_contradicts_itself_is_refused(changes, store_path):
    header = json.loads((store_path / "codes.json").read_text()) | changes
    (store_path / "codes.json").write_text(json.dumps(header))
    with pytest.raises(DataError, match=r"codes\.json is damaged; delete"):
        CodeStore.open(store_path)


def test_codes_of_another_tokenizer_are_refused(store_path):
    store = CodeStore.open(store_path)
    store.require_tokenizer("abc")
    with pytest.raises(CheckpointError, match="made by tokenizer abc, but this is tokenizer xyz; delete the codes"):
        store.require_tokenizer("xyz")
