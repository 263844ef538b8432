"""Bad input over the network: a clear status with the field named, nothing half-stored, never UNKNOWN or INTERNAL."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from consentry import (
    ConsentryError,
    DataCategory,
    Identifier,
    Operation,
    PhotoDescription,
    Purpose,
    SignatureProcess,
)
from consentry.v1 import (
    gate_service_pb2,
    gate_service_pb2_grpc,
    vault_service_pb2,
    vault_service_pb2_grpc,
    vocabulary_pb2,
)
from tests.support.server import Server
from tests.support.story import Story, callers, enroll, face

EXTRACT = vocabulary_pb2.OPERATION_EXTRACT_TEMPLATE
TAGGING = vocabulary_pb2.PURPOSE_TAGGING
PHOTO = vocabulary_pb2.DATA_CATEGORY_PHOTO

OWNER = PhotoDescription(owner_subject_id="uploader", regions=["US-IL"])


def raised(call: Callable[[], Any]) -> ConsentryError:
    with pytest.raises(ConsentryError) as caught:
        call()
    assert caught.value.code not in {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL}
    return caught.value


def entries(story: Story) -> int:
    return int(story.auditor.get_checkpoint().checkpoint.tree_size)


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"operation": 999}, "VALUE_UNKNOWN", "operation"),
        ({"operation": 0}, "VALUE_UNKNOWN", "operation"),
        ({"purpose": 0}, "VALUE_UNKNOWN", "purpose"),
        ({"category": 0}, "VALUE_UNKNOWN", "category"),
        ({"regions": ["Illinois"]}, "VALUE_UNKNOWN", "regions"),
        ({"algorithm_id": "Face Net!"}, "FIELD_INVALID", "algorithm_id"),
        ({"recipient_id": "a b"}, "FIELD_INVALID", "recipient_id"),
        ({"photo": "short"}, "FIELD_INVALID", "photo.sha256"),
        ({"photo": "unknown"}, "NOT_FOUND", "photo.photo_id"),
        ({"request_id": ""}, "FIELD_REQUIRED", "request_id"),
        ({"request_id": "x" * 129}, "FIELD_INVALID", "request_id"),
    ],
)
def test_a_bad_check_names_its_field(
    server: Server, story: Story, changes: dict[str, Any], reason: str, field: str
) -> None:
    request = gate_service_pb2.CheckRequest(
        request_id="r1", operation=EXTRACT, purpose=TAGGING, category=PHOTO, uses_face_geometry=True
    )
    request.photo.sha256 = bytes(32)
    if changes.get("photo") == "short":
        request.photo.sha256 = b"short"
    elif changes.get("photo") == "unknown":
        request.photo.photo_id = "pho_" + "a" * 24
    else:
        for name, value in changes.items():
            if isinstance(value, list):
                getattr(request, name).extend(value)
            else:
                setattr(request, name, value)
    before = entries(story)
    credentials = grpc.ssl_channel_credentials(**server.credentials("processor", "face-tagger"))
    with grpc.secure_channel(server.address, credentials) as channel:
        stub = gate_service_pb2_grpc.GateServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(request, timeout=10)
    details = str(caught.value.details())
    assert caught.value.code() in {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
    assert field.rpartition(".")[2] in details or "no such photo" in details
    assert reason in str(caught.value.trailing_metadata())
    assert entries(story) == before


def test_ten_megabytes_of_zeros_are_no_image(story: Story) -> None:
    before = entries(story)
    error = raised(lambda: story.collector.upload_photo(bytes(10 * 2**20), OWNER))
    assert error.reason == "NOT_AN_IMAGE"
    assert entries(story) == before


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.7 not a picture", b"\xff\xd8\xff" + bytes(100)])
def test_what_is_no_image_is_refused(story: Story, data: bytes) -> None:
    assert raised(lambda: story.collector.upload_photo(data, OWNER)).reason in {"NOT_AN_IMAGE", "FIELD_REQUIRED"}


def test_a_decompression_bomb_is_refused_by_its_header(story: Story) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    assert raised(lambda: story.collector.upload_photo(bomb, OWNER)).reason == "IMAGE_TOO_LARGE"


def test_a_photo_beyond_the_limit_is_refused_while_it_streams(server: Server, story: Story, photos: Path) -> None:
    start = (photos / "portrait.jpg").read_bytes()
    error = raised(
        lambda: story.collector.upload_photo(io.BytesIO(start + bytes(51 * 2**20)), OWNER),
    )
    assert error.reason == "TOO_LARGE"


@pytest.mark.parametrize(
    "damage", ["no end", "no header", "wrong hash", "wrong size", "chunk after end", "two headers"]
)
def test_a_damaged_upload_stores_nothing(server: Server, state: Path, story: Story, photos: Path, damage: str) -> None:
    data = (photos / "portrait.jpg").read_bytes()
    header = vault_service_pb2.UploadPhotoRequest()
    header.header.request_id = f"damaged {damage}"
    header.header.description.owner_subject_id = "uploader"
    header.header.description.purpose = vocabulary_pb2.PURPOSE_PHOTO_HOSTING
    chunk = vault_service_pb2.UploadPhotoRequest(chunk=data)
    end = vault_service_pb2.UploadPhotoRequest()
    end.end.size = len(data) + (1 if damage == "wrong size" else 0)
    end.end.sha256 = hashlib.sha256(b"x" if damage == "wrong hash" else data).digest()
    parts = {
        "no end": [header, chunk],
        "no header": [chunk, end],
        "chunk after end": [header, chunk, end, chunk],
        "two headers": [header, header, chunk, end],
    }.get(damage, [header, chunk, end])
    before, blobs = entries(story), _blobs(state)
    credentials = grpc.ssl_channel_credentials(**server.credentials("collector", "product"))
    with grpc.secure_channel(server.address, credentials) as channel:
        stub = vault_service_pb2_grpc.VaultServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.UploadPhoto(iter(parts), timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert entries(story) == before
    assert _blobs(state) == blobs


def test_an_upload_that_is_cancelled_stores_nothing(server: Server, state: Path, story: Story, photos: Path) -> None:
    data = (photos / "portrait.jpg").read_bytes()
    before, blobs = entries(story), _blobs(state)

    def parts() -> Any:
        header = vault_service_pb2.UploadPhotoRequest()
        header.header.request_id = "cancelled"
        header.header.description.owner_subject_id = "uploader"
        header.header.description.purpose = vocabulary_pb2.PURPOSE_PHOTO_HOSTING
        yield header
        yield vault_service_pb2.UploadPhotoRequest(chunk=data)
        call.cancel()
        yield vault_service_pb2.UploadPhotoRequest(chunk=data)

    credentials = grpc.ssl_channel_credentials(**server.credentials("collector", "product"))
    with grpc.secure_channel(server.address, credentials) as channel:
        call = vault_service_pb2_grpc.VaultServiceStub(channel).UploadPhoto.future(parts(), timeout=10)
        with pytest.raises(grpc.FutureCancelledError):
            call.result()
    assert story.collector.upload_photo(data, OWNER).photo_id  # the server goes on
    assert entries(story) == before + 2
    assert len(_blobs(state)) == len(blobs) + 1


def _blobs(state: Path) -> list[str]:
    return sorted(path.name for path in (state / "tenants" / "acme" / "blobs").rglob("*") if path.is_file())


def test_permits_open_only_what_they_are_for(story: Story, photos: Path) -> None:
    first = story.collector.upload_photo((photos / "portrait.jpg").read_bytes(), OWNER).photo_id
    second = story.collector.upload_photo((photos / "no-face.jpg").read_bytes(), OWNER).photo_id
    story.consent("permit-person")
    decision = story.processor.check(enroll(face("permit-person"), photo_id=first))
    assert story.processor.open_photo(decision.permit, photo_id=first).content
    assert raised(lambda: story.processor.open_photo(decision.permit, photo_id=second)).reason == "PERMIT_MISMATCH"
    assert raised(lambda: story.processor.open_photo("nonsense", photo_id=first)).reason == "PERMIT_INVALID"
    tampered = decision.permit[:-6] + ("AAAAAA" if not decision.permit.endswith("AAAAAA") else "BBBBBB")
    assert raised(lambda: story.processor.open_photo(tampered, photo_id=first)).reason == "PERMIT_INVALID"
    assert raised(lambda: story.processor.open_identifier(decision.permit, "idf_" + "a" * 24)).reason in {
        "PERMIT_MISMATCH",
        "PERMIT_INVALID",
    }
    show = story.processor.check(
        replace(
            enroll(photo_id=first),
            operation=Operation.DISPLAY,
            purpose=Purpose.PHOTO_DISPLAY,
            uses_face_geometry=False,
            identifies=False,
            stored=False,
        )
    )
    assert story.processor.open_photo(show.permit, photo_id=first).content == (photos / "portrait.jpg").read_bytes()
    template = Identifier(
        category=DataCategory.FACE_TEMPLATE,
        format="hog-float32",
        format_version="1",
        algorithm_id="hog-face",
        algorithm_version="1",
        collection_method_id="upload",
    )
    error = raised(lambda: story.processor.store_identifier(show.permit, template, b"\x01" * 64))
    assert error.reason == "PERMIT_MISMATCH"


def test_another_tenants_ids_do_not_exist(server: Server, story: Story, photos: Path) -> None:
    photo_id = story.collector.upload_photo((photos / "portrait.jpg").read_bytes(), OWNER).photo_id
    story.consent("acme-person")
    permit = story.processor.check(enroll(face("acme-person"), photo_id=photo_id)).permit
    with callers(server, "globex") as other:
        other.policy()
        other.notice()
        error = raised(lambda: other.processor.check(enroll(face("acme-person"), photo_id=photo_id)))
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
        assert raised(lambda: other.processor.open_photo(permit, photo_id=photo_id)).reason == "PERMIT_INVALID"
        assert raised(lambda: other.collector.withdraw_release("acme-person")).reason == "NOT_FOUND"
        assert raised(lambda: other.auditor.get_subject("acme-person")).reason == "NOT_FOUND"
        assert not other.processor.check(enroll(face("acme-person"))).allowed


def test_text_in_any_script_is_kept_and_found_again(story: Story) -> None:
    for subject_id in ("Ζωή", "山田太郎", "محمد", "e\u0301mile", "👩🏽‍🦱", "a b\tc"):
        story.consent(subject_id)
        assert story.processor.check(enroll(face(subject_id))).allowed, subject_id
    assert story.processor.check(enroll(face("émile"))).allowed  # the same name in the other normal form


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"process": SignatureProcess.CONTINUED_USE}, "NO_INTENT_TO_SIGN"),
        ({"process": SignatureProcess.PAGE_VIEW}, "NO_INTENT_TO_SIGN"),
        ({"purposes": [Purpose.ADVERTISING]}, "FIELD_INVALID"),
        ({"notice_version": 9}, "NOT_FOUND"),
        ({"delivery_id": "dlv_" + "a" * 24}, "NOTICE_NOT_DELIVERED"),
        ({"signed_document_sha256": b"short"}, "FIELD_INVALID"),
    ],
)
def test_a_release_that_proves_nothing_is_refused(story: Story, changes: dict[str, Any], reason: str) -> None:
    delivery_id = story.deliver("release-person")
    values = {"delivery_id": delivery_id, **changes}
    assert raised(lambda: story.release("release-person", **values)).reason == reason


def test_a_delivery_to_somebody_else_is_no_delivery(story: Story) -> None:
    delivery_id = story.deliver("told")
    story.deliver("told-otherwise")
    assert raised(lambda: story.release("told-otherwise", delivery_id)).reason == "NOTICE_NOT_DELIVERED"


def test_the_same_request_id_with_another_body_is_refused(story: Story) -> None:
    story.processor.check(enroll(face("someone"), request_id="once"))
    error = raised(lambda: story.processor.check(enroll(face("else"), request_id="once")))
    assert error.reason == "REQUEST_ID_REUSED"


def test_roles_are_kept_apart(story: Story) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: story.collector.check(enroll(face("x"))),
        lambda: story.processor.withdraw_release("x"),
        lambda: story.auditor.upload_photo(b"x", OWNER),
        lambda: story.collector.open_photo("permit", photo_id="pho_x"),
        lambda: list(story.processor.list_entries()),
    ]
    for call in calls:
        error = raised(call)
        assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")
