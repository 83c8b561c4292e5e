"""A test double of the Hugging Face Hub: as much of its protocol as a download uses."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

COMMIT: Final = "0123456789abcdef0123456789abcdef01234567"
NAME: Final = "someone/tiny"


@dataclass
class Repository:
    """What the double serves, and how it misbehaves; ``requests`` is what it was asked."""

    files: dict[str, bytes]
    token: str | None = None
    cut_after: dict[str, int] = field(default_factory=dict)
    wrong_bytes: set[str] = field(default_factory=set)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)

    def blob(self, name: str) -> str:
        """What the Hub calls a file's content: sha256 of large ones, git's sha1 of small ones."""
        data = self.files[name]
        if name.endswith(".safetensors"):
            return hashlib.sha256(data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def entry(self, name: str) -> dict[str, Any]:
        """A file as the API lists it."""
        size = len(self.files[name])
        found = {"type": "file", "path": name, "oid": self.blob(name), "size": size}
        if name.endswith(".safetensors"):
            found["lfs"] = {"oid": self.blob(name), "size": size, "pointerSize": 130}
        return found

    def fetched(self) -> set[str]:
        """Names of the files whose content was sent."""
        paths = [path for method, path, _ in self.requests if method == "GET"]
        return {path.split("/")[-1] for path in paths if "/resolve/" in path}


@contextmanager
def serve(repository: Repository) -> Iterator[str]:
    """Serve ``repository`` as ``NAME``; gives the endpoint."""
    handler = type("Handler", (_Handler,), {"repository": repository})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    repository: Repository
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, *_: object) -> None:
        """Nothing: a test's output is its own."""

    def _answer(self, *, body: bool) -> None:
        path, repository = self.path.split("?")[0], self.repository
        repository.requests.append((self.command, path, self.headers.get("Range")))
        api = re.fullmatch(rf"/api/models/{NAME}(?:/(revision|tree)/([^/]+))?", path)
        file = re.fullmatch(rf"/{NAME}/resolve/([^/]+)/(.+)", path)
        revision = (api and api[2]) or (file and file[1]) or "main"
        wanted = f"Bearer {repository.token}"
        if api is None and file is None:
            self._refuse(404, "RepoNotFound")
        elif repository.token and self.headers.get("Authorization") != wanted:
            self._refuse(401, "RepoNotFound")
        elif revision not in ("main", COMMIT):
            self._refuse(404, "RevisionNotFound")
        elif api:
            self._send_json(api[1], body)
        elif file and file[2] in repository.files:
            self._send_file(file[2], body)
        else:
            self._refuse(404, "EntryNotFound")

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_json(self, kind: str | None, body: bool) -> None:
        entries = [self.repository.entry(name) for name in self.repository.files]
        siblings = [{"rfilename": name} for name in self.repository.files]
        info = {"_id": "1", "id": NAME, "modelId": NAME, "sha": COMMIT, "siblings": siblings}
        data = json.dumps(entries if kind == "tree" else info).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _send_file(self, name: str, body: bool) -> None:
        data, blob = self.repository.files[name], self.repository.blob(name)
        if name in self.repository.wrong_bytes:
            data = data[:-1] + bytes([data[-1] ^ 1])
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{blob}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if name.endswith(".safetensors"):
            self.send_header("X-Linked-Etag", f'"{blob}"')
            self.send_header("X-Linked-Size", str(len(data)))
        self.end_headers()
        if not body:
            return
        cut = self.repository.cut_after.pop(name, None)
        self.wfile.write(data[start:] if cut is None else data[start : start + cut])
        self.close_connection = cut is not None
