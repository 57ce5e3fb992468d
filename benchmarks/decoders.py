"""What a second decoder brings: distances of its pictures beside those of the tokenizer's own, and what each part adds.

    vqvae2 train-decoder RUN --stage-minutes 20
    python benchmarks/decoders.py compare RUN --out docs/measurements/decoders-heads.json --picture decoders-heads.png
    python benchmarks/decoders.py parts RUN --steps 600 --seeds 0 1 --out docs/measurements/decoders-parts.json

Distances are Fréchet distances in features of EfficientNet-Lite2, which no loss has seen, of at most `--images` images
of each set. Reconstructions are of held-out images, and both decoders decode the same codes, those of samples too.
`parts` trains decoders of its own on the codes of the run, each with other parts of the loss; the run stays as it is.
Previews are of the top level alone. The picture has a row of originals, then of reconstructions, previews and samples,
each by the faithful and by the sharp decoder, at twice their size. In its last three columns are the held-out images on
which the sharp decoder loses most.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine

from vqvae2 import Codes, DrawRequest, Pipeline, choose_runtime
from vqvae2.config import DecoderTrainingConfig
from vqvae2.data import Images, open_prepared
from vqvae2.evaluation.features import FeatureSet, ImageSet, extract_features
from vqvae2.evaluation.networks import FeatureNetwork, find_loss_network, find_network
from vqvae2.images import crop_to, from_pixels, image_grid, save_png, to_pixels
from vqvae2.metrics.distortion import ReconstructionError
from vqvae2.metrics.frechet_distance import frechet_distance
from vqvae2.models.checkpoint import MODEL_FILE, load_model
from vqvae2.models.decoder import Decoder
from vqvae2.pipeline.folder import SHARP_FOLDER
from vqvae2.sampling.sample import sample_codes
from vqvae2.training.decoder import DecoderTask
from vqvae2.training.loop import fit

PARTS: dict[str, dict[str, Any]] = {
    "squared error": {"feature_weight": 0.0, "adversarial_weight": 0.0},
    "features": {"adversarial_weight": 0.0},
    "discriminator": {"feature_weight": 0.0},
    "both": {},
    "both, and drawn codes": {"drawn_share": 0.2},
}
BATCH, SHOWN, FAILURES = 32, 9, 3


@dataclass
class Subject:
    """A run, and what the network that judges sees in its images."""

    pipeline: Pipeline
    images: Images
    network: FeatureNetwork
    cache: Path
    most_images: int

    def __post_init__(self) -> None:
        order = np.random.default_rng(0)
        training = order.permutation(self.images.indices("train"))[: 4 * self.most_images]
        held_out = order.permutation(self.images.indices("validation"))[: self.most_images]
        self.originals = self.images.read(held_out)
        self.training, self.held_out = self.look(self.images.read(training)), self.look(self.originals)
        originals = from_pixels(torch.from_numpy(self.originals))
        self.codes = [self.pipeline.encode(batch) for batch in originals.split(BATCH)]
        self.drawn: list[Codes] = []
        if self.pipeline.priors:
            shapes = self.pipeline.tokenizer.config.code_shapes(*self.images.size)
            for first in range(0, self.most_images, 64):
                request = DrawRequest(first_image=first)
                request = replace(request, label=self.pipeline.labels(64, request))
                with torch.inference_mode():
                    self.drawn.append(sample_codes(self.pipeline.priors, shapes, 64, request))

    def look(self, pixels: np.ndarray) -> FeatureSet:
        """Run images `(N, H, W, C)` through the network, once."""
        seen = ImageSet(
            name="images",
            num_images=len(pixels),
            fingerprint=hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).hexdigest(),
            read=lambda start, stop: pixels[start:stop],
        )
        return extract_features(self.network, seen, self.cache, device=torch.device("cpu"), batch_size=BATCH)

    @torch.inference_mode()
    def decode(self, batches: list[Codes], decoder: Decoder | None, *, levels: int | None = None) -> np.ndarray:
        """Decode codes into pixels `(N, H, W, C)`."""
        decoded = [self.pipeline.tokenizer.decode(codes, levels=levels, decoder=decoder) for codes in batches]
        images = torch.cat([crop_to(part, *self.images.size) for part in decoded])
        pixels: np.ndarray = to_pixels(images, bit_depth=self.images.bit_depth).numpy()
        return pixels

    def measure(self, decoder: Decoder | None) -> dict[str, float]:
        """Measure a decoder; None is the tokenizer's own."""
        reconstructed = self.decode(self.codes, decoder)
        error = ReconstructionError()
        error.update(*(from_pixels(torch.from_numpy(pixels)) for pixels in (reconstructed, self.originals)))
        row = {"psnr_db": error.psnr_db}
        row |= self._distances("reconstructions", reconstructed)
        row |= self._distances("previews", self.decode(self.codes, decoder, levels=1))
        if self.drawn:
            row |= self._distances("samples", self.decode(self.drawn, decoder)[: self.most_images])
        return row

    def _distances(self, name: str, pixels: np.ndarray) -> dict[str, float]:
        seen = self.look(pixels)
        return {
            f"{name} to training": distance(seen, self.training),
            f"{name} to held-out": distance(seen, self.held_out),
        }

    def picture(self, decoder: Decoder) -> np.ndarray:
        """Draw originals, and what both decoders make of their codes and of drawn ones."""
        faithful, sharp = self.decode(self.codes, None), self.decode(self.codes, decoder)
        error = [np.square(made.astype(float) - self.originals).mean((1, 2, 3)) for made in (faithful, sharp)]
        failures = np.argsort(np.log(error[1] + 1.0) - np.log(error[0] + 1.0))[::-1][:FAILURES]
        columns = np.concatenate([np.arange(min(SHOWN, len(self.originals))), failures])
        previews = [self.decode(self.codes, made, levels=1) for made in (None, decoder)]
        rows = [part[columns] for part in (self.originals, faithful, sharp, *previews)]
        if self.drawn:
            rows += [self.decode(self.drawn[:1], made)[: len(columns)] for made in (None, decoder)]
        return image_grid(np.concatenate(rows).repeat(2, axis=1).repeat(2, axis=2), columns=len(columns))


