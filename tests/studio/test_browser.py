"""The studio in a real browser: each tab is used once, with what a visitor would do, and what then stands on the page.

The studio runs as its command does, with the built-in pipeline. Whatever the page does, it must log no error, and ask
nobody but the studio for anything.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from vqvae2 import Pipeline
from vqvae2.codec.bitstream import MAGIC
from vqvae2.images import decode_image, encode_png
from vqvae2.pipeline.hub import BUILTIN

if any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")):
    from playwright.sync_api import expect
    from studio_browser import (
        open_tab,
        pictures_of,
        wait_for_pictures,
    )
else:
    pytest.skip("browser tests are skipped: no Chromium; apt-get install chromium", allow_module_level=True)

REPOSITORY = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]  # one studio for all of them

_WAIT_MILLISECONDS = 60_000  # on a busy machine; nothing here should take a tenth of it
_MOST_START_SECONDS = 60.0  # the same; benchmarks/studio.py measures what it really takes
_LEAST_DEVIATION = 5.0  # of the values of a picture that shows something


@pytest.fixture(autouse=True)
def _patient(browser):
    browser.set_default_timeout(_WAIT_MILLISECONDS)
    expect.set_options(timeout=_WAIT_MILLISECONDS)


@pytest.fixture
def page(new_page):
    return new_page()


@pytest.fixture
def emoji_file(tmp_path, emoji):
    """A picture of 90x120 pixels, which no size of the pipeline's is."""
    path = tmp_path / "emoji.png"
    path.write_bytes(encode_png(np.pad(emoji, ((10, 16), (20, 36), (0, 0)), constant_values=255)))
    return path


def upload(page, place, path):
    page.locator(f"#{place} input[type=file]").first.set_input_files(path)


def shows_something(pictures):
    return all(picture.deviation > _LEAST_DEVIATION for picture in pictures)


def test_the_first_picture_is_there_soon_after_the_start(studio, new_page):
    page = new_page()
    pictures = wait_for_pictures(page.locator("#reconstruct-pictures"), at_least=3)
    seconds = time.perf_counter() - studio.started
    sys.stderr.write(f"\nthe first picture of the studio is there after {seconds:.1f} s\n")
    assert shows_something(pictures)
    assert seconds < _MOST_START_SECONDS


def test_an_upload_is_reconstructed(page, emoji_file):
    upload(page, "reconstruct-image", emoji_file)
    expect(page.locator("#reconstruct-pictures")).to_contain_text("120x90 pixels")
    pictures = wait_for_pictures(page.locator("#reconstruct-pictures"), at_least=5)
    assert shows_something(pictures)
    assert pictures[0].width / pictures[0].height == pytest.approx(120 / 90)
    numbers = page.locator("#reconstruct-numbers")
    expect(numbers).to_contain_text(re.compile(r"As a file.*: \d+ bytes"))
    decibels = [float(found) for found in re.findall(r"([\d.]+) dB", numbers.locator("tbody").inner_text())]
    assert decibels[0] < decibels[-1]


def test_an_example_is_reconstructed(page):
    page.locator("#reconstruct-examples button img").nth(2).click()
    expect(page.locator("#reconstruct-numbers")).to_contain_text(re.compile(r"As a file.*: \d+ bytes"))
    assert shows_something(pictures_of(page.locator("#reconstruct-pictures")))


def test_samples_are_drawn_and_can_be_had(page):
    open_tab(page, "Sample")
    page.locator("#sample-count input[type=number]").fill("4")
    page.locator("#sample-draw").click()
    expect(page.locator("#sample-status")).to_contain_text("4 images of seed 0")
    (grid,) = wait_for_pictures(page.locator("#sample-grid"))
    assert shows_something([grid])
    expect(page.locator("#sample-command")).to_contain_text("vqvae2 sample builtin")
    for name, beginning in (("png", b"\x89PNG"), ("zip", b"PK")):
        with page.expect_download() as download:
            page.locator(f"#sample-{name}").click()
        assert Path(download.value.path()).read_bytes().startswith(beginning)


def test_the_same_seed_gives_the_same_samples_and_another_seed_others(page):
    open_tab(page, "Sample")
    page.locator("#sample-count input[type=number]").fill("1")
    sources = []
    for seed in ("7", "8", "7"):
        page.locator("#sample-seed input").fill(seed)
        page.locator("#sample-draw").click()
        expect(page.locator("#sample-status")).to_contain_text(f"1 images of seed {seed}")
        sources.append(page.locator("#sample-grid img").get_attribute("src"))
    assert sources[0] == sources[2] != sources[1]


