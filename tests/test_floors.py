"""The architecture: a module imports only from its own floor and those below, and importing does nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vqvae2

SOURCE = Path(vqvae2.__file__).parent
# From the ground up. What stands on one floor imports only from the floors below it.
FLOORS = (
    {"codes", "errors"},
    {"config", "system"},
    {"images", "nn"},
    {"data", "models"},
    {"metrics"},
    {"sampling", "training"},
    {"codec"},
    {"pipeline"},
    {"evaluation", "report"},
    {"runs"},
    {"__init__", "studio"},
    {"cli"},
    {"__main__"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS, 1) for room in rooms}
MODULES = {str(path.relative_to(SOURCE)): ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}


def room_of(module: str) -> str:
    """The package's direct child that a module belongs to."""
    return module.split("/")[0].removesuffix(".py")


def imported_rooms(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add(node.module)
    return {name.split(".")[1] if "." in name else "__init__" for name in names if name.split(".")[0] == "vqvae2"}


def test_imports_point_down():
    upwards = [
        f"{module} (floor {FLOOR_OF[own]}) imports {room} (floor {FLOOR_OF[room]})"
        for module, tree in MODULES.items()
        for own in [room_of(module)]
        for room in imported_rooms(tree) - {own}
        if FLOOR_OF[room] >= FLOOR_OF[own]
    ]
    assert not upwards


def test_no_module_is_a_drawer():
    assert not {Path(module).stem for module in MODULES} & {"utils", "helpers", "common", "misc"}


def test_all_is_sorted_and_complete():
    assert vqvae2.__all__ == sorted(vqvae2.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    told = [node for node in ast.walk(MODULES["__init__.py"]) if isinstance(node, ast.ImportFrom)]
    homes = {alias.asname: node.module for node in told for alias in node.names if node.module.startswith("vqvae2.")}
    assert homes == vqvae2._MODULE_OF  # what type checkers read is what Python does
    assert set(vqvae2.__all__) == homes.keys() <= set(dir(vqvae2))
    assert all(hasattr(vqvae2, name) for name in vqvae2.__all__)
    assert not hasattr(vqvae2, "Painter")


HEAVY = {"accelerate", "torchmetrics", "matplotlib", "pyarrow", "gradio", "scipy", "torch.distributed.fsdp"}


@pytest.mark.parametrize(
    ("statement", "never"),
    [
        ("import vqvae2; dir(vqvae2)", {"torch", "numpy", "pydantic"}),
        ("from vqvae2.cli.main import main; main(['--help']); main(['run', '--no-such'])", {"torch", "numpy"}),
        ("from vqvae2 import Pipeline", HEAVY),
    ],
)
def test_importing_loads_only_what_is_needed(statement, never):
    script = (
        f"{statement}\nimport sys; print([name for name in {sorted(never)} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


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


def test_no_module_reads_the_clock_of_the_day():
    """It jumps, and trainings that last for days would end or save at a wrong time; `perf_counter` does not."""
    clocks = {("time", "time"), ("datetime", "now"), ("date", "today")}
    reads = [
        module
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if (node.value.id, node.attr) in clocks
    ]
    assert not reads
