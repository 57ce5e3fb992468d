"""The studio: a page in the browser that shows what a pipeline does. It needs the extra `studio`.

Nothing here imports gradio before a studio is built, so that the command starts fast without it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vqvae2.config import Device
from vqvae2.errors import ConfigError
from vqvae2.pipeline.hub import BUILTIN

if TYPE_CHECKING:
    import gradio

    from vqvae2.studio.context import StudioContext

__all__ = ["build_studio", "launch_studio", "require_gradio"]


def require_gradio() -> None:
    """Import gradio.

    Raises:
        ConfigError: If the extra `studio` is not installed.
    """
    try:
        importlib.import_module("gradio")
    except ModuleNotFoundError as error:
        raise ConfigError(
            "the studio needs the package gradio, which is not installed; pip install 'vqvae2[studio]'"
        ) from error


def build_studio(context: StudioContext) -> gradio.Blocks:
    """Build the page, which is not served yet.

    Raises:
        ConfigError: If the extra `studio` is not installed.
    """
    require_gradio()
    from vqvae2.studio.app import build

    return build(context)


def launch_studio(
    source: Path | str = BUILTIN,
    *,
    runs_folder: Path = Path(),
    host: str = "127.0.0.1",
    port: int = 7860,
    device: Device = "auto",
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the studio of a pipeline until it is interrupted; see `vqvae2.studio.server.serve`.

    Raises:
        ConfigError: If the extra `studio` is not installed, or the port is in use.
        CheckpointError: If `source` is no pipeline.
        HubError: If `source` is an id of the Hub, and cannot be fetched.
    """
    from vqvae2.studio.server import serve

    serve(source, runs_folder=runs_folder, host=host, port=port, device=device, on_ready=on_ready)
