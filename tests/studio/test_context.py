"""What the tabs are given: a pipeline for each decoder, of the same models."""

import torch


def test_each_visitor_has_a_pipeline_of_the_decoder_of_their_choice_and_all_share_the_models(sharp_context):
    pipeline = sharp_context.pipeline
    codes = pipeline.encode(sharp_context.examples[0].image[None])
    assert list(sharp_context.by_decoder) == ["faithful", "sharp"]
    for name, own in sharp_context.by_decoder.items():
        assert torch.equal(own.pipeline.decode(codes), pipeline.decode(codes, decoder=name))
        assert own.pipeline.tokenizer is pipeline.tokenizer
        assert own.pipeline.sharp_decoder is pipeline.sharp_decoder
        assert own.turns is sharp_context.turns
    assert pipeline.config.default_decoder == "sharp"


def test_one_decoder_needs_no_choice(context):
    (name,) = context.by_decoder
    assert context.by_decoder[name].pipeline is context.pipeline
