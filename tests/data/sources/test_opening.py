"""What is opened by which text."""

import pytest

from vqvae2.data import (
    BuiltinImages,
    ImageFolder,
    ShardError,
    open_images,
    survey_images,
)
from vqvae2.data.sources.listing import walk_files
from vqvae2.data.sources.parquet import ParquetImages
from vqvae2.data.sources.tar import TarShards
from vqvae2.errors import DataError


@pytest.fixture
def shards(make_png, write_tar, tmp_path):
    for number in range(12):
        write_tar(tmp_path / f"set/{number:03d}.tar", {f"{number}.png": make_png(number)})
    return tmp_path / "set"


def test_a_folder_is_what_it_holds(make_png, shards, write_parquet, tmp_path):
    assert isinstance(open_images(shards), TarShards)
    assert len(open_images(shards)) == 12
    write_parquet(tmp_path / "p/data/a.parquet", [make_png(1)])
    (tmp_path / "p/README.md").write_text("a card")
    assert isinstance(open_images(tmp_path / "p"), ParquetImages)
    (shards / "1.png").write_bytes(make_png(1))
    assert isinstance(open_images(shards), ImageFolder)
    write_parquet(shards / "a.parquet", [make_png(1)])
    (shards / "1.png").unlink()
    with pytest.raises(DataError, match=r"holds both; give a pattern such as '\*\.tar'"):
        open_images(shards)
    assert isinstance(open_images(f"{shards}/*.tar"), TarShards)


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [
        ("*.tar", range(12)),
        ("01?.tar", (10, 11)),
        ("{000..002}.tar", range(3)),
        ("{009..011}.tar", (9, 10, 11)),
        ("00{1,3}.tar", (1, 3)),
        ("0{0,1}[01].tar", (0, 1, 10, 11)),
        ("**/011.tar", (11,)),
    ],
)
def test_patterns_are_those_of_a_shell(pattern, numbers, shards):
    source = open_images(f"{shards}/{pattern}")
    assert source.names == tuple(f"{number:03d}.tar/{number}.png" for number in numbers)


def test_a_source_opens_again_by_its_origin(make_png, shards, write_parquet, tmp_path, monkeypatch):
    write_parquet(tmp_path / "p/a.parquet", [make_png(1)])
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/1.png").write_bytes(make_png(1))
    monkeypatch.chdir(tmp_path)
    opened = [open_images(text) for text in ("set", "set/00{0,1}.tar", "set/*.tar", "p", "p/a.parquet", "photos")]
    monkeypatch.chdir("/")
    for source in [*opened, BuiltinImages()]:
        again = open_images(source.origin)
        assert type(again) is type(source)
        assert (again.names, again.origin) == (source.names, source.origin)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_names_of_shards_are_a_split(kind, make_png, write_parquet, write_tar, tmp_path):
    for name, count in (("train-00000-of-00002", 3), ("train-00001-of-00002", 2), ("validation-0", 4), ("test-0", 1)):
        images = [make_png(number) for number in range(count)]
        if kind == "tar":
            write_tar(tmp_path / f"set/set-{name}.tar", {f"{number}.png": data for number, data in enumerate(images)})
        else:
            write_parquet(tmp_path / f"set/data/{name}.parquet", images)
    source = open_images(tmp_path / "set")
    assert source.given_validation.tolist() == [False] * 5 + [True] * 4
    assert not any("test" in name for name in source.names)


def test_a_shard_that_is_missing_is_named(make_png, shards, write_parquet, tmp_path):
    with pytest.raises(DataError, match=r"012\.tar cannot be read \(No such file or directory\)"):
        open_images(f"{shards}/{{000..012}}.tar")
    for number in (0, 1, 3):
        write_parquet(tmp_path / f"p/train-{number:05d}-of-00004.parquet", [make_png(1)])
    message = r"must be all 00004 files of a series, but 1 of them are missing, such as train-00002-of-00004\.parquet"
    with pytest.raises(DataError, match=message):
        open_images(tmp_path / "p")


def test_what_is_not_there_is_named(shards, make_png, tmp_path):
    with pytest.raises(DataError, match=r"must be files that exist, but .*nowhere/\*\.tar finds none"):
        open_images(f"{tmp_path}/nowhere/*.tar")
    (tmp_path / "1.png").write_bytes(make_png(1))
    with pytest.raises(DataError, match=r"must be Parquet files or tar archives where it is a pattern, .*1\.png"):
        open_images(f"{tmp_path}/*.png")
    with pytest.raises(DataError, match=r"must name at most 1000000 files, but \{0\.\.9999999\} are more"):
        open_images(f"{tmp_path}/{{0..9999999}}.tar")


def test_a_name_with_the_characters_of_patterns_is_a_name(make_png, write_tar, tmp_path):
    write_tar(tmp_path / "a[1]*.tar", {"1.png": make_png(1)})
    assert open_images(tmp_path / "a[1]*.tar").names == ("a[1]*.tar/1.png",)


def test_what_is_no_folder_cannot_be_listed(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"file cannot be listed: Not a directory"):
        list(walk_files(tmp_path / "file"))


def test_a_survey_of_shards_looks_at_all_of_a_few(make_png, write_parquet, tmp_path):
    source = open_images(write_parquet(tmp_path / "x.parquet", [b"broken", *map(make_png, range(100))]))
    assert survey_images(source) == (6, 3, 8)
    (tmp_path / "x.parquet").write_bytes(b"")
    source._cache.clear()
    with pytest.raises(ShardError, match=r"x\.parquet"):
        survey_images(source)
