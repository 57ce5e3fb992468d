"""The tab *Codebook*: which codes are used, what each stands for, and what happens if one is changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
import numpy as np

from vqvae2.errors import ConfigError
from vqvae2.report.figures import usage_chart
from vqvae2.report.frame import card, cards
from vqvae2.report.pictures import image_tag
from vqvae2.report.text import escape, format_count, format_number, format_percent
from vqvae2.studio.atlas_shelf import AtlasShelf
from vqvae2.studio.code_atlas import (
    CodeAtlas,
    Patches,
    code_alone,
    patches_of_code,
    sheet_columns,
)
from vqvae2.studio.code_editing import CellEdit, EditedImage, apply_edits, cell_at, clickable_map, decode_edited
from vqvae2.studio.context import StudioContext
from vqvae2.studio.messages import in_plain_words
from vqvae2.studio.report_parts import (
    current_tab,
    draw_charts,
    figure,
    figure_row,
    part,
    report_html,
    report_style,
)

__all__ = ["Editing", "build", "code_at", "code_html", "edited_html", "first_code", "usage_html"]

_INTRO = """Each level has a codebook. Pick a code, by its tile or its number, to see the places in real images that
it stands for, and what the decoder makes of it alone. Below, click a cell of an image's codes and put another code
there."""
_MOST_FIRST = 64  # codes among which the one is chosen that is shown first


@dataclass(frozen=True)
class Editing:
    """What one visitor has changed."""

    image: int = 0
    cell: tuple[int, int] | None = None
    """Row and column of the cell that is chosen, on the level that is shown."""
    edits: tuple[CellEdit, ...] = ()
    """One a cell."""

    def at(self, image: int) -> Editing:
        """Look at another image, or at another level of the same one."""
        return replace(self, cell=None) if image == self.image else Editing(int(image))

    def with_code(self, level: int, code: int) -> Editing:
        """Put a code into the chosen cell.

        Raises:
            ConfigError: If none is chosen.
        """
        if self.cell is None:
            raise ConfigError("no cell is chosen; click one of the image's codes first")
        edit = CellEdit(level, *self.cell, code)
        others = (other for other in self.edits if other[:3] != edit[:3])
        return replace(self, edits=(*others, edit))


def build(context: StudioContext) -> None:
    """Lay out the tab."""
    views = _Views(context, AtlasShelf(context))
    report_style()
    gr.Markdown(_INTRO, elem_classes="intro")
    with gr.Row():
        sets, names = list(views.shelf.sets), context.pipeline.tokenizer.config.level_names
        chosen_set = gr.Dropdown(sets, value=sets[0], label="images", elem_id="codebook-set")
        levels = [(name, index) for index, name in enumerate(names)]
        level = gr.Radio(levels, value=0, label="level", elem_id="codebook-level")
        code = gr.Slider(0, views.sizes[0] - 1, step=1, label="number of the code", elem_id="codebook-code")
    seen = _build_codebook(views, chosen_set, level, code)
    gr.Markdown("### Change a code")
    image, edited = _build_editing(views, chosen_set, level, code)
    editing, is_begun = edited[0], gr.State(False)

    @in_plain_words
    def begin(set_name: str, level: int, was_begun: bool) -> tuple[Any, ...]:
        if was_begun:  # a visitor comes back to what was there
            return tuple(gr.skip() for _ in (is_begun, *seen, image, *edited))
        return True, *change_set(set_name, level)

    @in_plain_words
    def change_set(set_name: str, level: int) -> tuple[Any, ...]:
        return *views.level(set_name, level), *views.start_over(set_name, level)

    @in_plain_words
    def change_level(set_name: str, level: int, image: int, before: Editing) -> tuple[Any, ...]:
        return *views.level(set_name, level), *views.editing(set_name, level, before.at(image))

    # Each is started by what a visitor does, never by what this page changes itself.
    current_tab().select(begin, [chosen_set, level, is_begun], [is_begun, *seen, image, *edited])
    chosen_set.input(change_set, [chosen_set, level], [*seen, image, *edited])
    level.input(change_level, [chosen_set, level, image, editing], [*seen, *edited])


def _build_codebook(
    views: _Views, chosen_set: gr.Dropdown, level: gr.Radio, code: gr.Slider
) -> list[gr.components.Component]:
    """Lay out what is seen of a level's codebook, which `views.level` gives."""
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            usage = report_html("codebook-usage")
        with gr.Column(scale=3, min_width=320):
            gr.Markdown("What each code looks like, the most used first. Click one:")
            sheet = _clickable("what each code looks like", elem_id="codebook-sheet")
    about = report_html("codebook-about")

    @in_plain_words
    def pick_number(set_name: str, level: int, code: float) -> str:
        return views.about(set_name, level, int(code))

    @in_plain_words
    def pick_tile(set_name: str, level: int, event: gr.SelectData) -> tuple[int, str]:
        atlas = views.shelf.atlas(set_name)
        code = code_at(_point(event), atlas, level, sheet=views.shelf.sheet(set_name, level))
        return code, views.about(set_name, level, code)

    code.input(pick_number, [chosen_set, level, code], about, trigger_mode="always_last", show_progress="minimal")
    sheet.select(pick_tile, [chosen_set, level], [code, about])
    return [usage, sheet, code, about]


