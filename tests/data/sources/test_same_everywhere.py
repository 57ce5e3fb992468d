"""The same images are read in the same way, whatever holds them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from vqvae2.config import ImageConfig
from vqvae2.data import open_images
from vqvae2.data.sources.layout import layout_of
from vqvae2.data.sources.left_aside import LeftAside
from vqvae2.data.split import split_images
from vqvae2.images import encode_png

PNG = encode_png(np.zeros((2, 2, 3), dtype=np.uint8))
TOPS = st.sampled_from(["", "", "Train/", "training/", "val/", "Test/", "data/train/", "data/val/"])
FOLDERS = st.sampled_from(["", "cat/", "dog/", "7/", "10/", "pets/cat/", "cat/images/", "dog/images/", ".old/", "__x/"])
FILES = st.sampled_from(
    ["1.png", "2.PNG", "left.jpg", "right.jpeg", "photo.0001.png", "photo.0002.jfif", "0123ab", "a.txt"]
)
CLASSES = st.sampled_from(["cat/", "dog/", "7/", "10/"])
SIDES = st.sampled_from(["train/", "training/", "Val/", "val/"])
PATHS = st.tuples(TOPS, FOLDERS, FILES), st.tuples(CLASSES, SIDES, FILES)
LAYOUTS = st.one_of(st.sets(parts.map("".join), min_size=1, max_size=40).map(sorted) for parts in PATHS)
CONFIG = ImageConfig(validation_fraction=0.3)


@pytest.fixture
def anew(tmp_path):
    """Make an empty folder, for each example that hypothesis draws."""

    def make() -> Path:
        shutil.rmtree(tmp_path / "set", ignore_errors=True)
        (tmp_path / "set").mkdir()
        return tmp_path / "set"

    return make


def told(source) -> dict[str, tuple[str | None, bool]]:
    """The class and the side of each image, by its path."""
    numbers = range(len(source))
    collection = split_images(source, numbers, CONFIG)
    classes = [None if label < 0 else source.classes[label] for label in collection.labels]
    told_of = zip(classes, collection.is_validation.tolist(), strict=True)
    return dict(zip(map(source.path_of, numbers), told_of, strict=True))


def heading(source) -> tuple[object, ...]:
    return source.classes, source.split_origin, source.remarks


def is_image(name: str) -> bool:
    return not name.endswith(".txt") and not any(part.startswith((".", "__")) for part in name.split("/"))


@given(LAYOUTS, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_folders_archives_and_tables_of_the_same_paths_are_read_alike(anew, write_tar, write_parquet, layout, random):
    images = [name for name in layout if is_image(name)]
    assume(len(images) > 1)
    folder = anew() / "folder"
    for name in layout:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"words" if name.endswith(".txt") else PNG)
    opened = open_images(folder)
    assume(len(opened) > 1)
    expected = told(opened)
    members = {name: (folder / name).read_bytes() for name in random.sample(layout, len(layout))}
    archive = open_images(write_tar(folder.parent / "x.tar", members))
    assert told(archive) == expected
    assert heading(archive) == heading(opened)
    parts: dict[str, dict[str, bytes]] = {"a": {}, "b": {}}
    for name, data in members.items():
        parts[random.choice("ab")][name] = data
    for part, some in parts.items():
        write_tar(folder.parent / f"parts/{part}.tar", some)
    assert told(open_images(folder.parent / "parts")) == expected
    table = open_images(write_parquet(folder.parent / "x.parquet", [PNG] * len(images), paths=images))
    assert told(table) == expected
    assert heading(table) == heading(opened)


@given(LAYOUTS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_labels_say_what_folders_say(anew, write_tar, write_parquet, layout):
    images = [name for name in layout if is_image(name)]
    assume(len(images) > 1)
    source = open_images(write_tar(anew() / "x.tar", dict.fromkeys(images, PNG)))
    assume(len(source) > 1 and source.classes)
    expected = told(source)
    stems = {name.rpartition(".")[0] or name for name in expected}
    assume(len(stems) == len(expected))  # no two images of one sample
    folder = anew()
    members = dict.fromkeys(expected, PNG)
    for name, (label, _) in expected.items():
        stem = name.rpartition(".")[0] or name
        members[f"{stem}.cls"] = (label or "-1").encode()
    archive = open_images(write_tar(folder / "y.tar", members))
    assert told(archive) == expected
    assert archive.classes == source.classes
    labels = [label for label, _ in expected.values()]
    path = write_parquet(folder / "y.parquet", [PNG] * len(expected), labels, paths=list(expected))
    table = open_images(path)
    assert (told(table), table.classes) == (expected, source.classes)


@given(st.sets(st.tuples(CLASSES, SIDES, FILES), min_size=4))
@settings(max_examples=100, deadline=None)
def test_a_split_in_classes_is_read_like_classes_in_a_split(parts):
    sides_of = {name: {side[0].lower() for of, side, _ in parts if of == name} for name, _, _ in parts}
    assume(sum(len(sides) == 2 for sides in sides_of.values()) > 1)
    read = []
    for order in ((0, 1, 2), (1, 0, 2)):
        names = ["".join(path[place] for place in order) for path in sorted(parts)]
        layout = layout_of(names, LeftAside())
        assert layout.used.tolist() == list(range(len(names)))
        read.append((layout.given_validation.tolist(), layout.labels.tolist(), layout.classes))
    assert read[0] == read[1]
