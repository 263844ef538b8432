"""``consentry notices diff`` on a state folder and on a live server, as a person sees it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from consentry import (
    Attribution,
    Client,
    DataCategory,
    Delivery,
    Notice,
    NoticeChannel,
    NoticeRecipient,
    Purpose,
    RecipientKind,
    Release,
    ReleaseForm,
    SignatureProcess,
    Term,
)
from tests.support.server import Server, consentry, init, serving

OLD = "We show your photos to the people you share them with."
NEW = "We may use your biometric information for security.\x1b[2JBelow."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    state = tmp_path_factory.mktemp("notices") / "state"
    init(state)
    with serving(state) as running:
        tls = state / "tls"
        client = Client.connect(
            running.address,
            root_certificates=tls / "ca.pem",
            certificate_chain=tls / "collector-product.pem",
            private_key=tls / "collector-product.key",
        )
        with client:
            _publish(client, OLD, [Purpose.PHOTO_HOSTING], [DataCategory.PHOTO], 365)
            _release(client, "ana")
            _publish(
                client,
                NEW,
                [Purpose.PHOTO_HOSTING, Purpose.ACCOUNT_SECURITY],
                [DataCategory.PHOTO, DataCategory.FACE_TEMPLATE],
                730,
            )
            _publish(
                client,
                NEW.replace("may", "might"),
                [Purpose.PHOTO_HOSTING, Purpose.ACCOUNT_SECURITY],
                [DataCategory.PHOTO, DataCategory.FACE_TEMPLATE],
                730,
            )
        yield running


def _publish(client: Client, text: str, purposes: list[Purpose], categories: list[DataCategory], days: int) -> None:
    client.publish_notice(
        Notice(
            notice_id="privacy",
            language="en-US",
            effective_time=datetime.now(UTC) - timedelta(seconds=5),
            text=text,
            says_collected_or_stored=True,
            purposes=purposes,
            categories=categories,
            term=Term(duration=timedelta(days=days)),
            recipients=[NoticeRecipient(recipient_id="cloud", kind=RecipientKind.PROCESSOR, purposes=purposes[:1])],
        )
    )


def _release(client: Client, who: str) -> None:
    now = datetime.now(UTC)
    delivered = client.record_notice_delivery(
        who,
        Delivery(
            notice_id="privacy",
            notice_version=1,
            channel=NoticeChannel.IN_APP,
            language="en-US",
            deliver_time=now,
            shown_sha256=hashlib.sha256(OLD.encode()).digest(),
        ),
    )
    client.record_release(
        who,
        Release(
            notice_id="privacy",
            notice_version=1,
            delivery_id=delivered.delivery.delivery_id,
            form=ReleaseForm.ELECTRONIC_SIGNATURE,
            process=SignatureProcess.CLICK_TO_SIGN,
            signed_document_sha256=b"\x01" * 32,
            intent_statement="I sign.",
            purposes=[Purpose.PHOTO_HOSTING],
            categories=[DataCategory.PHOTO],
            sign_time=now,
            language="en-US",
            attribution=Attribution(session_id="1"),
        ),
    )


def _source(server: Server, kind: str) -> list[str | Path]:
    if kind == "folder":
        return [server.state]
    tls = server.state / "tls"
    certificates: list[str | Path] = [
        "--ca",
        tls / "ca.pem",
        "--cert",
        tls / "auditor-counsel.pem",
        "--key",
        tls / "auditor-counsel.key",
    ]
    return [server.address, *certificates]


@pytest.mark.parametrize("kind", ["folder", "server"])
def test_two_versions_side_by_side(server: Server, kind: str) -> None:
    shown = consentry("notices", "diff", *_source(server, kind), "privacy", "1", "2")
    assert shown.returncode == 0, shown.stderr
    said = " ".join(shown.stdout.split())
    assert "Notice privacy 1 → 2" in said
    assert "365 days" in said
    assert "730 days" in said
    assert "1 person holds a live" in said
    assert "needed" in said
    assert "\x1b[2J" not in shown.stdout  # a published text never steers the terminal


@pytest.mark.parametrize("kind", ["folder", "server"])
def test_a_typo_asks_nobody_again(server: Server, kind: str) -> None:
    shown = consentry("notices", "diff", *_source(server, kind), "privacy", "2", "3")
    assert "Nobody has to consent again" in shown.stdout
    assert "needed" not in shown.stdout


def test_both_sources_say_the_same_to_programs(server: Server) -> None:
    found = [
        json.loads(consentry("notices", "diff", *_source(server, kind), "privacy", "1", "2", "--json").stdout)
        for kind in ("folder", "server")
    ]
    assert found[0] == found[1]
    assert found[0]["reconsent_required"] is True
    assert found[0]["affected_subject_count"] == 1
    assert [each["value"] for each in found[0]["changes"] if each["material"]] == [
        "FACE_TEMPLATE",
        "ACCOUNT_SECURITY",
        "term",
    ]


@pytest.mark.parametrize(
    ("kind", "arguments", "code"),
    [
        ("folder", ("none", "1", "2"), 4),
        ("folder", ("privacy", "2", "1"), 2),
        ("server", ("privacy", "1", "9"), 4),
    ],
)
def test_what_is_not_there_is_said(server: Server, kind: str, arguments: tuple[str, ...], code: int) -> None:
    shown = consentry("notices", "diff", *_source(server, kind), *arguments)
    assert (shown.returncode, shown.stdout) == (code, "")
    assert shown.stderr.startswith("consentry: ")
