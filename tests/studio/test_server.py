"""The command starts the studio, says where it is, and ends it."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from vqvae2.cli.main import main
from vqvae2.cli.studio import is_loopback
from vqvae2.errors import ConfigError, VQVAE2Error
from vqvae2.studio import launch_studio

WITHOUT_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_it_serves_until_it_is_ended_and_leaves_no_uploads(pipeline, tmp_path, number):
    pipeline.save_pretrained(tmp_path / "pipeline")
    (tmp_path / "temporary").mkdir()
    command = [sys.executable, "-m", "vqvae2", "studio", str(tmp_path / "pipeline"), "--port=0", "--no-open", "--json"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path / "temporary")},
        # Where this is itself run in the background, SIGINT would be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        answer = "".join(iter(process.stdout.readline, "}\n")) + "}"
        address = json.loads(answer)["address"]
        page = WITHOUT_PROXY.open(address, timeout=60).read().decode()
        assert "vqvae2 studio" in page
        assert list((tmp_path / "temporary").glob("vqvae2-studio-*"))
        process.send_signal(number)
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out) == (0, ""), errors
    assert errors.splitlines() == ["starting the studio; Ctrl-C ends it", "the studio is closed"]
    assert not list((tmp_path / "temporary").glob("vqvae2-studio-*"))


def test_a_port_in_use_is_told_in_one_line_before_anything_is_loaded(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["studio", "no/such/pipeline", "--port", str(port), "--no-open"]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"vqvae2: `port` {port} at `host` 127.0.0.1 is not available (Address already in use); ")


def test_a_decoder_that_the_pipeline_lacks_is_told(pipeline, tmp_path, capsys):
    pipeline.save_pretrained(tmp_path)
    assert main(["studio", str(tmp_path), "--decoder", "sharp", "--port", "0", "--no-open"]) == 1
    assert "`decoder` must be 'faithful' for this pipeline, got 'sharp'" in capsys.readouterr().err


def test_a_host_that_admits_others_is_told(capsys):
    assert main(["studio", "no such/pipeline", "--host", "0.0.0.0", "--port", "0", "--no-open"]) == 1
    errors = capsys.readouterr().err
    assert "0.0.0.0:0" in errors
    assert "neither a folder nor an id" in errors


@pytest.mark.parametrize(
    ("host", "is_one"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_which_hosts_admit_only_this_machine(host, is_one):
    assert is_loopback(host) is is_one


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", 70_000, r"`port`.*got 70000"),
        ("no.such.host.invalid", 0, "`host`.*got 'no.such.host.invalid'"),
        ("192.0.2.1", 0, r"`port` 0 at `host` 192\.0\.2\.1"),
    ],
)
def test_an_address_that_is_not_available_is_refused(host, port, message):
    with pytest.raises(ConfigError, match=message):
        launch_studio(host=host, port=port)


@pytest.mark.parametrize("is_set", [False, True])
def test_gradios_folder_is_set_back(monkeypatch, tmp_path, is_set):
    before = str(tmp_path) if is_set else None
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    if is_set:
        monkeypatch.setenv("GRADIO_TEMP_DIR", before)
    with pytest.raises(VQVAE2Error):
        launch_studio("no such", port=0)
    assert os.environ.get("GRADIO_TEMP_DIR") == before
