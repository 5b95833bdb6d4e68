"""A server of embeddings on this machine, which can be made to misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ehrdb.encoder.endpoint import Server
from ehrdb.testing import FakeEncoder

Answer = dict[str, Any]


@dataclass
class Served:
    """What the server does: `spoil` changes an answer, `statuses` are given away before answers are."""

    model: FakeEncoder = field(default_factory=FakeEncoder)
    name: str = "served"
    statuses: list[int] = field(default_factory=list)
    longest: int = 1_000_000
    spoil: Callable[[Answer], Any] = lambda answer: answer
    asked: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def answer(self, body: Any) -> tuple[int, Any]:
        """Status and JSON."""
        self.asked.append(body)
        if self.statuses:
            return self.statuses.pop(0), {"error": "the input was: " + body["input"][0]}
        if max(map(len, body["input"])) > self.longest:
            return 400, {"error": "too long"}
        vectors = self.model.encode(body["input"]).vectors * 3  # not of unit length
        data = [{"index": i, "embedding": vector.tolist()} for i, vector in enumerate(vectors)]
        return 200, self.spoil({"model": self.name, "data": data, "usage": {"prompt_tokens": 7 * len(data)}})


@contextmanager
def serving() -> Iterator[tuple[Served, Server]]:
    """What the server does, and where it is."""
    does = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            does.headers.append(dict(self.headers))
            status, answer = does.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://127.0.0.1:9/v1/embeddings")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield does, Server(f"http://127.0.0.1:{server.server_address[1]}/v1", "tiny", "secret", wait=0.01)
        server.shutdown()
        thread.join()
