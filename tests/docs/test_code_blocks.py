"""Every code block of the documentation does what it says, without a network.

Python runs, a page's blocks one after the other. Commands are read by the parsers of what they call; those that draw or
code with the built-in pipeline run as well, on two images. Pages speak of folders and files by the names below, which
stand ready in the folder that a page is read in.
"""

import importlib.util
import io
import re
import runpy
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import constants
from torch.distributed.run import get_args_parser

from toy_models import TOY_TOKENIZER
from vqvae2 import VQVAE2, FeatureNetwork, ImageConfig, Pipeline, PipelineConfig, RunConfig
from vqvae2.cli.main import _parse, main
from vqvae2.data import BuiltinImages
from vqvae2.images import encode_png
from vqvae2.runs.record import RunRecord

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
NOT_RUN = {"cd", "hf", "node", "npm", "tensorboard"}  # tools of others
RUNS = ("DIR", "me/photos", "vqvae2-demo", "builtin-run", "fashion-run", "photos-run")
IMAGES = ("IMAGES", "fashion-mnist", "crops256")
PLACEHOLDERS = {"B": "2", "L": "0", "R": "0.1", "S": "2", "W": "0.1"}
RUN = {
    "sample": ["--num-images=2", "--batch-size=16"],
    "complete": ["--limit=1", "--force"],
    "compress": ["--force"],
    "decompress": ["--force"],
    "encode": ["--force"],
    "decode": ["--force"],
    "score": ["--limit=2", "--force"],
    "export": ["--force"],
}
"""Verbs that run with the built-in pipeline, and what makes them take a second."""


class Block(NamedTuple):
    language: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """Read the blocks of a page, without their indent."""
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        if fence := re.match(r"^( *)(`{3,}|~{3,}) *([\w+-]*)", line):
            indent, mark, language = fence.groups()
            inner: list[str] = []
            for _, line in lines:
                if line.strip() == mark:
                    break
                inner.append(line.removeprefix(indent))
            else:
                raise AssertionError(f"{page.name}:{number}: a block that nothing closes")
            yield Block(language, "\n".join(inner) + "\n", number + 1)


def check(block: Block, names: dict[str, object]) -> None:
    """Do what a block says; `names` are those of the page's Python."""
    if block.language == "python":
        exec(compile("\n" * (block.line - 1) + block.text, "page", "exec"), names)
    elif block.language == "yaml":
        for command in _lists(list(yaml.safe_load_all(block.text))):
            check_command(command)
    elif block.language == "text":
        assert not re.search(r"^(\$ )?(vqvae2|python|pip|make) \S", block.text, re.MULTILINE), "make it a block of bash"
    elif block.language in ("", "bash", "sh"):
        is_script = block.text.startswith("#!")
        assert subprocess.run(["bash", "-n"], input=block.text, text=True, check=False).returncode == 0
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line.partition("||")[0], comments=True)
            if is_script:  # a cluster's commands, and the one that these start
                words = words[words.index("python") :] if "python" in words else []
            if words:
                check_command(words)
    else:
        raise AssertionError(f"nobody has said how to check a block of {block.language!r}")


def check_command(words: list[str]) -> None:
    """Have a command's words read by what it starts."""
    head, *rest = words
    if head == "vqvae2":
        check_verb([PLACEHOLDERS.get(word.strip("[]"), word.strip("[]")) for word in rest])
    elif head == "python" and rest[:2] == ["-m", "vqvae2.cli.launch"]:
        set_by_cluster = [re.sub(r"\$(\w+|\(\w+\)|\{\w+\})", "2", word) for word in rest[2:]]
        options = get_args_parser().parse_args(set_by_cluster)
        assert (options.module, options.training_script) == (True, "vqvae2")
        check_verb(options.training_script_args)
    elif head == "python" and rest[0] == "-m":
        assert importlib.util.find_spec(rest[1]), rest[1]
    elif head == "python":
        check_script(*rest)
    elif head == "make":
        assert re.search(rf"^{re.escape(rest[0])}:", (ROOT / "Makefile").read_text(), re.MULTILINE), rest[0]
    elif head == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = {name for word in rest for names in re.findall(r"\[(.*)\]", word) for name in names.split(",")}
        assert extras <= set(project["optional-dependencies"]), extras
    else:
        assert head in NOT_RUN, f"nobody has said how to check `{head}`"


