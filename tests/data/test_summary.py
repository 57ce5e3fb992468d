"""What is told of a set of images before anything long begins."""

import pytest

from vqvae2.config import ImageConfig
from vqvae2.data import BuiltinImages, ImageFolder, summarize_images
from vqvae2.errors import DataError


@pytest.fixture
def summarize(tmp_path, make_png):
    """Summarize a folder with images of these names."""

    def summarize(*names, **options):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(make_png(1))
        return summarize_images(ImageFolder(tmp_path), ImageConfig(**options))

    return summarize


def test_a_summary_names_classes_split_and_what_is_left_aside(summarize, tmp_path):
    names = [f"{side}/{name}/{number}.png" for side in ("train", "val") for name in "ab" for number in range(3)]
    summary = summarize(*names, "train/a/.hidden.png", "stray.png")
    assert summary.to_dict() == {
        "origin": str(tmp_path),
        "files": 12,
        "classes": "2 (a 6, b 6)",
        "split": "folders train and val",
        "train": 6,
        "validation": 6,
        "left_aside": {
            "hidden files and folders": "1, such as train/a/.hidden.png",
            "images outside of the folders of the split": "1, such as stray.png",
        },
        "warnings": {},
    }
    assert summary.lines() == [
        f"12 images in {tmp_path}",
        "classes: 2 (a 6, b 6)",
        "split: 6 train, 6 validation, by folders train and val",
        "left aside, hidden files and folders: 1, such as train/a/.hidden.png",
        "left aside, images outside of the folders of the split: 1, such as stray.png",
    ]


def test_the_first_classes_are_named_and_the_rest_counted(summarize):
    summary = summarize(*(f"{name}/{number}.png" for name in range(20) for number in range(10)))
    assert summary.classes == "20 (0 10, 1 10, 2 10, 3 10, 4 10, 5 10, 6 10, 7 10, and 12 more)"
    assert summary.split == "a hash of the file names"
    assert (summary.files, summary.train + summary.validation) == (200, 200)
    assert summary.warnings == {}


@pytest.mark.parametrize(
    ("names", "what", "text"),
    [
        (("a/1.png", "a/2.png"), "one class only", "all images are of the class a"),
        (("a/1.png", "b/2.png", "b/3.png", "b/4.png"), "classes with fewer than two training images", "a 1;"),
        (
            ("train/a/1.png", "train/a/2.png", "val/b/3.png"),
            "held-out images without a class",
            "1 of 1; move them into folders of the training images' classes",
        ),
        (("a/1.png", "a/2.png", "b/1.png", "b/2.png", "3.png"), "training images without a class", "1 of 4;"),
        (("Train/1.png", "val/2.png"), "a split in another case", "rename them if they are classes"),
    ],
)
def test_what_looks_odd_is_a_warning_with_a_remedy(names, what, text, summarize):
    summary = summarize(*names)
    assert text in summary.warnings[what]
    assert f"warning, {what}: {summary.warnings[what]}" in summary.lines()


def test_the_built_in_images_need_no_warning():
    summary = summarize_images(BuiltinImages(), ImageConfig(group_pattern="/([0-9a-f]+)[^/]*$"))
    assert (summary.files, summary.split) == (4044, "a hash of the groups of `group_pattern`")
    assert summary.warnings == summary.left_aside == {}


def test_a_single_image_is_refused(summarize):
    with pytest.raises(DataError, match="at least two images"):
        summarize("1.png")
