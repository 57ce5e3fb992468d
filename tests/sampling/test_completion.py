"""Laws of completion: known codes stay, hidden ones are drawn as by the plainest means, pixels say what is hidden."""

from itertools import accumulate

import pytest
import torch

from vqvae2.codes import Codes
from vqvae2.config import SamplingConfig, VQVAE2Config
from vqvae2.errors import ConfigError
from vqvae2.sampling.completion import complete_codes, fill_hidden, hidden_codes, hide_pixels, mask_below
from vqvae2.sampling.hooks import Hooks
from vqvae2.sampling.request import DrawRequest

SHAPES = ((2, 3), (4, 6))
NUMBERS = (0, 1, 3)  # of the first variants of images 0, 1 and 2


@pytest.fixture
def codes():
    return Codes(tuple(torch.randint(5, (3, *shape)) for shape in SHAPES))


@pytest.fixture
def hidden():
    return [torch.rand(3, *shape) < 0.5 for shape in SHAPES]


@pytest.mark.parametrize("config", [SamplingConfig(), SamplingConfig(temperature=(0.0, 0.8), guidance_scale=2.0)])
def test_completing_is_recomputing_the_prefix_with_known_codes(priors, codes, hidden, recompute_prefix, config):
    labels = torch.tensor([0, 1, 2])
    got = complete_codes(priors, codes, hidden, DrawRequest(seed=7, label=labels, sampling=config))
    expected = recompute_prefix(priors, codes, hidden, NUMBERS, 7, labels, config)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_with_nothing_hidden_the_codes_are_the_same_and_no_prior_is_asked(priors, codes):
    nothing = [torch.zeros_like(level, dtype=torch.bool) for level in codes]
    seen = []
    got = complete_codes(priors, codes, nothing, hooks=Hooks(on_progress=lambda *counts: seen.append(counts)))
    assert all(torch.equal(a, b) for a, b in zip(got, codes, strict=True))
    assert not seen


def test_progress_leaves_out_levels_that_are_known(priors, codes):
    hidden = [torch.zeros(3, 2, 3, dtype=torch.bool), torch.ones(3, 4, 6, dtype=torch.bool)]
    seen = []
    complete_codes(priors, codes, hidden, hooks=Hooks(on_progress=lambda *counts: seen.append(counts)))
    assert seen == [(3 * done, 72) for done in accumulate(map(len, fronts(priors[1], SHAPES[1])))]


def fronts(prior, size):
    """List the positions of each front of a grid, in order."""
    found = {}
    for position in range(size[0] * size[1]):
        row, column = divmod(position, size[1])
        found.setdefault(column + (prior.first.reach + 1) * row, []).append(position)
    return [found[number] for number in sorted(found)]


def test_each_front_is_shown_when_it_is_drawn(priors, codes, hidden):
    shown = []
    got = complete_codes(priors, codes, hidden, hooks=Hooks(on_front=shown.append))
    ends = [(0, end) for end in accumulate(fronts(priors[0], SHAPES[0]))]
    ends += [(1, end) for end in accumulate(fronts(priors[1], SHAPES[1]))]
    assert [(front.level, front.positions.tolist()) for front in shown] == ends
    for front in shown:
        for level, (seen, drawn, mask) in enumerate(zip(front.codes, got, hidden, strict=True)):
            is_drawn = torch.full(seen.shape[1:], level < front.level)
            if level == front.level:
                is_drawn.view(-1)[front.positions] = True
            assert torch.equal(seen, torch.where(mask & ~is_drawn, 0, drawn))


def test_what_a_shown_front_raises_ends_the_drawing(priors, codes, hidden):
    shown = []

    def show(front):
        shown.append(front.level)
        if front.level == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        complete_codes(priors, codes, hidden, hooks=Hooks(on_front=show))
    assert shown == [0] * len(fronts(priors[0], SHAPES[0])) + [1]


def test_known_codes_of_later_fronts_count_on_the_levels_below_only(priors, codes):
    hidden = [torch.ones_like(level, dtype=torch.bool) for level in codes]
    hidden[0][:, 1] = False  # the lower half of the top is known
    others = Codes((codes[0].roll(1, dims=2), codes[1]))
    first, second = (complete_codes(priors, given, hidden, DrawRequest(num_variants=8)) for given in (codes, others))
    assert torch.equal(first[0][:, 0], second[0][:, 0])
    assert not torch.equal(first[1], second[1])


