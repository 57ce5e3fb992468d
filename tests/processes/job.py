"""What one of several processes does in the tests; each of them runs this file, see `test_processes.py`."""

import contextlib
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from toy_models import TOY_TOKENIZER, ToyFeatureMaps
from vqvae2.config import (
    QUANTIZER_CONFIGS,
    ClassifierConfig,
    ClassifierTrainingConfig,
    CodeSpace,
    DecoderTrainingConfig,
    EvaluationConfig,
    ExtractionConfig,
    PixelSNAILConfig,
    PriorConfig,
    PriorTrainingConfig,
    ResNetConfig,
    TokenizerTrainingConfig,
    TransformerConfig,
)
from vqvae2.data import CodeStore, ImageStore
from vqvae2.errors import DataError
from vqvae2.evaluation.bench import EvaluationSubject
from vqvae2.evaluation.evaluation import Evaluation
from vqvae2.evaluation.networks import EvaluationNetworks, FeatureNetwork
from vqvae2.models.checkpoint import load_model
from vqvae2.models.classifier import ClassifierOutput
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.pipeline.sample_streams import sample_accepted, sample_all
from vqvae2.sampling.request import DrawRequest
from vqvae2.system.processes import any_process, first_decides, num_processes, process_index, spread
from vqvae2.training.classifier import ClassifierTask
from vqvae2.training.decoder import DecoderTask
from vqvae2.training.extraction import extract_codes
from vqvae2.training.loop import fit
from vqvae2.training.optimization import whole_weights
from vqvae2.training.prior import PriorTask
from vqvae2.training.runtime import choose_runtime, join_processes, leave_processes
from vqvae2.training.tokenizer import TokenizerTask

LAYERS = {"hidden_channels": 8, "num_layers": 2, "num_heads": 2, "conditioning_layers": 1, "dropout": 0.0}
NETWORK = PixelSNAILConfig(residual_channels=8, attention_every=2, **LAYERS)
FAMILIES = {"pixelsnail": NETWORK, "transformer": TransformerConfig(feedforward_channels=8, **LAYERS)}
VIEWS = ExtractionConfig(augment=1, horizontal_flips=True)
COMMON = {"batch_size": 12, "max_validations": 4, "checkpoint_seconds": 0.0}


class Means(torch.nn.Module):
    """A network that sees the mean colours of an image's quarters."""

    def forward(self, images):
        means = torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)
        return ClassifierOutput(means[:, :3], means)


def primitives():
    """What the functions of `vqvae2.system.processes` give to each process."""
    failure = None
    try:
        first_decides(refuse)
    except DataError as error:
        failure = (str(error), error.is_echo)
    return {
        "index": process_index(),
        "spread": list(spread(range(7), lambda item: (item, process_index()))),
        "any": any_process(process_index() == num_processes() - 1, False),
        "decided": first_decides(lambda: (process_index(), num_processes())),
        "failure": failure,
    }


def refuse():
    raise DataError("not these images")


def train(task, config, directory, runtime):
    """Train in float64, or rounding would be enlarged by Adam."""
    task.model.double()
    for module in () if isinstance(task, PriorTask) else (task.model, task.model.decoder):
        module.register_forward_pre_hook(lambda module, inputs: in_float64(inputs))
    result = fit(task, config, directory, runtime=runtime)
    return {"weights": task.model.state_dict(), "validation": result.validation}


def in_float64(inputs):
    """Turn tensors, and lists of them, into float64."""
    return type(inputs)(
        value.double() if isinstance(value, torch.Tensor) else in_float64(value) if isinstance(value, list) else value
        for value in inputs
    )


