"""A studio's context at toy size, and a studio that a browser looks at."""

import asyncio
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
import torch

from vqvae2.data import BuiltinImages
from vqvae2.images import decode_image
from vqvae2.pipeline.hub import BUILTIN
from vqvae2.studio.context import StudioContext
from vqvae2.studio.turns import Turns
from vqvae2.studio.uploads import GivenImage


@pytest.fixture(scope="session")
def pipeline(shared_pipeline):
    """The tiny pipeline: 16x24 RGB, two levels of five codes. No test of the studio changes it."""
    return shared_pipeline


@pytest.fixture(scope="session")
def context(pipeline, tmp_path_factory):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, 3, 16, 24, generator=generator) * 2 - 1
    return StudioContext(
        pipeline=pipeline,
        classifier=None,
        source="toy",
        runs_folder=tmp_path_factory.mktemp("runs"),
        examples=(GivenImage(images[0], "one"), GivenImage(images[1], "two")),
        turns=Turns(torch.device("cpu")),
    )


@pytest.fixture
def sharp_context(context, sharp_pipeline):
    """The same with a pipeline that has two decoders, of which the second is the default."""
    return replace(context, pipeline=sharp_pipeline)


@pytest.fixture(scope="session")
def in_a_loop():
    """Call while an event loop runs: without one, gradio makes some for its components and leaves them open."""

    def call(function, *args):
        async def run():
            return function(*args)

        return asyncio.run(run())

    return call


@pytest.fixture(scope="session")
def head():
    """One of the built-in images, uint8 `(64, 64, 3)`."""
    return decode_image(BuiltinImages().read(300), channels=3)


@pytest.fixture(scope="session")
def studio(tmp_path_factory):
    """The built-in pipeline's studio, in a process of its own."""
    from studio_browser import start_studio  # which needs playwright, and most tests do not

    with start_studio(BUILTIN, "--runs", tmp_path_factory.mktemp("runs"), "--device", "cpu") as started:
        yield started


@pytest.fixture(scope="session")
def browser():
    """A browser's context."""
    from studio_browser import open_browser

    with open_browser() as opened:
        yield opened.new_context(viewport={"width": 1400, "height": 900})


@pytest.fixture
def new_page(studio, browser):
    """Open pages that are watched: at the end, none may have met an error or asked another host."""
    from studio_browser import open_page

    pages, troubles = [], []

    def watch(page):
        pages.append(page)
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))

    def ask(request):
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob", "about") and address.netloc != urlsplit(studio.address).netloc:
            troubles.append(f"asked {request.url}")

    browser.on("page", watch)
    browser.on("request", ask)
    yield lambda: open_page(browser, studio)
    for page in pages:
        page.close()
    browser.remove_listener("page", watch)
    browser.remove_listener("request", ask)
    assert not troubles
