"""The client's own words and records, held to the contract's descriptors."""

from __future__ import annotations

import dataclasses
import enum

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from consentry import _endpoint, inputs, results, vocabulary
from consentry.errors import BY_REASON
from consentry.v1 import (
    audit_service_pb2,
    consent_pb2,
    decision_pb2,
    derived_artifact_pb2,
    determination_pb2,
    error_reason_pb2,
    gate_service_pb2,
    identifier_pb2,
    ledger_pb2,
    notice_pb2,
    photo_pb2,
    registry_service_pb2,
    retention_policy_pb2,
    retention_service_pb2,
    review_pb2,
    subject_pb2,
    vault_service_pb2,
    vocabulary_pb2,
)

FILES = [
    consent_pb2, decision_pb2, derived_artifact_pb2, determination_pb2, identifier_pb2, ledger_pb2, notice_pb2,
    photo_pb2, registry_service_pb2, retention_policy_pb2, subject_pb2, vocabulary_pb2, gate_service_pb2,
    review_pb2,
]  # fmt: skip
SERVICES = {
    service.name: service
    for file in (gate_service_pb2, registry_service_pb2, vault_service_pb2, retention_service_pb2, audit_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
}
MESSAGES: dict[str, Descriptor] = {n: m for file in FILES for n, m in file.DESCRIPTOR.message_types_by_name.items()}
ENUMS: dict[str, EnumDescriptor] = {n: e for file in FILES for n, e in file.DESCRIPTOR.enum_types_by_name.items()}

WORDS = sorted(vocabulary.Word.__subclasses__(), key=lambda kind: kind.__name__)
RECORDS = [kind for kind in vars(inputs).values() if dataclasses.is_dataclass(kind)]
NAMES = {"Check": "CheckRequest", "Claims": "SubjectClaims", "Face": "FaceInput"}

# What the server sets is not among what a caller hands over.
SET_BY_SERVER = {
    "Notice": {"publish_time", "entry"},
    "RetentionPolicy": {"publish_time", "entry"},
    "Delivery": {"delivery_id", "record_time", "entry"},
    "Release": {"release_id", "state", "record_time", "withdraw_time", "entry"},
    "Identifier": {"identifier_id", "subject_ref", "purpose", "create_time", "destroy_by_time"},
    "DerivedArtifact": {"tainted", "taint_reason"},
    "PublicStatement": {"statement_id", "entry"},
    "EnforcementChange": {"enforcement_id", "state", "recorded_by", "approved_by", "entry"},
    "Determination": {"determination_id", "subject_ref", "state", "recorded_by", "approved_by", "entry"},
}


def words_of(descriptor: EnumDescriptor) -> dict[str, int]:
    first = next(value for value in descriptor.values if value.number == 0)
    prefix = first.name.removesuffix("UNSPECIFIED")
    return {value.name.removeprefix(prefix): value.number for value in descriptor.values}


@pytest.mark.parametrize("kind", WORDS, ids=lambda kind: kind.__name__)
def test_every_list_of_words_is_the_contract_s(kind: type[enum.IntEnum]) -> None:
    assert {word.name: word.value for word in kind} == words_of(ENUMS[kind.__name__])


def test_every_list_of_words_that_callers_use_is_there() -> None:
    known = {kind.__name__ for kind in WORDS}
    in_vocabulary = set(vocabulary_pb2.DESCRIPTOR.enum_types_by_name)
    assert in_vocabulary - known == {"EntityType", "RecordClass"}  # used by no call of this client


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_every_record_has_the_fields_of_its_message(kind: type) -> None:
    name = NAMES.get(kind.__name__, kind.__name__)
    wanted = set(MESSAGES[name].fields_by_name) - SET_BY_SERVER.get(kind.__name__, set())
    assert {field.name for field in dataclasses.fields(kind)} == wanted


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_every_word_in_a_record_is_of_its_field_s_list(kind: type) -> None:
    message = MESSAGES[NAMES.get(kind.__name__, kind.__name__)]
    for field in dataclasses.fields(kind):
        enum_type = message.fields_by_name[field.name].enum_type
        if enum_type is not None:
            assert enum_type.name in str(field.type), field.name


@pytest.mark.parametrize(
    "kind", [results.Decision, results.FaceDecision, results.Reason, results.Obligation, results.PackReference]
)
def test_nothing_of_a_decision_is_dropped(kind: type) -> None:
    own = {field.name for field in dataclasses.fields(kind)} - {"permit"}
    assert own == set(MESSAGES[kind.__name__].fields_by_name)


def test_every_reason_has_an_error() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118
    assert set(BY_REASON) == reasons - {"UNSPECIFIED"}


def retried() -> list[tuple[str, str]]:
    return [(service, method) for service, methods in _endpoint.RETRIED.items() for method in methods]


@pytest.mark.parametrize(("service", "method"), retried())
def test_only_what_is_recorded_once_or_reads_is_sent_again(service: str, method: str) -> None:
    descriptor = SERVICES[service].methods_by_name[method]
    assert carries_request_id(descriptor.input_type) or method.startswith(("Get", "List"))


def carries_request_id(message: Descriptor, depth: int = 3) -> bool:
    fields: list[FieldDescriptor] = list(message.fields)
    return any(
        field.name == "request_id"
        or (depth and field.message_type and carries_request_id(field.message_type, depth - 1))
        for field in fields
    )
