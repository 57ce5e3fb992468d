import pytest
import torch

from vqvae2.codes import Codes


def make(*shapes):
    return Codes(tuple(torch.arange(2 * h * w).view(2, h, w) for h, w in shapes))


def test_levels_shapes_and_batch_size_are_told():
    codes = make((1, 2), (2, 4))
    assert (len(codes), codes.batch_size, codes.shapes) == (2, 2, ((1, 2), (2, 4)))
    assert torch.equal(codes[1], list(codes)[1])


def test_joining_what_was_selected_gives_the_whole():
    codes = make((2, 2), (4, 4))
    joined = Codes.concatenate([codes.select(slice(0, 1)), codes.select(torch.tensor([1]))])
    assert all(torch.equal(a, b) for a, b in zip(codes, joined, strict=True))


MAP = torch.zeros(2, 2, 2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("maps", "message"),
    [((), "got none"), ((MAP.float(),), "float32"), ((MAP[0],), r"got .* \(2, 2\)"), ((MAP[:1], MAP), r"\[1, 2\]")],
)
def test_what_is_not_codes_is_refused(maps, message):
    with pytest.raises(ValueError, match=rf"`maps.*{message}"):
        Codes(maps)
