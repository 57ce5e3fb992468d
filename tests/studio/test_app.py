"""The page as a whole: what is on it, what it loads from elsewhere, and what an error says."""

import re
import subprocess
import sys
from dataclasses import replace

import gradio as gr
import pytest
import torch
from fastapi.testclient import TestClient

from vqvae2.errors import ConfigError, DataError
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.studio import launch_studio
from vqvae2.studio.app import TABS, build_studio, in_plain_words
from vqvae2.studio.context import NUM_WALKS
from vqvae2.studio.server import studio_app
from vqvae2.studio.theme import studio_theme


@pytest.fixture(scope="module")
def page(context, in_a_loop):
    return in_a_loop(build_studio, context)


def test_importing_the_command_and_the_studio_does_not_import_gradio():
    script = "import sys, vqvae2.cli.main, vqvae2.studio; assert 'gradio' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_without_the_extra_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ConfigError, match=r"gradio.*pip install 'vqvae2\[studio\]'$"):
        launch_studio("nowhere", port=0)


def test_every_tab_is_there(page):
    labels = [block.label for block in page.blocks.values() if isinstance(block, gr.Tab)]
    assert [label for label in labels if label in dict(TABS)] == [name for name, _ in TABS]


def test_a_pipeline_without_priors_can_be_looked_at(context, in_a_loop):
    without = Pipeline(context.pipeline.tokenizer, context.pipeline.config)
    page = in_a_loop(build_studio, replace(context, pipeline=without))
    texts = [block.value for block in page.blocks.values() if isinstance(block, gr.Markdown)]
    assert sum("This pipeline has no priors" in text for text in texts) == 2


def test_every_control_has_a_label_and_an_id(page):
    for block in page.blocks.values():
        is_control = isinstance(block, gr.Slider | gr.Dropdown | gr.Radio | gr.Number | gr.Image | gr.ImageEditor)
        if is_control and block.interactive is not False:  # what only shows may explain itself otherwise
            assert block.label, block.elem_id
            assert block.elem_id, block.label
        if isinstance(block, gr.Button | gr.DownloadButton):
            assert block.value or block.label
            assert block.elem_id, block.value


@pytest.mark.parametrize(
    ("control", "value"), [("sample-count", 65), ("sample-rate", 0.0), ("complete-count", 17), ("codebook-code", 5)]
)
def test_a_control_refuses_what_is_out_of_its_range(page, control, value):
    (found,) = (block for block in page.blocks.values() if block.elem_id == control)
    with pytest.raises(gr.Error):
        found.preprocess(value)


def decoder_of(page):
    (found,) = (block for block in page.blocks.values() if block.elem_id == "decoder")
    return found


def test_the_decoder_is_chosen_where_there_are_two(page, sharp_context, in_a_loop):
    assert not decoder_of(page).visible
    choice = decoder_of(in_a_loop(build_studio, sharp_context))
    assert (choice.visible, choice.value) == (True, "sharp")
    assert [name for _, name in choice.choices] == ["faithful", "sharp"]
    with pytest.raises(gr.Error):
        choice.preprocess("another")


def test_what_one_visitor_sees_does_not_depend_on_the_decoder_of_another(sharp_context, in_a_loop):
    page = in_a_loop(build_studio, sharp_context)
    events = [fn for fn in page.fns.values() if fn.fn and fn.fn.__name__ == "show" and fn.inputs]
    assert len(events) == 3 + 5  # of Reconstruct and of the swap: two per image, and the choice of the decoder
    for event in events:
        assert event.inputs[0] is decoder_of(page)
        given = sharp_context.examples[: len(event.inputs) - 1]
        first, other, again = (str(event.fn(name, *given)) for name in ("faithful", "sharp", "faithful"))
        assert first == again != other


def test_all_walks_share_one_queue(page):
    limits = {fn.concurrency_limit for fn in page.fns.values() if fn.concurrency_id == "walks"}
    assert limits == {NUM_WALKS}


def test_the_page_loads_nothing_from_elsewhere(context, in_a_loop):
    with TestClient(in_a_loop(studio_app, context)) as client:
        page, style = (client.get(path).text for path in ("/", "/theme.css"))
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", page)
    assert not re.findall(r"""url\(["']?https?:|@import""", style)
    theme = studio_theme()
    for font in (*theme._font, *theme._font_mono):
        assert font.stylesheet() == {"url": None, "css": None}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (DataError("this <b>file</b> is broken"), "This &lt;b&gt;file&lt;/b&gt; is broken"),
        (torch.OutOfMemoryError(), "The device has too little memory; take fewer or smaller images"),
    ],
)
def test_an_error_on_purpose_is_shown_as_a_sentence_without_markup(error, message):
    @in_plain_words
    def fail():
        raise error

    @in_plain_words
    def generate():
        yield 1
        raise error

    for use in (fail, lambda: list(generate())):
        with pytest.raises(gr.Error) as caught:
            use()
        assert (caught.value.message, caught.value.print_exception) == (message, False)


def test_other_errors_pass():
    with pytest.raises(KeyError):
        in_plain_words({}.__getitem__)("secret")
