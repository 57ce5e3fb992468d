"""Every code block of the documentation runs, at toy size and without a network.

A page is read from top to bottom in a folder of its own, as a reader would: what a block makes, the next ones find.
What no block has made, such as a folder of images or the run of an hour, is put there first; which of the two a name
stands for is told by the command that it is given to. Trainings, evaluations and uploads stop at `--dry-run`.
"""

import json
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
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import constants
from torch.distributed.run import get_args_parser

from vqvae2 import FeatureNetwork
from vqvae2.cli.main import _parse, main
from vqvae2.config.presets import PRESETS

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

NOT_RUN = {
    "hf": "a tool of huggingface_hub, which would ask for a token",
    "sbatch": "a cluster's",
    "git": "would need a network",
    "cd": "blocks run in one folder",
    "jupyter": "no dependency; the notebook is run by its own test",
    "mkdocs": "the site is built by a test of its own",
    "studio": "serves until it is stopped; its own tests start it. Its arguments are read",
    "tensorboard": "serves until it is stopped",
}
"""Commands that are not run, and why: the complete list."""

PROVIDED = {
    "run": "images",
    "train-tokenizer": "images",
    "train-classifier": "images",
    "reconstruct": "images",
    "complete": "images",
    "compress": "images",
    "decompress": "files",
    "extract-codes": "run",
    "train-prior": "run",
    "sample": "pipeline",
    "evaluate": "pipeline",
    "push": "pipeline",
    "studio": "pipeline",
    "info": "info",
    "--pipeline": "pipeline",
    "--data": "images",
    "--mask": "mask",
}
"""What a verb's first argument is, and the value of an option."""

_ON_CPU = ["--device=cpu", "--precision=float32"]
ADDED = {
    "demo": ["--dry-run"],
    "run": ["--dry-run"],
    "train-tokenizer": ["--dry-run"],
    "train-classifier": ["--dry-run"],
    "evaluate": ["--dry-run"],
    "push": ["--dry-run"],
    "extract-codes": _ON_CPU,
    "train-prior": ["--stage-minutes=0", "--training.steps=1", "--training.batch-size=4", *_ON_CPU],
    "sample": ["--num-images=2", "--batch-size=16", "--device=cpu"],
    "reconstruct": ["--limit=2", "--device=cpu"],
    "complete": ["--limit=1", "--variants=2", "--device=cpu"],
    "compress": ["--device=cpu"],
    "decompress": ["--device=cpu"],
}
"""What is added to a verb's arguments, so that it takes a second. The last of an option counts."""

PLACEHOLDERS = {"NAME": "flags", "L": "0", "S": "2", "W": "0.1"}
"""Values for words that stand for one."""

