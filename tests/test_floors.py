"""The architecture: a module imports only from its own floor and those below, and importing does nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vqvae2

SOURCE = Path(vqvae2.__file__).parent
FLOORS = {
    1: {"errors", "system", "codes", "images", "config"},
    2: {"nn", "data", "metrics"},
    3: {"models"},
    4: set(),
    5: {"sampling", "training", "likelihood", "codec"},
    6: {
        "networks",
        "pipeline",
        "runs",
        "evaluation",
        "__init__",
    },
    7: {"report", "studio", "cli", "__main__"},
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names}
MODULES = sorted(SOURCE.rglob("*.py"))


def unit_of(path: Path) -> str:
    """The package's direct child that a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_units(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names.add(node.module)
    return {name.split(".")[1] if "." in name else "__init__" for name in names if name.split(".")[0] == "vqvae2"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path):
    own = FLOOR_OF[unit_of(path)]
    above = {unit for unit in imported_units(path) if FLOOR_OF[unit] > own}
    assert not above, f"{path.relative_to(SOURCE)} is on floor {own}, but imports {above}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_module_is_a_drawer(path):
    assert path.stem not in {"utils", "helpers", "common", "misc"}


def test_all_is_sorted_and_complete():
    assert vqvae2.__all__ == sorted(vqvae2.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert all(hasattr(vqvae2, name) for name in vqvae2.__all__)
    public = {name for name, value in vars(vqvae2).items() if not name.startswith("_") and not _is_module(value)}
    assert public == set(vqvae2.__all__) - {"__version__"}


def _is_module(value: object) -> bool:
    return type(value).__name__ == "module"


def test_importing_has_no_side_effects(tmp_path):
    script = (
        "import torch, random; before = torch.get_rng_state(), random.getstate(), torch.get_default_dtype();"
        "import vqvae2; after = torch.get_rng_state(), random.getstate(), torch.get_default_dtype();"
        "assert torch.equal(before[0], after[0]) and before[1:] == after[1:]"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_module_reads_the_clock_of_the_day(path):
    """It jumps, and trainings that last for days would end or save at a wrong time; `perf_counter` does not."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("time", "time"), ("datetime", "now"), ("date", "today")}
