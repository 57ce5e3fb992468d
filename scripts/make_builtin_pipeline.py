"""Train the pipeline that comes with the package, measure it, and put it there.

    python scripts/make_builtin_pipeline.py --run builtin-run

The trainings take six minutes on one H200; the same command goes on where it was stopped. Seeds are fixed, but other
kernels round otherwise, and some of a GPU's add in no fixed order. The packaged top prior was trained later than the
other parts, with this script's config on one core of a CPU, when walks began to follow fronts.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from vqvae2 import PRESETS, CardFacts, Pipeline, PixelSNAILConfig, RunConfig, TransformerConfig, choose_runtime
from vqvae2.cli.main import main as command
from vqvae2.config import BUILTIN_GROUP_PATTERN
from vqvae2.data import BuiltinImages
from vqvae2.models.checkpoint import MODEL_FILE
from vqvae2.pipeline.hub import BUILTIN, BUILTIN_FOLDER
from vqvae2.report import write_page
from vqvae2.runs.measuring import measure_run
from vqvae2.runs.run import Run


def config() -> RunConfig:
    """Wider than the preset, and made for few images: mirrored ones count too, and priors forget much."""
    preset = PRESETS["cpu64"]
    top, bottom = preset.prior_trainings
    return replace(
        preset,
        minutes=0.0,
        images=replace(preset.images, group_pattern=BUILTIN_GROUP_PATTERN),
        tokenizer=replace(preset.tokenizer, hidden_channels=128, residual_channels=64),
        tokenizer_training=replace(preset.tokenizer_training, steps=9000, batch_size=64, horizontal_flips=True),
        priors=(
            TransformerConfig(hidden_channels=192, feedforward_channels=768, num_layers=8, dropout=0.4),
            PixelSNAILConfig(
                hidden_channels=64, residual_channels=64, num_layers=8, kernel_size=3, attention_every=0, dropout=0.2
            ),
        ),
        prior_trainings=(
            replace(top, steps=4000, batch_size=32, horizontal_flips=True),
            replace(bottom, steps=4500, batch_size=32, horizontal_flips=True),
        ),
    )


def train(folder: Path, device: str) -> None:
    """Train all parts, the classifier too, which judges samples."""
    run = Run.create(folder, config(), runtime=choose_runtime(device, "auto"))
    run.prepare_images(BuiltinImages())
    run.train_tokenizer()
    run.extract_codes()
    for level in range(run.num_levels):
        run.train_prior(level)
    write_page(measure_run(run), folder, title="The pipeline that comes with the package")
    call("train-classifier", folder, "--out", folder / "classifier", "--training.steps=1500", f"--device={device}")


def pack(folder: Path) -> None:
    """Put a run's models into the package, with a card of what was measured of them."""
    Pipeline.from_pretrained(folder).save_pretrained(
        BUILTIN_FOLDER,
        name=BUILTIN,
        facts=CardFacts(
            license="apache-2.0",
            data_name="1,854 of Microsoft's Fluent emoji (3D style, MIT), 64x64 pixels, in nine classes",
            measured=folder,
        ),
    )
    (BUILTIN_FOLDER / "classifier").mkdir(exist_ok=True)
    shutil.copyfile(folder / "classifier" / MODEL_FILE, BUILTIN_FOLDER / "classifier" / MODEL_FILE)


def call(*arguments: object) -> None:
    """Run a verb."""
    code = command([str(argument) for argument in arguments])
    if code:
        raise SystemExit(code)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("builtin-run"), help="folder of the run")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    train(arguments.run, arguments.device)
    call("evaluate", arguments.run, f"--device={arguments.device}")
    pack(arguments.run)


if __name__ == "__main__":
    main()
