"""Files as they come from those who mean no good, or from a disk that is failing; seeded."""

import copy
import json
import random
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

HOSTILE_VALUES = [
    *(None, True, False, -1, 0, 1, 2, 3, 255, 65_536, 2**31, 2**63, 10**12, 10**30, -(10**30), 0.5, -0.0, 1e308),
    *("", "x", "ema", "fsq", "transformer", "../../etc/passwd", "\ud800", "a\0b", "x" * 1000),
    *([], {}, [[]], [[[]]], [None], [-1], [1, 2], [10**12, 10**12], [2] * 2000, ["x"], {"a": 1}, {"family": "fsq"}),
]


class Mutator:
    """Changes bytes and JSON at random."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def change_bytes(self, data: bytes) -> bytes:
        """Flip a bit, or replace, insert, drop or cut bytes, more often near the beginning, where headers are."""
        changed = bytearray(data)
        for _ in range(self.random.choice((1, 1, 1, 2, 5))):
            most = self.random.choice((16, 128, 1024, len(changed)))
            place = self.random.randrange(max(1, min(most, len(changed))))
            length = self.random.choice((1, 1, 2, 4, 8, 64))
            if self.random.random() < 0.2 and changed:
                changed[place] ^= 1 << self.random.randrange(8)
                continue
            end = self.random.choice((place, *(place + length,) * 4, len(changed)))
            changed[place:end] = self.random.choice(
                (self.random.randbytes(length), b"\xff" * length, bytes(length), b"")
            )
        return bytes(changed)

    def change_values(self, values):
        """Put something else in a place of nested dictionaries and lists, or take it out, or add something."""
        changed = copy.deepcopy(values)
        for _ in range(self.random.choice((1, 1, 1, 2, 4))):
            holders = [holder for holder in _walk(changed) if holder]
            if not holders:
                return self.random.choice(HOSTILE_VALUES)
            holder = self.random.choice(holders)
            key = self.random.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            kind = self.random.choice(("replace", "replace", "replace", "remove", "add", "copy"))
            if kind == "replace":
                holder[key] = copy.deepcopy(self.random.choice(HOSTILE_VALUES))
            elif kind == "remove":
                del holder[key]
            elif kind == "add" and isinstance(holder, dict):
                holder[self.random.choice(("more", "", "family"))] = copy.deepcopy(self.random.choice(HOSTILE_VALUES))
            elif isinstance(holder, list):
                holder.insert(0, copy.deepcopy(self.random.choice([holder[key], *HOSTILE_VALUES])))
        return changed

    def change_json(self, values) -> bytes:
        """Write changed values, sometimes in a way that JSON lacks, or with a tower of lists in it."""
        text = json.dumps(self.change_values(values))
        kind = self.random.randrange(12)
        if kind == 0:
            text = text.replace("0", self.random.choice(("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000)), 1)
        elif kind == 1:
            text = text.replace("[", "[" * 100_000, 1)
        elif kind == 2:
            text = text.replace("{", '{"a":' * 50_000, 1)
        elif kind == 3:
            return self.change_bytes(text.encode())
        return text.encode()


def _walk(values):
    if isinstance(values, dict | list):
        yield values
        for value in values.values() if isinstance(values, dict) else values:
            yield from _walk(value)


@pytest.fixture
def mutator():
    return Mutator(seed=0)


@pytest.fixture
def foreign_files():
    """Beginnings of files of other kinds, which each reader must refuse."""
    return [
        *(b"", b"\0", b"\0" * 1000, b"\xff" * 1000, b"PK\x03\x04" + b"\0" * 100, b"\x80\x02}q\x00.", b"\x93NUMPY"),
        *(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, b"null", b"[]", b"{}"),
        *(b"1e999", b'"text"', b"\xef\xbb\xbf{}", "ü".encode("latin-1"), b"[" * 1_000_000, b'{"a":' * 100_000),
        *(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", b"../../../etc/passwd"),
        *(b"cos\nsystem\n(S'touch hacked'\ntR.", b"\x00\xe4\x0b\x54\x02\x00\x00\x00{", b"\xff" * 7 + b"\x7f{}"),
    ]


@pytest.fixture
def peak():
    """Measure by how many MiB the memory of the process grows at most, while a block runs."""

    @contextmanager
    def measure():
        result = SimpleNamespace(mib=0.0)
        try:
            Path("/proc/self/clear_refs").write_text("5")  # the highest so far becomes the present
        except OSError:
            pytest.skip("the system does not tell the peak of a process's memory")
        before = _status("VmRSS")
        yield result
        result.mib = (_status("VmHWM") - before) / 1024

    return measure


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
