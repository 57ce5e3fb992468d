"""What counts as an image, a class and a split in a folder."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqvae2.data import ImageFolder
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


def labels(folder: ImageFolder) -> list[int | None]:
    return [folder[index].label for index in range(len(folder))]


def test_sub_folders_are_classes(tmp_path):
    folder = ImageFolder(fill(tmp_path, "dog/1.png", "cat/1.png", "cat/2.png"))
    assert folder.names == ("cat/1.png", "cat/2.png", "dog/1.png")
    assert folder.classes == ("cat", "dog")
    assert labels(folder) == [0, 0, 1]
    assert folder.given_validation is None


def test_a_flat_folder_has_no_classes(tmp_path):
    folder = ImageFolder(fill(tmp_path, "b.png", "a.png"))
    assert folder.names == ("a.png", "b.png")
    assert folder.classes == ()
    assert labels(folder) == [None, None]


def test_images_beside_sub_folders_mean_no_classes(tmp_path):
    folder = ImageFolder(fill(tmp_path, "1.png", "cat/2.png", "dog/3.png"))
    assert len(folder) == 3
    assert folder.classes == ()
    assert labels(folder) == [None, None, None]


def test_the_folder_that_holds_an_image_is_its_class_at_any_depth(tmp_path):
    folder = ImageFolder(fill(tmp_path, "dog/1.png", "pets/small/cat/2.png", "pets/dog/3.png"))
    assert folder.classes == ("cat", "dog")
    assert dict(zip(folder.names, labels(folder), strict=True)) == {
        "dog/1.png": 1,
        "pets/dog/3.png": 1,
        "pets/small/cat/2.png": 0,
    }


def test_the_order_is_that_of_the_names(tmp_path):
    names = ("b/10.png", "b/9.png", "a/2.jpg", "B/1.png", "a/1.png")
    folder = ImageFolder(fill(tmp_path, *names))
    assert folder.names == tuple(sorted(names))


def test_a_record_holds_the_file_as_it_is(tmp_path):
    fill(tmp_path, "a/1.png")
    (tmp_path / "a" / "2.png").write_bytes(b"broken, and not for the folder to judge")
    folder = ImageFolder(tmp_path)
    assert folder[0] == ("a/1.png", 0, PNG)
    assert folder[1].data == b"broken, and not for the folder to judge"


def test_every_ending_counts_in_every_case(tmp_path):
    names = [f"1.{ending}" for ending in ("png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff")]
    names += ["2.PNG", "3.JPG", "4.Jpeg", "5.wEbP", "6.TIFF"]
    assert ImageFolder(fill(tmp_path, *names)).names == tuple(sorted(names))


def test_other_and_hidden_files_are_passed_over(tmp_path):
    fill(tmp_path, "a/1.png", ".hidden/2.png", "a/.3.png", "__MACOSX/a/4.png", "a/Thumbs.db", "b/5.png.part", "png")
    (tmp_path / "metadata.csv").write_text("file_name,label\na/1.png,0\n")
    (tmp_path / "a" / "metadata.jsonl").write_text('{"file_name": "1.png", "text": "one"}\n')
    folder = ImageFolder(tmp_path)
    assert folder.names == ("a/1.png",)
    assert folder.classes == ("a",)


def test_a_folder_named_like_an_image_is_a_folder(tmp_path):
    assert ImageFolder(fill(tmp_path, "a.png/1.png", "b/2.png")).names == ("a.png/1.png", "b/2.png")


@pytest.mark.parametrize("held_out", ["validation", "valid", "val", "test"])
def test_a_given_split_is_taken(held_out, tmp_path):
    folder = ImageFolder(fill(tmp_path, "train/cat/1.png", "train/dog/2.png", f"{held_out}/cat/3.png"))
    assert dict(zip(folder.names, folder.given_validation.tolist(), strict=True)) == {
        "train/cat/1.png": False,
        "train/dog/2.png": False,
        f"{held_out}/cat/3.png": True,
    }
    assert folder.classes == ("cat", "dog")


def test_a_given_split_of_flat_folders_has_no_classes(tmp_path):
    folder = ImageFolder(fill(tmp_path, "train/1.png", "val/2.png"))
    assert folder.given_validation.tolist() == [False, True]
    assert folder.classes == ()


def test_images_outside_of_a_given_split_are_not_used(tmp_path):
    folder = ImageFolder(fill(tmp_path, "train/1.png", "val/2.png", "test/3.png", "extra/4.png", "5.png"))
    assert folder.names == ("train/1.png", "val/2.png")


def test_a_train_folder_alone_is_a_class(tmp_path):
    folder = ImageFolder(fill(tmp_path, "train/1.png", "plane/2.png"))
    assert folder.given_validation is None
    assert folder.classes == ("plane", "train")


@pytest.mark.parametrize("name", ["my [photos]", "a*b?", "{a,b}", "ü ö/日本", ".hidden/photos", "__a/b", "a%20b#c"])
def test_the_path_of_the_folder_may_hold_any_character(name, tmp_path):
    folder = ImageFolder(fill(tmp_path / name, "cat/1.png", "dog/2.png"))
    assert folder.names == ("cat/1.png", "dog/2.png")
    assert folder[1] == ("dog/2.png", 1, PNG)


def test_glob_characters_do_not_reach_the_neighbors(tmp_path):
    fill(tmp_path / "photos1", "cat/1.png")
    assert ImageFolder(fill(tmp_path / "photos*", "dog/2.png")).names == ("dog/2.png",)


def test_names_may_hold_spaces_and_unicode(tmp_path):
    names = (
        "a b/1 2.png",
        "a [1]/[x] *.png",
        "ä/ö.png",
        "e\u0301/1.png",
        "日本/猫 🐈.jpg",
        "x%20y/#1&2.png",
        "a::b.png",
    )
    folder = ImageFolder(fill(tmp_path, *names))
    assert folder.names == tuple(sorted(names))
    assert all(folder[index].data == PNG for index in range(len(names)))


def test_a_linked_folder_and_linked_files_are_read(tmp_path):
    fill(tmp_path, "real/cat/1.png", "elsewhere/2.png")
    (tmp_path / "real" / "cat" / "2.png").symlink_to(tmp_path / "elsewhere" / "2.png")
    (tmp_path / "real" / "cat" / "3.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    folder = ImageFolder(tmp_path / "link")
    assert folder.names == ("cat/1.png", "cat/2.png")
    assert folder[1].data == PNG


def test_links_to_sub_folders_are_passed_over(tmp_path):
    fill(tmp_path, "photos/cat/1.png", "dog/2.png")
    (tmp_path / "photos" / "dog").symlink_to(tmp_path / "dog", target_is_directory=True)
    (tmp_path / "photos" / "cat" / "loop").symlink_to(tmp_path / "photos", target_is_directory=True)
    assert ImageFolder(tmp_path / "photos").names == ("cat/1.png",)


def test_a_relative_path_is_read(tmp_path, monkeypatch):
    fill(tmp_path / "photos", "cat/1.png")
    monkeypatch.chdir(tmp_path)
    assert ImageFolder("photos")[0] == ("cat/1.png", 0, PNG)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"must be a folder of images, but .*nowhere does not exist"):
        ImageFolder(tmp_path / "nowhere")


def test_a_file_is_an_error(tmp_path):
    fill(tmp_path, "1.png")
    with pytest.raises(DataError, match=r"must be a folder of images, but .*1\.png is a file"):
        ImageFolder(tmp_path / "1.png")


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"must be a folder with images \(png, .*\), but .* is empty"):
        ImageFolder(tmp_path)


def test_a_folder_without_images_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing to see")
    with pytest.raises(DataError, match=r"must be a folder with images \(png, .*\), but .* holds no images"):
        ImageFolder(tmp_path)


def test_a_name_that_is_not_utf_8_is_an_error(tmp_path):
    fill(tmp_path, "cat/1.png")
    Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"cat/\xff.png"))).write_bytes(PNG)
    with pytest.raises(DataError, match=r"cannot be listed \(b'.*png'\); names must be UTF-8"):
        ImageFolder(tmp_path)


def test_a_file_that_vanished_is_a_data_error(tmp_path):
    folder = ImageFolder(fill(tmp_path, "1.png", "2.png"))
    (tmp_path / "2.png").unlink()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        folder[1]


def test_nothing_is_written_to_the_home_folder(tmp_path):
    home, photos = tmp_path / "home", fill(tmp_path / "photos", "cat/1.png")
    home.mkdir()
    names = ("HOME", "HF_HOME", "HF_DATASETS_CACHE", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in names} | {"HOME": str(home)}
    code = f"from vqvae2.data import ImageFolder; print(ImageFolder({str(photos)!r}).names)"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == "('cat/1.png',)\n"
    assert run.stderr == ""
    assert list(home.rglob("*")) == []


def test_no_server_is_asked(tmp_path):
    fill(tmp_path, "cat/1.png")
    online = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    code = (
        "import sys; asked = [];"
        "sys.addaudithook(lambda event, _: asked.append(event) if event in ('socket.getaddrinfo', 'socket.connect')"
        " else None);"
        f"from vqvae2.data import ImageFolder; ImageFolder({str(tmp_path)!r}); print(asked)"
    )
    run = subprocess.run([sys.executable, "-c", code], env=online, capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_the_pixels_of_an_upper_case_file_decode(tmp_path):
    Image.new("RGB", (3, 3), (9, 9, 9)).save(tmp_path / "PHOTO.JPEG")
    assert ImageFolder(tmp_path)[0].name == "PHOTO.JPEG"


IMAGENET = ("train/n01/n01_1.JPEG", "train/n02/n02_1.JPEG", "val/ILSVRC2012_val_1.JPEG", "val/ILSVRC2012_val_2.JPEG")


@pytest.mark.parametrize("above", ["", "ILSVRC/Data/CLS-LOC/"])
def test_imagenet_is_read_as_it_comes(above, tmp_path):
    folder = ImageFolder(fill(tmp_path, *(above + name for name in IMAGENET), f"{above}test/ILSVRC2012_test_1.JPEG"))
    assert folder.names == tuple(above + name for name in IMAGENET)
    assert folder.classes == ("n01", "n02")
    assert folder.given_validation.tolist() == [False, False, True, True]
    assert folder.labels.tolist() == [0, 1, -1, -1]
    assert folder[2].label is None


def test_imagenets_list_of_held_out_classes_is_taken(tmp_path):
    fill(tmp_path, *(f"ILSVRC/Data/CLS-LOC/{name}" for name in IMAGENET))
    lines = "ImageId,PredictionString\nILSVRC2012_val_2,n01 1 2 3 4 n01 5 6 7 8 \nILSVRC2012_val_1,n02 1 2 3 4 \n"
    (tmp_path / "LOC_val_solution.csv").write_text(lines)
    assert ImageFolder(tmp_path).labels.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("lines", ["", "ImageId\nILSVRC2012_val_1\n", "ImageId,PredictionString\nILSVRC2012_val_1,\n"])
def test_a_damaged_list_of_held_out_classes_is_refused_or_empty(lines, tmp_path):
    fill(tmp_path, *IMAGENET)
    (tmp_path / "LOC_val_solution.csv").write_text(lines)
    if not lines:
        assert ImageFolder(tmp_path).labels.tolist() == [0, 1, -1, -1]
        return
    with pytest.raises(
        DataError, match=r"LOC_val_solution\.csv must list an `ImageId` and a `PredictionString` a line"
    ):
        ImageFolder(tmp_path)


def test_classes_come_from_the_training_images(tmp_path):
    folder = ImageFolder(fill(tmp_path, "train/cat/1.png", "val/cat/2.png", "val/dog/3.png"))
    assert folder.classes == ("cat",)
    assert folder.labels.tolist() == [0, 0, -1]


def test_a_file_that_is_too_large_is_a_data_error(tmp_path):
    folder = ImageFolder(fill(tmp_path, "1.png", "2.png"))
    with (tmp_path / "1.png").open("wb") as file:
        file.truncate(2**28 + 1)
    with pytest.raises(DataError, match="the file has 268435457 bytes, and at most 268435456 are read"):
        folder[0]
