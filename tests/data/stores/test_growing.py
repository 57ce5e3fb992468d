"""Arrays that grow on disk, and images that something makes."""

import numpy as np
import pytest

from vqvae2.data import GrowingArrays, write_images


def test_rows_are_kept_in_their_order(tmp_path):
    arrays = GrowingArrays(tmp_path / "grown", {"a": ((5, 2), np.float32), "b": ((5,), np.int64)})
    rows = np.arange(10, dtype=np.float32).reshape(5, 2)
    arrays.append(a=rows[:3], b=np.arange(3))
    arrays.append(a=rows[3:], b=np.arange(3, 5))
    assert not (tmp_path / "grown").exists()
    arrays.finish("a.json", "grown", 1, {})
    assert np.array_equal(np.load(tmp_path / "grown" / "a.npy"), rows)
    assert sorted(path.name for path in (tmp_path / "grown").iterdir()) == ["a.json", "a.npy", "b.npy"]


def test_a_stopped_attempt_is_gone_on_with(tmp_path):
    wanted = {"a": ((4,), np.int64)}
    GrowingArrays(tmp_path / "grown", wanted).append(a=np.array([7, 8]))
    arrays = GrowingArrays(tmp_path / "grown", wanted)
    assert arrays.num_rows == 2
    arrays.append(a=np.array([9, 10]))
    arrays.finish("a.json", "grown", 1, {})
    assert np.load(tmp_path / "grown" / "a.npy").tolist() == [7, 8, 9, 10]


@pytest.mark.parametrize("shape", [(4,), (5, 1)])
def test_an_attempt_at_something_else_is_begun_anew(tmp_path, shape):
    GrowingArrays(tmp_path / "grown", {"a": ((5,), np.int64)}).append(a=np.array([7, 8]))
    assert GrowingArrays(tmp_path / "grown", {"a": (shape, np.int64)}).num_rows == 0


def test_damaged_progress_is_begun_anew(tmp_path):
    arrays = GrowingArrays(tmp_path / "grown", {"a": ((5,), np.int64)})
    arrays.append(a=np.array([7, 8]))
    (arrays.partial / "progress.json").write_text("{")
    assert GrowingArrays(tmp_path / "grown", {"a": ((5,), np.int64)}).num_rows == 0


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


def test_a_fingerprint_tells_images_and_their_order(image_store):
    first = image_store.fingerprint(np.array([0, 1, 2]))
    assert first == image_store.fingerprint(np.array([0, 1, 2]))
    others = [image_store.fingerprint(np.array(indices)) for indices in ([0, 2, 1], [0, 1], [0, 1, 3])]
    assert len({first, *others}) == 4
