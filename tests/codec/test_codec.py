"""Images to files and back: no code is lost, and a file takes no more than its codes are worth."""

import dataclasses
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqvae2 import Bitstream, BitstreamError, CheckpointError, Codec, Codes, ConfigError, Pipeline
from vqvae2.codec import entropy, hierarchy_coder
from vqvae2.codec.entropy import integer_counts, round_logits
from vqvae2.nn.fronts import Fronts
from vqvae2.sampling.hooks import Hooks

FAMILIES = ("pixelsnail", "transformer")


def draw_codes(pipeline, size, *, seed=0, batch_size=1, levels=None):
    config, generator = pipeline.tokenizer.config, torch.Generator().manual_seed(seed)
    shapes = zip(config.code_shapes(*size), config.codebook_sizes, strict=True)
    maps = [torch.randint(count, (batch_size, *shape), generator=generator) for shape, count in shapes]
    return Codes(tuple(maps[:levels]))


def information_bytes(pipeline, codes, label):
    """The priors' own -log2 p, as rounded, of the codes of one image."""
    bits = 0.0
    for level, prior in enumerate(pipeline.priors):
        num_classes = prior.space.num_classes
        labels = torch.tensor([num_classes if label is None else label]) if num_classes else None
        *above, own = codes.maps[: level + 1]
        with torch.inference_mode():
            logits = prior.double()(own, above=above, labels=labels).numpy()
        counts = np.take_along_axis(integer_counts(round_logits(logits, np.zeros(1))), own[..., None].numpy(), axis=3)
        bits += (24 - np.log2(counts)).sum()
    return bits / 8


def same(codes, other):
    return len(codes) == len(other) and all(torch.equal(*pair) for pair in zip(codes, other, strict=True))


@pytest.fixture
def image(pipeline):
    return torch.rand(3, 16, 24) * 2 - 1


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_codes_of_any_priors_come_back_in_no_more_bytes_than_they_are_worth(make_pipeline, reference, data):
    num_levels = data.draw(st.integers(1, 3))
    pipeline = make_pipeline(
        (2,) * num_levels,
        num_embeddings=data.draw(st.sampled_from((2, 3, 16, 50, 300))),
        families=[data.draw(st.sampled_from(FAMILIES)) for _ in range(num_levels)],
        num_classes=data.draw(st.sampled_from((0, 3))),
        scale=data.draw(st.sampled_from((0.0, 0.1, 0.4, 1.0))),
        seed=data.draw(st.integers(0, 100)),
    )
    size = data.draw(st.integers(1, 17)), data.draw(st.integers(1, 17))
    label = data.draw(st.none() | st.integers(0, 2)) if pipeline.config.classes else None
    codes = draw_codes(pipeline, size, seed=data.draw(st.integers(0, 1000)))
    (coded,) = pipeline.codec.compress_codes(codes, size=size, labels=[label], verify=False)
    (raw,) = pipeline.codec.compress_codes(codes, size=size, mode="raw")
    for found in (coded, raw):
        assert same(pipeline.codec.decompress_codes([found]), codes)
        second = reference.decode(found, pipeline.tokenizer, pipeline.priors)
        assert second == [level[0].tolist() for level in codes]
    assert len(coded) <= 1.01 * information_bytes(pipeline, codes, label) + 32


@pytest.mark.parametrize("mode", ["prior", "raw"])
def test_an_image_comes_back_as_its_reconstruction(pipeline, image, mode):
    data = pipeline.compress(image, mode=mode)
    assert torch.equal(pipeline.decompress(data), pipeline.reconstruct(image[None])[0])
    preview = pipeline.decompress(data, max_levels=1)
    assert torch.equal(preview, pipeline.reconstruct(image[None], levels=1)[0])
    assert torch.equal(pipeline.decompress(pipeline.compress(image, mode=mode, max_levels=1)), preview)


@pytest.mark.parametrize(("channels", "bit_depth"), [(1, 8), (1, 16), (4, 8), (6, 8)])
def test_other_images_than_rgb_are_compressed_too(make_pipeline, channels, bit_depth):
    pipeline = make_pipeline(channels=channels, bit_depth=bit_depth)
    image = torch.rand(channels, 5, 9) * 2 - 1
    data = pipeline.compress(image)
    header = pipeline.codec.read(data).header
    assert (header.channels, header.bit_depth) == (channels, bit_depth)
    assert torch.equal(pipeline.decompress(data), pipeline.reconstruct(image[None])[0])


def test_images_of_many_sizes_walk_together_and_come_back_in_order(pipeline):
    images = [torch.rand(3, *size) * 2 - 1 for size in ((16, 24), (5, 7), (16, 24), (8, 8), (7, 7))]
    labels = [0, None, 1, None, 0]
    together = pipeline.codec.compress_batch(images, labels=labels)
    alone = [pipeline.compress(image, label=label) for image, label in zip(images, labels, strict=True)]
    assert together == alone
    for found, image in zip(pipeline.codec.decompress_batch(together), images, strict=True):
        assert torch.allclose(found, pipeline.reconstruct(image[None])[0], atol=1e-6)