def trainings(folder, pipeline, images, out, runtime):
    tokenizer = TokenizerTrainingConfig(steps=12, horizontal_flips=True, accumulation=2, **COMMON)
    trained = {}
    for family, quantizer in QUANTIZER_CONFIGS.items():
        if family != "fsq":  # of codes that restart all the time
            quantizer = quantizer(num_embeddings=12, embedding_dim=4, revival_threshold=0.5)
            task = TokenizerTask(replace(TOY_TOKENIZER, quantizer=quantizer), images, tokenizer)
            trained[family] = train(task, tokenizer, out / family, runtime)
    options = {"accumulation": 2, "ramp_steps": 2, "loss_network_pixels": 16}
    decoder = DecoderTrainingConfig(steps=8, horizontal_flips=True, **options, **COMMON)
    torch.manual_seed(0)  # steps leave other random numbers in each process
    for name, network in (("decoder", ToyFeatureMaps().double()), ("decoder of pixels", None)):
        task = DecoderTask(pipeline.tokenizer, images, decoder, network)
        trained[name] = train(task, decoder, out / name, runtime)
    codes = CodeStore.open(folder / "codes")
    prior = PriorTrainingConfig(steps=8, label_dropout=0.3, horizontal_flips=True, **COMMON)
    space = CodeSpace.of_level(1, num_embeddings=codes.num_embeddings, shapes=codes.shapes, num_classes=2)
    task = PriorTask(PriorConfig(space=space, network=NETWORK, tokenizer=codes.fingerprint), codes, prior)
    trained["prior"] = train(task, prior, out / "prior", runtime)
    for family, network in FAMILIES.items():
        config = PriorConfig(space=space, network=network, tokenizer=codes.fingerprint)
        trained[f"sharded {family}"] = train_sharded(config, codes, prior, out / f"sharded-{family}", runtime)
    return trained


def train_sharded(config, codes, training, directory, runtime):
    """Train with divided weights; stop in the middle, and go on from what was saved."""

    def stop(progress):
        if progress.done == training.steps // 2:
            raise KeyboardInterrupt

    divided = replace(runtime, shard=True)
    task = PriorTask(config, codes, training)
    task.model.double()
    with contextlib.suppress(KeyboardInterrupt):
        fit(task, training, directory, runtime=divided, on_progress=stop)
    task = PriorTask(config, codes, training)
    task.model.double()
    result = fit(task, training, directory, runtime=divided)
    is_divided = any(isinstance(parameter, DTensor) for parameter in task.model.parameters())
    return {"weights": whole_weights(task.model), "validation": result.validation, "is_divided": is_divided}


def classify(images, out, runtime):
    """Batch norms see a part of the batch each, so only agreement among the processes can be asked for."""
    config = ClassifierConfig(classes=images.classes, network=ResNetConfig(hidden_channels=8, num_blocks=(1, 1)))
    training = ClassifierTrainingConfig(steps=5, **COMMON)
    task = ClassifierTask(config, images, training)
    result = fit(task, training, out / "classifier", runtime=runtime)
    return {"validation": result.validation, "weights": dict(task.model.named_parameters())}


def samples(pipeline, classifier):
    drawn = sample_all(pipeline, 10, DrawRequest(seed=3), batch_size=3)
    accepted = sample_accepted(pipeline, classifier, 3, acceptance_rate=0.3, batch_size=3)
    passing = sample_accepted(pipeline, classifier, 2, threshold=0.0, batch_size=3)
    return [
        [(sample.number, sample.pixels, sample.label, sample.score, sample.displaced) for sample in stream]
        for stream in (drawn, accepted, passing)
    ]


def evaluate(pipeline, images, out, runtime):
    metrics = ("reconstruction", "likelihood", "quality", "memorization")
    evaluation = Evaluation(
        EvaluationSubject(pipeline=pipeline, images=images, data_name="images", resize="none"),
        out / "evaluation",
        EvaluationConfig(num_samples=24, batch_size=4),
        EvaluationNetworks(given=(FeatureNetwork("Means", Means(), "none"),), with_classifier=False),
        runtime=runtime,
    )
    results = evaluation.run(metrics).to_dict()
    return {metric: results[metric] for metric in metrics}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    join_processes()
    out = folder / str(num_processes())
    runtime = choose_runtime("cpu", "float32")
    images = ImageStore.open(folder / "images")
    pipeline = Pipeline.from_pretrained(folder / "pipeline")
    classifier, _ = load_model(folder / "classifier.safetensors", kind="classifier")
    extract_codes(pipeline.tokenizer, images, out / "codes", extraction=VIEWS, batch_size=1)
    given = {
        "primitives": primitives(),
        "trainings": trainings(folder, pipeline, images, out, runtime),
        "classifier": classify(images, out, runtime),
        "samples": samples(pipeline, classifier),
        "evaluation": evaluate(pipeline, images, out, runtime),
    }
    torch.save(given, out / f"process{process_index()}.pt")
    leave_processes()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
