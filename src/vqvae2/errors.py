"""Errors that a caller can cause, one class for each place to look for the remedy.

VQVAE2Error
├── ConfigError       a field of a config is wrong, or the config cannot be built
├── DataError         an image, an image folder or a store of images or codes cannot be used
├── BitstreamError    a compressed image is damaged, cut, foreign, or of other models
├── CheckpointError   a saved model or training state is missing, damaged or of another kind
├── HubError          the Hub cannot be reached, lacks what was requested, or refuses
├── OutputError       writing there would destroy something
├── StopRequested     the process stopped on request; everything written is whole
└── TrainingError     training cannot continue, for example after a loss that is not finite

Each message names the argument or file, what was wanted, what came, and the remedy.
"""

__all__ = [
    "BitstreamError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "HubError",
    "OutputError",
    "StopRequested",
    "TrainingError",
    "VQVAE2Error",
]


class VQVAE2Error(Exception):
    """Base of every error that this package raises on purpose."""

    is_echo = False
    """Whether another process raised it, and this one only passes it on."""


class ConfigError(VQVAE2Error, ValueError):
    """A field of a config is wrong, or the config cannot be built."""


class DataError(VQVAE2Error, ValueError):
    """An image, an image folder or a store of images or codes cannot be used."""


class BitstreamError(VQVAE2Error, ValueError):
    """A compressed image is damaged, cut, not such a file, of a newer version, or of other models."""


class CheckpointError(VQVAE2Error):
    """A saved model or training state is missing, damaged or of another kind."""


class HubError(VQVAE2Error):
    """The Hub cannot be reached, lacks what was requested, or refuses."""


class OutputError(VQVAE2Error):
    """Writing to the given place would destroy something."""


class StopRequested(VQVAE2Error):  # noqa: N818, since it is no mistake
    """The process stopped on request; everything written is whole."""


class TrainingError(VQVAE2Error):
    """Training cannot continue."""
