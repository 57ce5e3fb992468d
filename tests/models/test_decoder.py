"""A second decoder: where it takes the place of the tokenizer's own, and what it shares with it."""

from dataclasses import replace

import pytest
import torch

from toy_models import TOY_TOKENIZER
from vqvae2.codes import Codes
from vqvae2.config import CodebookLossConfig, DecoderConfig, FSQConfig
from vqvae2.models.checkpoint import fingerprint, load_model, save_model
from vqvae2.models.decoder import Decoder
from vqvae2.models.vqvae import VQVAE2


@pytest.fixture(params=[((2,), 0), ((2, 2), 0), ((4, 2, 2), 0), ((4, 2), 16)], ids=str)
def tokenizer(request):
    strides, detail_channels = request.param
    tokenizer = VQVAE2(replace(TOY_TOKENIZER, strides=strides, detail_channels=detail_channels)).eval()
    if detail_channels:
        torch.nn.init.normal_(tokenizer.details[-2].weight)  # which begins with zeros
    return tokenizer


@pytest.fixture
def decoder(tokenizer):
    """A second decoder of its own weights."""
    return make_decoder(tokenizer)


def make_decoder(tokenizer):
    return Decoder(DecoderConfig(tokenizer_config=tokenizer.config, tokenizer=fingerprint(tokenizer))).eval()


def draw_codes(tokenizer, size=(16, 32)):
    config = tokenizer.config
    shapes = zip(config.codebook_sizes, config.code_shapes(*size), strict=True)
    return Codes(tuple(torch.randint(count, (2, *shape)) for count, shape in shapes))


def predict_and_decode(tokenizer, codes, levels, decode):
    """The plain reference: look up the upper levels, predict each lower one from those above, upsample all, decode."""
    num_levels, vectors, context = tokenizer.config.num_levels, [], None
    for level in range(num_levels):
        if level < levels:
            vectors.append(tokenizer.quantizers[level].embed(codes[level]))
        else:
            vectors.append(tokenizer.predictors[level - 1](context))
        if level < num_levels - 1:
            inputs = vectors[-1] if context is None else torch.cat((vectors[-1], context), dim=1)
            context = tokenizer.level_decoders[level](inputs)
    upsampled = [decode.to_bottom[level](vectors[level]) for level in range(num_levels - 1)]
    joined = torch.cat((*upsampled, vectors[-1]), dim=1)
    return decode.decoder(joined) + (decode.details(joined) if tokenizer.config.detail_channels else 0.0)


@torch.inference_mode()
def test_either_decoder_decodes_from_any_upper_levels_as_a_plain_loop_does(tokenizer, decoder):
    codes = draw_codes(tokenizer)
    for levels in (*range(1, len(codes) + 1), None):
        known = len(codes) if levels is None else levels
        expected = [predict_and_decode(tokenizer, codes, known, part) for part in (tokenizer, decoder)]
        assert torch.equal(tokenizer.decode(codes, levels=levels), expected[0])
        assert torch.equal(tokenizer.decode(codes, levels=levels, decoder=decoder), expected[1])
        assert torch.equal(tokenizer.decode(Codes(codes.maps[:known]), decoder=decoder), expected[1])
        vectors = tokenizer.embed(codes, levels=levels)
        assert [tuple(level.shape) for level in vectors] == [
            (2, 4, *shape) for shape in tokenizer.config.code_shapes(16, 32)
        ]
        assert torch.equal(decoder(vectors), expected[1])


@torch.inference_mode()
def test_with_the_tokenizer_s_weights_it_is_its_decoder(tokenizer, decoder):
    weights = tokenizer.state_dict()
    names = [name for name in weights if name.startswith(("to_bottom.", "decoder.", "details."))]
    assert list(decoder.state_dict()) == names
    codes = draw_codes(tokenizer)
    assert not torch.equal(tokenizer.decode(codes, decoder=decoder), tokenizer.decode(codes))
    decoder.load_state_dict({name: weights[name] for name in names})
    for levels in range(1, len(codes) + 1):
        decoded = tokenizer.decode(codes, levels=levels, decoder=decoder)
        assert torch.equal(decoded, tokenizer.decode(codes, levels=levels))


def test_a_branch_for_details_begins_with_nothing_and_learns():
    config = replace(TOY_TOKENIZER, strides=(4, 2), detail_channels=16)
    torch.manual_seed(1)
    tokenizer = VQVAE2(config)
    plain = VQVAE2(replace(config, detail_channels=0))
    plain.load_state_dict({name: value for name, value in tokenizer.state_dict().items() if "details" not in name})
    images = torch.rand(2, 3, 16, 16) * 2.0 - 1.0
    output = tokenizer.eval()(images)
    assert torch.equal(output.reconstruction, plain.eval()(images).reconstruction)
    output.reconstruction_loss.backward()
    assert tokenizer.details[-2].weight.grad.abs().sum() > 0.0


@pytest.mark.parametrize("quantizer", [CodebookLossConfig(num_embeddings=12, embedding_dim=4), FSQConfig()], ids=str)
def test_any_quantizer_has_codes_for_it(quantizer):
    tokenizer = VQVAE2(replace(TOY_TOKENIZER, quantizer=quantizer)).eval()
    assert tokenizer.decode(draw_codes(tokenizer), decoder=make_decoder(tokenizer)).shape == (2, 3, 16, 32)


def test_it_is_rebuilt_from_its_file(tokenizer, decoder, tmp_path):
    digest = save_model(decoder, tmp_path / "model.safetensors", metadata={"loss_network": "none"})
    loaded, header = load_model(tmp_path / "model.safetensors", kind="decoder")
    assert (header.kind, header.config, header.fingerprint) == ("decoder", decoder.config, digest)
    assert not loaded.training
    codes = draw_codes(tokenizer)
    assert torch.equal(tokenizer.decode(codes, decoder=loaded), tokenizer.decode(codes, decoder=decoder))


def test_a_decoder_of_another_tokenizer_is_refused(tokenizer):
    config = DecoderConfig(tokenizer_config=replace(tokenizer.config, hidden_channels=6), tokenizer="")
    with pytest.raises(ValueError, match="`decoder` must be one that was trained for this tokenizer"):
        tokenizer.decode(tokenizer.encode(torch.zeros(1, 3, 16, 16)), decoder=Decoder(config))
