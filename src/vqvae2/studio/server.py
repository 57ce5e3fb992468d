"""Serve the studio on this machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch

from vqvae2.config import Device
from vqvae2.errors import ConfigError
from vqvae2.evaluation.networks import find_classifier
from vqvae2.pipeline.hub import find_pipeline_folder
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.studio import build_studio, require_gradio
from vqvae2.studio.context import NUM_WALKS, StudioContext
from vqvae2.studio.examples import find_examples
from vqvae2.studio.turns import Turns
from vqvae2.training.runtime import choose_device

if TYPE_CHECKING:
    import fastapi

__all__ = ["load_context", "serve", "studio_app"]

_MOST_UPLOADED = "64mb"
_GRACE_SECONDS = 2  # for answers that are under way when the studio is ended


def serve(
    source: Path | str,
    *,
    runs_folder: Path,
    host: str,
    port: int,
    device: Device,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the studio of a pipeline until the process is interrupted.

    What visitors upload is kept in a temporary folder, which is removed at the end.

    Args:
        source: A pipeline, as `Pipeline.from_pretrained` takes it.
        runs_folder: Where runs are looked for.
        host: Address to listen at; 127.0.0.1 lets only this machine in.
        port: 0 takes any free one.
        device: Where to compute.
        on_ready: Called with the address of the page once it can be opened.

    Raises:
        ConfigError: If gradio is not installed, the port is in use, or the address is not this machine's.
        CheckpointError: If `source` is no pipeline.
        HubError: If `source` is an id of the Hub, and cannot be fetched.
    """
    with _listening(host, port) as listener, _temporary_uploads():
        require_gradio()
        import uvicorn

        # Beside the walks there are short works; more threads than cores would wait for each other in each operation.
        torch.set_num_threads(max(1, torch.get_num_threads() // (NUM_WALKS + 1)))
        context = load_context(source, runs_folder=runs_folder, device=device)
        app = studio_app(context)
        shown_host = f"[{host}]" if ":" in host else host
        address = f"http://{shown_host}:{listener.getsockname()[1]}"

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                if on_ready is not None:
                    on_ready(address)

        # Pages that are open keep connections open, and would keep the server from ending.
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_GRACE_SECONDS)
        Server(config).run(sockets=[listener])


def load_context(source: Path | str, *, runs_folder: Path, device: Device = "auto") -> StudioContext:
    """Load a pipeline and what belongs to it.

    Raises:
        CheckpointError: If `source` is no pipeline, or its classifier is damaged.
        HubError: If `source` is an id of the Hub, and cannot be fetched.
    """
    folder = find_pipeline_folder(source)
    pipeline = Pipeline.from_pretrained(folder).to(choose_device(device))
    path = folder / "classifier"
    return StudioContext(
        pipeline=pipeline,
        classifier=find_classifier(path, pipeline) if path.exists() else None,
        source=str(source),
        runs_folder=runs_folder,
        examples=find_examples(folder, pipeline),
        turns=Turns(pipeline.device),
    )


def studio_app(context: StudioContext) -> fastapi.FastAPI:
    """Make the web application of a studio, for any ASGI server."""
    import fastapi
    import gradio as gr

    from vqvae2.studio.theme import CSS, studio_theme

    return gr.mount_gradio_app(
        fastapi.FastAPI(openapi_url=None),
        build_studio(context),
        path="/",
        theme=studio_theme(),
        css=CSS,
        show_error=False,  # of errors that are not meant for visitors, the page says no more than that there was one
        max_file_size=_MOST_UPLOADED,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
    )


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Take the port before anything is loaded, so that one in use is told at once."""
    if not 0 <= port <= 65535:
        raise ConfigError(f"`port` must be in 0..65535, got {port}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family)
    except socket.gaierror as error:
        raise ConfigError(f"`host` must be an address of this machine, got {host!r}: {error.strerror}") from error
    except OSError as error:
        raise ConfigError(
            f"`port` {port} at `host` {host} cannot be had ({os.strerror(error.errno or 0)}); "
            "give another, or --port 0 for any free one"
        ) from error
    with listener:
        yield listener


@contextmanager
def _temporary_uploads() -> Iterator[None]:
    """Let gradio keep its files in a folder that goes away, as it would keep them for ever."""
    name, before = "GRADIO_TEMP_DIR", os.environ.get("GRADIO_TEMP_DIR")
    with TemporaryDirectory(prefix="vqvae2-studio-") as folder:
        os.environ[name] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before
