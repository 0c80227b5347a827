"""A server on loopback that speaks as much of the Hugging Face Hub as its client needs to push and pull models.

Large files go by Git LFS (`basic` transfer), small ones within the commit, as on the real Hub; xet, its newer transfer,
is not played (HF_HUB_DISABLE_XET). tests/conftest.py makes the fixture known to all tests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

TOKEN = "hf_loopback"
LFS_SUFFIX = ".safetensors"


@dataclass
class HubServer:
    """A running server.

    Attributes
    ----------
    endpoint : str
        As http://127.0.0.1:PORT, for HF_ENDPOINT.
    repositories : dict
        Name to the files of its newest commit.
    objects : dict
        sha256 to content that was uploaded by LFS.
    requests : list of str
        Method and path of every request, in order.
    silent : str
        Repository that gets no answer: the connection is closed.
    """

    endpoint: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    silent: str = ""

    def commit_of(self, repository: str) -> str:
        """Return the name of the newest commit: a sum of its content."""
        files = self.repositories[repository]
        text = "".join(f"{path}\0{hashlib.sha256(content).hexdigest()}\n" for path, content in sorted(files.items()))
        return hashlib.sha1(text.encode()).hexdigest()

    def environment(self, cache: str) -> dict[str, str]:
        """Return the variables that lead huggingface_hub here, with a cache of its own."""
        return {"HF_ENDPOINT": self.endpoint, "HF_HOME": cache, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer

    def do_GET(self) -> None:
        self._dispatch("GET")

    def do_HEAD(self) -> None:
        self._dispatch("HEAD")

    def do_POST(self) -> None:
        self._dispatch("POST")

    def do_PUT(self) -> None:
        self._dispatch("PUT")

    def log_message(self, *_: object) -> None:
        pass

    def _dispatch(self, method: str) -> None:
        path = self.path.split("?")[0]
        self.hub.requests.append(f"{method} {path}")
        if self.hub.silent and self.hub.silent in path:
            self.close_connection = True
            return None
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for verbs, pattern, action in ROUTES:
            found = re.fullmatch(pattern, path)
            if method in verbs.split() and found:
                if (
                    method in ("POST", "PUT")
                    and f"Bearer {TOKEN}" != self.headers.get("Authorization")
                    and "/lfs/" not in path
                ):
                    return self._answer(401, {"error": "Invalid credentials"})
                return action(self, body, **found.groupdict())
        return self._answer(404, {"error": f"not played: {method} {path}"})

    def _answer(self, status: int, content: object = None, headers: dict[str, str] | None = None) -> None:
        payload = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)

    def _missing(self, code: str) -> None:
        self._answer(404, {"error": code}, {"X-Error-Code": code})

    def info(self, _: bytes, repository: str, revision: str = "main") -> None:
        if repository not in self.hub.repositories:
            return self._missing("RepoNotFound")
        commit = self.hub.commit_of(repository)
        if revision not in ("main", commit):
            return self._missing("RevisionNotFound")
        names = [{"rfilename": path} for path in self.hub.repositories[repository]]
        return self._answer(200, {"id": repository, "sha": commit, "siblings": names, "private": False, "tags": []})

    def tree(self, _: bytes, repository: str, revision: str) -> None:
        files = self.hub.repositories[repository].items()
        self._answer(
            200,
            [
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in files
            ],
        )

    def resolve(self, _: bytes, repository: str, revision: str, path: str) -> None:
        if repository not in self.hub.repositories:
            return self._missing("RepoNotFound")
        content = self.hub.repositories[repository].get(path)
        if content is None:
            return self._missing("EntryNotFound")
        etag = hashlib.sha256(content).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": self.hub.commit_of(repository)}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            return self._answer(200, content, headers)
        part = content[int(asked[1]) : int(asked[2]) + 1 if asked[2] else None]
        headers["Content-Range"] = f"bytes {asked[1]}-{int(asked[1]) + len(part) - 1}/{len(content)}"
        return self._answer(206, part, headers)

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        repository = "/".join(filter(None, (asked.get("organization"), asked["name"])))
        known = repository in self.hub.repositories
        self.hub.repositories.setdefault(repository, {})
        self._answer(409 if known else 200, {"url": f"{self.hub.endpoint}/{repository}", "name": repository})

    def whoami(self, _: bytes) -> None:
        self._answer(200, {"type": "user", "name": "somebody", "orgs": []})

    def validate(self, _: bytes) -> None:
        self._answer(200, {"errors": [], "warnings": []})

    def preupload(self, body: bytes, repository: str, revision: str) -> None:
        files = [
            {"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(LFS_SUFFIX) else "regular"}
            | {"shouldIgnore": False}
            for file in json.loads(body)["files"]
        ]
        self._answer(200, {"files": files})

    def lfs_batch(self, body: bytes, repository: str) -> None:
        objects = [
            entry | {"actions": {"upload": {"href": f"{self.hub.endpoint}/lfs/{entry['oid']}"}}}
            for entry in json.loads(body)["objects"]
        ]
        self._answer(200, {"transfer": "basic", "objects": objects})

    def lfs_put(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.objects[oid] = body
        self._answer(200, {})

    def commit(self, body: bytes, repository: str, revision: str) -> None:
        files = self.hub.repositories[repository]
        for line in map(json.loads, body.splitlines()):
            value: dict[str, Any] = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        oid = self.hub.commit_of(repository)
        url = f"{self.hub.endpoint}/{repository}/commit/{oid}"
        self._answer(200, {"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})


_REPOSITORY = r"(?P<repository>[\w.-]+/[\w.-]+)"
ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("GET", rf"/api/models/{_REPOSITORY}", _Handler.info),
    ("GET", rf"/api/models/{_REPOSITORY}/revision/(?P<revision>[^/]+)", _Handler.info),
    ("GET", rf"/api/models/{_REPOSITORY}/tree/(?P<revision>[^/]+)", _Handler.tree),
    ("GET HEAD", rf"/{_REPOSITORY}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler.resolve),
    ("GET", "/api/whoami-v2", _Handler.whoami),
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", _Handler.validate),
    ("POST", rf"/api/models/{_REPOSITORY}/preupload/(?P<revision>[^/]+)", _Handler.preupload),
    ("POST", rf"/{_REPOSITORY}\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    ("PUT", r"/lfs/(?P<oid>\w+)", _Handler.lfs_put),
    ("POST", rf"/api/models/{_REPOSITORY}/commit/(?P<revision>[^/]+)", _Handler.commit),
]


@pytest.fixture
def hub_server() -> Iterator[HubServer]:
    """A Hub without a repository."""
    hub = HubServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield hub
    server.shutdown()
    thread.join()
    server.server_close()
