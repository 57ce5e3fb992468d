"""Laws of the tokenizer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqvae2.codes import Codes
from vqvae2.config import CodebookLossConfig, EMAConfig, FSQConfig, VQVAE2Config
from vqvae2.models.vqvae import VQVAE2

QUANTIZERS = [
    EMAConfig(num_embeddings=12, embedding_dim=4),
    CodebookLossConfig(num_embeddings=12, embedding_dim=4),
    FSQConfig(num_values=(3, 4)),
]
TINY = {"hidden_channels": 8, "residual_channels": 4, "residual_layers": 1, "quantizer": QUANTIZERS[0]}
STRIDES = [(4,), (4, 2), (2, 2), (2, 2, 2), (2, 2, 2, 2), (4, 4), (2, 4), (8, 2)]


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(STRIDES), st.sampled_from([1, 3, 4]))
@settings(max_examples=60, deadline=None)
def test_any_size_is_padded_and_cropped(height, width, strides, channels):
    torch.manual_seed(0)
    model = VQVAE2(VQVAE2Config(strides=strides, in_channels=channels, **TINY)).eval()
    images = torch.rand(1, channels, height, width) * 2 - 1
    with torch.inference_mode():
        output = model(images)
        again = model.encode(output.reconstruction)
    assert output.reconstruction.shape == images.shape
    assert output.codes.shapes == again.shapes == model.config.code_shapes(height, width)
    assert model.decode(again).shape[-2:] == tuple(
        -(-side // model.config.stride) * model.config.stride for side in images.shape[-2:]
    )
    assert all(int(level.min()) >= 0 and int(level.max()) < 12 for level in again)


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=str)
@pytest.mark.parametrize("strides", STRIDES)
def test_forward_is_encode_then_decode(strides, quantizer):
    model = VQVAE2(VQVAE2Config(strides=strides, **(TINY | {"quantizer": quantizer}))).double().eval()
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64) * 2 - 1
    with torch.inference_mode():
        output = model(images)
        decoded = model.decode(model.encode(images))
    torch.testing.assert_close(output.reconstruction, decoded, rtol=0, atol=1e-9)


def test_codes_do_not_depend_on_autocast():
    model = VQVAE2(VQVAE2Config(**TINY)).eval()
    images = torch.rand(8, 3, 32, 32) * 2 - 1
    model.initialize_codebooks(images)
    expected = model.encode(images)
    with torch.autocast("cpu", torch.bfloat16):
        codes = model.encode(images)
    assert all(torch.equal(ours, wanted) for ours, wanted in zip(codes, expected, strict=True))


def test_losses_are_means_over_pixels_and_positions():
    model = VQVAE2(VQVAE2Config(**TINY)).eval()
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    output = model(images)
    torch.testing.assert_close(output.reconstruction_loss, (output.reconstruction - images).square().mean())
    assert output.quantizer_loss > 0
    assert output.preview_loss > 0


@pytest.mark.parametrize(
    ("preview_weight", "expected"),
    [(0.0, {"predictors"}), (0.1, {"predictors", "level_decoders", "encoders", "to_embedding"})],
)
def test_previews_reach_the_levels_above_only_with_a_weight(preview_weight, expected):
    model = VQVAE2(VQVAE2Config(strides=(2, 2, 2), preview_weight=preview_weight, **TINY))
    model(torch.rand(2, 3, 16, 16)).preview_loss.backward()
    reached = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert reached == expected


def test_the_bottom_depends_on_the_top():
    model = VQVAE2(VQVAE2Config(**TINY)).eval()
    images = torch.rand(1, 3, 16, 16) * 2 - 1
    before = model.encode(images)
    with torch.no_grad():
        model.quantizers[0].codebook.add_(3.0)
        model.level_decoders[0][0].weight.mul_(5.0)
    assert not torch.equal(before[1], model.encode(images)[1])


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_partial_decoding_uses_the_upper_levels_only(levels):
    model = VQVAE2(VQVAE2Config(strides=(2, 2, 2), **TINY)).eval()
    codes = model.encode(torch.rand(2, 3, 16, 16) * 2 - 1)
    changed = Codes((*codes.maps[:levels], *((level + 1) % 12 for level in codes.maps[levels:])))
    with torch.inference_mode():
        expected = model.decode(codes, levels=levels)
        torch.testing.assert_close(model.decode(changed, levels=levels), expected)
        torch.testing.assert_close(model.decode(Codes(codes.maps[:levels])), expected)


def test_training_moves_the_codebooks_once_a_step():
    model = VQVAE2(VQVAE2Config(**TINY)).train()
    before = [quantizer.codebook.clone() for quantizer in model.quantizers]
    model(torch.rand(2, 3, 16, 16))
    assert all(torch.equal(old, quantizer.codebook) for old, quantizer in zip(before, model.quantizers, strict=True))
    model.update_codebooks()
    assert all(not torch.equal(old, new.codebook) for old, new in zip(before, model.quantizers, strict=True))


def test_initialized_codebooks_are_all_near_the_data():
    model = VQVAE2(VQVAE2Config(**TINY)).eval()
    images = torch.rand(8, 3, 32, 32) * 2 - 1
    spread_before = model(images).quantizer_loss
    model.initialize_codebooks(images)
    assert model(images).quantizer_loss < 0.2 * spread_before


def test_images_of_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"`images` must be of shape \(B, 3, H, W\)"):
        VQVAE2(VQVAE2Config(**TINY)).encode(torch.zeros(1, 1, 16, 16))


@pytest.mark.parametrize(("levels", "num_levels"), [(0, 2), (3, 2), (None, 3)])
def test_levels_that_are_not_there_are_refused(levels, num_levels):
    codes = Codes((torch.zeros(1, 1, 1, dtype=torch.int64),) * num_levels)
    message = r"`levels` must be in 1\.\.2 .*, got" if levels is not None else "`codes` .* at most 2 levels, got 3"
    with pytest.raises(ValueError, match=message):
        VQVAE2(VQVAE2Config(**TINY)).decode(codes, levels=levels)


class Method(torch.nn.Module):
    """A module whose forward pass is a method of another."""

    def __init__(self, model, name):
        super().__init__()
        self.model, self.name = model, name

    def forward(self, given):
        return getattr(self.model, self.name)(given)


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=str)
@torch.no_grad()
def test_encoding_and_decoding_are_exported_for_any_number_of_images(quantizer):
    model = VQVAE2(VQVAE2Config(**TINY | {"quantizer": quantizer})).eval()
    images, batch = torch.rand(5, 3, 16, 16) * 2 - 1, torch.export.Dim("batch", min=1)
    codes = model.encode(images)
    for name, two, shapes, many, expected in (
        ("encode", images[:2], ({0: batch},), images, codes.maps),
        ("decode", codes.select(slice(2)), ([({0: batch},) * 2],), codes, [model.decode(codes)]),
    ):
        exported = torch.export.export(Method(model, name), (two,), dynamic_shapes=shapes).module()
        for found, wanted in zip(exported(many), expected if name == "encode" else expected[0], strict=True):
            torch.testing.assert_close(found, wanted)
