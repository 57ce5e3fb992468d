"""What counts as an image, a class and a split in a folder."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vqvae2.data import ImageFolder, open_images
from vqvae2.errors import DataError
from vqvae2.images import encode_png

PNG = encode_png(np.zeros((2, 2, 3), dtype=np.uint8))


def fill(folder: Path, *names: str) -> Path:
    """Put a small image under each name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    return folder


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ({"dog/1.png": 1, "cat/1.png": 0, "cat/2.png": 0}, ("cat", "dog")),
        ({"b.png": None, "a.png": None}, ()),
        ({"1.png": None, "cat/2.png": None, "dog/3.png": None}, ()),  # an image beside sub-folders: no classes
        ({"dog/1.png": 1, "pets/small/cat/2.png": 0, "pets/dog/3.png": 1}, ("cat", "dog")),  # at any depth
        ({"train/1.png": 1, "plane/2.png": 0}, ("plane", "train")),  # `train` alone is a class
        ({"a.png/1.png": 0, "b/2.png": 1}, ("a.png", "b")),
        ({"b/10.png": 2, "b/9.png": 2, "a/2.jpg": 1, "B/1.png": 0, "a/1.png": 1}, ("B", "a", "b")),
    ],
)
def test_the_folder_that_holds_an_image_is_its_class(labels, classes, tmp_path):
    folder = ImageFolder(fill(tmp_path, *labels))
    assert folder.names == tuple(sorted(labels))
    assert folder.classes == classes
    assert folder.labels.tolist() == [-1 if labels[name] is None else labels[name] for name in folder.names]
    assert folder.given_validation is None


def test_every_ending_counts_in_every_case_and_others_are_left_out(tmp_path):
    names = [f"a/1.{ending}" for ending in ("png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff")]
    names += ["a/2.PNG", "a/3.JPG", "a/4.Jpeg", "a/5.wEbP", "a/6.TIFF"]
    fill(tmp_path, *names)
    fill(tmp_path, ".hidden/2.png", "a/.3.png", "__MACOSX/a/4.png", "a/Thumbs.db", "b/5.png.part", "png")
    (tmp_path / "metadata.csv").write_text("file_name,label\na/1.png,0\n")
    folder = ImageFolder(tmp_path)
    assert folder.names == tuple(sorted(names))
    assert folder.classes == ("a",)


@pytest.mark.parametrize(
    ("used", "unused", "classes", "labels"),
    [
        *(
            (("train/cat/1.png", "train/dog/2.png", f"{held_out}/cat/3.png"), (), ("cat", "dog"), [0, 1, 0])
            for held_out in ("validation", "valid", "val")
        ),
        (("test/cat/3.png", "train/cat/1.png", "train/dog/2.png"), (), ("cat", "dog"), [0, 0, 1]),
        (("train/1.png", "val/2.png"), ("5.png", "extra/4.png", "test/3.png"), (), [-1, -1]),
        (("train/cat/1.png", "val/cat/2.png", "val/dog/3.png"), (), ("cat",), [0, 0, -1]),  # no training image is a dog
    ],
)
def test_a_given_split_is_taken_and_other_images_are_not_used(used, unused, classes, labels, tmp_path):
    folder = ImageFolder(fill(tmp_path, *used, *unused))
    assert (folder.names, folder.all_names) == (used, tuple(sorted(used + unused)))
    assert folder.given_validation.tolist() == [not name.startswith("train") for name in used]
    assert (folder.classes, folder.labels.tolist()) == (classes, labels)


@pytest.mark.parametrize(
    "name", ["my [photos]", "a*b?", "{a,b}", "ü ö/日本", "e\u0301", ".hidden/photos", "__a/b", "a%20b#c", "a::b"]
)
def test_names_may_hold_any_character(name, tmp_path, monkeypatch):
    fill(tmp_path / "a*", "dog/1.png")
    fill(tmp_path / "ab", "cat/1.png")  # to which a pattern would reach
    assert ImageFolder(tmp_path / "a*").names == ("dog/1.png",)
    inner = name.strip("._").replace("/", " ")
    fill(tmp_path / name, f"{inner}/{inner}.png", "dog/2 🐈.png")
    monkeypatch.chdir(tmp_path)
    for folder in (ImageFolder(tmp_path / name), ImageFolder(name)):
        assert folder.names == tuple(sorted((f"{inner}/{inner}.png", "dog/2 🐈.png")))
        assert [folder.read(index) for index in range(2)] == [PNG] * 2


