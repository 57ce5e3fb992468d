"""Images as files of the package's own format and back, as a user would type it."""

import json
import os
import shutil
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from vqvae2.cli.main import main as call_main
from vqvae2.cli.output_folder import OutputFolder, name_outputs
from vqvae2.config import VQVAE2Config
from vqvae2.images import decode_image, encode_png, from_pixels, image_info, to_pixels
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.pipeline import Pipeline

CPU = "--device=cpu"


@pytest.fixture
def folder(pipeline, tmp_path):
    """A pipeline of random weights, whose classes are those of `image_folder`."""
    pipeline.config = replace(pipeline.config, classes=("squares", "stripes"))
    pipeline.save_pretrained(tmp_path / "pipeline")
    return tmp_path / "pipeline"


@pytest.fixture
def photos(tmp_path):
    """Six images of two sizes, in two folders that are classes and one that is none."""
    generator = np.random.default_rng(1)
    names = ("squares/0", "squares/1", "stripes/0", "stripes/deep/1", "2", "3")
    for index, name in enumerate(names):
        path = tmp_path / "few" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(generator.integers(0, 256, (9, 14 + index % 2, 3), dtype=np.uint8)))
    return tmp_path / "few"


@pytest.fixture
def code(folder, done):
    """Compress or decompress with the pipeline in `folder`, and give the results."""

    def run(verb, files, out, *flags):
        return done(verb, files, "--pipeline", folder, "--out", out, *flags)

    return run


@pytest.fixture
def uncoded(folder, refused):
    """Compress or decompress what is refused so that `out` stays as it is, and give the line that says so."""

    def run(verb, files, out, *flags):
        before = list(out.rglob("*"))
        line = refused(verb, files, "--pipeline", folder, "--out", out, CPU, *flags)
        assert list(out.rglob("*")) == before
        return line

    return run


@pytest.fixture
def compressed(photos, code, tmp_path):
    code("compress", photos, tmp_path / "compressed", "--mode=raw")
    return tmp_path / "compressed"


def files_in(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def listing_of(path):
    return json.loads(path.read_text())


def pixels_of(path):
    return decode_image(path.read_bytes(), channels=3)


def reconstruct(folder, path, **options):
    images = from_pixels(torch.from_numpy(pixels_of(path))[None])
    return to_pixels(Pipeline.from_pretrained(folder).reconstruct(images, **options))[0].numpy()


def spoil_codes(path):
    """Change a code of the last level, and make the checksum fit, so that only decoding finds out."""
    data = bytearray(path.read_bytes()[:-4])
    data[-5] ^= 0b0010_0000
    path.write_bytes(bytes(data) + zlib.crc32(data).to_bytes(4, "big"))


@pytest.mark.parametrize("mode", ["prior", "raw"])
def test_a_round_trip_gives_what_the_pipeline_reconstructs(photos, folder, tmp_path, code, mode):
    out, back = tmp_path / "out", tmp_path / "back"
    results = code("compress", photos, out, f"--mode={mode}", "--batch-size=2")
    assert (results["out"], results["images"]) == (str(out), 6)
    written = files_in(out)
    names = [name.removesuffix(".png") for name in files_in(photos)]
    assert written.keys() == {"compressed.json", *(f"{name}.vq2" for name in names)}
    results = code("decompress", out, back, "--batch-size=2")
    assert (results["out"], results["images"]) == (str(back), 6)
    assert "from_upper_levels" not in results
    assert files_in(back).keys() == {"decompressed.json", *(f"{name}.png" for name in names)}
    for name in names:
        assert np.array_equal(pixels_of(back / f"{name}.png"), reconstruct(folder, photos / f"{name}.png"))
    assert files_in(out) == written


def test_a_trained_run_writes_smaller_files_with_its_priors(run_folder, tmp_path, done):
    generator = np.random.default_rng(0)
    (tmp_path / "one.png").write_bytes(encode_png(generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)))
    compress = ["compress", tmp_path / "one.png", "--pipeline", run_folder, "--no-verify"]
    results = done(*compress, "--out", tmp_path / "prior")
    raw = done(*compress, "--out", tmp_path / "raw", "--mode=raw")
    codes_at_4_bits = (10 * 10 + 20 * 20) // 2
    assert results["percent_of_raw_codes"] == pytest.approx(100 * results["bytes"] / codes_at_4_bits)
    assert codes_at_4_bits < raw["bytes"] < codes_at_4_bits + 30
    assert results["bytes"] < raw["bytes"]
    assert "percent_of_raw_codes" not in raw
    done("decompress", tmp_path / "prior", "--pipeline", run_folder, "--out", tmp_path / "back")
    assert np.array_equal(pixels_of(tmp_path / "back" / "one.png"), reconstruct(run_folder, tmp_path / "one.png"))


