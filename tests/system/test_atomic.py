"""Files and folders appear whole or not at all."""

import stat

import pytest

from vqvae2.system.atomic import atomic_directory, atomic_write_bytes


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "file.bin"
    atomic_write_bytes(path, b"old")
    atomic_write_bytes(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_can_be_read_by_others(tmp_path):
    path = tmp_path / "file.bin"
    atomic_write_bytes(path, b"")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "file.bin"
    atomic_write_bytes(path, b"old")
    with pytest.raises(TypeError):
        atomic_write_bytes(path, "text")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_cannot_take_the_place_of_a_folder(tmp_path):
    (tmp_path / "place").mkdir()
    with pytest.raises(OSError, match="place"):
        atomic_write_bytes(tmp_path / "place", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_a_folder_appears_at_the_end(tmp_path):
    path = tmp_path / "store"
    with atomic_directory(path) as partial:
        (partial / "file").write_bytes(b"content")
        assert not path.exists()
    assert (path / "file").read_bytes() == b"content"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_parents_of_a_folder_are_made(tmp_path):
    with atomic_directory(tmp_path / "a" / "b"):
        pass
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_folder_vanishes(interruption, tmp_path):
    def fill():
        with atomic_directory(tmp_path / "store") as partial:
            (partial / "file").write_bytes(b"half")
            raise interruption

    with pytest.raises(interruption):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_attempt_left_is_removed(tmp_path):
    path = tmp_path / "store"
    context = atomic_directory(path)
    partial = context.__enter__()  # and the process is killed
    (partial / "leftover").write_bytes(b"half")

    with atomic_directory(path) as partial:
        assert list(partial.iterdir()) == []
    assert list(path.iterdir()) == []
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_with_content_is_not_overwritten(tmp_path):
    path = tmp_path / "store"
    path.mkdir()
    (path / "file").write_bytes(b"old")

    def fill():
        with atomic_directory(path) as partial:
            (partial / "file").write_bytes(b"new")

    with pytest.raises(OSError, match="store"):
        fill()
    assert (path / "file").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
