"""A studio in a process of its own, and a real browser on it: for the tests, the pictures and the benchmark."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from playwright.sync_api import Browser, BrowserContext, Locator, Page, sync_playwright

__all__ = [
    "Picture",
    "Studio",
    "find_browser",
    "open_browser",
    "open_page",
    "open_tab",
    "pictures_of",
    "start_studio",
    "wait_for_pictures",
]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_START_SECONDS = 120.0


def find_browser() -> str | None:
    """Give the path of an installed browser, if there is one."""
    return next((path for name in _NAMES if (path := shutil.which(name)) is not None), None)


class Studio:
    """A running studio."""

    def __init__(self, process: subprocess.Popen[str], address: str, started: float) -> None:
        self.process, self.address = process, address
        self.started = started
        """When its command was started, by `time.perf_counter`."""


@contextmanager
def start_studio(*arguments: object) -> Iterator[Studio]:
    """Start `vqvae2 studio` on any free port, and wait for its address; it ends with this context."""
    command = [sys.executable, "-m", "vqvae2", "studio", *map(str, arguments), "--port", "0", "--no-open", "--json"]
    with TemporaryDirectory() as folder:
        errors = Path(folder) / "errors"
        started = time.perf_counter()
        with errors.open("w") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            text = ""
            while "}" not in text:
                line = process.stdout.readline()
                assert line, f"the studio ended before it was ready:\n{errors.read_text()}"
                assert time.perf_counter() - started < _START_SECONDS
                text += line
            yield Studio(process, json.loads(text)["address"], started)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start a browser without a window or a profile."""
    path = find_browser()
    assert path is not None, "no Chromium; apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def open_page(context: BrowserContext, studio: Studio) -> Page:
    """Open the studio's page, and wait until its tabs are there."""
    page = context.new_page()
    page.goto(studio.address)
    page.get_by_role("tab", name="Reconstruct").wait_for(timeout=60_000)
    return page


def open_tab(page: Page, name: str) -> None:
    """Switch to a tab."""
    page.get_by_role("tab", name=name, exact=True).click()


class Picture(NamedTuple):
    """An image as the browser shows it."""

    width: int
    """In pixels of its own; 0 if it could not be loaded."""
    height: int
    deviation: float
    """Standard deviation of its values, 0..255: about 0 if it has one colour."""


_MEASURE = """images => images.map(image => {
    if (!image.complete || !image.naturalWidth) return [0, 0, 0];
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d", {willReadFrequently: true});
    context.drawImage(image, 0, 0);
    const values = context.getImageData(0, 0, canvas.width, canvas.height).data.filter((_, index) => index % 4 < 3);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    return [canvas.width, canvas.height, Math.sqrt(variance)];
})"""


def pictures_of(place: Locator) -> list[Picture]:
    """Measure all images in a part of the page."""
    return [Picture(*values) for values in place.locator("img").evaluate_all(_MEASURE)]


def wait_for_pictures(place: Locator, *, at_least: int = 1, seconds: float = 60.0) -> list[Picture]:
    """Wait until a part of the page shows enough images, all of them loaded, and measure them."""
    end = time.perf_counter() + seconds
    while True:
        found = pictures_of(place)
        if len(found) >= at_least and all(picture.width for picture in found):
            return found
        assert time.perf_counter() < end, f"{len(found)} images after {seconds} s, not {at_least}: {found}"
        place.page.wait_for_timeout(50)