def _build_editing(
    views: _Views, chosen_set: gr.Dropdown, level: gr.Radio, code: gr.Slider
) -> tuple[gr.Slider, list[gr.components.Component]]:
    """Lay out an image whose codes can be changed: the choice of the image, and what `views.editing` gives."""
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            image = gr.Slider(0, 1, value=0, step=1, label="number of the image", elem_id="edit-image")
            gr.Markdown("Its codes, each in a colour of its own. Click a cell:")
            code_map = _clickable("the codes of the image", elem_id="edit-map")
        with gr.Column(scale=3, min_width=320):
            cell_code = gr.Slider(
                0, views.sizes[0] - 1, step=1, label="code of the cell", interactive=False, elem_id="edit-code"
            )
            with gr.Row():
                put = gr.Button("Put the code from above there", elem_id="edit-put")
                undo = gr.Button("Undo all", elem_id="edit-undo")
            changed = report_html("edit-result")
    editing = gr.State(Editing())
    outputs = [editing, code_map, cell_code, changed]

    @in_plain_words
    def change_image(set_name: str, level: int, image: int, before: Editing) -> tuple[Any, ...]:
        return views.editing(set_name, level, before.at(image))

    @in_plain_words
    def pick_cell(set_name: str, level: int, before: Editing, event: gr.SelectData) -> tuple[Any, ...]:
        shape = views.shelf.atlas(set_name).codes.shapes[level]
        return views.editing(set_name, level, replace(before, cell=cell_at(_point(event), shape)))

    @in_plain_words
    def change_cell(set_name: str, level: int, code: float, before: Editing) -> tuple[Any, ...]:
        return views.editing(set_name, level, before.with_code(level, int(code)))

    image.input(change_image, [chosen_set, level, image, editing], outputs, trigger_mode="always_last")
    code_map.select(pick_cell, [chosen_set, level, editing], outputs)
    cell_code.input(change_cell, [chosen_set, level, cell_code, editing], outputs, trigger_mode="always_last")
    put.click(change_cell, [chosen_set, level, code, editing], outputs)
    undo.click(in_plain_words(views.start_over), [chosen_set, level], [image, *outputs])
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
    """Makes what the tab shows."""

    def __init__(self, context: StudioContext, shelf: AtlasShelf) -> None:
        self._context, self.shelf = context, shelf
        self.sizes = context.pipeline.tokenizer.config.codebook_sizes

    def level(self, set_name: str, level: int) -> tuple[Any, ...]:
        """Show the codebook of a level, and one of its codes."""
        atlas, sheet = self.shelf.atlas(set_name), self.shelf.sheet(set_name, level)
        name = self._context.pipeline.tokenizer.config.level_names[level]
        code = first_code(atlas, level, sheet=sheet)
        slider = gr.Slider(value=code, maximum=self.sizes[level] - 1)
        usage = draw_charts(lambda: usage_html(atlas, level, name=name))
        return usage, sheet, slider, self.about(set_name, level, code)

    def start_over(self, set_name: str, level: int) -> tuple[Any, ...]:
        """Show the first image of a set as it is."""
        last = len(self.shelf.atlas(set_name).pixels) - 1
        return gr.Slider(value=0, maximum=last), *self.editing(set_name, level, Editing())

    def about(self, set_name: str, level: int, code: int) -> str:
        """Show what a code stands for."""
        atlas = self.shelf.atlas(set_name)
        with self._context.turns.take():
            alone = code_alone(self._context.pipeline, atlas, level, code)
        return code_html(code, atlas, level, patches_of_code(atlas, level, code), alone)

    def editing(self, set_name: str, level: int, editing: Editing) -> tuple[Any, ...]:
        """Show an image and what was changed."""
        atlas = self.shelf.atlas(set_name)
        codes = atlas.codes.select(slice(editing.image, editing.image + 1))
        edited = apply_edits(codes, editing.edits, num_embeddings=atlas.num_embeddings)
        with self._context.turns.take():
            found = decode_edited(self._context.pipeline, codes, edited, size=atlas.pixels.shape[1:3])
        size = atlas.num_embeddings[level]
        picture = clickable_map(edited, level, cell=editing.cell)
        current = 0 if editing.cell is None else int(edited[level][0][editing.cell])
        where = "" if editing.cell is None else " in row {}, column {}".format(*editing.cell)
        slider = gr.Slider(
            value=current, maximum=size - 1, interactive=editing.cell is not None, label=f"code of the cell{where}"
        )
        html = edited_html(atlas.pixels[editing.image], found, num_edits=len(editing.edits))
        return editing, picture, slider, html