def distance(one: FeatureSet, other: FeatureSet) -> float:
    """Return the Fréchet distance of two sets."""
    return float(frechet_distance(one.statistics, other.statistics, device=torch.device("cpu")))


def compare(subject: Subject, run: Path) -> dict[str, Any]:
    """Measure both decoders of a run, and what the second one costs."""
    decoder = subject.pipeline.sharp_decoder
    assert decoder is not None, "train one with `vqvae2 train-decoder`"
    held_out = distance(subject.held_out, subject.training)
    rows = {"faithful": subject.measure(None), "sharp": subject.measure(decoder)}
    faithful, sharp = rows["faithful"], rows["sharp"]
    key = "reconstructions to training"
    seconds = {}
    for name, made in (("faithful", None), ("sharp", decoder), ("faithful again", None), ("sharp again", decoder)):
        start = time.perf_counter()
        subject.decode(subject.codes, made)
        seconds[name] = (time.perf_counter() - start) / len(subject.originals)
    log = [json.loads(line) for line in (run / SHARP_FOLDER / "log.jsonl").read_text().splitlines()]
    return {
        "held-out images to training": held_out,
        "decoders": rows,
        "share of the gap closed": (faithful[key] - sharp[key]) / (faithful[key] - held_out),
        "change": {
            name: sharp[name] - faithful[name] if name == "psnr_db" else sharp[name] / faithful[name] - 1.0
            for name in sharp
        },
        "decoding_seconds_per_image": seconds,
        "bytes": {part: (run / part / MODEL_FILE).stat().st_size for part in ("tokenizer", SHARP_FOLDER)},
        "training": {
            "steps": log[-1]["step"],
            "minutes": log[-1]["seconds"] / 60.0,
            "images_per_second": float(np.median([row["images_per_second"] for row in log])),
        },
    }


def parts(subject: Subject, base: DecoderTrainingConfig, seeds: list[int]) -> list[dict[str, Any]]:
    """Train a decoder with each of `PARTS`, from each seed, and measure it."""
    rows: list[dict[str, Any]] = [{"parts": "faithful", **subject.measure(None)}]
    print(json.dumps(rows[-1]), flush=True)
    for seed in seeds:
        for name, changes in PARTS.items():
            training, network = find_loss_network(replace(base, seed=seed, **changes))
            prior = subject.pipeline.priors[-1] if training.drawn_share else None
            task = DecoderTask(subject.pipeline.tokenizer, subject.images, training, network, prior)
            with tempfile.TemporaryDirectory() as folder:
                result = fit(task, training, Path(folder), runtime=choose_runtime("cpu"))
                decoder, _ = load_model(Path(folder) / MODEL_FILE, kind="decoder")
            assert isinstance(decoder, Decoder)
            rows.append({"parts": name, "seed": seed, "seconds": result.seconds, **subject.measure(decoder)})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Measure, and print what was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("compare", "parts"))
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--features", default="lite2")
    parser.add_argument("--loss-network", default="auto", choices=("auto", "lite0", "none"))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--cache", type=Path, help="folder that keeps what the network sees")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    pipeline, images = Pipeline.from_pretrained(arguments.run), open_prepared(arguments.run / "images")
    with tempfile.TemporaryDirectory() as folder:
        cache = arguments.cache or Path(folder)
        subject = Subject(pipeline, images, find_network(arguments.features), cache, arguments.images)
        base = DecoderTrainingConfig(steps=arguments.steps, loss_network=arguments.loss_network)
        found = (
            compare(subject, arguments.run) if arguments.what == "compare" else parts(subject, base, arguments.seeds)
        )
        if arguments.picture is not None and pipeline.sharp_decoder is not None:
            save_png(subject.picture(pipeline.sharp_decoder), arguments.picture)
    results = {
        "command": arguments.what,
        "features": arguments.features,
        "images": len(subject.originals),
        "machine": describe_machine(),
        "found": found,
    }
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
