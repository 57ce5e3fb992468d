"""What all tests share: small machines' manners, and tiny models."""

import os
import runpy
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from vqvae2.codes import Codes
from vqvae2.config import (
    NETWORK_CONFIGS,
    CodeSpace,
    DecoderConfig,
    EMAConfig,
    ImageConfig,
    PriorConfig,
    VQVAE2Config,
)
from vqvae2.data import ImageFolder, prepare_images
from vqvae2.images import encode_png
from vqvae2.models.checkpoint import build_model, fingerprint
from vqvae2.models.decoder import Decoder
from vqvae2.models.prior import Prior
from vqvae2.models.vqvae import VQVAE2
from vqvae2.nn.fronts import front_numbers
from vqvae2.pipeline.config import PipelineConfig
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.sampling.choice import choose_by_drawing, uniforms
from vqvae2.training.runtime import choose_runtime

# On processors with AVX2 and no AVX-512, oneDNN (of torch 2.13.0) corrupts memory in the backward pass of toy networks
# of four channels. Networks of eight channels are fine, and so are its kernels for AVX.
if torch.backends.cpu.get_cpu_capability() == "AVX2":
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX")  # read when the first convolution runs


@pytest.fixture(autouse=True)
def _reproducible():
    torch.set_num_threads(1)  # the test runner fills the cores with processes
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def make_prior():
    """Build a tiny prior of a level, in float64, with weights large enough for its logits to matter."""

    def make(
        level: int = 0,
        *,
        num_classes: int = 0,
        num_embeddings: int = 5,
        above_num_embeddings: int = 6,
        tokenizer: str = "",
        family: str = "pixelsnail",
        **options: object,
    ) -> Prior:
        defaults: dict[str, object] = {"hidden_channels": 8, "num_heads": 2, "conditioning_layers": 2}
        if family == "pixelsnail":
            defaults |= {"residual_channels": 6, "num_layers": 4, "attention_every": 2, "output_layers": 1}
        else:
            defaults |= {"feedforward_channels": 12, "num_layers": 3}
        space = CodeSpace(
            level=level,
            num_embeddings=(above_num_embeddings,) * level + (num_embeddings,),
            upsampling=tuple(2 ** (level - above) for above in range(level)),
            num_classes=num_classes,
        )
        network = NETWORK_CONFIGS[family](**(defaults | options))
        prior = build_model(PriorConfig(space=space, network=network, tokenizer=tokenizer))
        assert isinstance(prior, Prior)
        for parameter in prior.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
        return prior.double().eval()

    return make


@pytest.fixture(params=[{}, {"attention_every": 0}, {"family": "transformer"}], ids=str)
def priors(make_prior, request):
    """Priors of two levels with two classes, of one kind after the other."""
    return [
        make_prior(0, num_embeddings=6, num_classes=2, **request.param),
        make_prior(1, num_classes=2, **request.param),
    ]


@pytest.fixture
def recompute_prefix():
    """Sample or complete without any cache: one whole forward pass per code. Plainly right, and so the reference.

    Priors without attention are walked in raster order, which must make no difference; the others in that of fronts.
    """

    @torch.inference_mode()
    def recompute(priors, codes, hidden, images, seed, labels, config):
        maps: list[torch.Tensor] = []
        for level, prior in enumerate(priors):
            walked = codes[level].clone()
            flat, is_hidden = walked.view(len(walked), -1), hidden[level].flatten(1)
            choose = choose_by_drawing(
                uniforms(images, seed=seed, level=level, count=flat.shape[1]), config.level(level)
            )
            in_order = torch.arange(flat.shape[1])
            if prior.config.network.has_attention:
                in_order = in_order[front_numbers(walked.shape[1:], prior.first.reach).argsort(stable=True)]
            for position in in_order.split(1):
                logits = prior(walked, above=maps, labels=labels).flatten(1, 2)[:, position]
                if config.guidance_scale != 1.0:
                    plain = prior(walked, above=maps).flatten(1, 2)[:, position]
                    logits = plain + config.guidance_scale * (logits - plain)
                flat[:, position] = torch.where(is_hidden[:, position], choose(position, logits), flat[:, position])
            maps.append(walked)
        return Codes(tuple(maps))

    return recompute


@pytest.fixture(scope="session")
def shared_images(tmp_path_factory):
    """Forty small images in two class folders, to read only: bright squares and dark stripes."""
    generator = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("shared") / "photos"
    for name in ("squares", "stripes"):
        (folder / name).mkdir(parents=True)
        for index in range(20):
            pixels = np.full((16, 16, 3), generator.integers(0, 256, 3), dtype=np.uint8)
            if name == "squares":
                pixels[4:12, 2:8] = 255
            else:
                pixels[:: int(generator.integers(2, 5))] = 0
            (folder / name / f"{index}.png").write_bytes(encode_png(pixels))
    return folder


@pytest.fixture
def image_folder(shared_images, tmp_path):
    """A copy of the shared images, to do with as one likes."""
    return shutil.copytree(shared_images, tmp_path / "photos")


@pytest.fixture
def image_store(image_folder, tmp_path):
    return prepare_images(
        ImageFolder(image_folder), tmp_path / "images", ImageConfig(size=(16, 16), validation_fraction=0.25)
    )


@pytest.fixture
def runtime():
    return choose_runtime("cpu", "float32")


@pytest.fixture
def pipeline(make_prior):
    """A tiny pipeline of random weights: two levels, two classes, 16x24 RGB."""
    return _tiny_pipeline(make_prior)


@pytest.fixture
def sharp_pipeline(pipeline):
    """The same with a second decoder, of weights of its own, which is the default."""
    decoder = Decoder(
        DecoderConfig(tokenizer_config=pipeline.tokenizer.config, tokenizer=fingerprint(pipeline.tokenizer))
    )
    config = replace(pipeline.config, has_sharp_decoder=True, default_decoder="sharp")
    return replace(pipeline, config=config, sharp_decoder=decoder.eval())


@pytest.fixture(scope="session")
def shared_pipeline(make_prior):
    """The same, made once for all tests that do not change it."""
    torch.set_num_threads(1)  # fixtures of a session come before those of a test
    torch.manual_seed(1)  # each test starts with 0, and may build another one of other weights
    return _tiny_pipeline(make_prior)


def _tiny_pipeline(make_prior):
    tokenizer = VQVAE2(
        VQVAE2Config(
            strides=(2, 2),
            hidden_channels=8,
            residual_channels=4,
            residual_layers=1,
            quantizer=EMAConfig(num_embeddings=5, embedding_dim=4),
        )
    ).eval()
    config = PipelineConfig(image_size=(16, 24), classes=("cat", "dog"), class_counts=(3, 1), has_priors=True)
    options = {"num_embeddings": 5, "above_num_embeddings": 5, "num_classes": 2, "tokenizer": fingerprint(tokenizer)}
    return Pipeline(tokenizer, config, tuple(make_prior(level, **options).float() for level in (0, 1)))


@pytest.fixture
def run_script(monkeypatch, capsys):
    """Run a script as a user does; give what it prints."""

    def run(path, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr().out

    return run