def first_code(atlas: CodeAtlas, level: int, *, sheet: np.ndarray) -> int:
    """Choose the code that is shown first: of those that are used most, the one whose tile has the most contrast."""
    order = atlas.most_used(level)
    columns = sheet_columns(len(order))
    side = sheet.shape[1] // columns
    places = [divmod(rank, columns) for rank in range(min(_MOST_FIRST, len(order)))]
    contrast = [
        sheet[row * side : (row + 1) * side, column * side : (column + 1) * side].std(axis=(0, 1)).sum()
        for row, column in places
    ]
    return int(order[int(np.argmax(contrast))])


def _point(event: gr.SelectData) -> tuple[float, float]:
    x, y = event.index
    return float(x), float(y)


def code_at(point: tuple[float, float], atlas: CodeAtlas, level: int, *, sheet: np.ndarray) -> int:
    """Say which code's tile of a sheet `(H, W, 3)` a point lies in, x and y in pixels; the last one if in none."""
    x, y = point
    order = atlas.most_used(level)
    columns = sheet_columns(len(order))
    side = sheet.shape[1] // columns
    return int(order[min(int(y) // side * columns + min(int(x) // side, columns - 1), len(order) - 1)])


def usage_html(atlas: CodeAtlas, level: int, *, name: str) -> str:
    """Show how much of a codebook is in use."""
    usage = atlas.usages[level]
    counts = usage.counts.numpy()
    cells, images = format_count(int(counts.sum())), format_count(len(atlas.pixels))
    entries = [
        card("in use", format_percent(usage.usage), f"{usage.dead_codes} of {len(counts)} codes never occur"),
        card("perplexity", format_number(usage.perplexity), "equally frequent codes would be as varied"),
    ]
    title = f"{name}: {cells} cells of {images} images"
    return part(cards(entries), usage_chart("studio-usage", title, counts, color=f"level-{level % 4}"))


def code_html(code: int, atlas: CodeAtlas, level: int, patches: Patches, alone: np.ndarray) -> str:
    """Show what a code stands for."""
    total = format_count(atlas.codes[level].numel())
    rank = int(np.flatnonzero(atlas.most_used(level) == code)[0]) + 1
    heading = f"<b>Code {code}</b> occurs in none of these images."
    if patches.total:
        cells = f"{format_count(patches.total)} of {total} cells"
        heading = f"<b>Code {code}</b>, number {rank} by use, stands for {cells}."
    above = "" if level == 0 else ", under the codes above that go with it most often"
    shown = figure("alone", f"everywhere in an image{above}", alone)
    tags = "".join(image_tag(patch, alt=f"cell {index}") for index, patch in enumerate(patches.pixels, start=1))
    note = (
        "<p class=\"note\">The framed cells are those of which the encoder's output is nearest to the code's vector, "
        "the nearest first.</p>"
    )
    found = f'<div class="samples">{tags}</div>' if patches.total else ""
    return part(f"<p>{heading}</p>", f'<div class="row">{shown}{found}</div>', note if patches.total else "")


def edited_html(original: np.ndarray, found: EditedImage, *, num_edits: int) -> str:
    """Show an image, what its codes decode to, before and after a change, and the difference."""
    figures = [("image", "", original), ("from its codes", "", found.before)]
    if not num_edits:
        return part(figure_row(figures), '<p class="note">Click a cell, and choose another code for it.</p>')
    edits = f"{num_edits} change{'s' if num_edits > 1 else ''}"
    figures += [
        ("changed", edits, found.after),
        ("difference", f"times {format_number(found.factor)}", found.difference),
    ]
    share = f"{format_percent(found.changed_share)} of the pixels are other ones."
    return part(figure_row(figures), f'<p class="note">{escape(share)}</p>')
