"""Nothing that names a person or opens a door gets into a log, in whatever shape it comes."""

from __future__ import annotations

import io
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from consentry_server import logs
from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

JWT = "eyJhbGciOiJFZERTQSIsInR5cCI6InBlcm1pdCtqd3QifQ.eyJpc3MiOiJ4In0.c2lnbmF0dXJl"
PEM = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\n-----END PRIVATE KEY-----"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
SECRET = "Ada-Lovelace-4711"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure(level="debug", stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def only(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


@dataclass
class Person:
    name: str = SECRET


KEYS = [
    "subject_id",
    "subject_ref",
    "subjectId",
    "photo_id",
    "photo",
    "name",
    "names",
    "signer_name",
    "ip",
    "client_ip",
]
KEYS += [
    "peer",
    "sha256",
    "photo_sha256",
    "permit",
    "template",
    "token",
    "address",
    "email",
    "text",
    "passphrase",
    "IP",
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "value",
    [SECRET, [SECRET], {"a": SECRET}, SECRET.encode(), 4711, Person(), (SECRET, 1)],
    ids=lambda one: type(one).__name__,
)
def test_redacted_by_key(written: io.StringIO, key: str, value: object) -> None:
    structlog.get_logger().info("happened", **{key: value})
    assert only(written)[key] == "[redacted]"


@pytest.mark.parametrize("key", KEYS)
def test_redacted_by_key_at_depth(written: io.StringIO, key: str) -> None:
    structlog.get_logger().info("happened", context={"list": [{"deep": {key: SECRET}}]})
    assert SECRET not in written.getvalue()
    assert "[redacted]" in written.getvalue()


FORMS = {
    "jwt": JWT,
    "jwe": f"{JWT}.x.y",
    "jwt-short": "eyJhbGciOiJFZERTQSJ9.e30.",
    "pem": PEM,
    "pem-cut": PEM[:40],
    "certificate": PEM.replace("PRIVATE KEY", "CERTIFICATE"),
    "sha256": SHA256,
    "SHA256": SHA256.upper(),
    "subject": "sub_abcdefghij234567abcdefgh",
    "photo": "pho_abcdefghij234567abcdefgh",
    "mail": "ada.lovelace@example.com",
    "ipv4": "203.0.113.77",
    "ipv4-port": "203.0.113.77:50051",
    "peer4": "ipv4:203.0.113.77:50051",
    "ipv6": "2001:db8::4711",
    "peer6": "ipv6:%5B2001:db8::4711%5D:50051",
    "bracket6": "[2001:db8::4711]:50051",
    "mapped": "::ffff:203.0.113.77",
}


def traces(form: str) -> list[str]:
    """Pieces of a form that must not remain."""
    return {
        "jwt": ["eyJ"],
        "jwe": ["eyJ"],
        "jwt-short": ["eyJ"],
        "pem": ["MIGH"],
        "pem-cut": ["MIGH"],
        "certificate": ["MIGH"],
        "sha256": ["9f86"],
        "SHA256": ["9F86"],
        "subject": ["abcdefghij"],
        "photo": ["abcdefghij"],
        "mail": ["lovelace"],
    }.get(form, ["203.0.113", "4711", "db8"])


@pytest.mark.parametrize("form", FORMS)
def test_redacted_by_form(written: io.StringIO, form: str) -> None:
    value = FORMS[form]
    logger = structlog.get_logger()
    sentence = f"said {value}, then stopped"
    logger.info(sentence, detail=value, nested=[{"x": f"({value})"}], path=Path(value))
    logger.info("in a key", found={value: 1})
    logging.getLogger("library").error("said %s", value)
    for piece in traces(form):
        assert piece not in written.getvalue()
    assert written.getvalue().count("[redacted]") >= 4


HARMLESS = ["2026-11-23T12:30:45.000000Z", "12:30:45", "127.0.0.1:50051", "[::1]:0", "::", "1.2.3", "ab:cd"]
HARMLESS += ["consentry_server.app:run", "/consentry.v1.GateService/Check", "dec_7_abcdefghij234567"]


@pytest.mark.parametrize("value", HARMLESS)
def test_what_names_nobody_stays(written: io.StringIO, value: str) -> None:
    structlog.get_logger().info("happened", detail=value)
    assert only(written)["detail"] == value


def test_counts_stay(written: io.StringIO) -> None:
    values: dict[str, object] = {"permit_seconds": 60, "max_photo_bytes": 5, "subject_count": 2, "port": 1, "index": 7}
    structlog.get_logger().info("happened", level_of="x", photo_found=True, subject=None, **values)
    found = only(written)
    assert {key: found[key] for key in values} == values
    assert found["photo_found"] is True
    assert found["subject"] is None


def test_objects_and_bytes_show_their_kind_only(written: io.StringIO) -> None:
    structlog.get_logger().info("happened", who=Person(), data=SECRET.encode(), why=Reason.NOT_FOUND)
    found = only(written)
    assert (found["who"], found["data"], found["why"]) == ("<Person>", "<17 bytes>", "NOT_FOUND")


def test_exceptions_show_where_and_not_what(written: io.StringIO) -> None:
    try:
        try:
            os.environ[SECRET]
        except KeyError as error:
            raise ConsentryError(Reason.STORAGE_FAILED, f"the disk failed {SHA256}") from error
    except ConsentryError:
        structlog.get_logger().exception("fault", fault_id="abc")
    found = only(written)
    assert [one["type"].rpartition(".")[2] for one in found["exception"]] == ["ConsentryError", "KeyError"]
    assert found["exception"][0]["message"] == "the disk failed [redacted]"
    assert found["exception"][0]["frames"][0].startswith("test_logs.py:")
    assert SECRET not in written.getvalue()


def test_an_operating_system_error_says_what_failed_but_not_which_file(written: io.StringIO) -> None:
    try:
        Path(f"/nonexistent/{SECRET}").read_bytes()
    except OSError:
        logging.getLogger("library").exception("reading")
    found = only(written)
    assert found["exception"][0]["message"] == "No such file or directory"
    assert SECRET not in written.getvalue()


def test_an_exception_as_a_value(written: io.StringIO) -> None:
    structlog.get_logger().info("happened", error=ValueError(SECRET), many=[ValueError(SECRET)])
    assert SECRET not in written.getvalue()


def test_every_line_is_one_object_with_level_and_time(written: io.StringIO) -> None:
    structlog.get_logger().warning("two\nlines")
    logging.getLogger("library").info("%d things", 3)
    structlog.get_logger("named").error("third")
    first, second, third = (json.loads(line) for line in written.getvalue().splitlines())
    assert (first["event"], first["level"]) == ("two\nlines", "warning")
    assert (second["event"], second["level"], second["logger"]) == ("3 things", "info", "library")
    assert third["timestamp"].endswith("Z")


def test_depth_and_length_are_bounded(written: io.StringIO) -> None:
    loop: list[Any] = []
    loop.append(loop)
    structlog.get_logger().info("x" * 100_000, loop=loop)
    assert len(written.getvalue()) < 10_000


def test_the_level_holds(written: io.StringIO) -> None:
    logs.configure(level="error", stream=written)
    structlog.get_logger().warning("quiet")
    logging.getLogger("library").warning("quiet")
    assert written.getvalue() == ""
