"""The version, kept once, in the installed package's metadata."""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("vqvae2")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"