def test_a_completion_depends_on_its_seed_and_number_and_not_on_its_batch(priors, codes, hidden):
    def complete(first, last, **options):
        part = [level[first:last] for level in hidden]
        chosen = codes.select(torch.arange(first, last))
        return complete_codes(priors, chosen, part, DrawRequest(first_image=first, **options))

    together = complete(0, 3)
    for first, last in ((0, 1), (1, 3)):
        apart = complete(first, last)
        assert all(torch.equal(a[first:last], b) for a, b in zip(together, apart, strict=True))
    several = complete(1, 2, num_variants=3)
    assert torch.equal(several[1][0], together[1][1])
    assert not torch.equal(several[1][1], several[1][2])
    assert not torch.equal(complete(0, 3, seed=1)[1], together[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda codes, hidden: (codes, hidden[:1]), "one map for each of 2 priors, got 2 and 1"),
        (lambda codes, hidden: (Codes(codes.maps[:1]), hidden), "one map for each of 2 priors, got 1 and 2"),
        (
            lambda codes, hidden: (codes, [hidden[0], hidden[1][:, 1:]]),
            r"`hidden\[1\]` must be bool of shape \(3, 4, 6\), as the level's codes, got torch.bool of .*\(3, 3, 6\)",
        ),
        (lambda codes, hidden: (codes, [hidden[0].long(), hidden[1]]), r"`hidden\[0\]` must .*got torch.int64"),
    ],
)
def test_what_does_not_fit_together_is_refused(priors, codes, hidden, change, message):
    with pytest.raises(ValueError, match=message):
        complete_codes(priors, *change(codes, hidden))


TOKENIZER = VQVAE2Config(strides=(2, 2))  # a top code is 4x4 pixels, a bottom code 2x2


def test_a_code_is_hidden_if_any_pixel_of_its_cell_is_and_with_a_margin_those_around():
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[0, 0, 7] = True
    assert [level.nonzero().tolist() for level in hidden_codes(mask, TOKENIZER)] == [[[0, 0, 1]], [[0, 0, 3]]]
    top, bottom = hidden_codes(mask, TOKENIZER, margin=1)
    assert top[0, :2, :3].all()
    assert bottom[0, :2, 2:5].all()
    assert (top.sum(), bottom.sum()) == (6, 6)


def test_pixels_beyond_the_edge_are_hidden_as_the_edge_is():
    mask = torch.zeros(1, 5, 5, dtype=torch.bool)
    mask[0, 4, 4] = True
    top, bottom = hidden_codes(mask, TOKENIZER, margin=0)
    assert (top.shape, bottom.shape) == ((1, 2, 2), (1, 4, 4))
    assert top[0].tolist() == [[False, False], [False, True]]
    assert bottom[0, 2:, 2:].all()
    assert bottom.sum() == 4


@pytest.mark.parametrize(("known_rows", "rows"), [(0.5, 4), (0.3, 2), (1, 1), (6.0, 6), (0, 0), (0.99, 7)])
def test_rows_below_the_known_ones_are_hidden(known_rows, rows):
    mask = mask_below((8, 3), known_rows)
    assert mask.shape == (8, 3)
    assert not mask[:rows].any()
    assert mask[rows:].all()


@pytest.mark.parametrize("known_rows", [-0.5, 8, 2.5, float("nan")])
def test_known_rows_that_leave_nothing_or_do_not_exist_are_refused(known_rows):
    with pytest.raises(
        ConfigError, match=r"`known_rows` must be a share .* or a whole number of pixel rows below 8, got"
    ):
        mask_below((8, 3), known_rows)


def test_hidden_pixels_become_grey():
    images, mask = torch.ones(1, 3, 2, 2), torch.tensor([[[True, False], [False, False]]])
    assert hide_pixels(images, mask)[0, :, 0, 0].tolist() == [0.0, 0.0, 0.0]
    assert (hide_pixels(images, mask) == 1.0).sum() == 9


def test_known_pixels_grow_over_hidden_ones():
    images = torch.tensor([0.2, 0.4, 0.9, -0.9, 0.5]).expand(2, 3, 4, 5)
    mask = torch.tensor([False, False, True, True, True]).expand(4, 5)
    filled = fill_hidden(images, torch.stack((mask, ~mask)))
    torch.testing.assert_close(filled[0, 0], torch.tensor([0.2, 0.4, 0.4, 0.4, 0.4]).expand(4, 5))
    torch.testing.assert_close(filled[1, 0], torch.tensor([0.9, 0.9, 0.9, -0.9, 0.5]).expand(4, 5))


def test_filled_pixels_are_means_of_known_ones_and_do_not_see_hidden_ones():
    images, mask = torch.rand(1, 2, 9, 7), torch.rand(1, 9, 7) < 0.6
    filled = fill_hidden(images, mask)
    assert torch.equal(filled, fill_hidden(torch.where(mask[:, None], 5.0, images), mask))
    assert torch.equal(filled[:, :, ~mask[0]], images[:, :, ~mask[0]])
    assert filled.min() >= images[:, :, ~mask[0]].min() - 1e-6
    assert filled.max() <= images[:, :, ~mask[0]].max() + 1e-6


def test_an_image_of_which_nothing_is_known_is_grey():
    filled = fill_hidden(torch.ones(2, 3, 4, 4), torch.tensor([True, False])[:, None, None].expand(2, 4, 4))
    assert (filled[0] == 0.0).all()
    assert (filled[1] == 1.0).all()


@pytest.mark.parametrize("mask", [torch.zeros(1, 4, 4), torch.zeros(4, 4, dtype=torch.bool)])
def test_masks_are_bool_and_one_an_image(mask):
    with pytest.raises(ValueError, match=r"`mask` must be bool of shape \(B, H, W\), got torch"):
        hidden_codes(mask, TOKENIZER)
