"""A request to stop is answered at once, or as soon as what must not be interrupted is over."""

import pytest

from toy_models import TOY_TOKENIZER
from vqvae2.config import TokenizerTrainingConfig
from vqvae2.errors import StopRequested
from vqvae2.system.stopping import StopRequest
from vqvae2.training.loop import fit
from vqvae2.training.runtime import choose_runtime
from vqvae2.training.states import TrainingStates
from vqvae2.training.tokenizer import TokenizerTask

TRAINING = TokenizerTrainingConfig(steps=4, batch_size=8, max_validations=1)


def test_it_interrupts_at_once():
    with pytest.raises(StopRequested):
        StopRequest().make()


def test_deferred_it_interrupts_at_the_end_of_the_outermost_context():
    stop, reached = StopRequest(), []

    def work():
        with stop.deferred():
            with stop.deferred():
                stop.make()
                reached.append("inner")
            reached.append("outer")

    with pytest.raises(StopRequested):
        work()
    assert reached == ["inner", "outer"]


@pytest.mark.parametrize("step", [1, 3, 4])
def test_a_training_saves_the_step_it_was_at_even_the_last(image_store, tmp_path, step):
    stop = StopRequest()

    def ask(progress):
        if progress.done == step:
            stop.make()

    task = TokenizerTask(TOY_TOKENIZER, image_store, TRAINING)
    with pytest.raises(StopRequested, match=f"after step {step} of 4"):
        fit(task, TRAINING, tmp_path, runtime=choose_runtime("cpu", "float32", stop=stop), on_progress=ask)
    assert TrainingStates(tmp_path).load()["step"] == step
