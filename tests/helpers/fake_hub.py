"""A hub on loopback that serves given files of given repositories, as much of the API as a snapshot download asks.

    with FakeHub({("dataset", "user/texts"): {"data/train.parquet": b"..."}}) as hub:
        environment = {**os.environ, **hub.environment(tmp_path / "cache")}

`huggingface_hub` reads its settings at import, so use them in a process of its own.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from pathlib import Path

Repositories = dict[tuple[str, str], dict[str, bytes]]
_INFO = re.compile(r"/api/(dataset|model)s/(.+?)/revision/([^/?]+)")
_TREE = re.compile(r"/api/(dataset|model)s/(.+?)/tree/([^/?]+)")
_FILE = re.compile(r"/(datasets/)?(.+?)/resolve/([^/]+)/(.+)")


class FakeHub:
    """`commit` is the only commit of every repository, and what its branch `main` names."""

    commit = "0123456789abcdef0123456789abcdef01234567"

    def __init__(self, repositories: Repositories) -> None:
        self.repositories = repositories
        self.served: list[str] = []
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> FakeHub:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self, cache: Path) -> dict[str, str]:
        """Settings that send huggingface_hub here, with an own cache."""
        return {"HF_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}", "HF_HOME": str(cache), "HF_TOKEN": ""}

    def answer(self, request: http.server.BaseHTTPRequestHandler, body: bool) -> None:
        data, kind = self._content(request.path)
        request.send_response(404 if data is None else 200)
        for name, value in self._headers(data, kind).items():
            request.send_header(name, value)
        request.end_headers()
        if body and data is not None:
            request.wfile.write(data)

    def _headers(self, data: bytes | None, kind: str) -> dict[str, str]:
        if data is None:
            return {"Content-Length": "0", "X-Error-Code": f"{kind}NotFound"}
        return {
            "Content-Length": str(len(data)),
            "ETag": f'"{hashlib.sha1(data).hexdigest()}"',
            "X-Repo-Commit": self.commit,
        }

    def _content(self, path: str) -> tuple[bytes | None, str]:
        """What lies at an address, or None and the kind of thing that was not found."""
        if found := _INFO.match(path) or _TREE.match(path):
            files = self.repositories.get((found[1], found[2]))
            if files is None:
                return None, "Repo"
            if found[3] not in ("main", self.commit):
                return None, "Revision"
            if _INFO.match(path):
                names = [{"rfilename": name} for name in files]
                return json.dumps({"id": found[2], "sha": self.commit, "siblings": names, "tags": []}).encode(), ""
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in files.items()
            ]
            return json.dumps(tree).encode(), ""
        if found := _FILE.match(path):
            files = self.repositories.get(("dataset" if found[1] else "model", found[2]), {})
            self.served.append(found[4])
            return files.get(found[4]), "Entry"
        return None, "Entry"
