"""How well the cost of codes, or the error of reconstructions, tells images that do not belong from those that do.

    vqvae2 score INSIDE --pipeline RUN --out inside
    vqvae2 score OUTSIDE --pipeline RUN --out outside
    python benchmarks/outliers.py inside outside

prints the area under the curve of hits against false alarms, for each way of ordering the images: 0.5 is chance.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sklearn.metrics import roc_auc_score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inside", type=Path, help="folder of scores of images that belong")
    parser.add_argument("outside", type=Path, help="the same of images that do not")
    arguments = parser.parse_args()
    folders = (arguments.inside, arguments.outside)
    rows = [json.loads((folder / "scores.json").read_text())["images"] for folder in folders]
    truth = [is_outside for is_outside, of_folder in enumerate(rows) for _ in of_folder]
    levels = len(rows[0][0]["bits_of_levels"])
    orders = {"bits": lambda row: row["bits"], "squared error": lambda row: row["mse"]}
    orders |= {f"bits of level {level}": lambda row, at=level: row["bits_of_levels"][at] for level in range(levels)}
    for name, order in orders.items():
        scores = [order(row) for of_folder in rows for row in of_folder]
        print(f"{name}: {roc_auc_score(truth, scores):.3f} ({len(rows[0])} inside, {len(rows[1])} outside)")


if __name__ == "__main__":
    main()
