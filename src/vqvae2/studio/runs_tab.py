"""The tab *Runs*: what a training does, while it does it."""

from __future__ import annotations

import html
import threading
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch

from vqvae2.errors import CheckpointError, ConfigError, DataError, VQVAE2Error
from vqvae2.images import decode_image
from vqvae2.pipeline.config import read_pipeline_config
from vqvae2.report.curves import training_charts
from vqvae2.report.figures import Line, curve, line_chart
from vqvae2.report.pictures import columns_that_fit, shrink, strips
from vqvae2.report.text import escape, format_count, format_number, format_seconds, table
from vqvae2.studio.context import StudioContext
from vqvae2.studio.messages import in_plain_words
from vqvae2.studio.report_parts import current_tab, draw_charts, part, report_html, report_style
from vqvae2.studio.run_view import (
    REPORT_FILE,
    RunView,
    StageView,
    decode_held_out,
    find_runs,
    model_version,
    read_run,
    run_pictures,
    run_version,
)

__all__ = ["Charts", "build", "held_out_html", "named_pictures", "report_frame", "stages_html"]

_INTRO = """The runs in {folder}, the last changed first. Whatever a training logs shows up here within seconds."""
_NO_RUNS = """<p class="note">There is no run in this folder. <code>vqvae2 demo</code> makes one in about five minutes,
<code>vqvae2 run IMAGES --out DIR</code> one of your own images; <code>vqvae2 studio --runs FOLDER</code> looks
elsewhere.</p>"""
_REFRESH_SECONDS = 3.0
_MOST_KEPT_CHARTS = 32
_LARGEST_PIXELS = 128
_MOST_COLUMNS = 8
_MOST_REPORT_BYTES = 2**26


def build(context: StudioContext) -> None:
    """Lay out the tab."""
    report_style()
    folder = "this folder" if context.runs_folder == Path() else f"`{context.runs_folder}`"
    gr.Markdown(_INTRO.format(folder=folder), elem_classes="intro")
    with gr.Row():
        chosen = gr.Dropdown([], label="run", elem_id="runs-choice", scale=3)
        look = gr.Button("Look again", elem_id="runs-look", scale=1)
        report = gr.Button("Open or close its report", elem_id="runs-report", scale=1, interactive=False)
    with gr.Column(visible=False) as frame:
        page = report_html("runs-page")
    stages = report_html("runs-stages")
    curves = report_html("runs-charts")
    held_out = report_html("runs-held-out")
    pictures = gr.Gallery(
        label="its pictures",
        columns=4,
        height="auto",
        interactive=False,
        format="png",
        object_fit="contain",
        visible=False,
        elem_id="runs-pictures",
        elem_classes="pixels",
    )
    version, timer, is_open = gr.State(None), gr.Timer(_REFRESH_SECONDS, active=False), gr.State(False)
    outputs = [version, timer, stages, curves, held_out, pictures, report]
    decoder, charts = _Decoder(context), Charts()

    @in_plain_words
    def refresh(name: str | None, before: object) -> tuple[Any, ...]:
        if name is None:
            return None, gr.Timer(active=False), part(_NO_RUNS), "", "", _gallery([]), gr.Button(interactive=False)
        directory = run_directory(context.runs_folder, name)
        now = (name, run_version(directory), model_version(directory))
        if now == before:
            return tuple(gr.skip() for _ in outputs)
        view = read_run(directory)
        return (
            now,
            gr.Timer(active=not view.is_finished),
            stages_html(view),
            charts.html(view),
            "" if view.is_finished else decoder.html(directory),
            _gallery(named_pictures(directory)),
            gr.Button(interactive=view.is_finished),
        )

    @in_plain_words
    def choose(name: str | None) -> tuple[Any, ...]:
        return *refresh(name, None), *_closed()

    @in_plain_words
    def look_again(name: str | None) -> tuple[Any, ...]:
        runs = find_runs(context.runs_folder)
        name = name if name in runs else next(iter(runs), None)
        return gr.Dropdown(runs, value=name), *choose(name)

    @in_plain_words
    def open_or_close(name: str | None, was_open: bool) -> tuple[Any, ...]:
        if was_open:
            return _closed()
        return True, gr.Column(visible=True), report_frame(run_directory(context.runs_folder, name or ""))

    for trigger in (current_tab().select, look.click):
        trigger(look_again, chosen, [chosen, *outputs, is_open, frame, page], show_progress_on=stages)
    chosen.input(choose, chosen, [*outputs, is_open, frame, page], show_progress_on=stages)
    timer.tick(refresh, [chosen, version], outputs, show_progress="hidden")
    report.click(open_or_close, [chosen, is_open], [is_open, frame, page])


def _closed() -> tuple[Any, ...]:
    return False, gr.Column(visible=False), ""


