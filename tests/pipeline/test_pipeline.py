"""Tokenizer and priors as one object and one folder."""

import copy
import dataclasses
import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vqvae2.codes import Codes
from vqvae2.config import DecoderConfig, SamplingConfig
from vqvae2.errors import CheckpointError, ConfigError
from vqvae2.models.checkpoint import fingerprint
from vqvae2.models.decoder import Decoder
from vqvae2.models.vqvae import VQVAE2
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.sampling.completion import complete_codes, mask_below
from vqvae2.sampling.request import DrawRequest

MASK = torch.ones(16, 24, dtype=torch.bool)
GUIDED = SamplingConfig(guidance_scale=2.0)
HEAD = {"magic": "vqvae2.pipeline", "version": 2}
OWN = SamplingConfig(temperature=(0.5, 0.8), top_k=(3,), top_p=(0.9, 1.0))


def with_settings(pipeline, sampling):
    return dataclasses.replace(pipeline, config=dataclasses.replace(pipeline.config, sampling=sampling))


def test_a_saved_pipeline_samples_the_same_images(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "p")
    loaded = Pipeline.from_pretrained(tmp_path / "p")
    assert loaded.config == pipeline.config
    torch.testing.assert_close(loaded.sample(3, DrawRequest(seed=4)), pipeline.sample(3, DrawRequest(seed=4)))


@pytest.mark.parametrize("label", [None, 1])
def test_the_likelihood_of_an_image_is_the_product_of_what_its_priors_give_each_code(pipeline, images, label):
    codes = pipeline.encode(images)
    labels = None if label is None else torch.full((len(images),), label)
    found = pipeline.log_likelihood(images, label=label)
    for level, (prior, maps) in enumerate(zip(pipeline.priors, codes, strict=True)):
        probabilities = prior(maps, above=codes.maps[:level], labels=labels).softmax(-1)
        for index in torch.cartesian_prod(*map(torch.arange, maps.shape)).tolist():
            assert found[level][tuple(index)].item() == pytest.approx(
                probabilities[tuple(index)][maps[tuple(index)]].log().item(), rel=1e-4
            )
    of_codes = pipeline.log_likelihood(codes, label=label)
    assert all(map(torch.equal, of_codes, found))


def test_a_likelihood_needs_priors_a_class_and_images_of_the_pipeline_s_size(pipeline, images):
    with pytest.raises(CheckpointError, match="no priors"):
        dataclasses.replace(pipeline, priors=()).log_likelihood(images)
    with pytest.raises(ConfigError, match=r"`label` must be in 0\.\.1, got 2"):
        pipeline.log_likelihood(images, label=2)
    with pytest.raises(ValueError, match="the pipeline's image size"):
        pipeline.log_likelihood(images[..., :8])
    codes = pipeline.encode(images)
    with pytest.raises(ValueError, match=r"`images` must be codes of shapes \(\(.*\), \(.*\)\), got \(\("):
        pipeline.log_likelihood(Codes(codes.maps[:1]))
    with pytest.raises(ValueError, match=r"`codes\[1\]` must be in 0\.\."):
        pipeline.log_likelihood(Codes((codes[0], codes[1] + 1000)))


@pytest.mark.parametrize("verb", ["sample", "complete", "vary"])
def test_a_pipeline_draws_with_its_own_settings_unless_others_are_given(pipeline, images, mask, verb):
    given = {"sample": (3,), "complete": (images, mask), "vary": (images,)}[verb]

    def draw(pipeline, sampling=None):
        return getattr(pipeline, verb)(*given, DrawRequest(seed=2, sampling=sampling))

    tuned, plain = with_settings(pipeline, OWN), draw(pipeline)
    assert not torch.equal(draw(tuned), plain)
    assert torch.equal(draw(tuned), draw(pipeline, OWN))
    assert torch.equal(draw(tuned, SamplingConfig()), plain)


def test_a_pipelines_own_guidance_is_for_images_of_a_class(pipeline, images):
    guided = with_settings(pipeline, GUIDED)
    assert torch.equal(guided.vary(images), pipeline.vary(images))
    one_class = DrawRequest(label=1)
    assert torch.equal(guided.vary(images, one_class), pipeline.vary(images, DrawRequest(label=1, sampling=GUIDED)))
    assert torch.equal(guided.sample(3), pipeline.sample(3, DrawRequest(sampling=GUIDED)))
    with pytest.raises(ConfigError, match=r"`sampling\.guidance_scale` must be 1 without classes, got 2"):
        PipelineConfig(sampling=GUIDED)


