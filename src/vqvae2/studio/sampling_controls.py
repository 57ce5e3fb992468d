"""The settings of a drawing, as controls: one set for each tab that draws."""

from __future__ import annotations

from typing import Any

import gradio as gr

from vqvae2.config import SamplingConfig
from vqvae2.studio.context import StudioContext
from vqvae2.studio.sample_request import level_settings

__all__ = ["SamplingControls"]


class SamplingControls:
    """Lays out temperature, top-k and top-p of each level, and guidance where there are classes.

    Args:
        context: Of the studio.
        elem_id: Begins the ids of the controls.
    """

    def __init__(self, context: StudioContext, *, elem_id: str) -> None:
        pipeline = context.pipeline
        names, sizes = pipeline.tokenizer.config.level_names, pipeline.tokenizer.config.codebook_sizes
        self._num_levels = len(names)
        self._has_guidance = bool(pipeline.config.classes)
        self.inputs: list[gr.components.Component] = []
        """For an event; `read` takes their values."""
        with gr.Accordion("How codes are drawn", open=False, elem_id=f"{elem_id}-settings"):
            if self._has_guidance:
                self.inputs.append(
                    gr.Slider(
                        0.0,
                        5.0,
                        value=1.0,
                        step=0.1,
                        label="guidance scale",
                        info="above 1: more typical of the class, at twice the time",
                        elem_id=f"{elem_id}-guidance",
                    )
                )
            for name, size in zip(names, sizes, strict=True):
                gr.Markdown(f"**{name} level**")
                self.inputs += [
                    gr.Slider(
                        0.0,
                        2.0,
                        value=1.0,
                        step=0.05,
                        label=f"temperature, {name}",
                        info="below 1: likelier codes; above 1: more varied ones",
                        elem_id=f"{elem_id}-temperature-{name}",
                    ),
                    gr.Slider(
                        0,
                        size,
                        value=0,
                        step=1,
                        label=f"top-k, {name}",
                        info="only the k likeliest codes; 0 for all",
                        elem_id=f"{elem_id}-top-k-{name}",
                    ),
                    gr.Slider(
                        0.01,
                        1.0,
                        value=1.0,
                        step=0.01,
                        label=f"top-p, {name}",
                        info="only the likeliest codes that together reach this probability; 1 for all",
                        elem_id=f"{elem_id}-top-p-{name}",
                    ),
                ]

    def read(self, values: tuple[Any, ...]) -> SamplingConfig:
        """Make a config of the values of `inputs`.

        Raises:
            ConfigError: If one is out of its range.
        """
        guidance = values[0] if self._has_guidance else 1.0
        levels = values[1:] if self._has_guidance else values
        return level_settings(levels[0::3], levels[1::3], levels[2::3], guidance_scale=guidance)
