"""A studio in a process of its own, and a real browser on it: for the tests, the pictures and the benchmark."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

__all__ = ["FLAGS", "Studio", "find_browser", "open_browser", "open_page", "open_tab", "start_studio"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
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
    """Start `vqvae2 studio` at any free port, wait for its address, and end it at the end."""
    command = [sys.executable, "-m", "vqvae2", "studio", *map(str, arguments), "--port", "0", "--no-open", "--json"]
    with TemporaryDirectory() as folder:
        errors = Path(folder) / "errors"
        started = time.perf_counter()
        with errors.open("w") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=dict(os.environ))
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
    """Start a browser without a window, of no user."""
    path = find_browser()
    assert path is not None, "no Chromium; apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def open_page(context: BrowserContext, studio: Studio) -> Page:
    """Open the studio's page, and wait until it is there."""
    page = context.new_page()
    page.goto(studio.address)
    page.get_by_role("tab", name="Reconstruct").wait_for(timeout=60_000)
    return page


def open_tab(page: Page, name: str) -> None:
    """Go to a tab."""
    page.get_by_role("tab", name=name, exact=True).click()
