"""Networks of the smallest useful size, of which tests make models."""

from torch import nn
from torch.nn import functional

from vqvae2.config import EMAConfig, VQVAE2Config

TOY_TOKENIZER = VQVAE2Config(
    strides=(2, 2),
    hidden_channels=8,
    residual_channels=4,
    residual_layers=1,
    quantizer=EMAConfig(num_embeddings=12, embedding_dim=4),
)
"""Two levels of twelve codes, for images whose sides are multiples of four."""


class ToyFeatureMaps(nn.Module):
    """A fixed network that sees grey at two scales."""

    map_channels = (5, 3)

    def __init__(self):
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(1, channels, 3, padding=1) for channels in self.map_channels)
        self.requires_grad_(False)

    def feature_maps(self, images):
        grey = images.mean(1, keepdim=True).to(self.convolutions[0].weight.dtype)
        return self.convolutions[0](grey), self.convolutions[1](functional.avg_pool2d(grey, 2))