SHELLS = ("", "bash", "sh", "console")
_FENCE = re.compile(r"^( *)(`{3,}|~{3,}) *([\w+-]*)(.*)$")
_LOOKS_LIKE_COMMAND = re.compile(r"^(\$ )?(vqvae2|python3?|pip|make|git|hf) \S", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its lines without their common indent, and where the first one stands."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """Read the blocks of a page."""
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        if not (fence := _FENCE.match(line)):
            continue
        indent, mark, language, _ = fence.groups()
        inner: list[str] = []
        for _, line in lines:
            if line.strip() == mark:
                break
            inner.append(line.removeprefix(indent))
        else:
            raise AssertionError(f"{page.name}:{number}: a block that nothing closes")
        yield Block(language, "\n".join(inner) + "\n", number + 1)


def commands(text: str) -> Iterator[list[str]]:
    """Split lines of a shell into commands; variables stay as they are."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=";&|<>")
        lexer.whitespace_split, lexer.commenters = True, "#"
        command: list[str] = []
        is_file = False
        for word in lexer:
            if set(word) <= set(";&|<>"):
                yield command
                command, is_file = [], word[0] in "<>"
            elif is_file:
                is_file = False
            elif command or not re.match(r"\w+=", word):  # a variable that is set for the command
                command.append(word)
        yield command


class Reader:
    """Does what a page says, in an empty folder that is the current one."""

    def __init__(self, folder: Path, toys, capsys) -> None:
        self.folder, self._toys, self._capsys = folder, toys, capsys
        self.names: dict[str, object] = {"__name__": "__main__"}

    def read(self, block: Block, page: Path) -> None:
        """Run a block.

        Raises:
            AssertionError: If it does not do, or is of a kind that nobody has said how to run.
        """
        if block.language == "python":
            self._python(block, page)
        elif block.language in SHELLS:
            self._shell(block)
        elif block.language == "yaml":
            for document in yaml.safe_load_all(block.text):
                for command in _lists(document):
                    if command[0] == "python":
                        self._command(command)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "text":
            if _LOOKS_LIKE_COMMAND.search(block.text):
                raise AssertionError("commands in a block of text; make it one of bash")
        else:
            raise AssertionError(f"no way to run a block of {block.language!r} is known; choose one that is, or add it")

    def _python(self, block: Block, page: Path) -> None:
        for name in re.findall(r"from_pretrained\(\"([^\"]+)\"", block.text):
            if name != "builtin" and "transformers" not in block.text:
                self._toys.provide("pipeline", self.folder / name)
        for name in re.findall(r"open_images\(\"([\w./-]+)\"", block.text):
            self._toys.provide("images", self.folder / name)
        source = "\n" * (block.line - 1) + block.text  # so that a traceback shows the page's lines
        exec(compile(source, str(page), "exec"), self.names)

    def _shell(self, block: Block) -> None:
        if block.text.startswith("#!"):
            checked = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
            assert (checked.returncode, checked.stderr) == (0, "")
            found = [words[words.index("python") :] for words in commands(block.text) if "python" in words]
        elif block.language == "console":
            found = list(commands("".join(line for line in block.text.splitlines(True) if line.startswith("$ "))))
        else:
            found = list(commands(block.text))
        for words in filter(None, found):
            try:
                self._command(words)
            except (AssertionError, SystemExit, KeyError, ValueError, OSError) as error:
                raise AssertionError(f"{shlex.join(words)}: {error}") from error

    def _command(self, words: list[str]) -> None:
        head, *rest = words
        if head in NOT_RUN:
            return
        if head == "vqvae2":
            self._vqvae2(rest)
        elif head in ("python", "python3") and rest[:2] == ["-m", "vqvae2.cli.launch"]:
            self._launch(rest[2:])
        elif head in ("python", "python3") and rest[0].endswith(".py"):
            self._script(rest)
        elif head.endswith(".sh"):
            assert (ROOT / head).stat().st_mode & 0o111, f"{head} is no script"
        elif head == "make":
            assert re.search(rf"^{re.escape(rest[0])}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        elif head in ("pip", ".venv/bin/pip"):
            _check_install(rest)
        else:
            raise AssertionError("no such command is known here; say in `NOT_RUN` why it cannot be run, or how it is")

    def _vqvae2(self, arguments: list[str]) -> None:
        words = [PLACEHOLDERS.get(word.strip("[]"), word.strip("[]")) for word in arguments]
        verb = words[0]
        if verb.startswith("-"):
            self._succeed(words)
            return
        if len(words) > 1 and not words[1].startswith("-"):
            words[1] = self._provide(PROVIDED[verb], words[1], words)
        for place, word in enumerate(words[1:-1], start=2):
            if word in PROVIDED:
                words[place] = self._provide(PROVIDED[word], words[place], words)
        if verb in NOT_RUN:
            _parse(words)
            return
        out = self._out(words)
        if out is not None and "--dry-run" not in ADDED[verb]:
            shutil.rmtree(out, ignore_errors=True)
        if verb == "train-prior":  # one that is trained already would not be trained in another way
            self._forget_priors(self.folder / words[1])
        at_most = ["--threshold=0.01"] if "--threshold" in words else []
        self._succeed([*words, *ADDED.get(verb, []), *at_most])

    def _succeed(self, words: list[str]) -> None:
        self._capsys.readouterr()
        code = main(words)
        printed = self._capsys.readouterr()
        assert code == 0, f"exit code {code}: {(printed.err or printed.out).strip()[-600:]}"

    def _out(self, words: list[str]) -> Path | None:
        given = [words[place + 1] for place, word in enumerate(words) if word == "--out"]
        return self.folder / given[-1] if given else None

    def _provide(self, what: str, name: str, words: list[str]) -> str:
        """Put there what a name stands for; give the name, or another, where it is no path within the folder."""
        if what == "info":
            if name in PRESETS:
                return name
            what = "files" if name.endswith(".vq2") else "images" if "image" in name else "pipeline"
        if what == "images" and (name.startswith(("hub:", "/", "~")) or "{" in name or "*" in name):
            name = "IMAGES"
        if name.startswith(("/", "~")):
            name = Path(name).name
        path = self.folder / name
        if what == "files":
            self._provide_files(path, words)
        elif not (what == "pipeline" and name == "builtin") and not (words[0] == "train-classifier" and name in _RUNS):
            self._toys.provide(what, path)
        elif what == "images":
            self._toys.provide("pipeline", path)
        return name

    def _provide_files(self, path: Path, words: list[str]) -> None:
        if path.exists():
            return
        pipeline = words[words.index("--pipeline") + 1] if "--pipeline" in words else "builtin"
        if pipeline != "builtin":
            self._toys.provide("pipeline", self.folder / pipeline)
        source = self.folder / ".images" / path.with_suffix(".webp").name
        shutil.rmtree(source.parent, ignore_errors=True)
        self._toys.provide("images", source)
        out = path.parent if path.suffix else path
        self._succeed(["compress", str(source), "--pipeline", pipeline, "--out", str(out), "--force", "--device=cpu"])

    def _forget_priors(self, run: Path) -> None:
        if list(run.glob("prior-*")):
            shutil.rmtree(run)
            self._toys.provide("run", run)

    def _launch(self, arguments: list[str]) -> None:
        words = [re.sub(r"\$(\w+|\(\w+\)|\{\w+\})", "2", word) for word in arguments]  # what a cluster sets
        options = get_args_parser().parse_args(words)
        assert (options.module, options.training_script) == (True, "vqvae2")
        self._vqvae2(options.training_script_args)

    def _script(self, arguments: list[str]) -> None:
        """Let a script read its arguments and show its help, in which every option has to be."""
        path = ROOT / arguments[0]
        before = sys.argv, list(sys.path)
        sys.argv, sys.path = [arguments[0], *arguments[1:], "--help"], [str(path.parent), *sys.path]
        try:
            with pytest.raises(SystemExit) as ended:
                runpy.run_path(str(path), run_name="__main__")
        finally:
            sys.argv, sys.path = before
        printed = self._capsys.readouterr()
        assert ended.value.code == 0, printed.err
        for option in (word.split("=")[0] for word in arguments if word.startswith("--")):
            assert option in printed.out, f"{option} is no option of {arguments[0]}"


_RUNS = ("DIR", "RUN", "vqvae2-demo")


def _lists(value: object) -> Iterator[list[str]]:
    """Give all lists of words in what YAML holds."""
    if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _lists(inner)


def _check_install(arguments: list[str]) -> None:
    """Look whether the extras that are named are there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = {extra for word in arguments for group in re.findall(r"\[(.*)\]", word) for extra in group.split(",")}
    assert arguments[0] == "install"
    assert extras <= set(project["project"]["optional-dependencies"]), f"no such extras: {sorted(extras)}"
    groups = [arguments[place + 1] for place, word in enumerate(arguments) if word == "--group"]
    assert set(groups) <= set(project["dependency-groups"])


class _Transformer(torch.nn.Module):
    """Of the shape of a vision transformer of the package `transformers`, which is no dependency."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = torch.nn.Conv2d(3, 8, 16, stride=16)

    def forward(self, images):
        return types.SimpleNamespace(last_hidden_state=self.patches(images).flatten(2).mT)


class _ForImageClassification(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.vit, self.classifier = _Transformer(), torch.nn.Linear(8, 10)

    @classmethod
    def from_pretrained(cls, name):
        return cls()


@pytest.fixture
def reader(tmp_path, toys, capsys, monkeypatch):
    """Somebody who reads a page, without a network, and has `transformers`."""

    def refuse(*arguments):
        raise OSError("the documentation is read without a network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    transformers = types.ModuleType("transformers")
    transformers.ViTForImageClassification = _ForImageClassification
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    monkeypatch.chdir(tmp_path)
    return Reader(tmp_path, toys, capsys)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_says_can_be_done(page, reader):
    failures = []
    for block in blocks(page):
        try:
            reader.read(block, page)
        except Exception as error:  # whatever it is, the other blocks are of interest too
            failures.append(f"{page.relative_to(ROOT)}:{block.line}: {type(error).__name__}: {error}")
    assert not failures, "\n\n".join(failures)
    for value in list(reader.names.values()):
        if isinstance(value, FeatureNetwork):  # a network of one's own has to give what is asked of it
            output = value.module(torch.rand(2, 3, 64, 64))
            assert (len(output.logits), output.features.ndim) == (2, 2)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("", "vqvae2 sample DIR --out samples --no-such-option 1"),
        ("bash", "vqvae2 no-such-verb"),
        ("bash", "no-such-command"),
        ("bash", "make no-such-target"),
        ("bash", "pip install '.[no-such-extra]'"),
        ("bash", "python benchmarks/no_such_script.py"),
        ("bash", "python benchmarks/tokenizer.py quantizer --no-such-option 1"),
        ("bash", "python benchmarks/tokenizer.py no-such-part"),
        ("bash", "python -m vqvae2.cli.launch --nproc-per-node 8 -m vqvae2 run IMAGES --out DIR --no-such-option"),
        ("sh", "#!/bin/bash\nif"),
        ("console", "$ vqvae2 info DIR --no-such-option"),
        ("python", "from vqvae2 import no_such_name"),
        ("json", "{"),
        ("yaml", "a: ["),
        ("text", "vqvae2 sample DIR"),
        ("no-such-language", ""),
    ],
)
def test_a_block_that_is_wrong_is_found(reader, tmp_path, language, text):
    page = tmp_path / "page.md"
    page.write_text(f"A page.\n\n```{language}\n{text}\n```\n")
    with pytest.raises(Exception, match=r"."):
        reader.read(next(blocks(page)), page)


def test_a_block_that_is_not_closed_is_found(tmp_path):
    (tmp_path / "page.md").write_text("```python\n1\n")
    with pytest.raises(AssertionError, match=r"page.md:1: a block that nothing closes"):
        list(blocks(tmp_path / "page.md"))