def test_linked_files_and_a_linked_folder_are_read_but_not_linked_sub_folders(tmp_path):
    fill(tmp_path, "real/cat/1.png", "elsewhere/2.png")
    (tmp_path / "real" / "cat" / "2.png").symlink_to(tmp_path / "elsewhere" / "2.png")
    (tmp_path / "real" / "cat" / "3.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "real" / "elsewhere").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "real" / "cat" / "loop").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    folder = ImageFolder(tmp_path / "link")
    assert folder.names == ("cat/1.png", "cat/2.png")
    assert folder.read(1) == PNG


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "must be a folder of images, but .*nowhere does not exist"),
        ("notes.txt", r"must be a folder of images, but .*notes\.txt is a file"),
        ("empty", r"must be a folder with images \(png, .*\), but .* is empty"),
        (".", r"must be a folder with images \(png, .*\), but .* holds no images"),
    ],
)
def test_what_is_no_folder_of_images_is_an_error(path, message, tmp_path):
    (tmp_path / "notes.txt").write_text("nothing to see")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        open_images(tmp_path / path)


def test_a_name_that_is_not_utf_8_is_an_error(tmp_path):
    fill(tmp_path, "cat/1.png")
    Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"cat/\xff.png"))).write_bytes(PNG)
    with pytest.raises(DataError, match=r"cannot be listed \(b'.*png'\); names must be UTF-8"):
        ImageFolder(tmp_path)


def test_a_file_that_vanished_or_is_too_large_is_a_data_error(tmp_path):
    folder = ImageFolder(fill(tmp_path, "1.png", "2.png"))
    (tmp_path / "2.png").unlink()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        folder.read(1)
    with (tmp_path / "1.png").open("wb") as file:
        file.truncate(2**28 + 1)
    with pytest.raises(DataError, match="the file has 268435457 bytes, and at most 268435456 are read"):
        folder.read(0)


def test_no_server_is_asked_and_nothing_is_written_to_the_home_folder(tmp_path):
    home, photos = tmp_path / "home", fill(tmp_path / "photos", "cat/1.png")
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_"))}
    code = (
        "import sys; asked = [];"
        "sys.addaudithook(lambda event, _: asked.append(event) if event in ('socket.getaddrinfo', 'socket.connect')"
        " else None);"
        f"from vqvae2.data import ImageFolder; print(ImageFolder({str(photos)!r}).names, asked)"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=environment | {"HOME": str(home)}, capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("('cat/1.png',) []\n", "")
    assert list(home.rglob("*")) == []


IMAGENET = ("train/n01/n01_1.JPEG", "train/n02/n02_1.JPEG", "val/ILSVRC2012_val_1.JPEG", "val/ILSVRC2012_val_2.JPEG")
VAL_2_THEN_1 = "ImageId,PredictionString\nILSVRC2012_val_2,n01 1 2 3 4 n01 5 6 7 8 \nILSVRC2012_val_1,n02 1 2 3 4 \n"


@pytest.mark.parametrize("above", ["", "ILSVRC/Data/CLS-LOC/"])
@pytest.mark.parametrize(
    ("lines", "labels"), [(None, [0, 1, -1, -1]), ("", [0, 1, -1, -1]), (VAL_2_THEN_1, [0, 1, 1, 0])]
)
def test_imagenet_is_read_as_it_comes(above, lines, labels, tmp_path):
    fill(tmp_path, *(above + name for name in IMAGENET), f"{above}test/ILSVRC2012_test_1.JPEG")
    if lines is not None:
        (tmp_path / "LOC_val_solution.csv").write_text(lines)
    folder = ImageFolder(tmp_path)
    assert folder.names == tuple(above + name for name in IMAGENET)
    assert (folder.classes, folder.labels.tolist()) == (("n01", "n02"), labels)
    assert folder.given_validation.tolist() == [False, False, True, True]


@pytest.mark.parametrize("lines", ["ImageId\nILSVRC2012_val_1\n", "ImageId,PredictionString\nILSVRC2012_val_1,\n"])
def test_a_damaged_list_of_held_out_classes_is_refused(lines, tmp_path):
    fill(tmp_path, *IMAGENET)
    (tmp_path / "LOC_val_solution.csv").write_text(lines)
    with pytest.raises(DataError, match=r"LOC_val_solution\.csv must list an `ImageId` and a `PredictionString`"):
        ImageFolder(tmp_path)