def test_the_listing_and_the_results_say_what_was_written(photos, folder, tmp_path, code):
    results = code("compress", photos, tmp_path / "out")
    listing = listing_of(tmp_path / "out" / "compressed.json")
    assert (listing["pipeline"], listing["mode"], listing["levels"]) == (str(folder), "prior", 2)
    header = Pipeline.from_pretrained(folder).codec.read((tmp_path / "out" / "2.vq2").read_bytes()).header
    assert (listing["tokenizer"], listing["priors"]) == (header.tokenizer, header.priors)
    assert [row["original"] for row in listing["images"]] == sorted(files_in(photos))
    for row in listing["images"]:
        data, original = (tmp_path / "out" / row["file"]).read_bytes(), (photos / row["original"]).read_bytes()
        assert (row["height"], row["width"]) == image_info(original)[:2]
        assert row["bytes"] == len(data)
        assert row["bits_per_pixel"] == pytest.approx(8 * len(data) / (row["height"] * row["width"]))
    pixels = sum(row["height"] * row["width"] for row in listing["images"])
    assert results["bytes"] == sum(row["bytes"] for row in listing["images"])
    assert results["bits_per_pixel"] == pytest.approx(8 * results["bytes"] / pixels)
    assert results["original_bytes"] == sum(len(data) for data in files_in(photos).values())
    assert results["seconds"] > 0.0


def test_images_in_folders_that_are_named_like_classes_are_of_them(photos, folder, tmp_path, code):
    def classes_of(images, name, *flags):
        code("compress", images, tmp_path / name, "--no-verify", *flags)
        rows = listing_of(tmp_path / name / "compressed.json")["images"]
        return {row["original"]: row["class"] for row in rows}

    by_folders = {
        **{"2.png": None, "3.png": None, "squares/0.png": "squares", "squares/1.png": "squares"},
        **{"stripes/0.png": "stripes", "stripes/deep/1.png": None},
    }
    assert classes_of(photos, "a") == by_folders
    assert classes_of(photos, "b", "--class=stripes") == dict.fromkeys(by_folders, "stripes")
    assert classes_of(photos, "c", "--mode=raw") == dict.fromkeys(by_folders)
    assert classes_of(photos / "squares", "d") == {"0.png": "squares", "1.png": "squares"}
    assert classes_of(photos / "squares" / "0.png", "e") == {"0.png": "squares"}
    code("decompress", tmp_path / "b", tmp_path / "back")
    for name in by_folders:  # a class changes the size of a file alone
        assert np.array_equal(pixels_of(tmp_path / "back" / name), reconstruct(folder, photos / name))


def test_images_of_one_name_keep_their_ending(tmp_path, code):
    images = tmp_path / "images"
    images.mkdir()
    for name in ("b.png", "b.BMP", "b.png.png", "c.d.png"):
        (images / name).write_bytes(encode_png(np.zeros((4, 4, 3), dtype=np.uint8)))
    code("compress", images, tmp_path / "out", "--mode=raw", "--limit=3")
    assert files_in(tmp_path / "out").keys() == {"b.BMP.vq2", "b.png.vq2", "b.png.png.vq2", "compressed.json"}


def test_no_two_files_get_one_name():
    names = ["a/b.png", "a/b.jpg", "a/B.gif", "b.png", "b.png.bmp", "c.png", "c.jpg", "c.png.png"]
    outputs = name_outputs(names, ".vq2")
    assert outputs["b.png"] == "b.vq2"
    assert outputs["a/B.gif"] == "a/B.gif.vq2"
    assert len({output.casefold() for output in outputs.values()}) == len(names)
    back = name_outputs(["b.vq2", "b.VQ2", "c.jpg.vq2", "picture", "v1.0"], ".png", without=".vq2")
    assert [*back.values()] == ["b.vq2.png", "b.VQ2.png", "c.jpg.png", "picture.png", "v1.0.png"]


