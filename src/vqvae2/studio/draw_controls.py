"""The controls that all tabs that draw have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import gradio as gr

from vqvae2.config import SamplingConfig
from vqvae2.sampling.request import DrawRequest
from vqvae2.studio.context import WALK_LIMITS, StudioContext

__all__ = ["NO_PRIORS", "DrawControls"]

NO_PRIORS = "This pipeline has no priors, so it cannot draw; train one for each of its levels."

_NO_CLASS = -1
_Number = TypeVar("_Number", int, float)


class DrawControls:
    """Lays out class, seed, and how codes are drawn, in the order in which a tab asks for them.

    Args:
        context: The studio's.
        name: Starts the ids of the controls.
    """

    def __init__(self, context: StudioContext, *, name: str) -> None:
        self._pipeline, self._name = context.pipeline, name
        self._controls: dict[str, gr.components.Component] = {}

    @property
    def inputs(self) -> list[gr.components.Component]:
        """For an event; `request` takes their values."""
        return list(self._controls.values())

    def lay_out_class(self, nothing: str) -> None:
        """Lay out a choice of the class, or of `nothing`."""
        classes = self._pipeline.config.classes
        self._controls["class"] = gr.Dropdown(
            [(nothing, _NO_CLASS), *((name, label) for label, name in enumerate(classes))],
            value=_NO_CLASS,
            label="class",
            visible=bool(classes),
            elem_id=f"{self._name}-class",
        )

    def lay_out_seed(self) -> gr.Number:
        """Lay out a field for the seed."""
        seed = gr.Number(0, label="seed", precision=0, minimum=0, min_width=100, elem_id=f"{self._name}-seed")
        self._controls["seed"] = seed
        return seed

    def lay_out_settings(self, own: SamplingConfig) -> None:
        """Lay out guidance where there are classes, and temperature, top-k and top-p of each level, at `own` values."""
        config = self._pipeline.tokenizer.config
        with gr.Accordion("How codes are drawn", open=False, elem_id=f"{self._name}-settings"):
            if self._pipeline.config.classes:
                hint = "above 1: more typical of the class, at twice the time"
                self._slider("guidance", "guidance scale", hint, (0.0, 5.0, 0.1), value=own.guidance_scale)
            for number, (level, size) in enumerate(zip(config.level_names, config.codebook_sizes, strict=True)):
                temperature, top_k, top_p = own.level(number)
                gr.Markdown(f"**{level} level**")
                hint = "below 1: likelier codes; above 1: more varied ones"
                self._slider(f"temperature-{level}", f"temperature, {level}", hint, (0.0, 2.0, 0.05), value=temperature)
                hint = "only the k likeliest codes; 0 for all"
                self._slider(f"top-k-{level}", f"top-k, {level}", hint, (0, size, 1), value=top_k)
                hint = "only the likeliest codes that together reach this probability; 1 for all"
                self._slider(f"top-p-{level}", f"top-p, {level}", hint, (0.01, 1.0, 0.01), value=top_p)

    def _slider(self, key: str, label: str, hint: str, scale: tuple[float, float, float], *, value: float) -> None:
        low, high, step = scale
        low, high = min(low, value), max(high, value)  # a pipeline's own value may be any
        self._controls[key] = gr.Slider(
            low, high, value=value, step=step, label=label, info=hint, elem_id=f"{self._name}-{key}"
        )

    def lay_out_buttons(self) -> None:
        """Lay out *Draw* and *Stop*, which do nothing before `on_draw`."""
        with gr.Row():
            self._draw = gr.Button("Draw", variant="primary", elem_id=f"{self._name}-draw")
            self._stop = gr.Button("Stop", variant="stop", elem_id=f"{self._name}-stop")

    def on_draw(self, draw: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Let the buttons start and stop a generator that takes `inputs` and those of these controls.

        The first of `outputs` shows the status.
        """
        inputs = [*inputs, *self.inputs]
        drawing = self._draw.click(draw, inputs, outputs, show_progress="hidden", **WALK_LIMITS)
        # Written after the drawing has ended, since its last step could overwrite it.
        self._stop.click(None, cancels=[drawing]).then(lambda: "Stopped.", None, outputs[0], queue=False)

    def request(self, values: Sequence[Any], *, num_variants: int = 1) -> DrawRequest:
        """Make a request of the values of `inputs`.

        Raises:
            ConfigError: If one is out of range.
        """
        value = dict(zip(self._controls, values, strict=True))
        levels = self._pipeline.tokenizer.config.level_names

        def per_level(name: str, kind: Callable[[Any], _Number]) -> tuple[_Number, ...]:
            found = tuple(kind(value[f"{name}-{level}"]) for level in levels)
            return found[:1] if len(set(found)) == 1 else found  # one value stands for all levels

        return DrawRequest(
            seed=int(value["seed"] or 0),  # an empty field gives None
            label=None if value["class"] == _NO_CLASS else int(value["class"]),
            sampling=SamplingConfig(
                temperature=per_level("temperature", float),
                top_k=per_level("top-k", int),
                top_p=per_level("top-p", float),
                guidance_scale=float(value.get("guidance", 1.0)),
            ),
            num_variants=num_variants,
        )