def test_settings_change_neither_files_nor_what_was_saved_before_there_were_any(pipeline, images, tmp_path):
    tuned = with_settings(pipeline, OWN)
    assert tuned.compress(images[0]) == pipeline.compress(images[0])
    assert tuned.fingerprints() == pipeline.fingerprints()
    tuned.save_pretrained(tmp_path / "p")
    assert Pipeline.from_pretrained(tmp_path / "p").config.sampling == OWN
    values = json.loads((tmp_path / "p" / "config.json").read_text())
    del values["sampling"]
    (tmp_path / "p" / "config.json").write_text(json.dumps(values))
    assert torch.equal(Pipeline.from_pretrained(tmp_path / "p").sample(2), pipeline.sample(2))


@pytest.mark.parametrize("size", [(16, 24), (4, 9), (13, 5), (6, 6)])
def test_samples_have_the_size_of_the_training_images_which_codes_may_cover_in_part(pipeline, size):
    pipeline.config = dataclasses.replace(pipeline.config, image_size=size)
    assert pipeline.sample(2).shape == (2, 3, *size)


@given(height=st.integers(1, 30), width=st.integers(1, 30), levels=st.sampled_from([None, 1]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_codes_and_reconstructions_fit_images_of_any_size(pipeline, height, width, levels):
    images = torch.zeros(2, 3, height, width)
    assert pipeline.encode(images).shapes == pipeline.tokenizer.config.code_shapes(height, width)
    assert pipeline.reconstruct(images, levels=levels).shape == images.shape


def test_reconstruct_is_encode_then_decode(pipeline):
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(pipeline.reconstruct(images), pipeline.decode(pipeline.encode(images)))
    torch.testing.assert_close(
        pipeline.reconstruct(images, levels=1), pipeline.decode(pipeline.encode(images), levels=1)
    )


def test_fingerprints_are_those_of_the_parts_behind_the_images_of_a_decoder(pipeline, sharp_pipeline):
    assert (pipeline.decoders, sharp_pipeline.decoders) == (("faithful",), ("sharp", "faithful"))
    assert sharp_pipeline.using("faithful").decoders == ("faithful", "sharp")
    faithful = pipeline.fingerprints()
    assert faithful == sharp_pipeline.fingerprints("faithful") == sharp_pipeline.using("faithful").fingerprints()
    assert (faithful.tokenizer, faithful.sharp_decoder) == (fingerprint(pipeline.tokenizer), "")
    assert faithful.priors == tuple(fingerprint(prior) for prior in pipeline.priors)
    sharp = fingerprint(sharp_pipeline.sharp_decoder)
    assert sharp_pipeline.fingerprints() == dataclasses.replace(faithful, sharp_decoder=sharp)
    with pytest.raises(ConfigError, match="`decoder` must be 'faithful' for this pipeline, got 'sharp'"):
        pipeline.fingerprints("sharp")


def test_labels_are_as_asked_or_as_frequent_as_in_training(pipeline):
    assert pipeline.labels(3, DrawRequest(label=1)).tolist() == [1, 1, 1]
    assert 0.6 < (pipeline.labels(500, DrawRequest()) == 0).float().mean() < 0.9


def test_a_class_has_a_name(pipeline):
    assert pipeline.class_index("dog") == 1
    with pytest.raises(ConfigError, match=r"`class` must be one of .*\(cat, dog\), got 'cow'"):
        pipeline.class_index("cow")


def test_priors_must_be_one_for_each_level_of_this_tokenizer(pipeline):
    with pytest.raises(CheckpointError, match=r"of 2 levels.* got levels \[1\]"):
        Pipeline(pipeline.tokenizer, pipeline.config, pipeline.priors[1:])
    torch.manual_seed(1)
    with pytest.raises(CheckpointError, match="was trained on codes of tokenizer"):
        Pipeline(VQVAE2(pipeline.tokenizer.config).eval(), pipeline.config, pipeline.priors)


@pytest.fixture
def images():
    return torch.rand(2, 3, 16, 24) * 2 - 1


@pytest.fixture
def mask():
    return mask_below((16, 24), 0.5)


def test_completions_keep_the_known_pixels_and_differ_elsewhere(pipeline, images, mask):
    completed = pipeline.complete(images, mask, DrawRequest(num_variants=3))
    assert completed.shape == (2, 3, 3, 16, 24)
    for variant in range(3):
        assert torch.equal(completed[:, variant, :, ~mask], images[:, :, ~mask])
    assert not torch.equal(completed[:, 0], completed[:, 1])


def test_what_stood_in_the_hidden_area_does_not_change_the_completion(pipeline, images, mask):
    others = torch.where(mask, torch.rand_like(images), images)
    torch.testing.assert_close(pipeline.complete(others, mask), pipeline.complete(images, mask), rtol=0, atol=0)


def test_the_decoder_s_own_pixels_can_be_kept(pipeline, images, mask):
    own = pipeline.complete(images, mask, keep_pixels=False)
    pasted = pipeline.complete(images, mask)
    assert not torch.equal(own[:, 0, :, ~mask], images[:, :, ~mask])
    assert torch.equal(own[:, 0, :, mask], pasted[:, 0, :, mask])


def test_each_image_may_have_its_own_mask(pipeline, images, mask):
    nothing = torch.zeros_like(mask)
    completed = pipeline.complete(images, torch.stack((mask, nothing)))
    torch.testing.assert_close(completed[:1], pipeline.complete(images[:1], mask), rtol=0, atol=1e-5)
    assert torch.equal(completed[1, 0], images[1])


def test_an_image_without_known_pixels_is_a_sample(pipeline, images, mask):
    request = DrawRequest(seed=3, label=1)
    completed = pipeline.complete(images, torch.ones_like(mask), request)
    torch.testing.assert_close(completed[:, 0], pipeline.sample(2, request), rtol=0, atol=1e-5)


def test_no_two_variants_share_their_random_numbers(pipeline, images, mask):
    images = images[:1].expand(4, -1, -1, -1)
    completed = pipeline.complete(images, mask, DrawRequest(num_variants=4)).flatten(0, 1)
    assert len(completed.unique(dim=0)) == 16


def test_variations_are_the_walk_below_the_kept_levels(pipeline, images):
    codes = pipeline.encode(images)
    hidden = [torch.zeros_like(codes[0], dtype=torch.bool), torch.ones_like(codes[1], dtype=torch.bool)]
    request = DrawRequest(seed=1)
    expected = pipeline.decode(complete_codes(pipeline.priors, codes, hidden, request))
    torch.testing.assert_close(pipeline.vary(images, request)[:, 0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("verb", ["complete", "vary"])
def test_variant_v_of_image_k_does_not_depend_on_how_many_are_drawn(pipeline, images, mask, verb):
    for part in (pipeline.tokenizer, *pipeline.priors):
        part.double()
    images = images.double()

    def draw(images, first_image=0, seed=0, num_variants=2):
        given = (images, mask) if verb == "complete" else (images,)
        drawn = {"num_variants": num_variants, "seed": seed, "first_image": first_image}
        return getattr(pipeline, verb)(*given, DrawRequest(label=0, sampling=GUIDED, **drawn))

    together = draw(images)
    assert together.shape == (2, 2, 3, 16, 24)
    assert not torch.equal(together[:, 0], together[:, 1])
    torch.testing.assert_close(draw(images, num_variants=1), together[:, :1])
    torch.testing.assert_close(draw(images[1:], first_image=1), together[1:])
    assert not torch.equal(draw(images, seed=1), together)


def test_completion_works_where_codes_cover_an_image_only_in_part(pipeline):
    pipeline.config = dataclasses.replace(pipeline.config, image_size=(13, 5))
    images = torch.zeros(1, 3, 13, 5)
    assert pipeline.complete(images, mask_below((13, 5), 3)).shape == (1, 1, 3, 13, 5)
    assert pipeline.vary(images).shape == (1, 1, 3, 13, 5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"images": torch.zeros(2, 3, 16, 16)}, ValueError, r"`images` .*\(B, C, 16, 24\), .* got \(2, 3, 16, 16"),
        ({"images": torch.zeros(3, 16, 24)}, ValueError, r"`images` must be .*of shape \(3, 16, 24\)"),
        ({"mask": MASK[:, :20]}, ValueError, r"`mask` must be bool of shape \(2, 16, 24\) or \(16, 24\), got"),
        ({"mask": MASK[None]}, ValueError, r"`mask` must .* got torch.bool of shape \(1, 16, 24\)"),
        ({"mask": MASK.float()}, ValueError, r"`mask` must be bool .* got torch.float32"),
        ({"margin": -1}, ConfigError, "`margin` must be at least 0, got -1"),
        ({"request": DrawRequest(label=2)}, ConfigError, r"`label` must be in 0\.\.1, got 2"),
        ({"request": DrawRequest(label=-1)}, ConfigError, r"`label` must be in 0\.\.1, got -1"),
        ({"request": DrawRequest(sampling=GUIDED)}, ConfigError, "`guidance_scale` 2 needs a class"),
    ],
)
def test_what_cannot_be_completed_is_refused(pipeline, images, options, error, message):
    with pytest.raises(error, match=message):
        pipeline.complete(**({"images": images, "mask": MASK} | options))


def test_levels_to_keep_leave_one_to_draw(pipeline, images):
    for keep_levels in (0, 2):
        with pytest.raises(ConfigError, match=rf"`keep_levels` must be in 1\.\.1, got {keep_levels}"):
            pipeline.vary(images, keep_levels=keep_levels)
    tokenizer = VQVAE2(dataclasses.replace(pipeline.tokenizer.config, strides=(2,))).eval()
    with pytest.raises(ConfigError, match="`keep_levels` must be left alone, since this pipeline has one level"):
        Pipeline(tokenizer, PipelineConfig(image_size=(8, 8))).vary(torch.zeros(1, 3, 8, 8))


def test_without_priors_it_reconstructs_but_draws_nothing(pipeline, images, mask, tmp_path):
    Pipeline(pipeline.tokenizer, pipeline.config).save_pretrained(tmp_path)
    loaded = Pipeline.from_pretrained(tmp_path)
    assert loaded.reconstruct(images).shape == images.shape
    for draw in (lambda: loaded.sample(1), lambda: loaded.complete(images, mask), lambda: loaded.vary(images)):
        with pytest.raises(CheckpointError, match="has no priors, so it cannot sample"):
            draw()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("{", "not a readable config"),
        (json.dumps({"magic": "other"}), "'other'"),
        (json.dumps({"magic": "vqvae2.pipeline", "version": 1}), "of format version 1, this package reads 2; train"),
        (json.dumps({}), "must be the config of a pipeline of vqvae2, but says None"),
        (json.dumps(HEAD | {"colour": 1}), "`colour`"),
        (json.dumps(HEAD | {"bit_depth": 12}), "`bit_depth` must be 8 or 16, got 12"),
        (
            json.dumps(HEAD | {"default_decoder": "blunt"}),
            "`default_decoder` must be 'faithful' or 'sharp', got 'blunt'",
        ),
        (
            json.dumps(HEAD | {"default_decoder": "sharp"}),
            "`default_decoder` must be 'faithful' without a sharp decoder",
        ),
        (json.dumps(HEAD | {"has_sharp_decoder": True}), r"sharp-decoder/model\.safetensors does not exist; train or"),
        (
            json.dumps(HEAD | {"bit_depth": 16}),
            "`config.bit_depth` must be 8 for a tokenizer of 3 channels, got 16; only grey",
        ),
    ],
)
def test_a_damaged_config_is_refused(pipeline, tmp_path, damage, message):
    pipeline.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(damage)
    with pytest.raises(CheckpointError, match=message):
        Pipeline.from_pretrained(tmp_path)


