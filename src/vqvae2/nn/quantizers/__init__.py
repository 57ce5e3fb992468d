"""Quantizers: one class for each way from features to codes."""

from vqvae2.config import CodebookLossConfig, EMAConfig, QuantizerConfig
from vqvae2.nn.quantizers.base import Quantized, Quantizer
from vqvae2.nn.quantizers.codebook import CodebookLossQuantizer, EMAQuantizer
from vqvae2.nn.quantizers.fsq import FSQuantizer

__all__ = ["Quantized", "Quantizer", "build_quantizer"]


def build_quantizer(config: QuantizerConfig) -> Quantizer:
    """Build the quantizer of one level."""
    if isinstance(config, EMAConfig):
        return EMAQuantizer(config)
    if isinstance(config, CodebookLossConfig):
        return CodebookLossQuantizer(config)
    return FSQuantizer(config)