def test_one_file_of_any_name_and_all_images_of_a_folder_with_a_split(photos, folder, tmp_path, code):
    code("compress", photos / "2.png", tmp_path / "out", "--mode=raw")
    assert files_in(tmp_path / "out").keys() == {"2.vq2", "compressed.json"}
    (tmp_path / "out" / "2.vq2").rename(tmp_path / "picture")
    results = code("decompress", tmp_path / "picture", tmp_path / "back")
    assert results["images"] == 1
    assert np.array_equal(pixels_of(tmp_path / "back" / "picture.png"), reconstruct(folder, photos / "2.png"))
    (photos / "squares").rename(photos / "train")
    (photos / "stripes").rename(photos / "test")
    results = code("compress", photos, tmp_path / "all", "--mode=raw")
    assert results["images"] == 6


def test_a_preview_is_written_or_decoded_from_the_upper_levels(photos, folder, compressed, tmp_path, code):
    code("compress", photos, tmp_path / "p", "--mode=raw", "--max-levels=1")
    assert listing_of(tmp_path / "p" / "compressed.json")["levels"] == 1
    assert (tmp_path / "p" / "2.vq2").stat().st_size < (compressed / "2.vq2").stat().st_size
    for source, flags in ((tmp_path / "p", []), (compressed, ["--max-levels=1"])):
        back = tmp_path / f"back{len(flags)}"
        results = code("decompress", source, back, *flags)
        assert results["levels_of_the_pipeline"] == 2
        assert [row["levels"] for row in results["from_upper_levels"]] == [1] * 6
        assert [row["levels"] for row in listing_of(back / "decompressed.json")["images"]] == [1] * 6
        preview = reconstruct(folder, photos / "squares" / "0.png", levels=1)
        assert np.array_equal(pixels_of(back / "squares" / "0.png"), preview)


def test_a_cut_file_is_refused_or_decoded_as_far_as_it_goes(photos, folder, compressed, tmp_path, code, uncoded):
    path, back = compressed / "2.vq2", tmp_path / "back"
    path.write_bytes(path.read_bytes()[:-9])
    assert f"{path}: the file ends within its level 2 of 2, " in uncoded("decompress", path, back)
    results = code("decompress", compressed, back, "--allow-cut")
    assert results["from_upper_levels"] == [{"file": "2.png", "levels": 1}]
    rows = listing_of(back / "decompressed.json")["images"]
    assert {row["file"]: row["levels"] for row in rows if row["levels"] != 2} == {"2.png": 1}
    assert np.array_equal(pixels_of(back / "2.png"), reconstruct(folder, photos / "2.png", levels=1))


def test_broken_files_do_not_stop_the_others(photos, folder, compressed, tmp_path, refused, uncoded):
    broken, back = compressed / "squares" / "0.vq2", tmp_path / "back"
    spoil_codes(broken)
    (compressed / "3.vq2").write_bytes(b"")
    before = files_in(compressed)
    assert f"{broken}: the codes of level 2 of 2 do not match" in uncoded("decompress", broken, back)
    line = refused("decompress", compressed, "--pipeline", folder, "--out", back, CPU)
    assert f"2 of 6 files in {compressed} cannot be decompressed; 3.vq2: the file ends within its first bytes" in line
    assert f"{back / 'decompressed.json'} names all" in line
    listing = listing_of(back / "decompressed.json")
    assert [row["file"] for row in listing["failed"]] == ["3.vq2", "squares/0.vq2"]
    assert "the codes of level 2 of 2 do not match their checksum" in listing["failed"][1]["reason"]
    good = ["2.png", "squares/1.png", "stripes/0.png", "stripes/deep/1.png"]
    assert [row["file"] for row in listing["images"]] == good
    for name in good:
        assert np.array_equal(pixels_of(back / name), reconstruct(folder, photos / name))
    assert files_in(compressed) == before


def test_another_pipeline_is_refused_in_one_line_and_files_are_left_alone(pipeline, compressed, tmp_path, refused):
    torch.nn.init.ones_(next(pipeline.tokenizer.parameters()))
    Pipeline(pipeline.tokenizer, replace(pipeline.config, has_priors=False)).save_pretrained(tmp_path / "other")
    before = files_in(compressed)
    for files, beginning in (
        (compressed, f"all 6 files in {compressed} cannot be decompressed; 2.vq2: "),
        (compressed / "2.vq2", f"{compressed / '2.vq2'}: "),
    ):
        line = refused("decompress", files, "--pipeline", tmp_path / "other", "--out", tmp_path / "back", CPU)
        assert line.startswith(f"vqvae2: {beginning}the file was written with tokenizer ")
        assert line.endswith("; give the pipeline that wrote it")
    assert files_in(compressed) == before
    assert not (tmp_path / "back").exists()


