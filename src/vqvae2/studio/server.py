"""Serve the studio on this machine. Nothing here imports gradio before the studio starts."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch

from vqvae2.config import DecoderName, Device
from vqvae2.errors import ConfigError
from vqvae2.evaluation.networks import find_classifier
from vqvae2.pipeline.hub import BUILTIN, find_pipeline_folder
from vqvae2.pipeline.pipeline import Pipeline
from vqvae2.studio.context import NUM_WALKS, StudioContext
from vqvae2.studio.held_out import find_examples
from vqvae2.studio.turns import Turns
from vqvae2.training.runtime import choose_device

if TYPE_CHECKING:
    import fastapi

__all__ = ["launch_studio", "load_context", "studio_app"]

_MOST_UPLOADED = "64mb"
_GRACE_SECONDS = 2  # for answers under way when the studio ends


def launch_studio(
    source: Path | str = BUILTIN,
    *,
    decoder: DecoderName | None = None,
    runs_folder: Path = Path(),
    host: str = "127.0.0.1",
    port: int = 7860,
    device: Device = "auto",
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the studio of a pipeline until the process is interrupted.

    Uploads are kept in a temporary folder, which is removed at the end.

    Args:
        source: A pipeline, as `Pipeline.from_pretrained` takes it.
        decoder: The page opens with it; None takes the default of the pipeline.
        runs_folder: Runs whose images the Codebook tab offers are looked for here.
        host: Address to listen on; 127.0.0.1 admits only this machine.
        port: 0 takes any free one.
        device: Where to compute.
        on_ready: Called with the address of the page once it can be opened.

    Raises:
        ConfigError: If the extra `studio` is not installed, the port or address is not available, or the pipeline has
            no such decoder.
        CheckpointError: If `source` is no pipeline.
        HubError: If `source` is an id on the Hub and cannot be fetched.
    """
    with _listening(host, port) as listener, _temporary_uploads():
        if importlib.util.find_spec("gradio") is None:
            raise ConfigError("the studio needs the package gradio, which is missing; pip install 'vqvae2[studio]'")
        import uvicorn

        # Short tasks run beside the walks; with more threads than cores, each operation would wait for the others'.
        torch.set_num_threads(max(1, torch.get_num_threads() // (NUM_WALKS + 1)))
        app = studio_app(load_context(source, decoder=decoder, runs_folder=runs_folder, device=device))
        shown_host = f"[{host}]" if ":" in host else host
        address = f"http://{shown_host}:{listener.getsockname()[1]}"

        if on_ready is not None:
            on_ready(address)  # the listener keeps whoever asks earlier waiting
        # Open pages keep their connections, which would keep the server from ending.
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_GRACE_SECONDS)
        uvicorn.Server(config).run(sockets=[listener])


def load_context(
    source: Path | str, *, runs_folder: Path, decoder: DecoderName | None = None, device: Device = "auto"
) -> StudioContext:
    """Load a pipeline and what belongs to it; see `launch_studio` for the arguments.

    Raises:
        CheckpointError: If `source` is no pipeline, or its classifier is damaged.
        ConfigError: If it has no such decoder.
        HubError: If `source` is an id on the Hub and cannot be fetched.
    """
    folder = find_pipeline_folder(source)
    pipeline = Pipeline.from_pretrained(folder).using(decoder).to(choose_device(device))
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
    """Make the studio's web application, for any ASGI server."""
    import fastapi
    import gradio as gr

    from vqvae2.studio.app import build_studio
    from vqvae2.studio.theme import CSS, studio_theme

    return gr.mount_gradio_app(
        fastapi.FastAPI(openapi_url=None),
        build_studio(context),
        path="/",
        theme=studio_theme(),
        css=CSS,
        show_error=False,  # the page hides the text of unexpected errors
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
    """Take the port before anything is loaded, so that one in use is reported at once."""
    if not 0 <= port <= 65535:
        raise ConfigError(f"`port` must be in 0..65535, got {port}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family)
    except socket.gaierror as error:
        raise ConfigError(f"`host` must be an address of this machine, got {host!r}: {error.strerror}") from error
    except OSError as error:
        raise ConfigError(
            f"`port` {port} at `host` {host} is not available ({os.strerror(error.errno or 0)}); "
            "choose another, or --port 0 for any free one"
        ) from error
    with listener:
        yield listener


@contextmanager
def _temporary_uploads() -> Iterator[None]:
    """Let gradio, which is not imported yet, keep its files in a temporary folder; it would keep them forever."""
    name, before = "GRADIO_TEMP_DIR", os.environ.get("GRADIO_TEMP_DIR")
    with TemporaryDirectory(prefix="vqvae2-studio-") as folder:
        os.environ[name] = folder
        try:
            yield
        finally:
            del os.environ[name]
            os.environ.update({} if before is None else {name: before})
