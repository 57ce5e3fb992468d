"""How long a visitor of the studio waits: for the first picture on the page, and for a batch of samples.

    python benchmarks/studio.py

The studio's command and a headless Chromium run on this machine. The first picture counts from the start of the
command, with the browser already running, until the page has loaded a reconstruction. The samples are 16 images of the
pipeline's size, from the click on Draw until the finished grid is loaded; nothing else uses the page before.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from machine import describe_machine

sys.path.append(str(Path(__file__).parents[1] / "scripts"))

from studio_browser import open_browser, open_page, open_tab, start_studio, wait_for_pictures  # above

_SAMPLES = 16
_SECONDS = 600.0


def measure(pipeline: str, *, device: str, draws: int) -> dict[str, Any]:
    """Start a studio once, wait for its first picture, and draw some batches."""
    with (
        open_browser() as browser,
        TemporaryDirectory() as runs,
        start_studio(pipeline, "--runs", runs, "--device", device) as studio,
    ):
        address = time.perf_counter() - studio.started
        context = browser.new_context()
        context.set_default_timeout(1000 * _SECONDS)
        page = open_page(context, studio)
        wait_for_pictures(page.locator("#reconstruct-pictures"), at_least=2, seconds=_SECONDS)
        first_picture = time.perf_counter() - studio.started
        open_tab(page, "Sample")
        page.locator("#sample-count input[type=number]").fill(str(_SAMPLES))
        seconds = []
        for seed in range(draws):
            page.locator("#sample-seed input").fill(str(seed))
            start = time.perf_counter()
            page.locator("#sample-draw").click()
            page.get_by_text(f"{_SAMPLES} images of seed {seed}").wait_for()
            wait_for_pictures(page.locator("#sample-grid"))
            seconds.append(time.perf_counter() - start)
    return {"address_seconds": address, "first_picture_seconds": first_picture, "samples_seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", default="builtin")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=3, help="starts of the studio")
    parser.add_argument("--draws", type=int, default=3, help="batches of samples a start")
    parser.add_argument("--out", type=Path, help="JSON to write")
    arguments = parser.parse_args()
    rounds = [
        measure(arguments.pipeline, device=arguments.device, draws=arguments.draws) for _ in range(arguments.rounds)
    ]
    draws = [seconds for one in rounds for seconds in one["samples_seconds"]]
    print(f"machine: {describe_machine()}")
    for name, values in (
        ("the command says its address", [one["address_seconds"] for one in rounds]),
        ("the first picture is on the page", [one["first_picture_seconds"] for one in rounds]),
        (f"{_SAMPLES} samples are drawn and shown", draws),
    ):
        middle, least, most = statistics.median(values), min(values), max(values)
        print(f"{name}: {middle:.2f} s, the median of {len(values)} ({least:.2f} to {most:.2f} s)")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps({"machine": describe_machine(), "rounds": rounds}, indent=2) + "\n")


if __name__ == "__main__":
    main()
