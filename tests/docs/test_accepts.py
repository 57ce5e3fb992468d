"""The page of what is accepted names tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = sorted(set(re.findall(r"`(tests/\S+\.py)::(\w+)`", (ROOT / "docs" / "accepts.md").read_text())))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_named_test_exists(file, name):
    assert f"def {name}(" in (ROOT / file).read_text()
