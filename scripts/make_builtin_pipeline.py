"""Train the pipeline that comes with the package, measure it, and put it there.

    node scripts/heads.mjs 30000 > heads.jsonl
    python scripts/make_heads.py heads.jsonl --out heads
    python scripts/make_builtin_pipeline.py heads --run builtin-run

With `--from builtin`, the codes stay those of the pipeline that the package has; the prior of the bottom and the sharp
decoder learn on. Run the same command again to resume. Seeds are fixed, but other kernels round otherwise, and some of
a GPU's add in no fixed order.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from vqvae2 import PRESETS, CardFacts, Pipeline, RunConfig, SamplingConfig, choose_runtime, start_config
from vqvae2.cli.main import main as command
from vqvae2.config import BUILTIN_GROUP_PATTERN, EMAConfig
from vqvae2.data import open_images
from vqvae2.models.checkpoint import MODEL_FILE
from vqvae2.pipeline.config import read_pipeline_config, write_pipeline_config
from vqvae2.pipeline.hub import BUILTIN, BUILTIN_FOLDER, find_pipeline_folder
from vqvae2.runs.run import Run

DATA = (
    "209,413 heads, composed by DiceBear of parts by Lisa Wischofsky, The Visual Team, Ashley Seo, Micah Lanier, Pablo "
    "Stanley, Draftbit and Johan Melin (CC BY 4.0, CC0 1.0)"
)
# Of 5,000 samples, better than what `tune-sampling` finds with 600, see `docs/results.md`.
SAMPLING = SamplingConfig(temperature=(0.8, 0.6), top_p=(1.0, 0.9))
COUNTS = ("--num-images", 5000, "--num-samples", 5000, "--num-reference", 10_000)
CLASSIFIERS = ("--classifier-epochs", 0, "--classifier-training.steps", 300)
EVALUATION = ("--features", "lite0", *COUNTS, *CLASSIFIERS)


def config(source: str | None) -> RunConfig:
    """The preset with more codes, a branch for details, and more layers at the bottom, whose codes cost the most.

    Many heads leave little to memorize, so there is little dropout. With a `source`, a pipeline to start from, the
    prior of the bottom and the sharp decoder learn on.
    """
    preset = PRESETS["cpu64"]
    top, bottom = preset.priors
    priors = (replace(top, dropout=0.05), replace(bottom, num_layers=16, attention_every=8, dropout=0.0))
    preset = replace(
        preset, minutes=0.0, images=replace(preset.images, group_pattern=BUILTIN_GROUP_PATTERN), sharp_decoder=True
    )
    of_top, of_bottom = (
        replace(training, schedule="cosine", patience=0, learning_rate=rate)
        for training, rate in zip(preset.prior_trainings, (1e-3, 2e-3), strict=True)
    )
    if source is not None:
        return replace(
            start_config(preset, source),
            freeze_tokenizer=True,
            priors=priors,
            prior_trainings=(of_top, replace(of_bottom, steps=7_200, learning_rate=1e-3)),
            decoder_training=replace(preset.decoder_training, steps=9_000),
        )
    return replace(
        preset,
        tokenizer=replace(
            preset.tokenizer, quantizer=EMAConfig(num_embeddings=512, embedding_dim=32), detail_channels=128
        ),
        tokenizer_training=replace(preset.tokenizer_training, steps=10_000, batch_size=32, learning_rate=2e-3),
        priors=priors,
        prior_trainings=(replace(of_top, steps=22_987), replace(of_bottom, steps=28_200)),
        decoder_training=replace(preset.decoder_training, steps=13_500),
    )


def train(images: Path, folder: Path, device: str, source: str | None) -> None:
    """Train all parts that are not taken over, and the classifier, which judges samples."""
    run = Run.create(folder, config(source), runtime=choose_runtime(device, "auto"))
    run.prepare_images(open_images(images))
    run.train_tokenizer()
    run.extract_codes()
    if source is not None:
        top = run.prior_directory(0)
        shutil.copytree(find_pipeline_folder(source) / top.name, top, dirs_exist_ok=True)
    for level in range(0 if source is None else 1, run.num_levels):
        run.train_prior(level)
    run.train_decoder()
    call("train-classifier", folder, "--out", folder / "classifier", "--training.steps=2500", f"--device={device}")


def pack(folder: Path) -> None:
    """Put a run's models into the package, with a card of what was measured of them."""
    Pipeline.from_pretrained(folder).save_pretrained(
        BUILTIN_FOLDER,
        name=BUILTIN,
        facts=CardFacts(license="cc-by-4.0", data_name=DATA, measured=folder),
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
    parser.add_argument("images", type=Path, help="folder of heads")
    parser.add_argument("--run", type=Path, default=Path("builtin-run"), help="folder of the run")
    parser.add_argument("--from", dest="source", help="pipeline whose tokenizer and top prior stay")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    train(arguments.images, arguments.run, arguments.device, arguments.source)
    device = f"--device={arguments.device}"
    write_pipeline_config(replace(read_pipeline_config(arguments.run), sampling=SAMPLING), arguments.run)
    call("evaluate", arguments.run, *EVALUATION, "--classifier", arguments.run / "classifier", device)
    pack(arguments.run)


if __name__ == "__main__":
    main()
