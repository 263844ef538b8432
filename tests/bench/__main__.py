"""``make bench``: the durable Check and its relatives against an empty call; writes ``.bench/latest.json``."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import uvloop
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from consentry.v1 import (
    consent_pb2,
    gate_service_pb2,
    notice_pb2,
    photo_pb2,
    registry_service_pb2,
    retention_policy_pb2,
    subject_pb2,
    vocabulary_pb2,
)
from tests.bench import replay, sizes, verify
from tests.bench.decide import GOAL_MICROSECONDS
from tests.bench.decide import measure as measure_decide
from tests.bench.load import Figures, closed_loop
from tests.bench.server import EMPTY
from tests.support.server import Server, init, serving

SUBJECTS = int(os.environ.get("BENCH_SUBJECTS", "2000"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
IN_FLIGHT = 128
BATCH = 256
TARGET = Path(".bench/latest.json")

Row = dict[str, Any]


class Caller:
    """Raw calls over one mutual-TLS channel, so that the client costs both sides the same."""

    def __init__(self, server: Server, role: str, name: str) -> None:
        credentials = grpc.ssl_channel_credentials(**server.credentials(role, name))
        self.channel = grpc.aio.secure_channel(server.address, credentials)

    def method(self, path: str, response: Any = None) -> Callable[[Any], Awaitable[Any]]:
        return self.channel.unary_unary(
            path,
            request_serializer=_bytes,
            response_deserializer=getattr(response, "FromString", None),
        )


def _bytes(message: Any) -> bytes:
    data: bytes = message if isinstance(message, bytes) else message.SerializeToString()
    return data


async def prepare(collector: Caller, progress: Progress) -> None:
    """A policy, a notice, and every second person with a release."""
    call = "/consentry.v1.RegistryService/"
    purposes = [vocabulary_pb2.PURPOSE_TAGGING]
    categories = [
        vocabulary_pb2.DATA_CATEGORY_PHOTO,
        vocabulary_pb2.DATA_CATEGORY_FACE_GEOMETRY,
        vocabulary_pb2.DATA_CATEGORY_FACE_TEMPLATE,
    ]
    policy = retention_policy_pb2.RetentionPolicy(
        policy_id="retention",
        public_uri="https://acme.test/retention",
        text="Face templates are destroyed when their purpose is satisfied, at the latest after three years.",
        destruction_guidelines="Keys and ciphertext are deleted.",
    )
    policy.effective_time.GetCurrentTime()
    rule = policy.schedule.add(
        category=vocabulary_pb2.DATA_CATEGORY_FACE_TEMPLATE,
        clock=retention_policy_pb2.RETENTION_CLOCK_LAST_INTERACTION,
    )
    rule.maximum_period.FromTimedelta(timedelta(days=1095))
    await collector.method(call + "PublishRetentionPolicy")(
        registry_service_pb2.PublishRetentionPolicyRequest(request_id="policy", policy=policy)
    )
    notice = notice_pb2.Notice(
        notice_id="tagging",
        language="en-US",
        text="We collect and store a scan of your face geometry to tag you, for one year.",
        says_collected_or_stored=True,
        purposes=purposes,
        categories=categories,
    )
    notice.effective_time.GetCurrentTime()
    notice.term.duration.FromTimedelta(timedelta(days=365))
    published = await collector.method(call + "PublishNotice", registry_service_pb2.PublishNoticeResponse)(
        registry_service_pb2.PublishNoticeRequest(request_id="notice", notice=notice)
    )
    deliver = collector.method(call + "RecordNoticeDelivery", registry_service_pb2.RecordNoticeDeliveryResponse)
    release = collector.method(call + "RecordRelease", registry_service_pb2.RecordReleaseResponse)
    task = progress.add_task("releases", total=SUBJECTS // 2)

    async def consent(number: int) -> None:
        now = datetime.now(UTC)
        claims = subject_pb2.SubjectClaims(
            regions=["US-IL"],
            age_band=vocabulary_pb2.AGE_BAND_ADULT,
            relationship=vocabulary_pb2.RELATIONSHIP_CONSUMER,
        )
        signer = consent_pb2.Signer(role=vocabulary_pb2.SIGNER_ROLE_SELF)
        delivery = consent_pb2.Delivery(
            notice_id="tagging",
            notice_version=published.notice.version,
            signer=signer,
            channel=vocabulary_pb2.NOTICE_CHANNEL_IN_APP,
            language="en-US",
            vouching=vocabulary_pb2.VOUCHING_CALLER_ASSERTED,
            shown_sha256=hashlib.sha256(notice.text.encode()).digest(),
        )
        delivery.deliver_time.FromDatetime(now)
        delivered = await deliver(
            registry_service_pb2.RecordNoticeDeliveryRequest(
                request_id=f"d{number}", subject_id=f"person-{number}", delivery=delivery, claims=claims
            )
        )
        given = consent_pb2.Release(
            notice_id="tagging",
            notice_version=published.notice.version,
            delivery_id=delivered.delivery.delivery_id,
            form=vocabulary_pb2.RELEASE_FORM_ELECTRONIC_SIGNATURE,
            process=vocabulary_pb2.SIGNATURE_PROCESS_CLICK_TO_SIGN,
            signed_document_sha256=bytes(32),
            intent_statement="I agree",
            signer=signer,
            attribution=consent_pb2.Attribution(account_authentication="password"),
            purposes=purposes,
            categories=categories,
            scopes=[vocabulary_pb2.CONSENT_SCOPE_COLLECT],
            explicit=True,
            language="en-US",
            vouching=vocabulary_pb2.VOUCHING_CALLER_ASSERTED,
        )
        given.sign_time.FromDatetime(now)
        await release(
            registry_service_pb2.RecordReleaseRequest(
                request_id=f"r{number}", subject_id=f"person-{number}", release=given
            )
        )
        progress.update(task, advance=1)

    for first in range(0, SUBJECTS, 128):
        await asyncio.gather(*(consent(number) for number in range(first, min(first + 128, SUBJECTS), 2)))


def check_request(number: int, run: str) -> gate_service_pb2.CheckRequest:
    """One face or two, with and without releases, now and then a bystander: outcomes are mixed."""
    person = (number * 7919) % SUBJECTS
    faces = [
        photo_pb2.FaceInput(
            box=photo_pb2.Box(x=10, y=10, width=80, height=80),
            subject_id=f"person-{person}",
            known_by=vocabulary_pb2.KNOWN_BY_DECLARED_BY_UPLOADER,
            regions=["US-IL"],
        )
    ]
    if number % 5 == 0:
        faces.append(photo_pb2.FaceInput(box=photo_pb2.Box(x=200, y=10, width=80, height=80)))
    return gate_service_pb2.CheckRequest(
        request_id=f"{run}-{number}",
        operation=vocabulary_pb2.OPERATION_EXTRACT_TEMPLATE,
        purpose=vocabulary_pb2.PURPOSE_TAGGING,
        category=vocabulary_pb2.DATA_CATEGORY_PHOTO,
        photo=photo_pb2.PhotoReference(sha256=hashlib.sha256(number.to_bytes(8)).digest()),
        faces=faces,
        uses_face_geometry=True,
        identifies=True,
        stored=True,
        algorithm_id="hog-face",
        algorithm_version="1",
        collection_method_id="upload",
    )


async def measure(server: Server) -> list[Row]:
    """All figures, each as the median over rounds that alternate with the baseline."""
    collector, processor = Caller(server, "collector", "product"), Caller(server, "processor", "face-tagger")
    empty = processor.method(EMPTY)
    check = processor.method("/consentry.v1.GateService/Check")
    batch = processor.method("/consentry.v1.GateService/BatchCheck")
    run = str(time.time_ns())

    async def call_empty(_number: int) -> None:
        await empty(b"")

    async def call_check(number: int) -> None:
        await check(check_request(number, run))

    async def call_permit(number: int) -> None:
        request = check_request(number, run)
        request.want_permit = True
        await check(request)

    async def call_batch(number: int) -> None:
        request = gate_service_pb2.BatchCheckRequest()
        for place in range(BATCH):
            request.items.add(correlation_id=str(place), check=check_request(number * BATCH + place, run))
        await batch(request)

    rows: list[Row] = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        await prepare(collector, progress)
        task = progress.add_task("rounds", total=ROUNDS * 8)

        async def pair(call: Callable[[int], Awaitable[None]], in_flight: int) -> tuple[list[Figures], list[Figures]]:
            nonlocal run
            base, ours = [], []
            for number in range(ROUNDS):
                base.append(await closed_loop(call_empty, in_flight=IN_FLIGHT if in_flight > 1 else 1, seconds=SECONDS))
                progress.update(task, advance=1)
                run = f"{time.time_ns()}-{number}"
                ours.append(await closed_loop(call, in_flight=in_flight, seconds=SECONDS))
                progress.update(task, advance=1)
            return base, ours

        base, ours = await pair(call_check, IN_FLIGHT)
        rows.append(_rate("Check, durable, 128 in flight", base, ours))
        rows.append(_latency("Check p99, 128 in flight", base, ours))
        base, ours = await pair(call_permit, IN_FLIGHT)
        rows.append(_rate("Check with permit, 128 in flight", base, ours))
        base, ours = await pair(call_check, 1)
        rows.append(_latency("Check p50, alone in flight", base, ours, which="p50"))
        base, ours = await pair(call_batch, 4)
        rows.append(_rate(f"BatchCheck of {BATCH}, 4 in flight", base, ours, each=BATCH))
    for caller in (collector, processor):
        await caller.channel.close()
    return rows


def decide_row() -> Row:
    """The decision alone; its baseline is the goal."""
    least, median = measure_decide()["allowed"]
    return {
        "name": "decide, one face, three laws (baseline: the goal)",
        "value": round(median, 2),
        "unit": f"µs, least {least:.2f}",
        "baseline": GOAL_MICROSECONDS,
        "ratio": round(median / GOAL_MICROSECONDS, 3),
    }


def _rate(name: str, base: list[Figures], ours: list[Figures], each: int = 1) -> Row:
    value = statistics.median(figures.per_second for figures in ours) * each
    ratios = [mine.per_second * each / theirs.per_second for mine, theirs in zip(ours, base, strict=True)]
    return {
        "name": name,
        "value": round(value, 1),
        "unit": "checks/s",
        "baseline": round(statistics.median(figures.per_second for figures in base), 1),
        "ratio": round(statistics.median(ratios), 3),
    }


def _latency(name: str, base: list[Figures], ours: list[Figures], which: str = "p99") -> Row:
    value, baseline = (statistics.median(getattr(figures, which) for figures in each) for each in (ours, base))
    return {
        "name": name,
        "value": round(value * 1000, 3),
        "unit": "ms",
        "baseline": round(baseline * 1000, 3),
        "ratio": round(value / baseline, 3),
    }


def main() -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        init(state, "acme")
        with serving(state, module="tests.bench.server") as server:
            rows = uvloop.run(measure(server))
        rows += verify.measure(Path(folder) / "export")
    rows.append(decide_row())
    rows += sizes.measure()
    rows += replay.measure()
    table = Table("what", "value", "unit", "empty call", "ratio", title=f"{platform.machine()}, {os.cpu_count()} cores")
    for row in rows:
        table.add_row(row["name"], str(row["value"]), row["unit"], str(row["baseline"]), str(row["ratio"]))
    Console().print(table)
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