def test_either_decoder_decodes_the_same_codes(pipeline, sharp_pipeline, images):
    codes, second = pipeline.encode(images), sharp_pipeline.sharp_decoder
    for levels in (1, None):
        with torch.inference_mode():
            faithful = pipeline.tokenizer.decode(codes, levels=levels)
            sharp = pipeline.tokenizer.decode(codes, levels=levels, decoder=second)
        assert not torch.equal(faithful, sharp)
        for name, expected in ((None, sharp), ("sharp", sharp), ("faithful", faithful)):
            assert torch.equal(sharp_pipeline.decode(codes, levels=levels, decoder=name), expected)
            assert torch.equal(sharp_pipeline.using(name).decode(codes, levels=levels), expected)
        assert torch.equal(pipeline.decode(codes, levels=levels), faithful)


def test_another_default_shares_all_parts(sharp_pipeline):
    faithful = sharp_pipeline.using("faithful")
    assert faithful.config == dataclasses.replace(sharp_pipeline.config, default_decoder="faithful")
    assert faithful.tokenizer is sharp_pipeline.tokenizer
    assert faithful.priors is sharp_pipeline.priors
    assert faithful.sharp_decoder is sharp_pipeline.sharp_decoder
    assert sharp_pipeline.config.default_decoder == "sharp"
    for same in (None, "sharp"):
        assert sharp_pipeline.using(same) is sharp_pipeline


