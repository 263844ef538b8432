"""One list of words on both sides of the wire: the server's vocabulary and the contract's enums, one to one."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from consentry.v1 import decision_pb2, error_reason_pb2, vocabulary_pb2
from consentry_server.adapters.grpc import words
from consentry_server.core import vocabulary
from consentry_server.core.errors import Reason
from consentry_server.core.law import ObligationKind

WORDS: dict[str, type[vocabulary.Words]] = {
    name: found
    for name, found in inspect.getmembers(vocabulary, inspect.isclass)
    if issubclass(found, vocabulary.Words) and found is not vocabulary.Words
}
ENUMS = dict(vocabulary_pb2.DESCRIPTOR.enum_types_by_name)
UNSPECIFIED_IS = {
    "KnownBy": "UNKNOWN",
    "Visibility": "UNKNOWN",
    "Publisher": "UNKNOWN",
    "SourceKind": "UNKNOWN",
    "AgeBand": "UNKNOWN",
    "Relationship": "UNKNOWN",
    "Consideration": "UNKNOWN",
    "AuthorityBasis": "NONE",
    "DisclosureBasis": "NONE",
}
"""Which word the contract says by UNSPECIFIED; where none stands here, it says nothing at all."""
TABLES: dict[str, words.Table[Any]] = {
    table.name: table for table in vars(words).values() if isinstance(table, words.Table)
}


def snake(name: str) -> str:
    return "".join(f"_{letter}" if letter.isupper() and place else letter for place, letter in enumerate(name)).upper()


def said(enum: Any) -> list[str]:
    prefix = f"{snake(enum.name)}_"
    assert [value.name for value in enum.values if not value.name.startswith(prefix)] == []
    return [value.name.removeprefix(prefix) for value in enum.values]


def test_each_side_has_the_same_lists() -> None:
    assert WORDS.keys() == ENUMS.keys()


@pytest.mark.parametrize("name", sorted(ENUMS))
def test_words_and_enum_are_one_to_one_in_one_order(name: str) -> None:
    enum = ENUMS[name]
    assert [value.number for value in enum.values] == list(range(len(enum.values)))
    names = said(enum)
    assert names[0] == "UNSPECIFIED"
    own = [word.name for word in WORDS[name]]
    assert all(word.value == word.name for word in WORDS[name])
    assert own == ([UNSPECIFIED_IS[name]] if name in UNSPECIFIED_IS else []) + names[1:]


@pytest.mark.parametrize("name", sorted(ENUMS))
def test_the_tables_say_the_same_both_ways(name: str) -> None:
    table, enum = TABLES[name], ENUMS[name]
    for value in enum.values:
        expected = UNSPECIFIED_IS.get(name) if value.number == 0 else value.name.removeprefix(f"{snake(name)}_")
        assert table.words.get(value.number) == expected
    assert {table.numbers[word] for word in WORDS[name]} == set(table.words)
    assert all(table.words[table.numbers[word]] is word for word in WORDS[name])


def test_reasons_of_errors_are_one_to_one() -> None:
    assert said(error_reason_pb2.ErrorReason.DESCRIPTOR)[1:] == [reason.value for reason in Reason]


def test_every_obligation_of_the_law_can_be_said() -> None:
    spoken = set(said(decision_pb2.ObligationKind.DESCRIPTOR)) - {"UNSPECIFIED"}
    assert {kind.name for kind in ObligationKind} == spoken - {"RECORD_PROCESSING"}  # the product's own, not a law's


def test_a_word_without_a_number_stops_the_import() -> None:
    with pytest.raises(LookupError, match="NEWS"):
        words.Table(vocabulary_pb2.Grade, ["PRIMARY", "SECONDARY", "SINGLE_SOURCE", "UNVERIFIED", "NEWS"])