def test_a_direction_is_never_guessed(photos, compressed, tmp_path, uncoded):
    for verb, files, part in (
        ("compress", compressed / "2.vq2", "2.vq2: not a readable"),
        ("compress", compressed, "holds no images"),
        ("decompress", photos / "2.png", "2.png: not an image of vqvae2: the file begins with 89 50 4e, not 93 56 51"),
        ("decompress", photos, f"{photos} holds none"),
        ("decompress", tmp_path / "gone", "gone does not exist"),
    ):
        assert part in uncoded(verb, files, tmp_path / "o")


def test_images_that_cannot_be_read_or_are_too_large_are_skipped_and_named(photos, folder, tmp_path, refused, uncoded):
    (photos / "2.png").write_bytes((photos / "2.png").read_bytes()[:60])  # its head says the size
    (photos / "3.png").write_bytes(b"text")
    Image.new("1", (2**20 + 1, 2)).save(photos / "large.png")
    out = tmp_path / "out"
    line = refused("compress", photos, "--pipeline", folder, "--out", out, "--mode=raw", CPU)
    assert f"3 of 7 files in {photos} cannot be compressed; 2.png: not a readable image" in line
    assert f"{out / 'compressed.json'} names all" in line
    listing = listing_of(out / "compressed.json")
    assert len(listing["images"]) == 4
    assert [row["file"] for row in listing["skipped"]] == ["2.png", "3.png", "large.png"]
    assert "an image 2 pixels high and 1048577 wide, padded to whole codes, has more than `max_pixels`" in str(listing)
    line = uncoded("compress", photos, tmp_path / "none", "--limit=2")
    assert f"all 2 files in {photos} cannot be compressed; 2.png: not a readable image" in line


def test_the_largest_size_can_be_set_both_ways(photos, tmp_path, code, uncoded):
    large, small = "--max-pixels=200", "--max-pixels=100"  # 9 x 14 are padded to 12 x 16, 9 x 15 likewise
    code("compress", photos, tmp_path / "out", large, "--mode=raw")
    assert "more than `max_pixels` (100)" in uncoded("compress", photos, tmp_path / "none", small)
    assert "from 1 to 100 pixels are read" in uncoded("decompress", tmp_path / "out", tmp_path / "none", small)
    assert code("decompress", tmp_path / "out", tmp_path / "pngs", large)["images"] == 6


def test_16_bit_grey_images_stay_16_bit_and_a_pipeline_needs_no_priors(tmp_path, done, refused):
    tokenizer = VQVAE2(VQVAE2Config(in_channels=1, strides=(2,), hidden_channels=8, residual_channels=4)).eval()
    deep = Pipeline(tokenizer, PipelineConfig(image_size=(8, 8), bit_depth=16))
    deep.save_pretrained(tmp_path / "deep")
    pixels = (np.arange(63, dtype=np.uint16) * 1000).reshape(7, 9, 1)
    (tmp_path / "grey.png").write_bytes(encode_png(pixels))
    common = ["--pipeline", tmp_path / "deep", "--out"]
    done("compress", tmp_path / "grey.png", *common, tmp_path / "out")
    assert listing_of(tmp_path / "out" / "compressed.json")["mode"] == "raw"
    line = refused("compress", tmp_path / "grey.png", *common, tmp_path / "none", "--mode=prior", CPU)
    assert "this pipeline has no priors" in line
    assert done("info", tmp_path / "out" / "grey.vq2")["bit_depth"] == 16
    done("decompress", tmp_path / "out" / "grey.vq2", *common, tmp_path / "back")
    data = (tmp_path / "back" / "grey.png").read_bytes()
    assert image_info(data) == (7, 9, True, 16)
    wanted = to_pixels(deep.reconstruct(from_pixels(torch.from_numpy(pixels)[None])), bit_depth=16)[0].numpy()
    assert np.array_equal(decode_image(data, channels=1, bit_depth=16), wanted)