def test_half_of_an_upload_is_drawn_anew(page, emoji_file):
    open_tab(page, "Complete")
    upload(page, "complete-image", emoji_file)
    expect(page.locator("#complete-status")).to_contain_text("64x64")
    page.locator("#complete-part").get_by_text("lower half").click()
    page.locator("#complete-draw").click()
    expect(page.locator("#complete-status")).to_contain_text("4 tries of seed 0")
    pictures = wait_for_pictures(page.locator("#complete-results"), at_least=5)
    assert shows_something(pictures)
    expect(page.locator("#complete-results")).to_contain_text("50 % of the image")


def test_what_is_painted_over_is_drawn_anew(page):
    open_tab(page, "Complete")
    canvas = page.locator("#complete-editor canvas").first
    canvas.wait_for()
    page.wait_for_timeout(1500)  # the editor lays itself out
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 40, y)
    page.mouse.down()
    page.mouse.move(x + 40, y, steps=8)
    page.mouse.up()
    page.wait_for_timeout(500)
    page.locator("#complete-draw").click()
    expect(page.locator("#complete-status")).to_contain_text("4 tries of seed 0")
    assert shows_something(wait_for_pictures(page.locator("#complete-results"), at_least=5))
    known = re.search(r"(\d+) % of the image", page.locator("#complete-results").inner_text())
    assert 40 < int(known[1]) < 100


def test_two_images_swap_their_top_codes(page, emoji_file):
    open_tab(page, "Complete")
    open_tab(page, "Swap the top codes")
    place = page.locator("#swap-results")
    before = wait_for_pictures(place, at_least=4)
    source = place.locator("img").first.get_attribute("src")
    upload(page, "swap-first", emoji_file)
    expect(place.locator("img").first).not_to_have_attribute("src", source)
    assert shows_something([*before, *wait_for_pictures(place, at_least=4)])


def test_an_upload_is_compressed_and_its_file_opens_again(page, emoji_file, tmp_path):
    open_tab(page, "Compress")
    upload(page, "compress-image", emoji_file)
    result = page.locator("#compress-result")
    expect(result.locator("tbody tr")).to_have_count(4)
    assert shows_something(wait_for_pictures(result, at_least=4))
    with page.expect_download() as download:
        page.locator("#compress-download").click()
    assert download.value.suggested_filename == "emoji.vq2"
    file = tmp_path / "emoji.vq2"
    download.value.save_as(file)
    assert file.read_bytes().startswith(MAGIC)
    assert f"{file.stat().st_size} bytes" in result.inner_text()
    upload(page, "decompress-file", file)
    opened = page.locator("#decompress-result")
    assert shows_something(wait_for_pictures(opened, at_least=2))
    expect(opened).to_contain_text("from the top level alone")
    opened.locator("summary").click()
    expect(opened).to_contain_text("120")
    pipeline = Pipeline.from_pretrained(BUILTIN)
    assert pipeline.decompress(file.read_bytes()).shape == (3, 90, 120)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("other.vq2", b"no file of ours", "Not an image of vqvae2"), ("cut.vq2", MAGIC + b"\x01", "cut or damaged")],
)
def test_a_file_that_cannot_be_opened_gets_a_line(page, tmp_path, name, content, message):
    open_tab(page, "Compress")
    (tmp_path / name).write_bytes(content)
    upload(page, "decompress-file", tmp_path / name)
    expect(page.get_by_text(message)).to_be_visible()


def test_a_code_is_picked_and_one_is_changed(page):
    open_tab(page, "Codebook")
    about = page.locator("#codebook-about")
    assert shows_something(wait_for_pictures(about, at_least=2)[:1])
    expect(page.locator("#codebook-usage")).to_contain_text("perplexity")
    expect(page.locator("#codebook-usage svg").first).to_be_visible()
    first = about.inner_text()
    page.locator("#codebook-sheet img").click(position={"x": 150, "y": 120})
    expect(about).not_to_have_text(first)
    page.get_by_text("bottom", exact=True).first.click()
    expect(page.locator("#codebook-usage")).to_contain_text("bottom:")
    page.locator("#codebook-code input[type=number]").fill("3")
    expect(about).to_contain_text("Code 3")

    page.locator("#edit-map img").click(position={"x": 200, "y": 200})
    expect(page.locator("#edit-code")).to_contain_text("code of the cell in row")
    before = int(page.locator("#edit-code input[type=number]").input_value())
    page.locator("#edit-code input[type=number]").fill(str((before + 128) % 256))
    result = page.locator("#edit-result")
    expect(result).to_contain_text("1 change")
    *images, difference = wait_for_pictures(result, at_least=4)
    assert shows_something(images)
    assert difference.deviation > 0
    page.locator("#edit-undo").click()
    expect(result).not_to_contain_text("change,")
    expect(result.locator("img")).to_have_count(2)


