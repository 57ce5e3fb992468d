"""What counts as an image, a class and a split in a folder."""

import os
import re
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
        ({"1.png": None, "cat/2.png": 0, "dog/3.png": 1}, ("cat", "dog")),  # one image beside class folders
        ({"1.png": None, "2.png": None, "cat/3.png": None}, ()),  # most lie outside of folders
        ({"n1/images/1.png": 0, "n2/images/1.png": 1, "n2/images/2.png": 1}, ("n1", "n2")),  # all holders are alike
        ({"a/b/images/1.png": 0, "c/images/2.png": 1}, ("b", "c")),
        ({"images/1.png": 0, "images/2.png": 0}, ("images",)),
        ({"10/1.png": 2, "9/1.png": 1, "09/1.png": 0, "x/1.png": 3}, ("09", "9", "10", "x")),  # numbers by value
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


def test_every_ending_counts_in_every_case_and_others_are_counted_and_left_out(tmp_path):
    names = [f"a/1.{e}" for e in ("png", "jpg", "jpeg", "jpe", "jfif", "webp", "gif", "bmp", "tif", "tiff")]
    names += ["a/2.PNG", "a/3.JPG", "a/4.Jpeg", "a/5.wEbP", "a/6.TIFF", "a/7.JFIF", "a/0123abcd"]
    fill(tmp_path, *names)
    fill(tmp_path, ".hidden/2.png", "a/.3.png", "__MACOSX/a/4.png", "a/Thumbs.db", "b/5.png.part", "b/6.heic")
    (tmp_path / "metadata.csv").write_text("file_name,label\na/1.png,0\n")
    (tmp_path / "README").write_text("no image, and without an ending")
    folder = ImageFolder(tmp_path)
    assert folder.names == tuple(sorted(names))
    assert folder.classes == ("a",)
    hidden = folder.left_aside["hidden files and folders"]
    assert hidden.startswith("2, such as ")
    assert folder.left_aside | {"hidden files and folders": ""} == {
        "hidden files and folders": "",
        "folders named __...": "1, such as __MACOSX",
        ".db files": "1, such as a/Thumbs.db",
        ".part files": "1, such as b/5.png.part",
        ".heic files (convert these images to PNG or JPEG)": "1, such as b/6.heic",
        ".csv files": "1, such as metadata.csv",
        "files without an ending": "1, such as README",
    }


def test_a_folder_of_other_formats_says_what_it_holds(tmp_path):
    with pytest.raises(DataError, match=r"holds no images; left aside: \.heic files \(convert .*\): 2, such as"):
        open_images(fill(tmp_path, "1.heic", "2.heic"))


def test_many_kinds_of_other_files_are_summed_up(tmp_path):
    folder = ImageFolder(fill(tmp_path, "1.png", *(f"1.x{number}" for number in range(20))))
    assert len(folder.left_aside) == 13
    assert folder.left_aside["others"] == "8, of 8 kinds"


@pytest.mark.parametrize(
    ("names", "what", "text"),
    [
        (("1.png", "cat/2.png", "dog/3.png"), "images outside of class folders", "1 image .* such as 1.png, has no cl"),
        (("1.png", "2.png", "cat/3.png"), "folders that are no classes", "1 of 3 images lie in folders such as cat"),
        (("Train/1.png", "Val/2.png"), "a split in another case", "the folders Train and Val are read as the split"),
        (("train/1.png", "plane/2.png"), "a split that is not read", "folders are named train, but are not read"),
        (("cat/train/1.png", "cat/val/2.png", "dog/train/3.png"), "a split that is not read", "named train, val, but"),
        (
            ("cat/train/1.png", "cat/val/2.png", "dog/train/3.png", "dog/val/4.png", "fox/5.png"),
            "a split that is not read",
            "or that of each class, must hold a train and a val folder, with nearly all images in these",
        ),
        (("a/train/x/1.png", "a/val/x/2.png", "b/3.png", "4.png"), "a split that is not read", "or give that folder"),
        (
            ("cat/1.png", "pets/cat/2.png", "dog/3.png"),
            "classes of several folders",
            "1 class .* cat from cat and",
        ),
        (("1.png", "x.tar"), "archives beside images", r"\.tar files .* are not read; give a pattern"),
    ],
)
def test_what_may_be_meant_otherwise_is_remarked(names, what, text, tmp_path):
    remarks = ImageFolder(fill(tmp_path, *names)).remarks
    assert what in remarks
    assert re.search(text, remarks[what])


def test_what_nobody_could_mean_otherwise_is_not_remarked(tmp_path):
    for number, names in enumerate((("1.png", "2.png"), ("a/1.png", "b/2.png"), ("train/a/1.png", "val/a/2.png"))):
        assert not ImageFolder(fill(tmp_path / str(number), *names)).remarks


