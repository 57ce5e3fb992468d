"""One optimizer step, and the average of the weights."""

from dataclasses import replace

import pytest
import torch

from toy_models import TOY_TOKENIZER
from vqvae2.config import CodebookLossConfig, TrainingConfig
from vqvae2.models.vqvae import VQVAE2
from vqvae2.training.loop import fit
from vqvae2.training.optimization import AveragedModel, build_optimizer


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_accumulated_parts_give_the_step_of_the_whole_batch(make_task, tmp_path, runtime, ema_decay):
    ends = []
    # The last part alone would offer candidates for revival.
    changes = {"quantizer": replace(TOY_TOKENIZER.quantizer, revival_threshold=0.0)}
    for accumulation in (1, 4):
        options = {"steps": 3, "horizontal_flips": False, "max_validations": 1, "ema_decay": ema_decay}
        task, training = make_task(changes=changes, accumulation=accumulation, **options)
        task.model.double()  # or rounding would be enlarged by Adam
        task.model.register_forward_pre_hook(lambda model, inputs: (inputs[0].double(),))
        fit(task, training, tmp_path / str(accumulation), runtime=runtime)
        ends.append(task.model.state_dict())
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=1e-6, atol=1e-9, msg=name)


def test_the_average_follows_the_weights_by_the_decay():
    model = torch.nn.Linear(1, 1, bias=False)
    averaged = AveragedModel(model, 0.5)
    expected = 0.0
    for count, value in enumerate([4.0, 8.0, 2.0, 6.0]):
        torch.nn.init.constant_(model.weight, value)
        averaged.update(model)
        decay = min(0.5, (1 + count) / (10 + count)) if count else 0.0
        expected = decay * expected + (1 - decay) * value
    assert averaged.module.weight.item() == pytest.approx(expected)


def test_a_learned_codebook_is_not_decayed():
    model = VQVAE2(replace(TOY_TOKENIZER, quantizer=CodebookLossConfig(num_embeddings=12, embedding_dim=4)))
    decayed, others = build_optimizer(model, TrainingConfig()).param_groups
    codebooks = {id(quantizer.codebook) for quantizer in model.quantizers}
    assert codebooks <= {id(parameter) for parameter in others["params"]}
    assert all(parameter.ndim >= 2 for parameter in decayed["params"])