@pytest.mark.parametrize(
    ("verb", "flags", "message"),
    [
        ("compress", ["--batch-size=0"], "`batch_size` must be at least 1, got 0"),
        ("compress", ["--max-pixels=0"], "`max_pixels` must be at least 1, got 0"),
        ("compress", ["--limit=-1"], "`limit` must be at least 0, got -1"),
        ("compress", ["--max-levels=3"], "`max_levels` must be in 1..2, got 3"),
        ("compress", ["--class=cats"], "`class` must be one of the pipeline's classes (squares, stripes), got 'cats'"),
        ("compress", ["--class=squares", "--mode=raw"], "`class` must be left out if `mode` is raw"),
        ("decompress", ["--batch-size=0"], "`batch_size` must be at least 1, got 0"),
        ("decompress", ["--max-levels=0"], "`max_levels` must be at least 1, got 0"),
    ],
)
def test_options_that_do_not_fit(photos, compressed, tmp_path, uncoded, verb, flags, message):
    assert message in uncoded(verb, photos if verb == "compress" else compressed, tmp_path / "o", *flags)


def test_force_replaces_what_an_earlier_command_wrote_and_nothing_else(photos, compressed, code, uncoded):
    squares = photos / "squares"
    line = uncoded("compress", squares, compressed)
    assert "must be a new or empty folder, but holds files; choose another, or use --force" in line
    (compressed / "mine.txt").write_text("mine")
    (compressed / "stripes" / "mine.vq2").write_text("mine")
    (compressed / "3.vq2").write_text("changed")
    code("compress", squares, compressed, "--mode=raw", "--force")
    written = files_in(compressed)
    earlier = {"2.vq2", "squares/0.vq2", "squares/1.vq2", "stripes/0.vq2", "stripes/deep/1.vq2"}
    assert written.keys() == earlier | {"0.vq2", "1.vq2", "3.vq2", "compressed.json", "mine.txt", "stripes/mine.vq2"}
    listed = {row["file"] for row in listing_of(compressed / "compressed.json")["images"]}
    assert listed == earlier | {"0.vq2", "1.vq2"}
    assert (written["mine.txt"], written["stripes/mine.vq2"], written["3.vq2"]) == (b"mine", b"mine", b"changed")
    for _ in range(2):  # the second time, over what the first wrote
        code("decompress", compressed / "0.vq2", compressed, "--force")
        assert files_in(compressed).keys() == written.keys() | {"0.png", "decompressed.json"}


@pytest.mark.parametrize("in_the_way", ["2.vq2", "2.vq2/", "squares", "link to 2.vq2", "link to squares"])
def test_force_never_replaces_what_no_command_wrote(photos, tmp_path, uncoded, in_the_way):
    out, elsewhere, name = tmp_path / "out", tmp_path / "elsewhere", in_the_way.removeprefix("link to ").rstrip("/")
    out.mkdir()
    elsewhere.mkdir()
    if in_the_way.startswith("link"):
        (out / name).symlink_to(elsewhere)
    elif in_the_way.endswith("/"):
        (out / name).mkdir()
    else:
        (out / name).write_text("mine")
    line = uncoded("compress", photos, out, "--mode=raw", "--force")
    assert f"{out} holds {name}, which no earlier command wrote; choose another folder" in line
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("listing", ["", "[]", "{}", '{"images": 5}', '{"images": ["a"]}', '{"images": [{"file": 1}]}'])
def test_a_listing_that_is_not_ours_is_refused(photos, tmp_path, uncoded, listing):
    (tmp_path / "compressed.json").write_text(listing)
    line = uncoded("compress", photos, tmp_path, "--force")
    assert "holds compressed.json, which no earlier command wrote" in line
    assert (tmp_path / "compressed.json").read_text() == listing


def test_an_altered_listing_leads_nowhere_else(photos, compressed, tmp_path, code, uncoded):
    outside = tmp_path / "outside"
    outside.mkdir()
    for path in (outside / "a.vq2", outside / "a.txt", compressed / "notes.txt"):
        path.write_text("mine")
    (compressed / "linked").symlink_to(outside)
    (compressed / "link.vq2").symlink_to(outside / "a.vq2")
    listing = listing_of(compressed / "compressed.json")
    names = [str(outside / "a.vq2"), "../outside/a.vq2", "linked/a.vq2", "link.vq2", "notes.txt", "squares", "x\0.vq2"]
    listing["images"] += [{"file": name, "bytes": 4} for name in [*names, "2.vq2"]]
    (compressed / "compressed.json").write_text(json.dumps(listing))
    code("compress", photos / "2.png", compressed, "--mode=raw", "--force")
    assert files_in(outside) == {"a.vq2": b"mine", "a.txt": b"mine"}
    kept = {path.name for path in compressed.iterdir() if not path.is_dir() or path.is_symlink()}
    assert kept == {"2.vq2", "3.vq2", "compressed.json", "notes.txt", "linked", "link.vq2"}
    (compressed / "compressed.json").rename(outside / "compressed.json")
    (compressed / "compressed.json").symlink_to(outside / "compressed.json")
    line = uncoded("compress", photos / "2.png", compressed, "--force")
    assert "holds compressed.json, which no earlier command wrote" in line


