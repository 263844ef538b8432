"""Exports on disk and over HTTP, to be verified from outside."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.unit.ledger.ledgers import Ledger


def write(ledger: Ledger, folder: Path) -> Path:
    """Write an export; gives the file with its key, which lies beside it."""
    for path, data in ledger.export().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    key = folder.with_suffix(".vkey")
    key.write_text(f"{ledger.verifier.vkey}\n", encoding="ascii")
    return key


class Site:
    """What a web server gives: files by path, or a status for all."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.token = ""
        self.status = 0
        self.garbage = b""
        self.address = ""
        self.asked: list[str] = []


@contextmanager
def site(files: dict[str, bytes]) -> Iterator[Site]:
    """Serve files below ``/log/`` on a free port of this machine."""
    made = Site(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            made.asked.append(self.path)
            if made.garbage:
                self.wfile.write(made.garbage)
                self.close_connection = True
                return
            body = made.files.get(self.path.removeprefix("/log/"))
            status = 404 if body is None else 200
            if made.token and self.headers["authorization"] != f"Bearer {made.token}" and "/entries/" in self.path:
                status = 401
            if made.status:
                status = made.status
            self.send_response(status)
            self.send_header("content-length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Say nothing: readers hang up on what is too long."""

    server = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        made.address = f"http://127.0.0.1:{server.server_address[1]}/log/"
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
