"""Laws of images in tar archives."""

import io
import tarfile
import tracemalloc

import numpy as np
import pytest

from vqvae2.config import ImageConfig
from vqvae2.data import ShardError, open_images, prepare_images
from vqvae2.data.sources.shards import local_shard
from vqvae2.data.sources.tar_headers import scan_tar
from vqvae2.errors import DataError

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def scan_file(path):
    shard = local_shard(path, path.name)
    with shard.reader() as read:
        return list(scan_tar(shard, read))


@pytest.mark.parametrize("format", FORMATS)
def test_members_lie_where_tarfile_finds_them(format, write_tar, tmp_path):
    members = {f"{'folder' * (i % 4)}/{i}.bin": bytes([i]) * (i * 37 % 1500) for i in range(60)}
    members["d" * 90 + "/" + "n" * 90 + ".png"] = b"a name in two parts"
    members |= dict.fromkeys(("a\nb", " ", "'\"", "a=b", "\\", "..", "\t"), b"x" * 513)
    if format != "ustar":
        members["x" * 300 + ".png"] = b"a long name"
        members["ü/日本 🐈.png"] = b"not ASCII"
    path = write_tar(tmp_path / "a.tar", members, format=FORMATS[format])
    with tarfile.open(path) as archive:
        expected = [(member.name, member.offset_data, member.size) for member in archive]
    assert scan_file(path) == expected
    data = path.read_bytes()
    assert {name: data[offset : offset + size] for name, offset, size in scan_file(path)} == members


def test_links_folders_and_devices_are_passed_over_and_nothing_is_unpacked(make_png, tmp_path):
    path = tmp_path / "a.tar"
    kinds = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
    with tarfile.open(path, "w") as archive:
        for number, kind in enumerate(kinds):
            header = tarfile.TarInfo(f"../../{number}.png")
            header.type, header.linkname = kind, "/etc/passwd"
            archive.addfile(header)
        for name in ("../../../outside.png", "/etc/absolute.png", "in/.hidden.png"):
            header = tarfile.TarInfo(name)
            header.size = len(make_png(1))
            archive.addfile(header, io.BytesIO(make_png(1)))
    source = open_images(path)
    assert source.names == ("a.tar/../../../outside.png", "a.tar//etc/absolute.png")
    assert [source.read(index) for index in range(2)] == [make_png(1)] * 2
    assert list(tmp_path.iterdir()) == [path]


def test_samples_share_a_key_up_to_the_first_dot(make_png, write_tar, tmp_path):
    members = {
        "a/1.seg.png": make_png(9),
        "a/1.jpg": make_png(1),
        "a/1.cls": b"7",
        "b/1.png": make_png(2),
        "b/1.json": b'{"label": 3, "text": "a cat"}',
        "2.png": make_png(3),
        "2.txt": b"no class",
        "3.png": make_png(4),
        "3.cls": b"-1",
    }
    source = open_images(write_tar(tmp_path / "x.tar", members))
    assert source.names == ("x.tar/a/1.jpg", "x.tar/b/1.png", "x.tar/2.png", "x.tar/3.png")
    assert source.classes == ("3", "7")
    assert source.labels.tolist() == [1, 0, -1, -1]
    assert [source.read(index) for index in range(3)] == [make_png(1), make_png(2), make_png(3)]


def test_names_with_dots_keep_their_classes(make_png, write_tar, tmp_path):
    members = {
        "photo.0001.png": make_png(1),
        "photo.0001.cls": b"cat",
        "photo.0002.PNG": make_png(2),
        "photo.0002.json": b'{"label": "dog"}',
        "3.image.png": make_png(3),
        "3.cls": b"cat",
        "4.png": make_png(4),
        "4.jpg": make_png(5),
        "4.json": b'{"label": 2.0}',
    }
    source = open_images(write_tar(tmp_path / "x.tar", members))
    assert source.names == ("x.tar/photo.0001.png", "x.tar/photo.0002.PNG", "x.tar/3.image.png", "x.tar/4.png")
    assert (source.classes, source.labels.tolist()) == (("2", "cat", "dog"), [1, 2, 1, 0])
    assert source.left_aside == {"further images of a sample": "1, such as 4.jpg"}


