"""Take pictures of the studio's tabs in use, for the documentation: `docs/images/studio-*.png`.

    python scripts/make_studio_pictures.py

A Chromium must be installed.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Page, expect
from studio_browser import open_browser, open_page, open_tab, start_studio, wait_for_pictures

_SIZE = {"width": 1400, "height": 1040}
_SECONDS = 120.0


def show_reconstruct(page: Page) -> None:
    """An example other than the one that the page opens with."""
    numbers = page.locator("#reconstruct-numbers")
    expect(numbers).to_contain_text("As a file")  # of the first one
    before = numbers.inner_text()
    page.locator("#reconstruct-examples button").nth(1).click()
    expect(numbers).not_to_have_text(before, use_inner_text=True)
    expect(numbers).to_contain_text(re.compile(r"As a file.*: \d+ bytes"))


def show_sample(page: Page) -> None:
    """Sixteen samples."""
    page.locator("#sample-draw").click()
    expect(page.locator("#sample-status")).to_contain_text("images of seed")
    wait_for_pictures(page.locator("#sample-grid"))


def show_complete(page: Page) -> None:
    """The lower half of an example, drawn four times."""
    page.locator("#complete-examples button").nth(6).click()
    page.locator("#complete-part").get_by_text("lower half").click()
    page.locator("#complete-draw").click()
    expect(page.locator("#complete-status")).to_contain_text("tries of seed")
    wait_for_pictures(page.locator("#complete-results"), at_least=5)


def show_compress(page: Page) -> None:
    """An example as files."""
    page.locator("#compress-examples button").nth(1).click()
    expect(page.locator("#compress-result tbody tr")).to_have_count(4)
    wait_for_pictures(page.locator("#compress-result"), at_least=4)


def show_codebook(page: Page) -> None:
    """The top level's codes, and what one of them stands for."""
    wait_for_pictures(page.locator("#codebook-about"), at_least=2)
    wait_for_pictures(page.locator("#codebook-sheet"))


TABS: dict[str, Callable[[Page], None]] = {
    "Reconstruct": show_reconstruct,
    "Sample": show_sample,
    "Complete": show_complete,
    "Compress": show_compress,
    "Codebook": show_codebook,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", default="builtin")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    parser.add_argument("--only", choices=TABS, nargs="+", default=list(TABS))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=1000 * _SECONDS)
    with (
        TemporaryDirectory() as no_runs,
        start_studio(arguments.pipeline, "--runs", no_runs) as studio,
        open_browser() as browser,
    ):
        context = browser.new_context(viewport=_SIZE, color_scheme="light", reduced_motion="reduce")
        context.set_default_timeout(1000 * _SECONDS)
        page = open_page(context, studio)
        wait_for_pictures(page.locator("#reconstruct-pictures"))
        for name in arguments.only:
            open_tab(page, name)
            page.wait_for_timeout(500)
            TABS[name](page)
            page.mouse.move(0, 0)
            page.evaluate("window.scrollTo(0, 0)")
            page.wait_for_timeout(1000)  # until what moves has come to rest
            path = arguments.out / f"studio-{name.lower()}.png"
            page.screenshot(path=path)
            print(path, f"{path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
