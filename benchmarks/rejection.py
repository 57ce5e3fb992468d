"""What rejection rejects: precision of an evaluation's samples by the score that its classifier gives them.

    vqvae2 evaluate fashion-run --metrics dial
    python benchmarks/rejection.py fashion-run/evaluation

Samples are sorted by the probability of their intended class, and cut into bands of equally many; each band is compared
with as many training images, in the features of every network that the evaluation had. If bands of low scores are as
precise as others, the classifier rejects good images that look like another class, and precision cannot rise by it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from vqvae2.data import ImageStore
from vqvae2.evaluation.dial import score_samples
from vqvae2.metrics.precision_recall import precision_recall
from vqvae2.metrics.results import RESULTS_FILE, Results
from vqvae2.models.checkpoint import LAST_MODEL_FILE, load_model


def features_by_network(folder: Path, fingerprint: str) -> dict[str, np.ndarray]:
    """Find what each network saw in a set of images."""
    paths = sorted(folder.glob(f"features/*/{fingerprint}/features.npy"))
    return {path.parts[-3].rsplit("-", 1)[0]: np.load(path, mmap_mode="r") for path in paths}


def main() -> None:
    """Print a row a band."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("--bands", type=int, default=20)
    arguments = parser.parse_args()
    folder = arguments.evaluation
    samples = ImageStore.open(folder / "samples")
    classifier, _ = load_model(folder / "classifiers" / "rejection" / LAST_MODEL_FILE, kind="classifier")
    scores = score_samples(samples, classifier, device=torch.device("cpu"))
    seen = features_by_network(folder, samples.fingerprint(np.arange(samples.num_images)))
    results = Results.read(folder / RESULTS_FILE)
    protocol = next(iter(results.dial.values())).protocol
    reference = features_by_network(folder, protocol.reference_fingerprint)
    print("| scores | " + " | ".join(f"precision, {network}" for network in seen) + " |")
    print("|---|" + "---|" * len(seen))
    for band in np.array_split(np.argsort(scores, kind="stable"), arguments.bands):
        rows = np.sort(band)
        precisions = (
            precision_recall(features[rows], reference[network][: len(rows)]).precision
            for network, features in seen.items()
        )
        cells = " | ".join(f"{precision:.3f}" for precision in precisions)
        print(f"| {scores[band[0]]:.3f} to {scores[band[-1]]:.3f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
