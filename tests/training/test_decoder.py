"""The training of a second decoder: where it starts, what it leaves alone, and what it reports."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from toy_models import TOY_TOKENIZER
from vqvae2.config import DecoderConfig
from vqvae2.models.checkpoint import fingerprint, load_model, read_model_file
from vqvae2.training.decoder import DecoderTask
from vqvae2.training.loop import fit
from vqvae2.training.optimization import Optimization
from vqvae2.training.runtime import choose_runtime
from vqvae2.training.states import TrainingStates
from vqvae2.training.steps import load_steps
from vqvae2.training.tokenizer import measure_tokenizer

LONG = {"steps": 50, "max_validations": 1, "learning_rate": 0.03, "checkpoint_seconds": 1e6}


@pytest.fixture
def tokenizer(make_task):
    """The tokenizer whose codes `make_task` decodes."""
    return make_task()[0].model.eval()


def test_it_starts_as_the_tokenizer_s_own_decoder(make_task, tokenizer, image_store, runtime):
    task, _ = make_task("decoder")
    model, weights = task.model.eval(), tokenizer.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in model.decoder.state_dict().items())
    with torch.inference_mode():
        found = task.validate(model, runtime)
    error, _ = measure_tokenizer(tokenizer, image_store, image_store.indices("validation"), runtime=runtime)
    assert (found["mse"], found["psnr_db"]) == (error.mse, error.psnr_db)
    assert found["score"] == found["mse"]


def test_the_tokenizer_stays_as_it_is(make_task, tokenizer, image_store, runtime, tmp_path):
    before = fingerprint(tokenizer)
    _, training = make_task("decoder")
    fit(DecoderTask(tokenizer, image_store, training, None), training, tmp_path, runtime=runtime)
    assert fingerprint(tokenizer) == before
    assert not tokenizer.training
    assert all(parameter.grad is None for parameter in tokenizer.parameters())
    assert all(parameter.requires_grad for parameter in tokenizer.parameters())


@pytest.mark.parametrize("network", ["lite0", "none"])
def test_it_leaves_its_last_model_and_a_log_of_its_parts(train, read_log, tokenizer, tmp_path, network):
    task, result = train("run", "decoder", loss_network=network, ema_decay=0.9)
    assert (result.best_step, result.last_step, result.stopped_early) == (12, 12, False)
    model, header = load_model(tmp_path / "run" / "model.safetensors", kind="decoder")
    assert model.config == DecoderConfig(tokenizer_config=TOY_TOKENIZER, tokenizer=fingerprint(tokenizer))
    last = read_model_file(tmp_path / "run" / "last.safetensors")
    assert header.fingerprint == last.fingerprint
    assert header.metadata == {"loss_network": network, "validation": result.validation, "step": 12}
    averaged = TrainingStates(tmp_path / "run").load()["averaged"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, averaged[f"decoder.{name}"])
        assert not torch.equal(value, task.model.decoder.state_dict()[name])
    rows, measured = read_log("run"), {"feature_distance"} if network == "lite0" else set()
    parts = {"loss", "reconstruction_mse", "hinge", "logit_real", "logit_decoded", "grad_norm", *measured}
    assert all(parts <= row.keys() for row in rows)
    assert len(parts | rows[0].keys()) == len(rows[0])
    assert result.validation.keys() == {"score", "mse", "psnr_db", *measured}
    assert {f"validation_{name}" for name in measured | {"mse", "psnr_db"}} <= rows[-1].keys()
    assert rows[-1]["validations_without_better"] == 0


def test_a_decoder_learns_squared_error_and_features(make_task, tmp_path, runtime):
    ends = {}
    for weight in (0.0, 10.0):
        task, training = make_task("decoder", feature_weight=weight, adversarial_weight=0.0, ema_decay=0.9, **LONG)
        with torch.inference_mode():
            before = task.validate(task.model, runtime)
        ends[weight] = fit(task, training, tmp_path / str(weight), runtime=runtime).validation
        assert ends[weight]["mse"] < 0.9 * before["mse"]
    assert ends[10.0]["feature_distance"] < 0.8 * ends[0.0]["feature_distance"]


def test_a_discriminator_learns_to_tell_and_is_told_from_the_first_step_on(train, read_log):
    train("told", "decoder", adversarial_weight=1e-9, **LONG)
    rows = read_log("told")
    assert rows[0]["hinge"] == pytest.approx(2.0, abs=0.2)  # it cannot know yet
    assert rows[-1]["hinge"] < 0.9 * rows[0]["hinge"]
    assert rows[-1]["logit_real"] > rows[-1]["logit_decoded"]


def test_parts_of_a_batch_give_the_gradient_of_the_whole(make_task, runtime):
    found = []
    for accumulation in (1, 4):
        task, training = make_task("decoder", accumulation=accumulation)
        task.model.num_steps.fill_(4)
        for _ in range(40):  # the power iterations, which every pass repeats, change nothing any more
            [module.weight for module in task.model.discriminator.modules() if hasattr(module, "parametrizations")]
        (items,) = load_steps(task, training, num_steps=1)
        optimization = Optimization(task, task.model, training, runtime)
        output = optimization.step(items.batches)
        gradients = {name: value.grad for name, value in task.model.named_parameters() if value.requires_grad}
        found.append((output.loss, gradients, task.model.mean_logits, task.model.num_steps))
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-5)
    assert found[0][2].any()


def test_bfloat16_trains(make_task, tmp_path):
    task, training = make_task("decoder", steps=2, max_validations=1)
    result = fit(task, training, tmp_path, runtime=choose_runtime("cpu", "bfloat16"))
    assert np.isfinite(list(result.validation.values())).all()


def test_half_of_the_images_are_mirrored_if_asked(make_task, image_store):
    task, _ = make_task("decoder")
    batch = task.load(list(range(40)), torch.rand(40, 3))
    plain, some = (batch.images(with_flips=flips) for flips in (False, True))
    is_mirrored = (some == plain.flip(3)).flatten(1).all(1)
    assert ((some == plain).flatten(1).all(1) ^ is_mirrored).any()
    assert torch.equal(some, torch.where((batch.chances[:, 0] < 0.5)[:, None, None, None], plain.flip(3), plain))


def test_trackers_are_shown_originals_and_both_decoders(make_task, tokenizer, image_store, runtime):
    task, _ = make_task("decoder")
    torch.nn.init.zeros_(task.model.decoder.decoder[-1][-1].weight)
    with torch.inference_mode():
        originals, faithful, sharp = task.pictures(task.model.eval(), runtime)["decoders"]
        torch.testing.assert_close(faithful, tokenizer(originals).reconstruction)
    assert originals.shape == faithful.shape == sharp.shape == (8, 3, 16, 16)
    assert not torch.equal(sharp, faithful)


class Drawing(torch.nn.Module):
    """A prior without classes that always draws the code after the true one."""

    def __init__(self, num_embeddings):
        super().__init__()
        self.space, self.num_embeddings, self.above = SimpleNamespace(num_classes=0), num_embeddings, None

    def forward(self, codes, *, above, labels):
        self.above = above
        following = (codes + 1) % self.num_embeddings
        return 100.0 * torch.nn.functional.one_hot(following, self.num_embeddings)


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_a_share_of_the_bottom_codes_is_drawn_by_its_prior(make_task, tokenizer, image_store, share):
    _, training = make_task("decoder", drawn_share=share)
    prior = Drawing(tokenizer.config.codebook_sizes[-1])
    task = DecoderTask(tokenizer, image_store, training, None, prior)
    images = torch.rand(64, 3, 16, 16) * 2 - 1
    true, given = tokenizer.encode(images), task.codes(images)
    assert torch.equal(given[0], true[0])
    assert all(torch.equal(*pair) for pair in zip(prior.above, true.maps[:-1], strict=True))
    changed = given[1] != true[1]
    assert torch.equal(given[1][changed], (true[1][changed] + 1) % prior.num_embeddings)
    deviation = (share * (1 - share) / changed.numel()) ** 0.5
    assert changed.double().mean().item() == pytest.approx(share, abs=4 * deviation)


def test_without_a_prior_the_codes_are_the_true_ones(make_task, tokenizer):
    task, _ = make_task("decoder")
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    assert all(torch.equal(*pair) for pair in zip(task.codes(images), tokenizer.encode(images), strict=True))
