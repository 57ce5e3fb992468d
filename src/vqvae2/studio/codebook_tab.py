"""The tab *Codebook*: which codes are used, what each stands for, and what happens if one is changed."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np
from gradio.context import Context

from vqvae2.codes import Codes
from vqvae2.config import DecoderName
from vqvae2.report.figures import usage_chart
from vqvae2.report.frame import card, cards
from vqvae2.report.pictures import image_tag
from vqvae2.report.text import format_count, format_number, format_percent
from vqvae2.studio.code_atlas import AtlasShelf, CodeAtlas
from vqvae2.studio.code_editing import Editing, amplified_difference, cell_at, clickable_map
from vqvae2.studio.context import StudioContext
from vqvae2.studio.page_parts import figure, figure_row, note, part, report_html

__all__ = ["build", "code_html", "edited_html", "usage_html"]

_INTRO = """Each level has a codebook. Pick a code, by its tile or its number, to see the places in real images that it
stands for, and what the decoder makes of it alone. Below, click a cell of an image's codes and put another code
there."""
_NEAREST = "The framed cells have the code. They are sorted by how near the encoder's output is to the code's vector."
_CHARTS = threading.Lock()  # held while a chart is drawn: matplotlib's settings are global to the process


def build(context: StudioContext, decoder: gr.Radio) -> None:
    """Lay out the tab; all that codes decode to is by the decoder."""
    views = _Views(context)
    tab = Context.block
    assert isinstance(tab, gr.Tab)
    gr.Markdown(_INTRO, elem_classes="intro")
    with gr.Row():
        sets = list(views.shelf.sets)
        chosen_set = gr.Dropdown(sets, value=sets[0], label="images", elem_id="codebook-set")
        levels = [(name, index) for index, name in enumerate(context.pipeline.tokenizer.config.level_names)]
        level = gr.Radio(levels, value=0, label="level", elem_id="codebook-level")
        code = gr.Slider(0, views.last_code, step=1, precision=0, label="code number", elem_id="codebook-code")
    what: list[gr.components.Component] = [decoder, chosen_set, level]
    seen = _build_codebook(views, what, code)
    gr.Markdown("### Change a code")
    image, edited = _build_editing(views, what, code)
    editing, is_begun = edited[0], gr.State(False)

    def begin(decoder: DecoderName, set_name: str, level: int, was_begun: bool) -> Any:
        if was_begun:  # a visitor returns to what was there
            return gr.skip()
        return True, *change_set(decoder, set_name, level)

    def change_set(decoder: DecoderName, set_name: str, level: int) -> tuple[Any, ...]:
        return *views.level(decoder, set_name, level), *views.start_over(decoder, set_name, level)

    def change_level(decoder: DecoderName, set_name: str, level: int, image: int, before: Editing) -> tuple[Any, ...]:
        return *views.level(decoder, set_name, level), *views.editing(decoder, set_name, level, before.at(image))

    def change_decoder(
        decoder: DecoderName, set_name: str, level: int, code: int, before: Editing, was_begun: bool
    ) -> Any:
        if not was_begun:
            return gr.skip()
        return *views.level(decoder, set_name, level, code), *views.editing(decoder, set_name, level, before)

    # `input` and `select` fire on what a visitor does, not on what these functions change.
    tab.select(begin, [*what, is_begun], [is_begun, *seen, image, *edited])
    chosen_set.input(change_set, what, [*seen, image, *edited])
    inputs = [*what, code, editing, is_begun]
    decoder.input(change_decoder, inputs, [*seen, *edited], trigger_mode="always_last")
    level.input(change_level, [*what, image, editing], [*seen, *edited])


def _build_codebook(
    views: _Views, what: list[gr.components.Component], code: gr.Slider
) -> list[gr.components.Component]:
    """Lay out what is seen of a level's codebook, which `views.level` fills."""
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            usage = report_html("codebook-usage")
        with gr.Column(scale=3, min_width=320):
            gr.Markdown("What each code looks like, the most used first. Click one:")
            sheet = _clickable("what each code looks like", elem_id="codebook-sheet")
    about = report_html("codebook-about")

    def pick_tile(decoder: DecoderName, set_name: str, level: int, event: gr.SelectData) -> tuple[int, str]:
        code = views.shelf[decoder, set_name].sheets[level].code_at(event.index)
        return code, views.about(decoder, set_name, level, code)

    code.input(views.about, [*what, code], about, trigger_mode="always_last", show_progress="minimal")
    sheet.select(pick_tile, what, [code, about])
    return [usage, sheet, code, about]


def _build_editing(
    views: _Views, what: list[gr.components.Component], code: gr.Slider
) -> tuple[gr.Slider, list[gr.components.Component]]:
    """Lay out an image whose codes can be changed: the choice of the image, and what `views.editing` fills."""
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            image = gr.Slider(0, 1, value=0, step=1, precision=0, label="image number", elem_id="edit-image")
            gr.Markdown("Its codes, one colour per code. Click a cell:")
            code_map = _clickable("the codes of the image", elem_id="edit-map")
        with gr.Column(scale=3, min_width=320):
            cell_code = gr.Slider(
                0, views.last_code, step=1, label="code of the cell", interactive=False, elem_id="edit-code"
            )
            with gr.Row():
                put = gr.Button("Use the code picked above", elem_id="edit-put")
                undo = gr.Button("Undo all", elem_id="edit-undo")
            changed = report_html("edit-result")
    editing = gr.State(Editing())
    outputs = [editing, code_map, cell_code, changed]

    def change_image(decoder: DecoderName, set_name: str, level: int, image: int, before: Editing) -> tuple[Any, ...]:
        return views.editing(decoder, set_name, level, before.at(image))

    def pick_cell(
        decoder: DecoderName, set_name: str, level: int, before: Editing, event: gr.SelectData
    ) -> tuple[Any, ...]:
        cell = cell_at(event.index, views.shelf[decoder, set_name].codes.shapes[level])
        return views.editing(decoder, set_name, level, replace(before, cell=cell))

    def change_cell(decoder: DecoderName, set_name: str, level: int, code: float, before: Editing) -> tuple[Any, ...]:
        return views.editing(decoder, set_name, level, before.with_code(level, int(code)))

    image.input(change_image, [*what, image, editing], outputs, trigger_mode="always_last")
    code_map.select(pick_cell, [*what, editing], outputs)
    cell_code.input(change_cell, [*what, cell_code, editing], outputs, trigger_mode="always_last")
    put.click(change_cell, [*what, code, editing], outputs)
    undo.click(views.start_over, what, [image, *outputs])
    return image, outputs


