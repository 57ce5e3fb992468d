#!/usr/bin/env python3
"""Draw the heads that `heads.mjs` composed: a folder of images for training, or the archive of the built-in ones.

    node scripts/heads.mjs 10000 > heads.jsonl
    python scripts/make_heads.py heads.jsonl --out heads            # PNGs of 64x64 pixels; 8 ms a head
    python scripts/make_heads.py heads.jsonl --out heads128 --size 128 --each 2000
    python scripts/make_heads.py heads.jsonl --each 580 --out src/vqvae2/data/heads64/images.zip

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
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
    import resvg_py  # which nothing else here needs

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


def write_folder(folder: Path, drawn: Iterator[tuple[str, Image.Image]]) -> None:
    """Write them as PNGs."""
    for name, image in drawn:
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)


def write_archive(path: Path, drawn: Iterator[tuple[str, Image.Image]]) -> None:
    """Write them as lossless WebP, in the order of their names and with one date, so that the archive is the same."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # WebP does not shrink further
        for name, image in sorted(drawn, key=lambda head: head[0]):
            encoded = io.BytesIO()
            image.save(encoded, "WEBP", lossless=True, quality=100, method=6)
            archive.writestr(zipfile.ZipInfo(f"{name}.webp", date_time=(2020, 1, 1, 0, 0, 0)), encoded.getvalue())


def main() -> None:
    """Draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="a folder, or a file that ends with .zip")
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--each", type=int, default=10**9, help="heads of each style, at most")
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()

    def counted() -> Iterator[tuple[str, Image.Image]]:
        for name, image in heads(arguments.lines, arguments.each, arguments.size):
            counts[name.split("/")[0]] += 1
            yield name, image

    write = write_archive if arguments.out.suffix == ".zip" else write_folder
    write(arguments.out, counted())
    print(f"{counts.total()} images", dict(sorted(counts.items())))


if __name__ == "__main__":
    main()