def test_a_folder_can_hold_images_and_what_becomes_of_them_and_originals_stay(photos, code, uncoded):
    before = files_in(photos)
    assert "must be a new or empty folder" in uncoded("compress", photos, photos)
    names = [*(name.replace(".png", ".vq2") for name in before), "compressed.json"]
    for _ in range(2):  # the second time, with its own output among the images
        for out in (photos, photos / "inside"):
            assert code("compress", photos, out, "--force", "--mode=raw")["images"] == 6
        assert files_in(photos).keys() == {*before, *names, *(f"inside/{name}" for name in names)}
    line = uncoded("decompress", photos, photos, "--force")
    assert f"{photos} holds 2.png, which no earlier command wrote" in line
    assert {name: data for name, data in files_in(photos).items() if name in before} == before


def test_hidden_and_other_files_are_passed_over(folder, compressed, tmp_path, code):
    (compressed / ".hidden").mkdir()
    for name in ("notes.txt", "._2.vq2", ".2.vq2.77", ".hidden/a.vq2"):
        (compressed / name).write_text("none of ours")
    (compressed / "folder.vq2").mkdir()
    os.symlink(compressed, compressed / "loop")
    assert code("decompress", compressed, tmp_path / "back")["images"] == 6


def test_a_killed_command_leaves_no_file_that_is_not_listed(photos, folder, tmp_path, done, monkeypatch):
    write, written = OutputFolder._write, []

    def killed(writer, name, data):
        if name.endswith(".vq2"):
            written.append(name)
            if len(written) == 3:
                raise KeyboardInterrupt  # nothing is tidied up after it
        write(writer, name, data)

    monkeypatch.setattr(OutputFolder, "_write", killed)
    compress = ["compress", photos, "--pipeline", folder, "--out", tmp_path / "out", "--mode=raw", "--batch-size=2"]
    assert call_main([str(argument) for argument in compress] + [CPU]) == 130
    monkeypatch.undo()
    assert files_in(tmp_path / "out").keys() == {*written[:2], "compressed.json"}
    assert done(*compress, "--force")["images"] == 6


def test_info_says_what_a_file_says_of_itself(photos, folder, tmp_path, done, code):
    code("compress", photos / "squares" / "0.png", tmp_path / "out")
    path = tmp_path / "out" / "0.vq2"
    shutil.rmtree(folder)  # it needs no models
    described = done("info", path)
    listing = listing_of(tmp_path / "out" / "compressed.json")
    size = path.stat().st_size
    wanted = {
        **{"kind": "compressed image", "format_version": 2, "height": 9, "width": 14, "channels": 3, "bit_depth": 8},
        **{"mode": "prior", "tokenizer": listing["tokenizer"], "priors": listing["priors"], "class_index": 0},
        **{"bytes": size, "bits_per_pixel": 8 * size / (9 * 14), "whole": True},
    }
    assert {key: described[key] for key in wanted} == wanted
    assert described.keys() - wanted.keys() <= {"header_bytes", "levels", "offset"}
    assert [level["level"] for level in described["levels"]] == [1, 2]
    payload = sum(level["bytes"] for level in described["levels"])
    assert size == described["header_bytes"] + payload + 2 * 3 + 4  # a check a level, and the checksum
    for level in described["levels"]:
        assert level["bits_per_pixel"] == pytest.approx(8 * level["bytes"] / (9 * 14))


def test_info_knows_a_file_by_its_first_bytes_and_says_where_it_is_cut(compressed, done, refused):
    data = (compressed / "2.vq2").read_bytes()
    path = compressed / "renamed"
    for length, cut_from in ((len(data), None), (len(data) - 1, "checksum"), (len(data) - 5, "level 2")):
        path.write_bytes(data[:length])
        described = done("info", path)
        assert (described["mode"], described["priors"], described["class_index"]) == ("raw", None, None)
        assert (described["whole"], described.get("cut_from")) == (cut_from is None, cut_from)
        assert described["bytes"] == length
    path.write_bytes(data + b"x")
    assert refused("info", path).startswith(f"vqvae2: {path}: the file goes on after the end of its image")
