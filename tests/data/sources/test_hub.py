"""Data sets of a hub, from a server on this machine that speaks just what is needed."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

from vqvae2.data import ShardError, open_images
from vqvae2.data.sources.hub import HubFolder
from vqvae2.data.sources.parquet import ParquetImages
from vqvae2.data.sources.tar import TarShards
from vqvae2.errors import DataError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """One data set, `owner/set`, whose files are those of a folder, at one commit."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        if re.fullmatch(r"/api/datasets/owner/set(/revision/(main|v1|\w{40}))?", path):
            self.answer(json.dumps({"id": "owner/set", "sha": COMMIT, "siblings": []}).encode())
        elif path.startswith(tree := f"/api/datasets/owner/set/tree/{COMMIT}"):
            files = sorted((self.server.folder / path.removeprefix(tree).strip("/")).rglob("*"))
            self.answer(json.dumps([self.describe(file) for file in files]).encode())
        elif path.startswith(resolve := f"/datasets/owner/set/resolve/{COMMIT}/"):
            self.answer_range((self.server.folder / path.removeprefix(resolve)).read_bytes())
        else:
            self.answer(b'{"error": "Repository not found"}', status=404, **{"X-Error-Code": "RepoNotFound"})

    def describe(self, file):
        path = file.relative_to(self.server.folder).as_posix()
        if file.is_dir():
            return {"type": "directory", "path": path, "oid": "0" * 40}
        return {"type": "file", "path": path, "size": file.stat().st_size, "oid": "0" * 40}

    def answer_range(self, data):
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if match is None:
            self.answer(data)
            return
        start, last = map(int, match.groups())
        self.server.ranges.append((start, last + 1))
        self.answer(data[start : last + 1], status=206)

    def answer(self, body, *, status=200, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.folder, server.ranges = tmp_path / "hub", []
    server.folder.mkdir()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))  # seconds until it notices its end
    thread.start()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    use_server(f"http://127.0.0.1:{server.server_port}", monkeypatch)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def use_server(url, monkeypatch):
    """What the environment variable HF_ENDPOINT does before the library is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.mark.parametrize("text", ["hub:owner/set", "hub:owner/set@v1", f"hub:owner/set/data@{COMMIT}"])
def test_parquet_files_are_read_by_ranges(text, hub, make_png, write_parquet):
    images = [make_png(number) for number in range(40)]
    for name, part in (("train-00000-of-00001", slice(0, 30)), ("test-00000-of-00001", slice(30, 40))):
        write_parquet(hub.folder / f"data/{name}.parquet", images[part], [0] * len(images[part]), classes=["a"])
    (hub.folder / "README.md").write_text("a card")
    (hub.folder / "example.png").write_bytes(make_png(99))
    source = open_images(text)
    assert isinstance(source, ParquetImages)
    assert source.origin == f"hub:owner/set{'/data' if 'data' in text else ''}@{COMMIT}"
    hub.ranges.clear()
    assert source.read(25) == images[15]
    assert sum(stop - start for start, stop in hub.ranges) < 2000  # one row group
    assert [source.read(number) for number in range(40)] == [*images[30:], *images[:30]]
    assert source.given_validation.tolist() == [True] * 10 + [False] * 30


def test_tar_shards_are_read_by_ranges(hub, make_png, write_tar):
    for shard in range(2):
        members = {}
        for number in range(10 * shard, 10 * shard + 10):
            members |= {f"{number:02d}.png": make_png(number), f"{number:02d}.cls": str(number % 3).encode()}
        write_tar(hub.folder / f"{shard}.tar", members)
    source = open_images("hub:owner/set")
    assert isinstance(source, TarShards)
    assert len(hub.ranges) <= 6  # neither headers nor classes are asked for one by one
    assert source.labels.tolist() == [number % 3 for number in range(20)]
    hub.ranges.clear()
    assert [source.read(number) for number in (13, 0)] == [make_png(13), make_png(0)]
    assert sum(stop - start for start, stop in hub.ranges) == len(make_png(13)) + len(make_png(0))


def test_folders_of_images_are_read_file_by_file(hub, make_png):
    names = ("train/cat/1.png", "train/dog/2.png", "val/dog/3.png")
    for number, name in enumerate(names):
        (hub.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (hub.folder / name).write_bytes(make_png(number))
    source = open_images("hub:owner/set")
    assert isinstance(source, HubFolder)
    assert (source.names, source.classes) == (names, ("cat", "dog"))
    assert source.labels.tolist() == [0, 1, 1]
    assert [source.read(number) for number in range(3)] == [make_png(number) for number in range(3)]


def test_a_file_that_became_shorter_is_named(hub, make_png, write_tar):
    path = write_tar(hub.folder / "x.tar", {"1.png": make_png(1), "2.png": make_png(2)})
    source = open_images("hub:owner/set")
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(ShardError, match=r"datasets/owner/set@\w+/x\.tar gave \d+ of \d+ bytes at 512"):
        source.read(0)
    path.unlink()


def test_what_cannot_be_reached_is_named(hub, monkeypatch):
    with pytest.raises(DataError, match=r"hub:owner/other cannot be reached \(.*\); check its name, the network"):
        open_images("hub:owner/other")
    with pytest.raises(DataError, match=r"must be hub:OWNER/NAME, .* got hub:owner"):
        open_images("hub:owner")
    (hub.folder / "README.md").write_text("a card")
    with pytest.raises(
        DataError, match=r"must be Parquet files, tar archives or images .*, but hub:owner/set@\w+ has none"
    ):
        open_images("hub:owner/set")
    use_server("http://127.0.0.1:9", monkeypatch)  # where nothing listens
    with pytest.raises(DataError, match=r"hub:owner/set cannot be reached \(.*[Cc]onnection.*\)"):
        open_images("hub:owner/set")
