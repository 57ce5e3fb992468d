"""The studio in a real browser: each tab is used once, with what a visitor would do, and what then stands on the page.

The studio runs as its command does, with the built-in pipeline. Whatever the page does, it must log no error, and
ask nobody but the studio for anything.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vqvae2 import Pipeline
from vqvae2.config import DecoderConfig
from vqvae2.images import decode_image, encode_png
from vqvae2.models.checkpoint import fingerprint
from vqvae2.models.decoder import Decoder
from vqvae2.pipeline.hub import BUILTIN

if any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")):
    from playwright.sync_api import expect
    from studio_browser import open_page, open_tab, start_studio, wait_for_pictures
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
def head_file(tmp_path, head):
    """A picture of 120x90 pixels, a size that no pipeline has."""
    path = tmp_path / "head.png"
    path.write_bytes(encode_png(np.pad(head, ((10, 16), (20, 36), (0, 0)), constant_values=255)))
    return path


def upload(page, place, path):
    page.locator(f"#{place} input[type=file]").first.set_input_files(path)


def fill(page, place, value):
    page.locator(f"#{place} input[type=number]").fill(str(value))


def see_pictures(place, *, at_least=1):
    """Wait for pictures of which each shows something."""
    pictures = wait_for_pictures(place, at_least=at_least)
    assert all(picture.deviation > _LEAST_DEVIATION for picture in pictures)
    return pictures


def download(page, place):
    with page.expect_download() as found:
        page.locator(f"#{place}").click()
    return found.value


def test_the_first_picture_is_there_soon_and_an_upload_and_an_example_are_reconstructed(studio, page, head_file):
    see_pictures(page.locator("#reconstruct-pictures"), at_least=3)
    assert time.perf_counter() - studio.started < _MOST_START_SECONDS
    numbers = page.locator("#reconstruct-numbers")
    upload(page, "reconstruct-image", head_file)
    expect(page.locator("#reconstruct-pictures")).to_contain_text("120x90 pixels")
    pictures = see_pictures(page.locator("#reconstruct-pictures"), at_least=5)
    assert pictures[0].width / pictures[0].height == pytest.approx(120 / 90)
    expect(numbers).to_contain_text(re.compile(r"As a file.*: \d+ bytes"))
    decibels = [float(found) for found in re.findall(r"([\d.]+) dB", numbers.locator("tbody").inner_text())]
    assert decibels[0] < decibels[-1]
    page.locator("#reconstruct-examples button img").nth(2).click()
    expect(page.locator("#reconstruct-pictures")).to_contain_text("64x64 pixels")
    see_pictures(page.locator("#reconstruct-pictures"), at_least=5)


def test_the_same_seed_gives_the_same_samples_another_seed_others_and_they_can_be_downloaded(page):
    open_tab(page, "Sample")
    fill(page, "sample-count", 4)
    sources = []
    for seed in ("7", "8", "7"):
        page.locator("#sample-seed input").fill(seed)
        page.locator("#sample-draw").click()
        expect(page.locator("#sample-status")).to_contain_text(f"4 images of seed {seed}")
        see_pictures(page.locator("#sample-grid"))
        sources.append(page.locator("#sample-grid img").get_attribute("src"))
    assert sources[0] == sources[2] != sources[1]
    expect(page.locator("#sample-command")).to_contain_text("vqvae2 sample builtin")
    for name, beginning in (("png", b"\x89PNG"), ("zip", b"PK")):
        assert Path(download(page, f"sample-{name}").path()).read_bytes().startswith(beginning)


def test_half_of_an_upload_is_drawn_anew(page, head_file):
    open_tab(page, "Complete")
    upload(page, "complete-image", head_file)
    expect(page.locator("#complete-status")).to_contain_text("64x64")
    page.locator("#complete-part").get_by_text("lower half").click()
    page.locator("#complete-draw").click()
    expect(page.locator("#complete-status")).to_contain_text("4 tries of seed 0")
    see_pictures(page.locator("#complete-results"), at_least=5)
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
    see_pictures(page.locator("#complete-results"), at_least=5)
    known = re.search(r"(\d+) % of the image", page.locator("#complete-results").inner_text())
    assert 40 < int(known[1]) < 100


def test_two_images_swap_their_top_codes(page, head_file):
    open_tab(page, "Complete")
    open_tab(page, "Swap the top codes")
    place = page.locator("#swap-results")
    see_pictures(place, at_least=4)
    source = place.locator("img").first.get_attribute("src")
    upload(page, "swap-first-image", head_file)
    expect(place.locator("img").first).not_to_have_attribute("src", source)
    see_pictures(place, at_least=4)


def test_an_upload_is_compressed_and_its_file_opens_again(page, head_file, tmp_path):
    open_tab(page, "Compress")
    upload(page, "compress-image", head_file)
    result, opened = page.locator("#compress-result"), page.locator("#decompress-result")
    expect(result.locator("tbody tr")).to_have_count(4)
    see_pictures(result, at_least=4)
    found = download(page, "compress-download")
    assert found.suggested_filename == "head.vq2"
    file = tmp_path / "head.vq2"
    found.save_as(file)
    assert f"{file.stat().st_size} bytes" in result.inner_text()
    assert Pipeline.from_pretrained(BUILTIN).decompress(file.read_bytes()).shape == (3, 90, 120)
    upload(page, "decompress-file", file)
    see_pictures(opened, at_least=2)
    expect(opened).to_contain_text("from the top level alone")
    opened.locator("summary").click()
    expect(opened).to_contain_text("120")


def test_a_file_that_cannot_be_opened_gets_a_line(page, tmp_path):
    open_tab(page, "Compress")
    (tmp_path / "file.vq2").write_bytes(b"no file of ours")
    upload(page, "decompress-file", tmp_path / "file.vq2")
    expect(page.get_by_text("Not an image of vqvae2")).to_be_visible()


def test_a_code_is_picked_and_one_is_changed(page):
    open_tab(page, "Codebook")
    about = page.locator("#codebook-about")
    see_pictures(about.locator("figure"))
    expect(page.locator("#codebook-usage")).to_contain_text("perplexity")
    expect(page.locator("#codebook-usage svg").first).to_be_visible()
    first = about.inner_text()
    page.locator("#codebook-sheet img").click(position={"x": 150, "y": 120})
    expect(about).not_to_have_text(first, use_inner_text=True)
    page.get_by_text("bottom", exact=True).first.click()
    expect(page.locator("#codebook-usage")).to_contain_text("bottom:")
    fill(page, "codebook-code", 3)
    expect(about).to_contain_text("Code 3")

    page.locator("#edit-map img").click(position={"x": 200, "y": 200})
    expect(page.locator("#edit-code")).to_contain_text("code of the cell in row")
    before = int(page.locator("#edit-code input[type=number]").input_value())
    fill(page, "edit-code", (before + 128) % 256)
    result = page.locator("#edit-result")
    expect(result).to_contain_text("1 change")
    difference = wait_for_pictures(result, at_least=4)[-1]
    assert difference.deviation > 0
    page.locator("#edit-undo").click()
    expect(result.locator("img")).to_have_count(2)
    see_pictures(result, at_least=2)


def test_the_decoder_is_chosen_for_all_tabs(browser, tmp_path):
    pipeline = Pipeline.from_pretrained(BUILTIN)
    network = DecoderConfig(tokenizer_config=pipeline.tokenizer.config, tokenizer=fingerprint(pipeline.tokenizer))
    two = replace(
        pipeline, config=replace(pipeline.config, has_sharp_decoder=True), sharp_decoder=Decoder(network).eval()
    )
    two.save_pretrained(tmp_path / "two")
    with start_studio(tmp_path / "two", "--runs", tmp_path, "--device", "cpu", "--decoder", "sharp") as studio:
        page = open_page(browser, studio)

        def see_another(place, decoder):
            """Choose the decoder, and wait for another picture."""
            picture = page.locator(f"#{place} img").last
            before = picture.get_attribute("src")
            page.locator("#decoder").get_by_text(decoder, exact=True).click()
            expect(picture).not_to_have_attribute("src", before)

        pictures = page.locator("#reconstruct-pictures")
        expect(pictures).to_contain_text("by the faithful decoder")
        see_another("reconstruct-pictures", "faithful")
        expect(pictures).to_contain_text("by the sharp decoder")
        expect(page.locator("#compress-result img")).to_have_count(0)  # since no image has been chosen
        for tab, place, chosen in (("Compress", "compress-result", "sharp"), ("Codebook", "edit-result", "faithful")):
            open_tab(page, tab)
            if tab == "Compress":
                page.locator("#compress-examples button img").first.click()
            wait_for_pictures(page.locator(f"#{place}"), at_least=2)
            see_another(place, chosen)
        open_tab(page, "Sample")
        fill(page, "sample-count", 1)
        sources = set()
        for decoder in ("faithful", "sharp"):
            page.locator("#decoder").get_by_text(decoder, exact=True).click()
            page.locator("#sample-draw").click()
            expect(page.locator("#sample-command")).to_contain_text(f"--decoder {decoder}")
            sources.add(page.locator("#sample-grid img").get_attribute("src"))
        assert len(sources) == 2
        page.close()


def bomb(data):
    """Let a PNG file claim 60000x60000 pixels."""
    data = bytearray(data)
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize("tab", ["Reconstruct", "Complete", "Compress"])
def test_an_upload_that_cannot_be_used_gets_a_sentence(page, tmp_path, head, tab):
    open_tab(page, tab)
    contents = {"format": b"this is no picture", "truncated": encode_png(head)[:1000], "bomb": bomb(encode_png(head))}
    for reason, content in contents.items():
        (tmp_path / f"{reason}.png").write_bytes(content)
        upload(page, f"{tab.lower()}-image", tmp_path / f"{reason}.png")
        expect(page.get_by_text(re.compile(f"This file cannot be used: .*{reason}"))).to_be_visible()


@pytest.mark.parametrize(("tab", "place"), [("Reconstruct", "reconstruct-pictures"), ("Compress", "compress-result")])
def test_a_large_image_is_scaled_down_and_the_page_says_so(page, tmp_path, tab, place):
    path = tmp_path / "large.png"
    large = np.zeros((2400, 3200, 3), dtype=np.uint8)
    large[::64] = 255
    path.write_bytes(encode_png(large))
    open_tab(page, tab)
    upload(page, f"{tab.lower()}-image", path)
    expect(page.locator(f"#{place}")).to_contain_text("The image has 3200x2400 pixels and was scaled down")


def start_long_drawing(page):
    open_tab(page, "Sample")
    fill(page, "sample-count", 64)
    fill(page, "sample-rate", 0.05)
    page.locator("#sample-draw").click()
    expect(page.locator("#sample-status")).to_contain_text(re.compile(r"codes drawn|kept so far"))


def test_another_visitor_is_answered_while_one_draws(new_page, head_file):
    drawing, other = new_page(), new_page()
    start_long_drawing(drawing)
    upload(other, "reconstruct-image", head_file)
    expect(other.locator("#reconstruct-pictures")).to_contain_text("120x90 pixels")
    see_pictures(other.locator("#reconstruct-pictures"), at_least=5)
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
    fill(page, "sample-rate", 1)
    fill(page, "sample-count", 1)
    page.locator("#sample-draw").click()
    expect(page.locator("#sample-status")).to_contain_text("1 images of seed")


def run_script(path, *arguments):
    done = subprocess.run([sys.executable, REPOSITORY / path, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_benchmark_tells_how_long_a_visitor_waits(tmp_path):
    out = tmp_path / "studio.json"
    said = run_script("benchmarks/studio.py", "--rounds=1", "--draws=1", "--device=cpu", "--out", out)
    assert "the first picture is on the page: " in said
    assert "16 samples are drawn and shown: " in said
    (measured,) = json.loads(out.read_text())["rounds"]
    assert 0 < measured["address_seconds"] < measured["first_picture_seconds"]


def test_pictures_for_the_documentation_are_taken(tmp_path):
    run_script("scripts/make_studio_pictures.py", "--out", tmp_path, "--only", "Compress")
    pixels = decode_image((tmp_path / "studio-compress.png").read_bytes(), channels=3)
    assert pixels.shape[1] == 1400
    assert pixels.std() > _LEAST_DEVIATION
