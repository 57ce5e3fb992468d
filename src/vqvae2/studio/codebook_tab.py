"""The tab *Codebook*: which codes are used, what each stands for, and what happens if one is changed."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Any

import gradio as gr
import numpy as np

from vqvae2.report.figures import usage_chart
from vqvae2.report.frame import card, cards
from vqvae2.report.pictures import image_tag
from vqvae2.report.text import escape, format_count, format_number, format_percent
from vqvae2.studio.code_atlas import (
    CodeAtlas,
    Patches,
    code_alone,
    codebook_sheet,
    make_atlas,
    patches_of_code,
    sheet_columns,
)
from vqvae2.studio.code_editing import CellEdit, EditedImage, apply_edits, cell_at, clickable_map, decode_edited
from vqvae2.studio.context import StudioContext
from vqvae2.studio.image_sets import find_image_sets
from vqvae2.studio.messages import in_plain_words
from vqvae2.studio.pictures import enlarge
from vqvae2.studio.report_parts import (
    current_tab,
    draw_charts,
    figure,
    figure_row,
    part,
    report_html,
    report_style,
)

__all__ = ["AtlasShelf", "Editing", "build", "code_at", "code_html", "edited_html", "first_code", "usage_html"]

_INTRO = """Each level has a codebook. Pick a code, by its tile or its number, to see the places in real images that
it stands for, and what the decoder makes of it alone. Below, click a cell of an image's codes and put another code
there."""
_SHEET_PIXELS = 520  # of a sheet's width
_MOST_SHELVED = 3
_MOST_FIRST = 64  # codes among which the one is chosen that is shown first


@dataclass(frozen=True, eq=False)
class _Shelved:
    atlas: CodeAtlas
    sheets: tuple[np.ndarray, ...]
    """Enlarged, one a level."""


class AtlasShelf:
    """Atlases of sets of images, each made when it is first asked for; the last few are kept.

    Args:
        context: Whose pipeline makes the codes.
    """

    def __init__(self, context: StudioContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._shelf: dict[str, _Shelved] = {}
        self.sets = find_image_sets(context.pipeline, context.source, context.runs_folder)

    def atlas(self, name: str) -> CodeAtlas:
        """Give the atlas of a set."""
        return self._take(name).atlas

    def sheet(self, name: str, level: int) -> np.ndarray:
        """Give the sheet of a level, enlarged: uint8 `(H, W, 3)`."""
        return self._take(name).sheets[level]

    def _take(self, name: str) -> _Shelved:
        with self._lock:
            if name not in self._shelf:
                images, pipeline = self.sets[name](), self._context.pipeline
                with self._context.turns.take():
                    atlas = make_atlas(pipeline, images)
                    sheets = [codebook_sheet(pipeline, atlas, level) for level in range(len(atlas.codes))]
                enlarged = tuple(enlarge(sheet, max(1, round(_SHEET_PIXELS / sheet.shape[1]))) for sheet in sheets)
                while len(self._shelf) >= _MOST_SHELVED:
                    del self._shelf[next(iter(self._shelf))]
                self._shelf[name] = _Shelved(atlas, enlarged)
            return self._shelf[name]


@dataclass(frozen=True)
class Editing:
    """What one visitor has changed."""

    image: int = 0
    cell: tuple[int, int] | None = None
    """Row and column of the cell that is chosen, on the level that is shown."""
    edits: tuple[CellEdit, ...] = field(default=())


def build(context: StudioContext) -> None:
    """Lay out the tab."""
    shelf = AtlasShelf(context)
    names = context.pipeline.tokenizer.config.level_names
    first_set = next(iter(shelf.sets))
    sizes = context.pipeline.tokenizer.config.codebook_sizes
    report_style()
    gr.Markdown(_INTRO, elem_classes="intro")
    with gr.Row():
        chosen_set = gr.Dropdown(list(shelf.sets), value=first_set, label="images", elem_id="codebook-set")
        level = gr.Radio(
            [(name, index) for index, name in enumerate(names)], value=0, label="level", elem_id="codebook-level"
        )
        code = gr.Slider(0, sizes[0] - 1, value=0, step=1, label="number of the code", elem_id="codebook-code")
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            usage = report_html("codebook-usage")
        with gr.Column(scale=3, min_width=320):
            gr.Markdown("What each code looks like, the most used first. Click one:")
            sheet = gr.Image(
                label="what each code looks like",
                show_label=False,
                format="png",
                interactive=False,
                buttons=[],
                elem_id="codebook-sheet",
                elem_classes="pixels",
            )
    about = report_html("codebook-about")
    gr.Markdown("### Change a code")
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            image = gr.Slider(0, 1, value=0, step=1, label="number of the image", elem_id="edit-image")
            gr.Markdown("Its codes, each in a colour of its own. Click a cell:")
            code_map = gr.Image(
                label="the codes of the image",
                show_label=False,
                format="png",
                interactive=False,
                buttons=[],
                elem_id="edit-map",
                elem_classes="pixels",
            )
        with gr.Column(scale=3, min_width=320):
            cell_code = gr.Slider(
                0, sizes[0] - 1, value=0, step=1, label="code of the cell", interactive=False, elem_id="edit-code"
            )
            with gr.Row():
                put = gr.Button("Put the code from above there", elem_id="edit-put")
                undo = gr.Button("Undo all", elem_id="edit-undo")
            changed = report_html("edit-result")
    editing, is_begun = gr.State(Editing()), gr.State(False)

    views = _Views(context, shelf)
    of_codebook: dict[str, Any] = {"inputs": [chosen_set, level, code], "show_progress": "minimal"}
    edit_outputs = [editing, code_map, cell_code, changed]

    @in_plain_words
    def show_level(set_name: str, level: int) -> tuple[Any, ...]:
        code = first_code(shelf.atlas(set_name), level, sheet=shelf.sheet(set_name, level))
        sliders = gr.Slider(value=code, maximum=sizes[level] - 1)
        return (*views.codebook(set_name, level), sliders, views.about(set_name, level, code))

    @in_plain_words
    def show_editing(set_name: str, level: int, image: int, before: Editing) -> tuple[Any, ...]:
        kept = replace(before, cell=None) if image == before.image else Editing(image)
        return views.editing(set_name, level, kept)

    @in_plain_words
    def start_over(set_name: str, level: int) -> tuple[Any, ...]:
        last = len(shelf.atlas(set_name).pixels) - 1
        return (gr.Slider(value=0, maximum=last), *views.editing(set_name, level, Editing()))

    @in_plain_words
    def pick_tile(set_name: str, level: int, event: gr.SelectData) -> tuple[int, str]:
        atlas = shelf.atlas(set_name)
        code = code_at(_point(event), atlas, level, sheet=shelf.sheet(set_name, level))
        return code, views.about(set_name, level, code)

    @in_plain_words
    def pick_cell(set_name: str, level: int, before: Editing, event: gr.SelectData) -> tuple[Any, ...]:
        shape = shelf.atlas(set_name).codes.shapes[level]
        return views.editing(set_name, level, replace(before, cell=cell_at(_point(event), shape)))

    @in_plain_words
    def change_cell(set_name: str, level: int, code: int, before: Editing) -> tuple[Any, ...]:
        if before.cell is None:
            raise gr.Error("Click a cell of the codes first.", title="No cell is chosen", duration=8)
        edit = CellEdit(level, *before.cell, int(code))
        return views.editing(set_name, level, replace(before, edits=(*before.edits, edit)))

    @in_plain_words
    def begin(set_name: str, level: int, was_begun: bool) -> tuple[Any, ...]:
        if was_begun:  # a visitor comes back to what was there
            return tuple(gr.skip() for _ in (is_begun, *shown, image, *edit_outputs))
        return True, *show_level(set_name, level), *start_over(set_name, level)

    @in_plain_words
    def change_set(set_name: str, level: int) -> tuple[Any, ...]:
        return *show_level(set_name, level), *start_over(set_name, level)

    @in_plain_words
    def change_level(set_name: str, level: int, image: int, before: Editing) -> tuple[Any, ...]:
        return *show_level(set_name, level), *show_editing(set_name, level, image, before)

    # Each is started by what a visitor does, never by what this page changes itself.
    shown = [usage, sheet, code, about]
    current_tab().select(begin, [chosen_set, level, is_begun], [is_begun, *shown, image, *edit_outputs])
    chosen_set.input(change_set, [chosen_set, level], [*shown, image, *edit_outputs])
    level.input(change_level, [chosen_set, level, image, editing], [*shown, *edit_outputs])
    code.input(in_plain_words(views.about), outputs=about, trigger_mode="always_last", **of_codebook)
    sheet.select(pick_tile, [chosen_set, level], [code, about])
    image.input(show_editing, [chosen_set, level, image, editing], edit_outputs, trigger_mode="always_last")
    code_map.select(pick_cell, [chosen_set, level, editing], edit_outputs)
    cell_code.input(change_cell, [chosen_set, level, cell_code, editing], edit_outputs, trigger_mode="always_last")
    put.click(change_cell, [chosen_set, level, code, editing], edit_outputs)
    undo.click(start_over, [chosen_set, level], [image, *edit_outputs])


class _Views:
    """Makes what the tab shows."""

    def __init__(self, context: StudioContext, shelf: AtlasShelf) -> None:
        self._context, self._shelf = context, shelf

    def codebook(self, set_name: str, level: int) -> tuple[str, np.ndarray]:
        name = self._context.pipeline.tokenizer.config.level_names[level]
        html = draw_charts(lambda: usage_html(self._shelf.atlas(set_name), level, name=name))
        return html, self._shelf.sheet(set_name, level)

    def about(self, set_name: str, level: int, code: int) -> str:
        atlas, code = self._shelf.atlas(set_name), int(code)
        with self._context.turns.take():
            alone = code_alone(self._context.pipeline, atlas, level, code)
        return code_html(code, atlas, level, patches_of_code(atlas, level, code), alone)

    def editing(self, set_name: str, level: int, editing: Editing) -> tuple[Any, ...]:
        atlas = self._shelf.atlas(set_name)
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