def text_file(path, emoji):
    path.write_text("this is no picture")


def half_a_picture(path, emoji):
    path.write_bytes(encode_png(emoji)[:1000])


def bomb(path, emoji):
    """A head that claims 60000x60000 pixels."""
    data = bytearray(encode_png(emoji[:1, :1]))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("tab", ["Reconstruct", "Complete", "Compress"])
@pytest.mark.parametrize("make", [text_file, half_a_picture, bomb])
def test_an_upload_that_cannot_be_used_gets_a_sentence(page, tmp_path, emoji, tab, make):
    open_tab(page, tab)
    make(tmp_path / "picture.png", emoji)
    upload(page, f"{tab.lower()}-image", tmp_path / "picture.png")
    expect(page.get_by_text("This file cannot be used")).to_be_visible()
    if make is bomb:
        expect(page.get_by_text("decompression bomb")).to_be_visible()


@pytest.mark.parametrize(("tab", "place"), [("Reconstruct", "reconstruct-pictures"), ("Compress", "compress-result")])
def test_a_large_image_is_made_smaller_and_the_page_says_so(page, tmp_path, tab, place):
    path = tmp_path / "large.png"
    large = np.zeros((2400, 3200, 3), dtype=np.uint8)
    large[::64] = 255
    path.write_bytes(encode_png(large))
    open_tab(page, tab)
    upload(page, f"{tab.lower()}-image", path)
    expect(page.locator(f"#{place}")).to_contain_text("The image has 3200x2400 pixels and was scaled down")


def start_long_drawing(page):
    open_tab(page, "Sample")
    page.locator("#sample-count input[type=number]").fill("64")
    page.locator("#sample-rate input[type=number]").fill("0.05")
    page.locator("#sample-draw").click()
    expect(page.locator("#sample-status")).to_contain_text(re.compile(r"codes drawn|kept so far"))


def test_another_visitor_is_answered_while_one_draws(new_page, emoji_file):
    drawing, other = new_page(), new_page()
    start_long_drawing(drawing)
    upload(other, "reconstruct-image", emoji_file)
    expect(other.locator("#reconstruct-pictures")).to_contain_text("120x90 pixels")
    assert shows_something(wait_for_pictures(other.locator("#reconstruct-pictures"), at_least=5))
    assert re.search(r"codes drawn|kept so far", drawing.locator("#sample-status").inner_text())
    drawing.locator("#sample-stop").click()


def cpu_seconds(pid):
    """Time that a process has computed, as Linux counts it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc to see who computes")
def test_stop_ends_a_long_drawing(page, studio):
    start_long_drawing(page)
    page.locator("#sample-stop").click()
    expect(page.locator("#sample-status")).to_contain_text("Stopped")
    end = time.perf_counter() + 20.0
    while True:
        before = cpu_seconds(studio.process.pid)
        page.wait_for_timeout(1000)
        if cpu_seconds(studio.process.pid) - before < 0.3:
            break
        assert time.perf_counter() < end, "the studio computes on"
    expect(page.locator("#sample-status")).to_contain_text("Stopped")
    page.locator("#sample-rate input[type=number]").fill("1")
    page.locator("#sample-count input[type=number]").fill("1")
    page.locator("#sample-draw").click()
    expect(page.locator("#sample-status")).to_contain_text("1 images of seed")


def test_the_benchmark_tells_how_long_a_visitor_waits(tmp_path):
    out = tmp_path / "studio.json"
    command = [sys.executable, REPOSITORY / "benchmarks" / "studio.py", "--rounds=1", "--draws=1", "--device=cpu"]
    done = subprocess.run([*command, "--out", out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "the first picture is on the page: " in done.stdout
    assert "16 samples are drawn and shown: " in done.stdout
    (measured,) = json.loads(out.read_text())["rounds"]
    assert 0 < measured["address_seconds"] < measured["first_picture_seconds"]


def test_pictures_for_the_documentation_are_taken(tmp_path):
    script = REPOSITORY / "scripts" / "make_studio_pictures.py"
    command = [sys.executable, script, "--out", tmp_path, "--only", "Compress"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pixels = decode_image((tmp_path / "studio-compress.png").read_bytes(), channels=3)
    assert pixels.shape[1] == 1400
    assert pixels.std() > _LEAST_DEVIATION