WAYS = {
    "reconstruct": lambda pipeline, images, mask: pipeline.reconstruct(images),
    "reconstruct the top": lambda pipeline, images, mask: pipeline.reconstruct(images, levels=1),
    "sample": lambda pipeline, images, mask: pipeline.sample(2),
    "complete": lambda pipeline, images, mask: pipeline.complete(images, mask, keep_pixels=False),
    "vary": lambda pipeline, images, mask: pipeline.vary(images),
    "decompress": lambda pipeline, images, mask: pipeline.decompress(pipeline.compress(images[0])),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_default_decoder_makes_all_images(pipeline, sharp_pipeline, images, mask, way):
    """A tokenizer whose own decoder has the weights of the second one says what they are."""
    faithful = WAYS[way](pipeline, images, mask)
    assert torch.equal(WAYS[way](sharp_pipeline.using("faithful"), images, mask), faithful)
    sharp = WAYS[way](sharp_pipeline, images, mask)
    pipeline.tokenizer.load_state_dict(sharp_pipeline.sharp_decoder.state_dict(), strict=False)
    pipeline = dataclasses.replace(pipeline, priors=[_of_tokenizer(prior, pipeline) for prior in pipeline.priors])
    assert torch.equal(WAYS[way](pipeline, images, mask), sharp)
    assert not torch.equal(sharp, faithful)


def _of_tokenizer(prior, pipeline):
    prior.config = dataclasses.replace(prior.config, tokenizer=fingerprint(pipeline.tokenizer))
    return prior


def test_codes_and_files_do_not_depend_on_the_decoder(pipeline, sharp_pipeline, images):
    for pair in zip(sharp_pipeline.encode(images), pipeline.encode(images), strict=True):
        assert torch.equal(*pair)
    before = pipeline.compress(images[0])
    for decoder in ("sharp", "faithful"):
        other = sharp_pipeline.using(decoder)
        assert other.compress(images[0]) == before
        assert torch.equal(other.decompress(before), other.reconstruct(images[:1])[0])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "sharp",
            r"`decoder` must be 'faithful' for this pipeline, got 'sharp'; train a sharp one with `vqvae2 train-",
        ),
        ("blunt", "`decoder` must be 'faithful' for this pipeline, got 'blunt'$"),
    ],
)
def test_a_decoder_that_is_not_there_is_refused(pipeline, sharp_pipeline, images, name, message):
    codes = pipeline.encode(images)
    for act in (lambda: pipeline.using(name), lambda: pipeline.decode(codes, decoder=name)):
        with pytest.raises(ConfigError, match=message):
            act()
    with pytest.raises(ConfigError, match="`decoder` must be 'faithful' or 'sharp' for this pipeline, got 'blunt'"):
        sharp_pipeline.using("blunt")


