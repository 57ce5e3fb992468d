"""What a run at the paper's scale costs: arithmetic, time, memory, disk, network and reading.

    python benchmarks/scaling_plan.py
    python benchmarks/scaling_plan.py --tables hours network --peak 312 --cards 8 --utilisation 0.35
    python benchmarks/scaling_plan.py --tables --measure --threads 1

What is counted comes from the package's own models. Times of accelerators are extrapolated, nothing of them is
measured: multiplications divided by the peak of a card times the share of it that is assumed to be reached. The
defaults are an H100 SXM: 989 TFLOP/s in bfloat16, 67 in float32, 80 GB at 3.35 TB/s; an A100 has 312, 19.5, 80 and 2.0.
`--measure` times this machine's CPU too, on networks as wide, but one layer deep.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

import torch
from machine import describe_machine
from scaling_counts import attention_macs, convolution_macs
from scaling_measure import measure_decoding, measure_products, measure_steps, shallow
from scaling_tables import DATASETS, TABLES, Hardware, Plan, Row, make_plan

from vqvae2.config.presets import PRESETS


def measure(plan: Plan, *, peaks: dict[str, float]) -> list[Row]:
    """Time shallow copies of a plan's models, at batch 1."""
    rows = []
    for stage in plan.stages:
        measured = measure_steps(shallow(stage), batch_size=1)
        for dtype in ("float32", "bfloat16"):
            rate = measured[dtype]["macs_a_second"]
            rows.append(
                {
                    "stage": stage.name,
                    "type": dtype,
                    "G multiply-adds a step": measured["step_macs"] / 1e9,
                    "step, s": measured[dtype]["seconds"],
                    "G multiply-adds a second": rate / 1e9,
                    "of the peak": f"{100.0 * rate / peaks[dtype]:.0f} %",
                }
            )
    return rows


def print_table(rows: list[Row]) -> None:
    """Print rows as a table in Markdown."""
    names = list({name: None for row in rows for name in row})
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(_shown(row.get(name, "")) for name in names) + " |")
    print()


def _shown(value: Any) -> str:
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    if value >= 1e9:
        return f"{value:.2e}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def parse() -> tuple[argparse.Namespace, Hardware]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=list(DATASETS))
    parser.add_argument("--tables", nargs="*", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--peak", type=float, default=989.0, help="TFLOP/s of a card in bfloat16, without sparsity")
    parser.add_argument("--peak-float32", type=float, default=67.0, help="the same in float32")
    parser.add_argument("--memory", type=float, default=80.0, help="GB of a card")
    parser.add_argument("--bandwidth", type=float, default=3.35, help="TB/s of a card's memory")
    parser.add_argument("--utilisation", type=float, nargs="+", default=[0.2, 0.35, 0.5], help="shares of the peak")
    parser.add_argument("--cards", type=int, nargs="+", default=[8, 16, 64])
    parser.add_argument("--network", type=float, nargs="+", default=[25.0, 100.0, 400.0], help="Gbit/s of a link")
    parser.add_argument("--decoded", type=float, default=0.0, help="image files that a core decodes a second")
    parser.add_argument("--images", type=int, default=0, help="of presets that are not the paper's")
    parser.add_argument("--classes", type=int, default=0, help="the same")
    parser.add_argument("--measure", action="store_true", help="time this machine's CPU too, for some minutes")
    parser.add_argument("--product", type=int, default=2048, help="side of the matrices whose product gives its peak")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true", help="print JSON in the place of tables")
    arguments = parser.parse_args()
    hardware = Hardware(
        peak=arguments.peak * 1e12,
        peak_float32=arguments.peak_float32 * 1e12,
        memory=arguments.memory * 1e9,
        bandwidth=arguments.bandwidth * 1e12,
        cards=tuple(arguments.cards),
        utilisation=tuple(arguments.utilisation),
        network=tuple(speed * 1e9 for speed in arguments.network),
        decoded_a_second=arguments.decoded,
    )
    return arguments, hardware


def main() -> None:
    arguments, hardware = parse()
    torch.set_num_threads(arguments.threads)
    checks = {"convolution": convolution_macs(), "attention": attention_macs()}
    results: dict[str, Any] = {"hardware": asdict(hardware), "counter and by hand": checks}
    plans = [make_plan(name, images=arguments.images, classes=arguments.classes) for name in arguments.presets]
    for plan in plans:
        results[plan.name] = {name: TABLES[name](plan, hardware) for name in arguments.tables}
    if arguments.measure:
        peaks = measure_products(arguments.product)
        results["machine"] = describe_machine()
        results["peaks"] = [{"type": name, "G multiply-adds a second": rate / 1e9} for name, rate in peaks.items()]
        results["decoding"] = [{"format": name} | row for name, row in measure_decoding().items()]
        for plan in plans:
            results[plan.name]["measured"] = measure(plan, peaks=peaks)
    if arguments.json:
        print(json.dumps(results, indent=1))
        return
    for name, (counted, by_hand) in checks.items():
        print(f"{name}: {counted:,} multiply-adds by the counter, {by_hand:,} by hand")
    for name in ("machine", "peaks", "decoding"):
        if name in results:
            print(f"\n{name}:\n")
            print_table(results[name]) if isinstance(results[name], list) else print(results[name])
    for plan in plans:
        for name, rows in results[plan.name].items():
            print(f"\n{plan.name}, {name}:\n")
            print_table(rows)


if __name__ == "__main__":
    main()
