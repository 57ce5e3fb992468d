"""The values of the controls become a request."""

import gradio as gr
import pytest

from vqvae2.config import SamplingConfig
from vqvae2.errors import ConfigError
from vqvae2.studio.draw_controls import DrawControls


@pytest.fixture
def ask(context, in_a_loop):
    """Make a request of other values than those that the controls start with, by their ids."""
    controls = DrawControls(context, name="toy")

    def lay_out():
        with gr.Blocks():
            controls.lay_out_seed()
            controls.lay_out_class("any class")
            controls.lay_out_settings()

    in_a_loop(lay_out)

    def make(changed=(), **options):
        values = {control.elem_id.removeprefix("toy-"): control.value for control in controls.inputs}
        assert values.keys() >= dict(changed).keys()
        return controls.request(list((values | dict(changed)).values()), **options)

    return make


def test_the_controls_start_with_the_defaults(ask):
    request = ask()
    assert (request.seed, request.label, request.sampling, request.num_variants) == (0, None, SamplingConfig(), 1)


def test_what_is_set_is_asked_for(ask):
    request = ask({"seed": 7, "class": 1, "guidance": 2, "top-k-bottom": 5.0}, num_variants=3)
    assert (request.seed, request.label, request.num_variants) == (7, 1, 3)
    assert request.sampling == SamplingConfig(top_k=(0, 5), guidance_scale=2.0)


def test_equal_values_of_all_levels_become_one(ask):
    assert ask({"top-p-top": 0.5, "top-p-bottom": 0.5}).sampling == SamplingConfig(top_p=(0.5,))


def test_an_empty_seed_is_0_and_a_negative_one_is_refused(ask):
    assert ask({"seed": None}).seed == 0
    with pytest.raises(ConfigError, match=r"`seed`.*-1"):
        ask({"seed": -1})
