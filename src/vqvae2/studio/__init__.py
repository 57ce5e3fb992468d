"""The studio: a page in the browser that shows what a pipeline does. It needs the extra `studio`."""

from vqvae2.studio.server import launch_studio

__all__ = ["launch_studio"]