class _Decoder:
    """Decodes held-out images of runs, anew whenever a run has saved another tokenizer.

    Args:
        context: On whose device.
    """

    def __init__(self, context: StudioContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._last: tuple[object, str] = (None, "")

    def html(self, directory: Path) -> str:
        """Give what `held_out_html` does."""
        version = (directory, model_version(directory))
        with self._lock:
            if self._last[0] != version:
                with self._context.turns.take():
                    self._last = (version, held_out_html(directory, device=self._context.pipeline.device))
            return self._last[1]


def run_directory(runs_folder: Path, name: str) -> Path:
    """Give the folder of a run by its name.

    Raises:
        ConfigError: If there is no run of that name.
    """
    if name not in find_runs(runs_folder):  # a page may ask for any name
        raise ConfigError(f"there is no run {name!r} in {runs_folder} any more; look again")
    return runs_folder / name


def stages_html(view: RunView) -> str:
    """Show how far each training is."""
    rows = [[escape(stage.name), *_stage_cells(stage)] for stage in view.stages]
    header = ["training", "state", "step", "last validation", "seconds a step", "waiting for data"]
    return part(table(header, rows))


def _stage_cells(stage: StageView) -> list[str]:
    steps = format_count(stage.last_step) if stage.log else ""
    if stage.planned_steps is not None:
        steps += f" of {format_count(stage.planned_steps)}"
    last = stage.log[-1] if stage.log else {}
    state = stage.state if stage.seconds is None else f"{stage.state} in {format_seconds(stage.seconds)}"
    return [
        state,
        steps,
        _last_validation(stage),
        *(format_number(last.get(name)) if stage.log else "" for name in ("step_seconds", "data_seconds")),
    ]


def _last_validation(stage: StageView) -> str:
    units = {"validation_mse": "MSE", "validation_nats_per_code": "nats per code"}
    for row in reversed(stage.log):
        for name, unit in units.items():
            if name in row:
                return f"{format_number(row[name])} {unit}"
    return ""


class Charts:
    """Draws the curves of runs, and keeps those of trainings that went no further since."""

    def __init__(self) -> None:
        self._drawn: dict[tuple[Path, int], tuple[object, str]] = {}

    def html(self, view: RunView) -> str:
        """Draw the curves of the report, and for each training how long its steps take."""
        charts = draw_charts(lambda: "".join(self._of_stage(view, number) for number in range(len(view.stages))))
        return part(f'<div class="charts">{charts}</div>' if charts else '<p class="note">Nothing is logged yet.</p>')

    def _of_stage(self, view: RunView, number: int) -> str:
        stage, key = view.stages[number], (view.directory, number)
        state = (stage.last_step, len(stage.log))
        if key not in self._drawn or self._drawn[key][0] != state:
            while len(self._drawn) >= _MOST_KEPT_CHARTS:
                del self._drawn[next(iter(self._drawn))]
            main, more = training_charts(view.report_data(number))
            times = _times_chart(number, stage) if number else ""  # the tokenizer's are among the others
            self._drawn[key] = (state, main + more + times)
        return self._drawn[key][1]


def _times_chart(number: int, stage: StageView) -> str:
    lines = []
    for column, label, color in (
        ("step_seconds", "whole step", "train"),
        ("data_seconds", "of it, waiting for data", "muted"),
    ):
        x, y = curve(stage.log, column)
        lines.append(Line(label=label, x=x, y=y, color=color))
    return line_chart(f"times-{number}", f"{stage.name.capitalize()}: seconds a step", lines)


def held_out_html(directory: Path, *, device: torch.device | str = "cpu") -> str:
    """Show held-out images as the last tokenizer of a run reconstructs them, or why that cannot be."""
    try:
        rows = decode_held_out(directory, device=device)
    except VQVAE2Error as error:
        return part(f'<p class="note">No held-out images can be shown: {escape(error)}.</p>')
    shown = [(label, shrink(pixels, largest=_LARGEST_PIXELS)) for label, pixels in rows]
    columns = columns_that_fit(shown[0][1], most=_MOST_COLUMNS)
    heading = "<h3>Held-out images, from the last tokenizer that was saved</h3>"
    return part(heading, strips([(label, "", pixels[:columns]) for label, pixels in shown]))


def named_pictures(directory: Path) -> list[tuple[np.ndarray, str]]:
    """Read the pictures that a run has made so far, uint8 `(H, W, 3)`, each with what it shows."""
    try:
        classes = read_pipeline_config(directory).classes
    except CheckpointError:
        classes = ()
    pictures = []
    for path, text in run_pictures(directory):
        number = path.stem
        name = classes[int(number)] if number.isdecimal() and int(number) < len(classes) else number
        try:
            pictures.append((decode_image(path.read_bytes(), channels=3), text.replace(number, name)))
        except (OSError, DataError):  # it is being written anew
            continue
    return pictures


def _gallery(pictures: list[tuple[np.ndarray, str]]) -> Any:
    return gr.Gallery(pictures, visible=bool(pictures))


def report_frame(directory: Path) -> str:
    """Put the page of a run's report into a frame of its own, in which nothing may run.

    Raises:
        DataError: If there is none yet, or it is larger than any report.
    """
    try:
        with (directory / REPORT_FILE).open("rb") as file:
            page = file.read(_MOST_REPORT_BYTES + 1)
    except OSError as error:
        raise DataError(f"{directory} has no {REPORT_FILE} yet; it is the last that a run writes") from error
    if len(page) > _MOST_REPORT_BYTES:
        raise DataError(f"{REPORT_FILE} of {directory} is larger than {_MOST_REPORT_BYTES} bytes; open it in a browser")
    content = html.escape(page.decode(errors="replace"), quote=True)
    return (
        f'<iframe sandbox srcdoc="{content}" title="report" '
        'style="width: 100%; height: 80vh; border: 1px solid #8884; border-radius: 6px"></iframe>'
    )