def test_what_an_archive_holds_beside_images_is_counted(make_png, write_tar, tmp_path):
    members = {
        "./cat/1.png": make_png(1),
        "./cat/.2.png": b"",
        "./__MACOSX/3.png": b"",
        "./README": b"?",
        "./4.txt": b"",
    }
    write_tar(tmp_path / "x.tar", members | {"./4.txt": b"", "./dog/5": make_png(2)})
    (tmp_path / "notes.md").write_text("")
    with tarfile.open(tmp_path / "x.tar", "a") as archive:
        link = tarfile.TarInfo("./dog/6.png")
        link.type, link.linkname = tarfile.LNKTYPE, "./cat/1.png"
        archive.addfile(link)
    source = open_images(tmp_path)
    assert source.names == ("x.tar/./cat/1.png", "x.tar/./dog/5")
    assert source.classes == ("cat", "dog")
    assert {kind: text.split(",")[0] for kind, text in source.left_aside.items()} == {
        "hidden files and folders": "2",
        "files without an ending": "1",
        ".txt files": "1",
        ".md files": "1",
        "links and devices within archives": "1",
    }


def test_labels_and_a_split_are_read_together(make_png, write_tar, tmp_path):
    members = {f"{side}/{number}.png": make_png(number) for number, side in enumerate(("train", "train", "val", "val"))}
    members |= {f"{name[:-4]}.cls": label for name, label in zip(members, (b"a", b"b", b"b", b"new"), strict=True)}
    source = open_images(write_tar(tmp_path / "x.tar", members))
    assert source.given_validation.tolist() == [False, False, True, True]
    assert (source.classes, source.labels.tolist()) == (("a", "b"), [0, 1, 1, -1])  # no training image is new


def test_archives_outside_of_a_split_are_counted(make_png, write_tar, tmp_path):
    for name in ("Train-0", "valid-0", "extra"):
        write_tar(tmp_path / f"{name}.tar", {"cat/1.png": make_png(1)})
    source = open_images(tmp_path)
    assert source.given_validation.tolist() == [False, True]
    assert source.split_origin == "files named train and valid"
    assert source.left_aside == {"archives outside of the split": "1, such as extra.tar"}


@pytest.mark.parametrize(
    ("labels", "classes"), [([10, 2, 0], ("0", "2", "10")), (["dog", "cat", "ant"], ("ant", "cat", "dog"))]
)
def test_classes_are_numbers_by_value_and_names_by_the_alphabet(labels, classes, make_png, write_tar, tmp_path):
    members = {f"{number}.png": make_png(number) for number in range(3)}
    members |= {f"{number}.cls": str(label).encode() for number, label in enumerate(labels)}
    source = open_images(write_tar(tmp_path / "x.tar", members))
    assert (source.classes, source.labels.tolist()) == (classes, [2, 1, 0])


def test_without_labels_folders_within_the_names_are_classes_and_a_split(make_png, write_tar, tmp_path):
    names = ("train/cat/1.2.png", "train/cat/1.3.png", "train/dog/2.png", "val/cat/3.png")
    source = open_images(write_tar(tmp_path / "x.tar", {name: make_png(1) for name in names}))
    assert source.names == tuple(f"x.tar/{name}" for name in names)
    assert (source.classes, source.labels.tolist()) == (("cat", "dog"), [0, 0, 1, 0])
    assert source.given_validation.tolist() == [False, False, False, True]


def test_units_are_neighbours_within_one_archive(make_png, write_tar, tmp_path):
    for shard, count in enumerate((300, 2, 257)):
        write_tar(tmp_path / f"{shard}.tar", {f"{number}.png": b"" for number in range(count)})
    numbers = open_images(tmp_path).units.numbers
    assert np.bincount(numbers).tolist() == [256, 44, 2, 256, 1]
    assert (np.diff(numbers) >= 0).all()