def _clickable(label: str, *, elem_id: str) -> gr.Image:
    return gr.Image(
        label=label,
        show_label=False,
        format="png",
        interactive=False,
        buttons=[],
        elem_id=elem_id,
        elem_classes="pixels",
    )


class _Views:
    """Makes what the tab shows, as values of its components."""

    def __init__(self, context: StudioContext) -> None:
        self._context, self.shelf = context, AtlasShelf(context)
        self.last_code = context.pipeline.tokenizer.config.quantizer.num_embeddings - 1

    def level(self, decoder: DecoderName, set_name: str, level: int, code: int | None = None) -> tuple[Any, ...]:
        """Show the codebook of a level, and one of its codes; None chooses one."""
        atlas = self.shelf[decoder, set_name]
        sheet = atlas.sheets[level]
        code = sheet.first_code() if code is None else code
        name = self._context.pipeline.tokenizer.config.level_names[level]
        return usage_html(atlas, level, name=name), sheet.pixels, code, self.about(decoder, set_name, level, code)

    def about(self, decoder: DecoderName, set_name: str, level: int, code: int) -> str:
        """Show what a code stands for."""
        atlas = self.shelf[decoder, set_name]  # first, since it may take a turn of its own
        with self._context.turns.take():
            return code_html(atlas, level, code)

    def start_over(self, decoder: DecoderName, set_name: str, level: int) -> tuple[Any, ...]:
        """Show the first image of a set, unchanged."""
        atlas = self.shelf[decoder, set_name]
        return gr.Slider(value=0, maximum=len(atlas.pixels) - 1), *self.editing(decoder, set_name, level, Editing())

    def editing(self, decoder: DecoderName, set_name: str, level: int, editing: Editing) -> tuple[Any, ...]:
        """Show an image and what was changed."""
        atlas = self.shelf[decoder, set_name]
        codes = atlas.codes.select(slice(editing.image, editing.image + 1))
        edited = editing.apply(codes)
        with self._context.turns.take():
            before, after = atlas.decode(Codes.concatenate([codes, edited]))
        if editing.cell is None:
            current, label = 0, "code of the cell"
        else:
            row, column = editing.cell
            current, label = int(edited[level][0, row, column]), f"code of the cell in row {row}, column {column}"
        slider = gr.Slider(value=current, interactive=editing.cell is not None, label=label)
        html = edited_html(atlas.pixels[editing.image], before, after, num_edits=len(editing.edits))
        return editing, clickable_map(edited, level, cell=editing.cell), slider, html


def usage_html(atlas: CodeAtlas, level: int, *, name: str) -> str:
    """Show how much of a codebook is in use."""
    usage = atlas.usages[level]
    counts = usage.counts.numpy()
    cells, images = format_count(int(counts.sum())), format_count(len(atlas.pixels))
    entries = [
        card("in use", format_percent(usage.usage), f"{usage.dead_codes} of {len(counts)} codes never occur"),
        card("perplexity", format_number(usage.perplexity), "this many equally frequent codes would be as varied"),
    ]
    title = f"{name}: {cells} cells of {images} images"
    with _CHARTS:
        chart = usage_chart("studio-usage", title, counts, color=f"level-{level % 4}")
    return part(cards(entries), chart)


def code_html(atlas: CodeAtlas, level: int, code: int) -> str:
    """Show what a code stands for."""
    above = "" if level == 0 else ", under the codes above that go with it most often"
    shown = figure("alone", f"everywhere in an image{above}", atlas.alone(level, code))
    total = int(atlas.usages[level].counts[code])
    if not total:
        return part(f"<p><b>Code {code}</b> occurs in none of these images.</p>", f'<div class="row">{shown}</div>')
    rank = int(np.flatnonzero(atlas.most_used(level) == code)[0]) + 1
    cells = f"{format_count(total)} of {format_count(atlas.codes[level].numel())} cells"
    patches = enumerate(atlas.patches(level, code), start=1)
    tags = "".join(image_tag(patch, alt=f"cell {number}") for number, patch in patches)
    return part(
        f"<p><b>Code {code}</b>, number {rank} by use, stands for {cells}.</p>",
        f'<div class="row">{shown}<div class="samples">{tags}</div></div>',
        note(_NEAREST),
    )


def edited_html(original: np.ndarray, before: np.ndarray, after: np.ndarray, *, num_edits: int) -> str:
    """Show an image, what its codes decode to before and after a change, and the difference."""
    figures = [("image", "", original), ("from its codes", "", before)]
    if not num_edits:
        return part(figure_row(figures), note("Click a cell, and choose another code for it."))
    difference, factor = amplified_difference(before, after)
    figures.append(("changed", f"{num_edits} change{'s' if num_edits > 1 else ''}", after))
    figures.append(("difference", f"times {format_number(factor)}", difference))
    share = format_percent(float((before != after).any(axis=2).mean()))
    return part(figure_row(figures), note(f"{share} of the pixels have changed."))
