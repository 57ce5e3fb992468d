"""In the middle of a drawing, each part is shown from the lowest level that is drawn there."""

import torch

from vqvae2.codes import Codes
from vqvae2.sampling.hooks import DrawnRows
from vqvae2.sampling.request import DrawRequest
from vqvae2.studio.turns import Turns
from vqvae2.studio.walk_view import WalkReport, view_rows


def draw_with_steps(pipeline):
    steps = []
    report = WalkReport(steps.append, Turns(pipeline.device))
    images = pipeline.sample(2, DrawRequest(seed=1), hooks=report.hooks)
    return images, steps


def test_the_last_row_shows_the_images_themselves(pipeline):
    images, steps = draw_with_steps(pipeline)
    assert torch.equal(view_rows(pipeline, steps[-1].rows), images)


def test_steps_count_codes_up_to_their_total(pipeline):
    _, steps = draw_with_steps(pipeline)
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert steps[0].rows is None
    assert steps[-1].done == steps[-1].total == 2 * (4 * 6 + 8 * 12)


def test_what_is_not_drawn_yet_is_blank_at_the_top_and_coarse_below_it(pipeline):
    for step in draw_with_steps(pipeline)[1]:
        if step.rows is None:
            continue
        level, num_rows = step.rows.level, step.rows.num_rows
        seen = view_rows(pipeline, step.rows)
        border = num_rows * (4, 2)[level]
        detailed = pipeline.decode(step.rows.codes, levels=level + 1)
        assert torch.equal(seen[:, :, :border], detailed[:, :, :border])
        coarse = pipeline.decode(step.rows.codes, levels=1) if level else torch.full_like(seen, 0.85)
        assert torch.equal(seen[:, :, border:], coarse[:, :, border:])


def test_codes_that_are_not_drawn_at_all_are_shown_from_the_start(pipeline):
    codes = pipeline.encode(torch.rand(1, 3, 16, 24) * 2 - 1)
    hidden = [torch.zeros(1, 4, 6, dtype=torch.bool), torch.zeros(1, 8, 12, dtype=torch.bool)]
    hidden[1][:, 5:] = True
    seen = view_rows(pipeline, DrawnRows(codes, 1, 0), hidden=hidden)
    assert torch.equal(seen[:, :, :10], pipeline.decode(codes)[:, :, :10])
    assert torch.equal(seen[:, :, 10:], pipeline.decode(Codes(codes.maps), levels=1)[:, :, 10:])
