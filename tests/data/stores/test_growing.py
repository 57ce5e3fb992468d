"""Arrays that grow on disk, and images that something makes."""

import numpy as np
import pytest

from vqvae2.data import GrowingArrays, write_images

WANTED = {"a": ((5,), np.int64)}


def test_rows_are_kept_in_their_order_and_appear_when_all_are_there(tmp_path):
    rows = np.arange(10, dtype=np.float32).reshape(5, 2)
    with GrowingArrays(tmp_path / "grown", {"a": ((5, 2), np.float32), "b": ((5,), np.int64)}) as arrays:
        arrays.append(a=rows[:3], b=np.arange(3))
        arrays.append(a=rows[3:], b=np.arange(3, 5))
        assert not (tmp_path / "grown").exists()
        arrays.finish("a.json", "grown", 1, {})
    assert np.array_equal(np.load(tmp_path / "grown" / "a.npy"), rows)
    assert sorted(path.name for path in (tmp_path / "grown").iterdir()) == ["a.json", "a.npy", "b.npy"]
    assert [path.name for path in tmp_path.iterdir()] == ["grown"]


def grow(directory, start):
    with GrowingArrays(directory, WANTED) as arrays:
        assert arrays.num_rows == start
        for number in range(start, 5):
            if number == start + 2 and start < 4:
                raise KeyboardInterrupt
            arrays.append(a=np.array([number]))
        arrays.finish("a.json", "grown", 1, {})


def test_an_interrupted_attempt_resumes_at_its_last_row(tmp_path):
    for start in (0, 2):
        with pytest.raises(KeyboardInterrupt):
            grow(tmp_path / "grown", start)
    grow(tmp_path / "grown", 4)
    assert np.load(tmp_path / "grown" / "a.npy").tolist() == [0, 1, 2, 3, 4]


def test_a_killed_attempt_resumes_at_rows_that_are_on_disk(tmp_path):
    killed = GrowingArrays(tmp_path / "grown", WANTED)
    killed.append(a=np.array([7, 8]))
    killed.append(a=np.array([9]))  # too soon after for another save
    arrays = GrowingArrays(tmp_path / "grown", WANTED)
    assert arrays.num_rows == 2
    assert arrays.arrays["a"][:2].tolist() == [7, 8]


@pytest.mark.parametrize(
    ("shape", "identity", "damage"),
    [
        *(((4,), {"of": "this"}, {}), ((5, 1), {"of": "this"}, {}), ((5,), {"of": "that"}, {}), ((5,), {}, {})),
        *(((5,), {"of": "this"}, {"progress.json": text}) for text in ("{", "[]")),
        ((5,), {"of": "this"}, {"a.npy": ""}),
    ],
)
def test_an_attempt_at_something_else_and_a_damaged_one_begin_anew(tmp_path, shape, identity, damage):
    GrowingArrays(tmp_path / "grown", WANTED, identity={"of": "this"}).append(a=np.array([7, 8]))
    for name, data in damage.items():
        (tmp_path / ".grown.partial" / name).write_text(data)
    assert GrowingArrays(tmp_path / "grown", {"a": (shape, np.int64)}, identity=identity).num_rows == 0


def test_made_images_become_a_store(image_store, tmp_path):
    made = np.random.default_rng(0).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)
    starts = []

    def make(start, *, stop=7):
        starts.append(start)
        for first in range(start, stop, 2):
            yield made[first : first + 2]

    labels, is_validation = np.array([0, 1, 0, 1, 0, 1, 0]), np.arange(7) > 4

    def write(make):
        return write_images(make, tmp_path / "made", like=image_store, labels=labels, is_validation=is_validation)

    def stopping(start):
        yield from make(start, stop=4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(stopping)
    store = write(make)
    assert starts == [0, 4]
    assert np.array_equal(store.pixels, made)
    assert store.labels.tolist() == labels.tolist()
    assert store.indices("validation").tolist() == [5, 6]
    assert write(make).num_images == 7  # opened, not made again
    assert starts == [0, 4]