def test_the_class_travels_in_the_file_and_changes_its_size_alone(pipeline, image):
    files = [pipeline.compress(image, label=label) for label in (None, 0, 1)]
    assert [pipeline.codec.read(data).header.label for data in files] == [None, 0, 1]
    codes = [pipeline.codec.decompress_codes([data]) for data in files]
    assert same(codes[0], codes[1])
    assert same(codes[0], codes[2])
    payloads = [pipeline.codec.read(data).payloads for data in files]
    assert payloads[0] != payloads[1] != payloads[2]
    assert pipeline.compress(image, label=np.int64(1)) == files[2]


def test_a_file_does_not_depend_on_how_many_logits_are_coded_together(pipeline, monkeypatch):
    codes = draw_codes(pipeline, (16, 24), batch_size=2)
    files = pipeline.codec.compress_codes(codes, size=(16, 24))
    for most_logits in (1, 200):
        monkeypatch.setattr(entropy, "_MOST_LOGITS", most_logits)
        assert pipeline.codec.compress_codes(codes, size=(16, 24)) == files


def test_files_of_one_size_are_decoded_to_codes_together(pipeline):
    codes = draw_codes(pipeline, (16, 24), batch_size=5)
    files = pipeline.codec.compress_codes(codes, size=(16, 24), labels=[0, 1, None, 1, 0])
    assert same(pipeline.codec.decompress_codes(files), codes)
    assert same(pipeline.codec.decompress_codes(files, max_levels=1), Codes(codes.maps[:1]))
    other = pipeline.codec.compress_codes(draw_codes(pipeline, (8, 8)), size=(8, 8))
    with pytest.raises(ValueError, match="of one size"):
        pipeline.codec.decompress_codes(files + other)


def test_a_file_object_is_read_to_its_end(pipeline, image):
    data = pipeline.compress(image)
    file = io.BytesIO(data)
    assert torch.equal(pipeline.decompress(file), pipeline.decompress(data))
    assert file.tell() == len(data)
    for other in (bytearray(data), memoryview(data)):
        assert torch.equal(pipeline.decompress(other), pipeline.decompress(data))


def test_a_file_of_other_models_is_refused_before_its_codes_are_read(make_pipeline, image):
    file = io.BytesIO(make_pipeline(seed=1).compress(image) + bytes(100))
    with pytest.raises(BitstreamError, match="written with tokenizer"):
        make_pipeline(seed=2).decompress(file)
    assert file.tell() < 25


def test_progress_counts_codes_and_verifying_too(pipeline, image):
    counts: list[tuple[int, int]] = []
    hooks = Hooks(on_progress=lambda *count: counts.append(count))
    pipeline.compress(image, hooks=hooks)
    data = pipeline.compress(image, verify=False, hooks=hooks)
    pipeline.decompress(data, hooks=hooks)
    num_codes = 4 * 6 + 8 * 12
    ends = [index for index, (done, total) in enumerate(counts) if done == total]
    assert [counts[end][1] for end in ends] == [2 * num_codes, num_codes, num_codes]
    assert counts[ends[1] + 1] == (1, num_codes)


def test_verifying_finds_a_machine_that_computes_otherwise_the_second_time(pipeline):
    steps_of_a_walk = len(Fronts((4, 6), pipeline.priors[0].first.reach).ends)
    num_steps = 0

    def computes_otherwise(_module, _inputs, logits):
        nonlocal num_steps
        num_steps += 1
        return logits + torch.arange(logits.shape[-1]) * (num_steps > steps_of_a_walk)

    pipeline.priors[0].to_logits.register_forward_hook(computes_otherwise)
    codes = draw_codes(pipeline, (16, 24))
    with pytest.raises(BitstreamError, match="do not match their checksum"):
        pipeline.codec.compress_codes(codes, size=(16, 24))
    pipeline.codec.compress_codes(codes, size=(16, 24), verify=False)


def test_an_image_that_no_grid_suits_is_refused(make_pipeline):
    """Each grid has a logit of its own at a boundary."""
    pipeline = make_pipeline((2,), num_embeddings=300, families=("pixelsnail",), num_classes=0)
    with torch.no_grad():
        for parameter in pipeline.priors[0].parameters():
            parameter.zero_()
        for number, offset in enumerate(hierarchy_coder.GRID_OFFSETS):
            pipeline.priors[0].to_logits.bias[number] = (0.5 - offset / 256) / 64
    codes = draw_codes(pipeline, (2, 2))
    with pytest.raises(BitstreamError, match="on each of 64 grids, a logit lies where another machine might round it"):
        pipeline.codec.compress_codes(codes, size=(2, 2))
    assert same(pipeline.codec.decompress_codes(pipeline.codec.compress_codes(codes, size=(2, 2), mode="raw")), codes)


