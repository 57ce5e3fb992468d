"""Networks of the smallest useful size, of which tests make models."""

from vqvae2.config import EMAConfig, VQVAE2Config

TOY_TOKENIZER = VQVAE2Config(
    strides=(2, 2),
    hidden_channels=8,
    residual_channels=4,
    residual_layers=1,
    quantizer=EMAConfig(num_embeddings=12, embedding_dim=4),
)
"""Two levels of twelve codes, for images whose sides are multiples of four."""
