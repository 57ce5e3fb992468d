"""The order of fronts: each position once, after all that it depends on, and as early as that allows."""

import pytest
import torch

from vqvae2.nn.fronts import Fronts, front_numbers

SIZES = [(1, 1), (1, 7), (7, 1), (3, 5), (5, 3), (8, 8)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("reach", [1, 2, 3])
def test_a_front_comes_right_after_the_last_neighbour(size, reach):
    numbers = front_numbers(size, reach).view(size)
    for row in range(size[0]):
        for column in range(size[1]):
            seen = [
                (above, column + across) for above in range(row - reach, row) for across in range(-reach, reach + 1)
            ]
            seen += [(row, left) for left in range(column - reach, column)]
            inside = [numbers[r, c] for r, c in seen if 0 <= r < size[0] and 0 <= c < size[1]]
            assert all(number < numbers[row, column] for number in inside)
            if row and column + reach < size[1]:
                assert max(inside) == numbers[row, column] - 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("reach", [1, 2, 3])
def test_fronts_hold_each_position_once(size, reach):
    fronts = Fronts(size, reach)
    assert fronts.positions.sort().values.tolist() == list(range(size[0] * size[1]))
    starts = (0, *fronts.ends[:-1])
    parts = [fronts.numbers[start:end] for start, end in zip(starts, fronts.ends, strict=True)]
    assert all(len(part.unique()) == 1 for part in parts)
    assert len(parts) == len(fronts.numbers.unique())
    assert fronts.longest == max(map(len, parts))


@pytest.mark.parametrize(("side", "reach", "num_steps"), [(64, 1, 190), (64, 2, 253), (32, 2, 125), (128, 2, 509)])
def test_a_square_takes_few_steps(side, reach, num_steps):
    assert len(Fronts((side, side), reach).ends) == num_steps


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("reach", [1, 2, 3])
def test_neighbours_are_those_of_a_convolution(size, reach):
    height, width = size
    fronts = Fronts(size, reach)
    outside = height * width + 1
    places = fronts.positions.argsort().view(size)
    for place, neighbours in enumerate(fronts.neighbours()):
        row, column = divmod(int(fronts.positions[place]), width)
        taps = [(row - up, column + across) for up in range(reach, 0, -1) for across in range(-reach, reach + 1)]
        taps += [(row, column - left) for left in range(reach, 0, -1)]
        wanted = [places[r, c] if 0 <= r < height and 0 <= c < width else outside for r, c in taps]
        assert torch.equal(neighbours, torch.tensor(wanted))
