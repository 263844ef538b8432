"""Run the service: ``python -m face_tagger``. SIGTERM or Ctrl-C stops it; calls under way are finished."""

from __future__ import annotations

import argparse
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from consentry import Client
from face_tagger.face_tagger_pb2_grpc import add_FaceTaggerServicer_to_server
from face_tagger.service import FaceTagger

STOP_GRACE_SECONDS = 10


def main() -> None:
    """Serve until asked to stop."""
    options = _options()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Client.connect(
        options.consentry,
        root_certificates=options.authority,
        certificate_chain=options.certificate,
        private_key=options.key,
    ) as client:
        server = grpc.server(ThreadPoolExecutor(max_workers=4))
        add_FaceTaggerServicer_to_server(FaceTagger(client), server)
        # a socket of this machine: whoever may enter its folder may call; beyond one machine, serve it with TLS
        server.add_insecure_port(f"unix:{options.socket}")
        server.start()
        print(f"face_tagger answers on {options.socket}", flush=True)
        stop.wait()
        server.stop(STOP_GRACE_SECONDS).wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="face_tagger", description="Tags people in photos, if they consented.")
    parser.add_argument("--consentry", required=True, metavar="HOST:PORT", help="where Consentry answers")
    parser.add_argument("--authority", required=True, type=Path, help="PEM of the authority of Consentry's certificate")
    parser.add_argument("--certificate", required=True, type=Path, help="PEM of this service's certificate")
    parser.add_argument("--key", required=True, type=Path, help="PEM of its key")
    parser.add_argument("--socket", required=True, type=Path, help="where this service answers, in a private folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