def test_a_cut_or_damaged_archive_is_refused_by_name(make_png, write_tar, tmp_path):
    path = write_tar(tmp_path / "x.tar", {f"{number}.png": make_png(number) * 9 for number in range(9)})
    data = path.read_bytes()
    last = scan_file(path)[-1]
    end = last.offset + -(-last.size // 512) * 512  # where the end mark stands
    for kept in (len(data) // 2 + 100, last.offset - 512, end, 512, 0):
        path.write_bytes(data[:kept])
        with pytest.raises(ShardError, match=r"x\.tar is cut: .*; fetch it again"):
            open_images(path)
    place = last.offset - 500
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    with pytest.raises(ShardError, match=r"x\.tar is damaged at byte \d+: no tar header stands there"):
        open_images(path)


def test_what_is_no_plain_archive_is_refused(make_png, write_tar, tmp_path):
    plain = write_tar(tmp_path / "x.tar", {"1.png": np.random.default_rng(0).bytes(2000)})
    (tmp_path / "y.tar").write_bytes(plain.read_bytes() * 2)
    with pytest.raises(ShardError, match=r"y\.tar goes on after its end mark"):
        open_images(tmp_path / "y.tar")
    with tarfile.open(tmp_path / "z.tar", "w:gz") as archive:
        archive.add(plain)
    with pytest.raises(ShardError, match=r"z\.tar is packed with gzip; unpack it to a plain \.tar"):
        open_images(tmp_path / "z.tar")
    (tmp_path / "p.tar").write_bytes(make_png(1) * 20)
    with pytest.raises(ShardError, match=r"p\.tar is not a tar archive"):
        open_images(tmp_path / "p.tar")
    with pytest.raises(DataError, match=r"must be archives with images \(png, .*\), but .*t\.tar has none"):
        open_images(write_tar(tmp_path / "t.tar", {"1.txt": b""}))


def with_header(path, name, **fields):
    """Append a header that claims things to an archive without an end."""
    header = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(header, field, value)
    with path.open("ab") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_member_that_claims_a_terabyte_is_refused_without_allocating_it(kind, tmp_path):
    path = tmp_path / "x.tar"
    with_header(path, "1.png", size=10**12, type=kind)
    tracemalloc.start()
    with pytest.raises(ShardError, match=r"x\.tar (is cut: 1\.png|has a header of 1000000000000 bytes)"):
        open_images(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_a_member_that_is_too_large_for_an_image_is_passed_over(make_png, tmp_path):
    path = tmp_path / "x.tar"
    with path.open("wb") as file:
        for number in range(3):
            header = tarfile.TarInfo(f"{number}.png")
            header.size = 2**30 if number == 1 else len(make_png(number))
            file.write(header.tobuf(tarfile.GNU_FORMAT))
            if number != 1:
                file.write(make_png(number))
            file.seek(-(-file.tell() // 512) * 512 if number != 1 else 2**30, 0 if number != 1 else 1)  # a hole
        file.truncate(file.tell() + 1024)
    store = prepare_images(open_images(path), tmp_path / "store", ImageConfig(size=(4, 4)))
    assert store.names == ("x.tar/0.png", "x.tar/2.png")
    reason = "the file has 1073741824 bytes, and at most 268435456 are read"
    assert store.skipped == (("x.tar/1.png", reason),)


@pytest.mark.parametrize("fields", [b"x", b"99 path=a\n", b"0 path=a\n", b"8 path=a", b"7 patha\n", b"12 size=-9a\n"])
def test_a_pax_header_that_cannot_be_read_is_refused(fields, tmp_path):
    path = tmp_path / "x.tar"
    with_header(path, "pax", size=len(fields), type=tarfile.XHDTYPE)
    with path.open("ab") as file:
        file.write(fields.ljust(512, b"\0"))
    with_header(path, "1.png", size=0)
    with path.open("ab") as file:
        file.write(bytes(1024))
    with pytest.raises(ShardError, match=r"x\.tar is damaged"):
        open_images(path)


def test_a_sparse_member_is_refused(tmp_path):
    with_header(tmp_path / "x.tar", "1.png", type=tarfile.GNUTYPE_SPARSE)
    with pytest.raises(ShardError, match=r"x\.tar holds 1\.png as a sparse file, which is not supported"):
        open_images(tmp_path / "x.tar")


def test_classes_that_cannot_be_read_are_refused(make_png, write_tar, tmp_path):
    with pytest.raises(ShardError, match=r"x\.tar holds 1\.json, which is not JSON"):
        open_images(write_tar(tmp_path / "x.tar", {"1.png": make_png(1), "1.json": b"{"}))
    with pytest.raises(ShardError, match=r"x\.tar has a class of 70000 bytes, 1\.cls"):
        open_images(write_tar(tmp_path / "x.tar", {"1.png": make_png(1), "1.cls": b"1" * 70000}))
    assert open_images(write_tar(tmp_path / "x.tar", {"1.png": make_png(1), "1.json": b" " * 70000})).classes == ()


def test_an_archive_that_was_cut_or_removed_after_opening_stops_what_reads_it(make_png, write_tar, tmp_path):
    path = write_tar(tmp_path / "x.tar", {f"{number}.png": make_png(number) for number in range(9)})
    source = open_images(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ShardError, match=r"x\.tar gave 0 of \d+ bytes at 3584"):
        prepare_images(source, tmp_path / "store", ImageConfig(size=(4, 4)))
    path.unlink()
    with pytest.raises(ShardError, match=r"x\.tar cannot be read \(No such file"):
        source.read(0)
    assert list(tmp_path.iterdir()) == []