@pytest.mark.parametrize(
    ("used", "unused", "classes", "labels"),
    [
        *(
            (("train/cat/1.png", "train/dog/2.png", f"{held_out}/cat/3.png"), (), ("cat", "dog"), [0, 1, 0])
            for held_out in ("validation", "valid", "val")
        ),
        (("test/cat/3.png", "train/cat/1.png", "train/dog/2.png"), (), ("cat", "dog"), [0, 0, 1]),
        (("Train/cat/1.png", "Train/dog/2.png", "Val/cat/3.png"), (), ("cat", "dog"), [0, 1, 0]),
        (("Testing/cat/3.png", "Training/cat/1.png", "Training/dog/2.png"), (), ("cat", "dog"), [0, 0, 1]),
        (("cat/train/1.png", "cat/val/2.png", "dog/Train/3.png", "dog/val/4.png"), (), ("cat", "dog"), [0, 0, 1, 1]),
        (
            ("x/a/train/1.png", "x/a/val/2.png", "x/b/train/3.png", "x/b/val/4.png", "x/c/train/5.png"),
            ("x/b/test/6.png",),
            ("a", "b", "c"),
            [0, 0, 1, 1, 2],
        ),
        (("train/1.png", "validation/2.png"), ("valid/3.png", "testing/4.png"), (), [-1, -1]),
        (("train/1.png", "val/2.png"), ("5.png", "extra/4.png", "test/3.png"), (), [-1, -1]),
        (("train/cat/1.png", "val/cat/2.png", "val/dog/3.png"), (), ("cat",), [0, 0, -1]),  # no training image is a dog
    ],
)
def test_a_given_split_is_taken_and_other_images_are_not_used(used, unused, classes, labels, tmp_path):
    folder = ImageFolder(fill(tmp_path, *used, *unused))
    assert (folder.names, folder.all_names) == (used, tuple(sorted(used + unused)))
    assert folder.given_validation.tolist() == ["train" not in name.lower() for name in used]
    assert (folder.classes, folder.labels.tolist()) == (classes, labels)
    counts = [int(text.split(",")[0]) for text in folder.left_aside.values()]
    assert counts == ([len(unused)] if unused else [])


def test_a_split_in_a_folder_with_few_images_beside_it_is_taken(tmp_path):
    names = [f"data/{side}/{name}/{number}.png" for side in ("Train", "val") for name in "ab" for number in range(5)]
    folder = ImageFolder(fill(tmp_path, *names, "cover.png", "docs/figure.png"))
    assert folder.names == tuple(sorted(names))
    assert folder.given_validation.sum() == 10
    assert folder.left_aside == {"images outside of the folders of the split": "2, such as cover.png"}
    fill(tmp_path, "docs/another.png")  # now more than one in ten lie beside
    assert ImageFolder(tmp_path).given_validation is None


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


def test_links_to_files_and_folders_are_followed_once(tmp_path):
    fill(tmp_path, "real/cat/1.png", "elsewhere/2.png", "elsewhere/3.png", "far/4.png")
    cat = tmp_path / "real" / "cat"
    for name, target in (
        ("cat/2.png", "far/4.png"),
        ("cat/again.png", "far/4.png"),
        ("cat/itself.png", "real/cat/1.png"),
        ("cat/listed.png", "elsewhere/2.png"),
        ("cat/3.png", "nowhere.png"),
        ("cat/round.png", "real/cat/round.png"),
        ("elsewhere", "elsewhere"),
        ("second", "elsewhere"),
        ("cat/loop", "real"),
    ):
        (tmp_path / "real" / name).symlink_to(tmp_path / target, target_is_directory="." not in target)
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    folder = ImageFolder(tmp_path / "link")
    assert folder.names == ("cat/1.png", "cat/2.png", "elsewhere/2.png", "elsewhere/3.png")
    assert folder.read(1) == PNG == (cat / "2.png").read_bytes()
    assert folder.left_aside["links to what is listed anyway"].startswith("5, such as ")
    assert folder.left_aside["links that lead nowhere"].startswith("2, such as ")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", '{"magic": "vqvae2.run"}'),
        ("classifier.json", '{"magic": "vqvae2.classifier"}'),
        ("config.json", '{\n  "magic": "vqvae2.pipeline"}'),
        ("evaluation.json", '{"magic": "vqvae2.evaluation"}'),
        ("samples.json", '{"request": {"pipeline": "builtin"}}'),
        ("reconstructions.json", '{"pipeline": "run"}'),
    ],
)
def test_folders_that_a_command_wrote_are_no_images_unless_they_are_asked_for(name, content, tmp_path):
    fill(tmp_path, "1.png", "out/000000.png", "out/samples/000001.png")
    assert len(ImageFolder(tmp_path).names) == 3
    (tmp_path / "out" / name).write_text(content)
    folder = ImageFolder(tmp_path)
    assert (folder.names, folder.left_aside) == (("1.png",), {"folders that vqvae2 wrote": "1, such as out"})
    assert len(ImageFolder(tmp_path / "out").names) == 2
    (tmp_path / "out" / name).write_text('{"of": "the user"}')
    assert len(ImageFolder(tmp_path).names) == 3


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


def test_tiny_imagenet_is_read_as_it_comes(tmp_path):
    fill(tmp_path, "train/n01/images/n01_0.JPEG", "train/n02/images/n02_0.JPEG", "test/images/test_0.JPEG")
    fill(tmp_path, "val/images/val_0.JPEG", "val/images/val_1.JPEG")
    assert ImageFolder(tmp_path).labels.tolist() == [0, 1, -1, -1]
    (tmp_path / "val/val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t0\t63\t63\nval_1.JPEG\tn01\t0\t0\t9\t9\n")
    folder = ImageFolder(tmp_path)
    assert (folder.classes, folder.labels.tolist()) == (("n01", "n02"), [0, 1, 1, 0])
    assert folder.given_validation.tolist() == [False, False, True, True]
    (tmp_path / "val/val_annotations.txt").write_text("val_0.JPEG n02\n")
    with pytest.raises(DataError, match=r"val_annotations\.txt must list a file and a class per line"):
        ImageFolder(tmp_path)


@pytest.mark.parametrize("lines", ["ImageId\nILSVRC2012_val_1\n", "ImageId,PredictionString\nILSVRC2012_val_1,\n"])
def test_a_damaged_list_of_held_out_classes_is_refused(lines, tmp_path):
    fill(tmp_path, *IMAGENET)
    (tmp_path / "LOC_val_solution.csv").write_text(lines)
    with pytest.raises(DataError, match=r"LOC_val_solution\.csv must list an `ImageId` and a `PredictionString`"):
        ImageFolder(tmp_path)
