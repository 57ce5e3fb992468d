"""The site of the documentation: it builds without a warning, says everything, and asks nothing of the network.

A link or an anchor that leads nowhere is such a warning.
"""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import vqvae2

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]  # one build for all of them
ROOT = Path(__file__).parents[2]
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
NOT_FETCHED = {"canonical", "next", "prev"}  # relations of a `link` that only name a page


class Page(HTMLParser):
    """What a page loads, and which places in it can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.ids.add(str(given["id"]))
        address = given.get(LOADED.get(tag, ""))
        if address and not (tag == "link" and given.get("rel") in NOT_FETCHED):
            self.loads.append(address)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    pytest.importorskip("mkdocs")
    site = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return site, subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def pages(built: tuple[Path, subprocess.CompletedProcess[str]]) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(built[0].rglob("*.html"))}


def test_site_builds_without_a_warning(built: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, process = built
    assert process.returncode == 0, process.stderr
    assert "WARNING" not in process.stderr


def test_every_public_name_is_documented(pages: dict[Path, Page]) -> None:
    documented = {name for path, page in pages.items() if path.parent.name == "api" for name in page.ids}
    # An object has its place under the name of its module, or under the public one.
    missing = [name for name in vqvae2.__all__ if not any(place.endswith(f".{name}") for place in documented)]
    assert not missing


def test_marks_of_docstrings_do_not_show(built: tuple[Path, object]) -> None:
    assert not [path for path in built[0].glob("api/*.html") if "::</p>" in path.read_text(encoding="utf-8")]


def test_pages_load_nothing_from_elsewhere(built: tuple[Path, object], pages: dict[Path, Page]) -> None:
    outside = {address for page in pages.values() for address in page.loads if urlsplit(address).netloc}
    assert not outside
    styles = "".join(path.read_text(encoding="utf-8") for path in built[0].rglob("*.css"))
    assert not re.findall(r"url\(\s*[\"']?(?:https?:)?//", styles)
    assert "@import" not in styles
