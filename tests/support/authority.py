"""A real RFC 3161 authority on this machine: ``openssl ts -reply`` behind a small HTTP server."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CONFIGURATION = """
[tsa]
default_tsa = t
[t]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.3.6.1.4.1.99999.1
digests = sha256, sha384, sha512
accuracy = secs:1
ordering = no
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""
AUTHORITY_EXTENSIONS = "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n"
SIGNER_EXTENSIONS = (
    "basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature\n"
    "extendedKeyUsage=critical,{use}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
)
REPLY_TYPE = "application/timestamp-reply"


def openssl(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run OpenSSL, or skip the test where there is none."""
    found = shutil.which("openssl")
    if found is None:
        pytest.skip(
            "openssl is not installed: install it to have timestamps made and checked by a tool that is not ours"
        )
    return subprocess.run([found, *map(str, arguments)], capture_output=True, text=True, check=check, timeout=60)


def make_authority(folder: Path, use: str = "timeStamping") -> Path:
    """Make a root, and the key and certificate of a signer, in a new folder."""
    folder.mkdir(parents=True)
    (folder / "ca.ext").write_text(AUTHORITY_EXTENSIONS)
    (folder / "tsa.ext").write_text(SIGNER_EXTENSIONS.format(use=use))
    (folder / "tsa.cnf").write_text(CONFIGURATION.format(folder=folder))
    (folder / "serial").write_text("01\n")
    for name in ("ca", "tsa"):
        key, request = folder / f"{name}.key", folder / f"{name}.csr"
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        openssl("req", "-new", "-key", key, "-subj", f"/O=Test {folder.name}/CN=test {name}", "-out", request)
    sign = ("x509", "-req", "-days", "3650")
    openssl(
        *sign, "-in", folder / "ca.csr", "-signkey", folder / "ca.key", "-extfile", folder / "ca.ext",
        "-out", folder / "ca.pem",
    )  # fmt: skip
    openssl(
        *sign, "-in", folder / "tsa.csr", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial",
        "-extfile", folder / "tsa.ext", "-out", folder / "tsa.pem",
    )  # fmt: skip
    return folder


def reply(folder: Path, query: bytes) -> bytes:
    """A timestamp for a query."""
    with tempfile.TemporaryDirectory() as place:
        asked, given = Path(place) / "query", Path(place) / "reply"
        asked.write_bytes(query)
        openssl("ts", "-reply", "-config", folder / "tsa.cnf", "-queryfile", asked, "-out", given)
        return given.read_bytes()


Given = tuple[int, str, bytes]


@dataclass
class Site:
    """A small HTTP server that answers POST as a test tells it to.

    Args:
        answer: Status, media type and body for a request's path and body.
    """

    answer: Callable[[str, bytes], Given]
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    url: str = ""
    released: threading.Event = field(default_factory=threading.Event)
    """Set at the end: what a test let hang goes on then."""

    def hang(self, *_: object) -> Given:
        """An answer that does not come while the test runs."""
        self.released.wait(60)
        return 500, "text/plain", b""


@contextmanager
def site(answer: Callable[[str, bytes], Given]) -> Iterator[Site]:
    """Serve on a free port of the loopback until the block ends."""
    made = Site(answer)
    one_at_a_time = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            made.asked.append((self.path, body))
            if made.answer == made.hang:
                made.hang()
                return
            with one_at_a_time:
                status, media_type, given = made.answer(self.path, body)
            self.send_response(status)
            self.send_header("content-type", media_type)
            self.send_header("content-length", str(len(given)))
            if status in {301, 302, 307, 308}:
                self.send_header("location", given.decode())
            self.end_headers()
            self.wfile.write(given)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def authority(folder: Path) -> Iterator[Site]:
    """Serve an authority made by ``make_authority``."""
    with site(lambda _path, query: (200, REPLY_TYPE, reply(folder, query))) as made:
        yield made
