#!/usr/bin/env python3
"""Make the built-in set, `src/vqvae2/data/emoji64/images.zip`, from the public npm package of Fluent emoji.

    npm pack @lobehub/fluent-emoji-3d && tar xzf lobehub-fluent-emoji-3d-*.tgz
    python scripts/make_builtin_data.py package/assets /usr/share/unicode/emoji/emoji-test.txt

The second file, with the Unicode groups that become classes, is part of Debian's package `unicode-data`.
The same input gives the same bytes.
"""

import io
import re
import sys
import zipfile
from pathlib import Path

from PIL import Image

SIZE = 64
OUT = Path(__file__).parent.parent / "src" / "vqvae2" / "data" / "emoji64" / "images.zip"
SKIN_TONES = {f"{code:x}" for code in range(0x1F3FB, 0x1F400)}
VARIATION_SELECTOR = "fe0f"  # asks for the coloured form; names carry it or not


def main(assets: Path, emoji_test: Path) -> None:
    groups = read_groups(emoji_test)
    written = 0
    with zipfile.ZipFile(OUT, "w", zipfile.ZIP_STORED) as archive:  # WebP does not shrink further
        for path in sorted(assets.glob("*.webp")):
            points = path.stem.lower().split("-")
            group = groups.get(without_selector(points))
            if group is None or SKIN_TONES & set(points):
                continue
            entry = zipfile.ZipInfo(f"{group}/{path.stem}.webp", date_time=(2020, 1, 1, 0, 0, 0))
            archive.writestr(entry, convert(path))
            written += 1
    print(f"{written} images, {OUT.stat().st_size / 1e6:.1f} MB, in {OUT}")


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


def convert(path: Path) -> bytes:
    """Lay an emoji on a white square of the wanted size, and encode it without loss."""
    image = Image.open(path).convert("RGBA")
    side = max(image.size)
    square = Image.new("RGBA", (side, side), "white")
    square.alpha_composite(image, ((side - image.width) // 2, (side - image.height) // 2))
    buffer = io.BytesIO()
    small = square.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    small.save(buffer, "WEBP", lossless=True, quality=100, method=6)
    return buffer.getvalue()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
