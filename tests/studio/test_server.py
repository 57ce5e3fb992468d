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
from vqvae2.errors import ConfigError
from vqvae2.studio.server import serve

WITHOUT_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
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
    assert line.startswith(f"vqvae2: `port` {port} at `host` 127.0.0.1 cannot be had (Address already in use); give")


def test_a_host_that_lets_others_in_is_told_of(capsys):
    assert main(["studio", "no such/pipeline", "--host", "0.0.0.0", "--port", "0", "--no-open"]) == 1
    errors = capsys.readouterr().err
    assert "anyone who reaches 0.0.0.0:0 can use this studio" in errors
    assert "neither a folder nor an id of the Hub" in errors


@pytest.mark.parametrize(
    ("host", "is_one"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_which_hosts_let_only_this_machine_in(host, is_one):
    assert is_loopback(host) is is_one


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", 70_000, r"`port` must be in 0\.\.65535, got 70000"),
        ("no.such.host.invalid", 0, "`host` must be an address of this machine, got 'no.such.host.invalid'"),
        ("192.0.2.1", 0, r"`port` 0 at `host` 192\.0\.2\.1 cannot be had"),
    ],
)
def test_an_address_that_cannot_be_had_is_refused(host, port, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        serve("builtin", runs_folder=tmp_path, host=host, port=port, device="cpu")


def test_the_setting_of_gradios_folder_is_as_it_was(monkeypatch, tmp_path):
    for before in (None, str(tmp_path)):
        monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
        if before is not None:
            monkeypatch.setenv("GRADIO_TEMP_DIR", before)
        with pytest.raises(Exception, match="neither a folder nor an id"):
            serve("no such", runs_folder=tmp_path, host="127.0.0.1", port=0, device="cpu")
        assert os.environ.get("GRADIO_TEMP_DIR") == before
