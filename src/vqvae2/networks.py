"""Find a network by name, in whose features sets of images are compared."""

from __future__ import annotations

from pathlib import Path

import torch

from vqvae2.checkpoint import MODEL_FILE, load_model
from vqvae2.errors import ConfigError
from vqvae2.evaluation.network import FeatureNetwork
from vqvae2.models.lite0 import Lite0

__all__ = ["find_network"]

# The weights of the original Inception-v3 graph, as PyTorch tensors. The hash is the SHA-256's beginning.
_INCEPTION_URL = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
)
_INCEPTION_HASH = "6726825d"


def find_network(name: str | Path, *, weights: Path | None = None) -> FeatureNetwork:
    """Find a network by its name, or by the folder or file of a classifier.

    Args:
        name: "lite0", EfficientNet-Lite0 of the extra `eval`; "inception", Inception-v3 as FID is measured in; or the
            path of a classifier that was trained here.
        weights: File of Inception's weights; None takes it from torch's cache, and downloads it there once.

    Returns:
        The network, on the CPU, in evaluation mode.

    Raises:
        ConfigError: If there is no such network, its extra is not installed, or its weights cannot be downloaded.
        CheckpointError: If a classifier's file is damaged, or holds something else.
    """
    if name == "lite0":
        lite0 = Lite0()
        return FeatureNetwork("Lite0", lite0, lite0.preprocessing)
    if name == "inception":
        file = weights or _inception_file()
        from vqvae2.models.inception import load_inception  # type: ignore[import-not-found]

        inception = load_inception(file)
        return FeatureNetwork("Inception-v3", inception, inception.preprocessing)
    path = Path(name)
    if not path.exists():
        raise ConfigError(
            f"`network` must be lite0, inception, or the folder or file of a classifier, got {str(name)!r}"
        )
    model, _ = load_model(path / MODEL_FILE if path.is_dir() else path, kind="classifier")
    return FeatureNetwork("Classifier", model, str(model.preprocessing))


def _inception_file() -> Path:
    """Give the file of Inception's weights in torch's cache; download it if it is not there."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(_INCEPTION_URL).name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(_INCEPTION_URL, str(path), hash_prefix=_INCEPTION_HASH, progress=False)
        except (OSError, RuntimeError) as error:  # no network, or another file than expected
            raise ConfigError(
                f"the weights of Inception-v3 cannot be downloaded ({error}); fetch {_INCEPTION_URL} by hand, and give "
                "the file as `weights`"
            ) from error
    return path
