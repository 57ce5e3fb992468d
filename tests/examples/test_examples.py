"""The examples run as they are told to, and the notebook shows pictures."""

import base64
import os
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from vqvae2 import Pipeline, decode_image
from vqvae2.cli.main import main
from vqvae2.data import BuiltinImages

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))


@pytest.fixture
def heads(tmp_path):
    """A folder of nine built-in images, each of another class, in the folder in which scripts are run."""
    source = BuiltinImages()
    (tmp_path / "heads").mkdir()
    for label, name in enumerate(source.classes[:9]):
        first = int(np.flatnonzero(source.labels == label)[0])
        (tmp_path / "heads" / f"{name}.webp").write_bytes(source.read(first))
    return tmp_path / "heads"


@pytest.fixture
def run(heads, monkeypatch, run_script):
    monkeypatch.chdir(heads.parent)
    return lambda name, *arguments: run_script(EXAMPLES / name, *arguments)


def pixels(file: Path) -> np.ndarray:
    return decode_image(file.read_bytes(), channels=3)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_has_at_most_30_lines_and_says_what_it_does(script):
    lines = script.read_text().splitlines()
    assert len(lines) <= 30
    assert lines[0].startswith('"""')


def test_the_list_names_every_example():
    listed = (EXAMPLES / "README.md").read_text()
    assert all(f"]({path.name}) |" in listed for path in [*SCRIPTS, *EXAMPLES.glob("*.ipynb")])


def test_codes_are_exchanged(run, heads):
    out = heads.parent / "exchanged.png"
    assert run("edit_codes.py", heads / "bigEars-long.webp", heads / "micah-bald.webp", "--out", out).startswith(
        str(out)
    )
    picture = pixels(out)
    assert picture.shape == (2 + 3 * 66, 2 + 2 * 66, 3)
    assert np.array_equal(picture[2:66, 2:66], pixels(heads / "bigEars-long.webp"))
    assert not np.array_equal(picture[134:198, 2:66], picture[68:132, 2:66])


def test_codes_are_classified(run, heads):
    for number, path in enumerate(sorted(heads.iterdir())):
        folder = heads / f"class {number % 2}"
        folder.mkdir(exist_ok=True)
        path.rename(folder / path.name)
    assert main(["encode", str(heads), "--pipeline", "builtin", "--out", str(heads.parent / "encoded")]) == 0
    printed = run("classify_codes.py", heads.parent / "encoded" / "codes")
    assert printed.endswith("held-out images are given their class\n")


def test_a_tokenizer_is_trained_and_saved(run, heads):
    first = run("train_tokenizer.py", heads, "--steps", 1)
    last = run("train_tokenizer.py", heads, "--steps", 12)
    assert float(last.split()[-5]) < float(first.split()[-5])
    assert not Pipeline.from_pretrained(heads.parent / "tokenizer").priors


def test_the_notebook_is_kept_without_outputs():
    notebook = nbformat.read(EXAMPLES / "tour.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in cells] == [([], None)] * len(cells)
    assert notebook.metadata.kernelspec.name == "python3"


@pytest.mark.slow
def test_the_notebook_runs_and_shows_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    notebook = nbformat.read(EXAMPLES / "tour.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"stream", "execute_result"}
    shown = [output.data["image/png"] for output in outputs if output.output_type == "execute_result"]
    assert len(shown) == 10
    for picture in shown:
        assert decode_image(base64.b64decode(picture), channels=3).std() > 10  # not all of one colour
