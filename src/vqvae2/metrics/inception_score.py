"""The Inception score: whether a classifier is sure of each image, and sees all classes among them.

Shapes: N images, K classes.
"""

from __future__ import annotations

import numpy as np
import torch

from vqvae2.metrics.features import check_sets, float64_device, row_blocks

__all__ = ["inception_score"]


def inception_score(logits: np.ndarray, *, device: torch.device | str = "cpu") -> float:
    """Give the exponential of the mean divergence of each image's class probabilities from those of all images.

    `exp(mean KL(p(y | x) || p(y)))`, the exponential of the mutual information of image and class: 1 if all images are
    alike to the classifier, K if it is sure of each and all classes are equally frequent. It never looks at real
    images, and only the score of Inception-v3 with the FID's weights compares with published ones. These are often the
    mean of ten parts of the set, which is lower; here the set is scored whole.

    Args:
        logits: float `(N, K)`, whose softmax gives the probabilities; logarithms of probabilities are logits as well.

    Salimans et al. 2016, "Improved Techniques for Training GANs", section 4.
    """
    check_sets("the Inception score", at_least=1, logits=logits)
    # The mean divergence is the entropy of the mean less the mean entropy, which one pass gathers.
    summed = torch.zeros(logits.shape[1], dtype=torch.float64, device=float64_device(device))
    entropy = summed.new_zeros(())
    for _, block in row_blocks(logits, device=device):
        probabilities = block.softmax(dim=1)
        summed += probabilities.sum(dim=0)
        entropy += torch.special.entr(probabilities).sum()
    return (torch.special.entr(summed / len(logits)).sum() - entropy / len(logits)).exp().item()
