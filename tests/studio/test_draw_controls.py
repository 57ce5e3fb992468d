"""The values of the controls become a request."""

import gradio as gr
import pytest

from vqvae2.config import SamplingConfig
from vqvae2.errors import ConfigError
from vqvae2.studio.draw_controls import DrawControls

PLAIN = SamplingConfig()


@pytest.fixture
def ask(context, in_a_loop):
    """Make a request of other values than those that the controls start with, by their ids."""

    def make(changed, own=PLAIN):
        controls = DrawControls(context, name="toy")

        def lay_out():
            with gr.Blocks():
                controls.lay_out_seed()
                controls.lay_out_class("any class")
                controls.lay_out_settings(own)

        in_a_loop(lay_out)
        values = {control.elem_id.removeprefix("toy-"): control.value for control in controls.inputs}
        assert values.keys() >= changed.keys()
        return controls.request(list((values | changed).values()), num_variants=3)

    return make


@pytest.mark.parametrize(
    ("changed", "seed", "label", "sampling"),
    [
        ({}, 0, None, SamplingConfig()),
        ({"seed": 7, "class": 1}, 7, 1, SamplingConfig()),
        ({"seed": None, "guidance": 2, "top-k-bottom": 5.0}, 0, None, SamplingConfig(top_k=(0, 5), guidance_scale=2.0)),
        ({"top-p-top": 0.5, "top-p-bottom": 0.5}, 0, None, SamplingConfig(top_p=(0.5,))),  # one value for all levels
    ],
)
def test_what_is_set_is_asked_for_and_all_else_is_the_default(ask, changed, seed, label, sampling):
    request = ask(changed)
    assert (request.seed, request.label, request.sampling, request.num_variants) == (seed, label, sampling, 3)


def test_the_controls_start_with_the_settings_of_the_pipeline(ask):
    own = SamplingConfig(temperature=(0.9, 3.0), top_k=(2,), top_p=(0.001, 1.0), guidance_scale=1.5)
    assert ask({}, own).sampling == own


def test_a_negative_seed_is_refused(ask):
    with pytest.raises(ConfigError, match=r"`seed`.*-1"):
        ask({"seed": -1})
