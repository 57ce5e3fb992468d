"""While images are drawn, each part is shown from the lowest level that has been drawn there."""

import pytest
import torch

from vqvae2.codes import Codes
from vqvae2.sampling.hooks import DrawnFront
from vqvae2.sampling.request import DrawRequest
from vqvae2.studio.turns import Turns
from vqvae2.studio.walk_view import view_front, walk_hooks


@pytest.fixture
def drawn(pipeline):
    """Two images, and the steps of their drawing."""
    steps = []
    hooks = walk_hooks(Turns(pipeline.device), steps.append)
    return pipeline.sample(2, DrawRequest(seed=1), hooks=hooks), steps


def test_steps_lead_to_the_images_themselves(pipeline, drawn):
    images, steps = drawn
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert steps[0].front is None
    assert steps[-1].done == steps[-1].total == 2 * (4 * 6 + 8 * 12)
    assert torch.equal(view_front(pipeline, steps[-1].front), images)


def test_what_is_still_to_come_is_blank_at_the_top_and_coarse_below_it(pipeline, drawn):
    for front in [step.front for step in drawn[1] if step.front is not None][::5]:
        seen = view_front(pipeline, front)
        detailed = pipeline.decode(front.codes, levels=front.level + 1)
        coarse = pipeline.decode(front.codes, levels=1) if front.level else torch.full_like(seen, 0.85)
        is_visited = torch.isin(torch.arange(front.codes[front.level][0].numel()), front.positions)
        grid, side = is_visited.view(front.codes.shapes[front.level]), (4, 2)[front.level]
        pixels = torch.kron(grid, torch.ones(side, side, dtype=torch.bool))
        assert 0 < len(front.positions) == grid.sum()
        assert torch.equal(seen, torch.where(pixels, detailed, coarse))


def test_codes_that_are_not_drawn_are_shown_from_the_start(pipeline):
    codes = pipeline.encode(torch.rand(1, 3, 16, 24) * 2 - 1)
    hidden = [torch.zeros(1, 4, 6, dtype=torch.bool), torch.zeros(1, 8, 12, dtype=torch.bool)]
    hidden[1][:, 5:] = True
    seen = view_front(pipeline, DrawnFront(codes, 1, torch.arange(0)), hidden=hidden)
    assert torch.equal(seen[:, :, :10], pipeline.decode(codes)[:, :, :10])
    assert torch.equal(seen[:, :, 10:], pipeline.decode(Codes(codes.maps), levels=1)[:, :, 10:])
