"""As much of the Hub's API as a client needs to make a repository, to upload to it, and to download from it.

Repositories live in memory. Files that end in .safetensors go the way of large files (LFS), all others with the commit.
"""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants


class HubServer(ThreadingHTTPServer):
    """Listens on a free port of this machine while it is used as a context."""

    daemon_threads = True
    token = "a-token-that-may-write"

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, list[dict[str, bytes]]] = {}
        """The files after each commit, by id."""
        self.private: set[str] = set()
        self.objects: dict[str, bytes] = {}
        """Large files by their hash."""
        self.requests: list[str] = []
        self.broken = 0
        """Answer everything with this status; 0 answers what is asked."""
        self.gated: set[str] = set()
        """Repositories whose owner lets nobody in."""
        self.is_garbled = False
        """Answer uploads with what no client understands."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.server_close()

    def commit_name(self, repository: str, number: int) -> str:
        return hashlib.sha1(f"{repository} {number}".encode()).hexdigest()

    def files(self, repository: str) -> dict[str, bytes]:
        return self.repositories[repository][-1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *arguments):
        pass

    def answer(self, status=200, body=b"", headers=()):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers = [("Content-Type", "application/json"), *headers]
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code, text):
        self.answer(status, {"error": text}, [("X-Error-Code", code), ("X-Error-Message", text)])

    def handle_request(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        if self.server.broken:
            return self.answer(self.server.broken, {"error": "out of order"})
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in ("", self.server.token) and not path.startswith("/objects/"):
            return self.answer(401, {"error": "Invalid username or password."})
        return self.route(path, body, may_write=token == self.server.token)

    do_GET = do_HEAD = do_POST = do_PUT = handle_request  # noqa: N815, names of the base class

    def route(self, path, body, *, may_write):
        server, parts = self.server, path.strip("/").split("/")
        if path.startswith("/objects/"):
            server.objects[parts[1]] = body
            return self.answer()
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if self.command in ("POST", "PUT") and not may_write:
            return self.answer(403, {"error": "You may not write here."})
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if parts[:2] == ["api", "models"]:
            repository, verb, rest = "/".join(parts[2:4]), (parts[4:5] or ["info"])[0], parts[5:]
        elif path.endswith(".git/info/lfs/objects/batch"):
            repository, verb, rest = path.strip("/").split(".git/")[0], "batch", []
        else:
            repository, verb, rest = "/".join(parts[:2]), parts[2], parts[3:]
        if repository not in server.repositories or (repository in server.private and not may_write):
            return self.refuse(401, "RepoNotFound", "Repository not found")
        if repository in server.gated:
            return self.refuse(403, "GatedRepo", "Access to it is restricted")
        return getattr(self, verb)(repository, rest, body)

    def create(self, values):
        repository = f"{values['organization']}/{values['name']}"
        if repository in self.server.repositories:
            return self.answer(409, {"url": f"{self.server.url}/{repository}", "error": "it exists"})
        self.server.repositories[repository] = [{}]
        if values.get("visibility") == "private":
            self.server.private.add(repository)
        return self.answer(200, {"url": f"{self.server.url}/{repository}"})

    def find(self, repository, revision):
        commits = self.server.repositories[repository]
        names = {self.server.commit_name(repository, number): number for number in range(len(commits))}
        names["main"] = len(commits) - 1
        if revision not in names:
            self.refuse(404, "RevisionNotFound", "Revision not found")
            return None, None
        return self.server.commit_name(repository, names[revision]), commits[names[revision]]

    def revision(self, repository, rest, body):
        commit, files = self.find(repository, rest[0] if rest else "main")
        if commit is not None:
            siblings = [{"rfilename": name} for name in files]
            self.answer(200, {"id": repository, "modelId": repository, "sha": commit, "siblings": siblings, "tags": []})

    info = revision

    def tree(self, repository, rest, body):
        commit, files = self.find(repository, rest[0])
        if commit is not None:
            self.answer(200, [self.entry(name, data) for name, data in files.items()])

    def entry(self, name, data):
        entry = {"type": "file", "path": name, "size": len(data), "oid": _git_hash(data)}
        if name.endswith(".safetensors"):
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return entry

    def preupload(self, repository, rest, body):
        if self.server.is_garbled:
            self.answer(200, {"files": 3})
            return
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        self.answer(200, {"files": files})

    def batch(self, repository, rest, body):
        objects = [
            {**entry, "actions": {"upload": {"href": f"{self.server.url}/objects/{entry['oid']}"}}}
            for entry in json.loads(body)["objects"]
        ]
        self.answer(200, {"transfer": "basic", "objects": objects})

    def commit(self, repository, rest, body):
        files = dict(self.server.files(repository))
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
            elif operation["key"] == "deletedFile":
                del files[value["path"]]
        self.server.repositories[repository].append(files)
        name = self.server.commit_name(repository, len(self.server.repositories[repository]) - 1)
        url = f"{self.server.url}/{repository}/commit/{name}"
        self.answer(200, {"success": True, "commitOid": name, "commitUrl": url})

    def resolve(self, repository, rest, body):
        commit, files = self.find(repository, rest[0])
        if commit is None:
            return
        data = files.get("/".join(rest[1:]))
        if data is None:
            self.refuse(404, "EntryNotFound", "Entry not found")
            return
        is_large = rest[-1].endswith(".safetensors")
        tag = hashlib.sha256(data).hexdigest() if is_large else _git_hash(data)
        self.answer(200, data, [("ETag", f'"{tag}"'), ("X-Repo-Commit", commit)])


def _git_hash(data: bytes) -> str:
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Make a server of this machine the Hub, with an empty cache and nobody logged in."""
    with HubServer() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        files = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # whose protocol the server does not speak
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield server


@pytest.fixture
def logged_in(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.token)