@pytest.mark.parametrize("default", ["sharp", "faithful"])
def test_a_saved_pipeline_keeps_both_decoders_and_which_is_the_default(sharp_pipeline, images, tmp_path, default):
    sharp_pipeline.using(default).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    assert (values["has_sharp_decoder"], values["default_decoder"]) == (True, default)
    loaded = Pipeline.from_pretrained(tmp_path)
    assert not loaded.sharp_decoder.training
    for decoder in ("sharp", "faithful"):
        expected = sharp_pipeline.using(decoder).reconstruct(images)
        assert torch.equal(loaded.using(decoder).reconstruct(images), expected)
    assert torch.equal(loaded.reconstruct(images), sharp_pipeline.using(default).reconstruct(images))


def test_a_folder_from_before_second_decoders_is_faithful(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    del values["has_sharp_decoder"], values["default_decoder"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    loaded = Pipeline.from_pretrained(tmp_path)
    assert (loaded.config, loaded.sharp_decoder) == (pipeline.config, None)
    assert loaded.decoders == ("faithful",)


def test_a_sharp_decoder_must_be_there_and_of_this_tokenizer(pipeline, sharp_pipeline):
    second = sharp_pipeline.sharp_decoder
    with pytest.raises(CheckpointError, match="`sharp_decoder` must be given, as `config` says"):
        dataclasses.replace(sharp_pipeline, sharp_decoder=None)
    with pytest.raises(CheckpointError, match="`sharp_decoder` must be None, as `config` says"):
        dataclasses.replace(pipeline, sharp_decoder=second)
    torch.manual_seed(1)
    other, own = VQVAE2(pipeline.tokenizer.config).eval(), fingerprint(pipeline.tokenizer)
    config = dataclasses.replace(sharp_pipeline.config, has_priors=False)
    with pytest.raises(CheckpointError, match=rf"sharp decoder was trained for tokenizer {own}, but this is tokenizer"):
        Pipeline(other, config, sharp_decoder=second)
    wider = DecoderConfig(
        tokenizer_config=dataclasses.replace(second.config.tokenizer_config, hidden_channels=16), tokenizer=own
    )
    with pytest.raises(CheckpointError, match=rf"for tokenizer {own}, but with another config than this tokenizer has"):
        dataclasses.replace(sharp_pipeline, sharp_decoder=Decoder(wider).eval())
    with pytest.raises(CheckpointError, match=r"must have weights of torch\.float32, .*, got torch\.float16; convert"):
        dataclasses.replace(sharp_pipeline, sharp_decoder=copy.deepcopy(second).half())


def test_all_parts_move_together(sharp_pipeline):
    sharp_pipeline.to("meta")
    parts = (sharp_pipeline.tokenizer, sharp_pipeline.sharp_decoder, *sharp_pipeline.priors)
    assert {parameter.device.type for part in parts for parameter in part.parameters()} == {"meta"}


def results(pipeline, images, mask):
    """What each method returns that returns tensors."""
    codes = pipeline.encode(images)
    request = DrawRequest(num_variants=2)
    return [
        *(*codes, pipeline.decode(codes), pipeline.reconstruct(images), pipeline.sample(2)),
        *(pipeline.complete(images, mask, request), pipeline.vary(images, request)),
        *(pipeline.decompress(pipeline.compress(images[0]))),
    ]


def test_results_are_ordinary_tensors_that_autograd_and_changes_in_place_accept(pipeline, images, mask):
    for result in results(pipeline, images, mask):
        assert not result.is_inference()
        assert not result.requires_grad
        result.mul_(1)
    torch.nn.Embedding(256, 4)(pipeline.encode(images)[0]).sum().backward()


@pytest.mark.parametrize("verb", ["encode", "reconstruct", "vary", "complete"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: images * torch.nan, r"`images` must be in \[-1, 1\], got values up to nan"),
        (
            lambda images: (images + 1) * 127.5,
            r"in \[-1, 1\], got values up to 2.*from pixels with `vqvae2.from_pixels`",
        ),
        (lambda images: images.to(torch.uint8), r"`images` must be float32 of shape \(B, 3, H, W\), got torch.uint8"),
        (lambda images: images[:, :1], r"of shape \(B, 3, H, W\), got torch.float32 of shape \(2, 1, "),
    ],
)
def test_what_are_no_images_is_refused_in_one_line(pipeline, images, mask, verb, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        getattr(pipeline, verb)(change(images), *([mask] if verb == "complete" else []))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda top, bottom: (top, bottom + 100), r"`codes\[1\]` must be in 0..4, got 10"),
        (lambda top, bottom: (top - 100, bottom), r"`codes\[0\]` must be in 0..\d+, got -100"),
        (lambda top, bottom: (top, bottom[:, :-1]), "must be of shapes .* below a top of"),
        (lambda top, bottom: (top, bottom, bottom), "at most 2 levels, got 3"),
    ],
)
def test_what_are_no_codes_of_the_pipeline_is_refused(pipeline, images, change, message):
    with pytest.raises(ValueError, match=message):
        pipeline.decode(Codes(change(*pipeline.encode(images))))


def test_a_pipeline_whose_tokenizer_was_changed_is_not_saved(pipeline, tmp_path):
    changed = dataclasses.replace(pipeline, tokenizer=copy.deepcopy(pipeline.tokenizer))
    with torch.no_grad():
        next(changed.tokenizer.parameters()).add_(1.0)
    with pytest.raises(CheckpointError, match="tokenizer"):
        changed.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_a_class_is_found_whichever_way_its_accents_are_written(pipeline):
    config = dataclasses.replace(pipeline.config, classes=("a", "caf\u00e9", "b")[: len(pipeline.config.classes)])
    assert dataclasses.replace(pipeline, config=config).class_index("cafe\u0301") == 1
