#!/usr/bin/env python3
"""Draw the heads that `heads.mjs` composed: a folder of images for training.

    node scripts/heads.mjs 10000 > heads.jsonl
    python scripts/make_heads.py heads.jsonl --out heads            # PNGs of 64x64 pixels; 8 ms a head
    python scripts/make_heads.py heads.jsonl --out heads128 --size 128 --each 2000

Folders are classes: a style and how the hair is worn. File names begin with a hash of all parts but colours, so that
`--images.group-pattern '/([0-9a-f]+)[^/]*$'` keeps heads of the same shapes on one side of the split. The package
`resvg_py` draws. The same lines give the same pixels.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import resvg_py
from PIL import Image

# How the hair is worn, by the start of the name of its part; what no line names is short.
HAIR = {
    "adventurer": {"long": "long"},
    "bigEars": {"long": "long"},
    "bigSmile": {"long": "bangs braids curlyBob straightHair wavyBob", "bun": "bunHair froBun", "bald": "shaved half"},
    "micah": {"long": "full pixie dannyPhantom", "bald": "mrClean dougFunny", "covered": "turban"},
    "openPeeps": {
        "long": "bangs long medium cornrows grayMedium",
        "bun": "bun grayBun bantu",
        "bald": "noHair",
        "covered": "hat hijab turban",
    },
    "personas": {
        "long": "bob extraLong long pigtails sideShave",
        "bun": "curlyBun straightBun bunUndercut",
        "bald": "bald",
        "covered": "beanie cap",
    },
    "toonHead": {"bun": "bun"},
}


def class_of(style: str, parts: dict[str, Any]) -> str:
    """Name the class of a head."""
    hair = parts.get("hair") or parts.get("head") or ""
    if style == "toonHead" and hair != "bun":
        return f"{style}-{'long' if parts.get('rearHair') else 'short'}"
    starts = [(start, worn) for worn, names in HAIR[style].items() for start in names.split() if hair.startswith(start)]
    return f"{style}-{max(starts, key=lambda found: len(found[0]), default=('', 'short'))[1]}"


def name_of(parts: dict[str, Any], index: int) -> str:
    """Name a file by the shapes of a head, and by its number."""
    shapes = {part: chosen for part, chosen in parts.items() if not re.search("color|background", part.lower())}
    return f"{hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()[:10]}-{index}"


def draw(svg: str, size: int) -> Image.Image:
    """Draw on white, at twice the size, and reduce."""
    png = resvg_py.svg_to_bytes(svg_string=svg, width=2 * size, height=2 * size, skip_system_fonts=True)
    head = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    square = Image.new("RGBA", head.size, "white")
    square.alpha_composite(head)
    return square.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)


def heads(lines: Path, each: int, size: int) -> Iterator[tuple[str, Image.Image]]:
    """Draw heads one by one, each with the name of its file; bears are left out."""
    with lines.open(encoding="utf-8") as file:
        for head in map(json.loads, file):
            style, index, parts = head["style"], head["index"], head["parts"]
            if index < each and parts.get("head") != "bear":
                yield f"{class_of(style, parts)}/{name_of(parts, index)}", draw(head["svg"], size)


def main() -> None:
    """Draw them into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--each", type=int, default=10**9, help="heads of each style, at most")
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    for name, image in heads(arguments.lines, arguments.each, arguments.size):
        path = arguments.out / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        counts[path.parent.name] += 1
    print(f"{counts.total()} images", dict(sorted(counts.items())))


if __name__ == "__main__":
    main()
