"""A hub of our own on this machine: endpoint, token and cache work as huggingface_hub's settings say."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

pytest.importorskip("huggingface_hub", reason="needs the export extra")

from tests.encoder import models

pytestmark = pytest.mark.export
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_stub"
ASK = (
    "import sys\n"
    "from ehrdb.encoder.source import open_source\n"
    "with open_source('site/tiny') as source:\n"
    "    print(source.name, source.revision, source.usage.pooling, *sorted(p.name for p in source.root.iterdir()))\n"
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = models.tiny_bert(tmp_path_factory.mktemp("hub") / "tiny", pooling="cls")
    (folder / "tf_model.h5").write_bytes(b"never needed")
    models.write(folder / "onnx" / "model.onnx", {})
    return folder


def test_a_hub_id_is_downloaded_from_the_endpoint_with_the_token_and_then_read_offline(
    repository: Path, tmp_path: Path
) -> None:
    with hub(repository) as (endpoint, asked):
        online = ask(tmp_path, HF_ENDPOINT=endpoint, HF_TOKEN=TOKEN, HF_HUB_OFFLINE="0")
    offline = ask(tmp_path, HF_HUB_OFFLINE="1")

    assert online.stdout.startswith(f"site/tiny {COMMIT} cls ")
    assert offline.stdout == online.stdout
    assert "tf_model.h5" not in online.stdout
    assert not any(path.endswith((".h5", ".onnx")) for path in asked)


def test_a_gated_model_without_a_token_is_a_named_error(repository: Path, tmp_path: Path) -> None:
    with hub(repository) as (endpoint, _):
        refused = ask(tmp_path, HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0")

    assert refused.returncode != 0
    assert "site/tiny is neither a folder here nor could it be downloaded" in refused.stderr


def ask(home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: huggingface_hub reads its settings once."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    environment = {**kept, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1", **settings}
    return subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True)


class Handler(BaseHTTPRequestHandler):
    """As much of the hub as a download needs; subclassed with what it has and what it was asked for."""

    repository: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(self.path.split("?")[0])
        self.asked.append(path)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(401, b"", {"X-Error-Code": "GatedRepo"})
        elif path.startswith("/api/models/site/tiny"):
            files = [str(each.relative_to(self.repository)) for each in self.repository.rglob("*") if each.is_file()]
            listing = {"id": "site/tiny", "sha": COMMIT, "siblings": [{"rfilename": name} for name in sorted(files)]}
            self._send(200, json.dumps(listing).encode(), {"Content-Type": "application/json"})
        else:
            content = (self.repository / path.split(f"/resolve/{COMMIT}/")[1]).read_bytes()
            self._send(200, content, {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hub(repository: Path) -> Iterator[tuple[str, list[str]]]:
    """The endpoint, and the paths that it was asked for."""
    asked: list[str] = []
    handler = type("Asked", (Handler,), {"repository": repository, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