def check_verb(words: list[str]) -> None:
    _parse(words)
    if "builtin" in words and words[0] in RUN:
        device = [] if words[0] == "export" else ["--device=cpu"]
        assert main([*words, *RUN[words[0]], *device]) == 0, words
    elif words[0] == "info":
        assert main(words) == 0, words


def check_script(name: str, *arguments: str) -> None:
    """Let a script show its help, in which every option has to be."""
    path, before, printed = ROOT / name, (sys.argv, list(sys.path)), io.StringIO()
    sys.argv, sys.path = [name, *arguments, "--help"], [str(path.parent), *sys.path]
    try:
        with redirect_stdout(printed), pytest.raises(SystemExit, match=r"^0$"):
            runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv, sys.path = before
    for option in (word.split("=")[0] for word in arguments if word.startswith("--")):
        assert option in printed.getvalue(), f"{option} is no option of {name}"


def _lists(value: object) -> Iterator[list[str]]:
    """Give all commands of Python in what YAML holds."""
    if isinstance(value, list) and value and value[0] == "python":
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _lists(inner)


class Transformer(torch.nn.Module):
    """Of the shape of a vision transformer of the package `transformers`, which is no dependency."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = torch.nn.Conv2d(3, 8, 16, stride=16)

    def forward(self, images):
        return types.SimpleNamespace(last_hidden_state=self.patches(images).flatten(2).mT)

    @classmethod
    def from_pretrained(cls, name):
        return types.SimpleNamespace(vit=cls(), classifier=torch.nn.Linear(8, 10))


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """What pages speak of: a folder with images, a file, a mask, and runs that have begun."""
    desk = tmp_path_factory.mktemp("desk")
    Pipeline(VQVAE2(TOY_TOKENIZER).eval(), PipelineConfig(image_size=(64, 64))).save_pretrained(desk / "pipeline")
    for name in RUNS:
        RunRecord.begin(desk / name, RunConfig(images=ImageConfig(size=(64, 64)), tokenizer=TOY_TOKENIZER))
        shutil.copytree(desk / "pipeline", desk / name, dirs_exist_ok=True)
    builtin_images = BuiltinImages()
    for name in IMAGES:
        for index in (0, 900):
            path = desk / name / str(builtin_images.labels[index]) / builtin_images.names[index]
            path.parent.mkdir(parents=True)
            path.write_bytes(builtin_images.read(index))
    (desk / "photo.png").write_bytes(builtin_images.read(0))
    (desk / "MASK.png").write_bytes(encode_png(np.tri(64, dtype=np.uint8)[..., None] * 255))
    builtin = Pipeline.from_pretrained("builtin")
    (desk / "FILE.vq2").write_bytes(builtin.compress(torch.zeros(3, 64, 64)))
    return desk


@pytest.fixture(autouse=True)
def _without_a_network(desk, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError("the documentation is read without a network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    transformers = types.ModuleType("transformers")
    transformers.ViTForImageClassification = Transformer
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    monkeypatch.chdir(shutil.copytree(desk, tmp_path / "desk"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_says_can_be_done(page):
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        try:
            check(block, names)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{page.relative_to(ROOT)}:{block.line}: {error!r}") from error
    for value in names.values():
        if isinstance(value, FeatureNetwork):  # a network of one's own has to give what is asked of it
            output = value.module(torch.rand(2, 3, 64, 64))
            assert (len(output.logits), output.features.ndim) == (2, 2)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        *(("bash", command) for command in ("vqvae2 no-such-verb", "no-such-command", "make no-such-target")),
        ("bash", "vqvae2 sample DIR --out samples --no-such-option 1"),
        ("bash", "pip install '.[no-such-extra]'"),
        ("bash", "python benchmarks/tokenizer.py quantizer --no-such-option 1"),
        ("bash", "python -m vqvae2.cli.launch --nproc-per-node 8 -m vqvae2 run IMAGES --out DIR --no-such-option"),
        ("sh", "#!/bin/bash\nif"),
        ("python", "from vqvae2 import no_such_name"),
        ("text", "vqvae2 sample DIR"),
        ("no-such-language", ""),
    ],
)
def test_a_block_that_is_wrong_is_found(language, text):
    with pytest.raises((Exception, SystemExit)):
        check(Block(language, text, 1), {})