def test_a_raw_file_needs_no_priors(pipeline, image):
    tokenizer_only = Pipeline(pipeline.tokenizer, pipeline.config)
    data = tokenizer_only.compress(image)
    assert tokenizer_only.codec.read(data).header.priors == ""
    assert torch.equal(tokenizer_only.decompress(data), pipeline.decompress(data))
    with pytest.raises(CheckpointError, match="take `mode` raw"):
        tokenizer_only.compress(image, mode="prior")
    with pytest.raises(BitstreamError, match="needs priors, but this pipeline has none"):
        tokenizer_only.decompress(pipeline.compress(image))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "priors"}, "`mode` must be prior or raw, got 'priors'"),
        ({"label": 0.5}, "`label` must be in 0..1 or None, got 0.5"),
        ({"label": 2}, "`label` must be in 0..1 or None, got 2"),
        ({"label": 0, "mode": "raw"}, "`label` must be None, since no prior is told a class, got 0"),
        ({"max_levels": 0}, r"`max_levels` must be in 1..2, got 0"),
        ({"max_levels": 3}, r"`max_levels` must be in 1..2, got 3"),
    ],
)
def test_what_does_not_fit_is_refused(pipeline, image, options, message):
    with pytest.raises(ConfigError, match=message):
        pipeline.compress(image, **options)


@pytest.mark.parametrize(
    "image", [*map(torch.zeros, ((1, 16, 24), (16, 24), (3, 0, 5), (1, 3, 16, 24))), torch.zeros(3, 16, 24).byte()]
)
def test_what_is_no_image_is_refused(pipeline, image):
    with pytest.raises(ValueError, match=r"`images\[0\]` must be float32 of shape \(3, H, W\)"):
        pipeline.compress(image)


def test_what_is_out_of_range_or_no_file_or_in_training_is_refused(pipeline, image):
    for value in (255.0, -2.0, torch.nan, torch.inf):
        image[1, 2, 3] = value
        with pytest.raises(ValueError, match=r"`images\[0\]` must be in \[-1, 1\]"):
            pipeline.compress(image)
    for source in ("image.vq2", 5, None):
        with pytest.raises(ValueError, match="bytes of a file or a binary file object"):
            pipeline.decompress(source)
    with pytest.raises(ValueError, match="in evaluation mode"):
        Codec(pipeline.tokenizer.train())


def test_an_error_says_which_file_it_is_of(pipeline, image):
    good = pipeline.compress(image)
    codec, stream = pipeline.codec, pipeline.codec.read(good)
    cut = good[:-5]
    other = Bitstream(stream.header, stream.payloads, (stream.checks[0], b"abc"))
    with pytest.raises(BitstreamError, match=r"`sources\[2\]`: the file ends within"):
        codec.decompress_batch([good, good, cut])
    with pytest.raises(BitstreamError, match=r"`sources\[1\]`: the codes of level 2 of 2 do not match"):
        codec.decompress_batch([good, other, good])


def test_an_image_is_float32_and_its_caller_s_own_and_the_codec_moves_with_its_pipeline(pipeline, image):
    data, codec = pipeline.compress(image), pipeline.codec
    with torch.autocast("cpu", torch.bfloat16):
        found = pipeline.decompress(data)
    assert pipeline.codec is codec
    assert pipeline.to("cpu").codec is not codec
    assert torch.equal(found, pipeline.decompress(data))
    assert found.dtype == torch.float32
    found.clamp_(-1, 1)
    assert found.untyped_storage().nbytes() == found.nbytes


def test_codes_that_do_not_fit_are_refused(pipeline):
    with pytest.raises(ValueError, match="`codes` must be of shapes"):
        pipeline.codec.compress_codes(draw_codes(pipeline, (8, 8)), size=(16, 16))
    codes = draw_codes(pipeline, (8, 8))
    with pytest.raises(ValueError, match=r"`codes\[1\]` must be in 0..4"):
        pipeline.codec.compress_codes(Codes((codes[0], codes[1] + 5)), size=(8, 8))
    with pytest.raises(ConfigError, match="`labels` must be one for each of 2"):
        pipeline.codec.compress_codes(draw_codes(pipeline, (8, 8), batch_size=2), size=(8, 8), labels=[None])


def test_the_size_of_images_is_bounded_both_ways(pipeline):
    small = dataclasses.replace(pipeline, max_pixels=64)
    assert small.decompress(small.compress(torch.zeros(3, 8, 8))).shape == (3, 8, 8)
    with pytest.raises(
        ConfigError, match="an image 9 pixels high and 8 wide, padded to whole codes, has more than `max_pixels`"
    ):
        small.compress(torch.zeros(3, 9, 8))
    with pytest.raises(BitstreamError, match="from 1 to 64 pixels are read"):
        small.decompress(pipeline.compress(torch.zeros(3, 9, 8)))
    with pytest.raises(BitstreamError, match="padded more than `max_pixels`"):
        small.decompress(pipeline.compress(torch.zeros(3, 1, 64)))
