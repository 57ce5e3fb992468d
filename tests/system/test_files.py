"""Files and folders appear whole or not at all."""

import stat

import pytest

from vqvae2.system.files import atomic_directory, atomic_write_bytes


def test_a_file_is_replaced_as_a_whole_and_can_be_read_by_others(tmp_path):
    path = tmp_path / "file.bin"
    atomic_write_bytes(path, b"old")
    atomic_write_bytes(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "file.bin"
    atomic_write_bytes(path, b"old")
    with pytest.raises(TypeError):
        atomic_write_bytes(path, "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        atomic_write_bytes(tmp_path / "folder", b"new")
    assert path.read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == [path, tmp_path / "folder"]


def test_a_folder_and_its_parents_appear_at_the_end(tmp_path):
    path = tmp_path / "a" / "store"
    with atomic_directory(path) as partial:
        (partial / "file").write_bytes(b"content")
        assert not path.exists()
    assert (path / "file").read_bytes() == b"content"
    assert list(path.parent.iterdir()) == [path]


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
    killed = atomic_directory(path)
    (killed.__enter__() / "leftover").write_bytes(b"half")
    with atomic_directory(path) as partial:
        assert list(partial.iterdir()) == []
    assert list(path.iterdir()) == []
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_with_content_is_not_overwritten(tmp_path):
    path = tmp_path / "store"
    path.mkdir()
    (path / "file").write_bytes(b"old")
    with pytest.raises(OSError, match="store"), atomic_directory(path) as partial:
        (partial / "file").write_bytes(b"new")
    assert (path / "file").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
