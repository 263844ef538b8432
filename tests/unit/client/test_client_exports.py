"""The public names of the client, and that the two clients are one."""

from __future__ import annotations

import inspect
from importlib import resources

import consentry
from consentry import aio, errors
from consentry.vocabulary import Word

PINNED = {
    "AgeBand", "ArtifactKind", "Attribution", "AuthorityBasis", "Box", "Check", "CheckedFace", "Claims", "Client",
    "Config", "Conflict", "ConsentScope", "ConsentryError", "Consideration", "DataCategory", "Decision", "Delivery",
    "DerivedArtifact",
    "Denied", "DestructionStage", "DestructionTrigger", "Determination", "DeterminationKind", "DisclosureBasis",
    "EntryReference", "Face", "FaceDecision", "Grade", "Guard", "Identifier", "InvalidRequest", "KnownBy",
    "NotBuilt", "NotFound", "Notice", "NoticeChannel", "NoticeRecipient", "Obligation", "ObligationKind",
    "OpenedIdentifier", "OpenedPhoto", "Operation", "Outcome", "PackReference", "PermissionDenied", "Permit",
    "PermitExpired", "Photo", "PhotoBytes", "PhotoDescription", "PhotoStream", "ProcessingResult", "Publisher",
    "PublicStatement", "Purpose", "PurposeEnd", "Reason", "RecipientKind", "Relationship", "Release", "ReleaseForm",
    "ReportFailed", "RetentionClock", "RetentionPolicy", "RetentionRule", "ReviewState", "SignatureAlgorithm",
    "SignatureProcess", "Signer", "SignerRole", "SignerSignature", "Source", "SourceKind", "StoredIdentifier",
    "StoredPhoto", "TaintReason", "Term", "TermEnd", "Truncated", "Unavailable", "Venue", "Visibility", "Vouching",
}  # fmt: skip


def test_the_export_list_is_pinned() -> None:
    assert sorted(consentry.__all__) == consentry.__all__
    assert set(consentry.__all__) == PINNED
    assert [name for name in consentry.__all__ if not hasattr(consentry, name)] == []


def test_the_asynchronous_export_list_is_pinned() -> None:
    assert aio.__all__ == ["AsyncPhotoBytes", "AsyncPhotoStream", "Client", "Guard", "Permit"]


def test_the_package_is_typed() -> None:
    assert resources.files("consentry").joinpath("py.typed").is_file()


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_both_clients_have_the_same_methods() -> None:
    assert public(consentry.Client) - public(aio.Client) == {"close"}
    assert public(aio.Client) - public(consentry.Client) == {"aclose"}
    assert public(consentry.Guard) == public(aio.Guard)
    assert public(consentry.Permit) == public(aio.Permit)


def test_methods_keep_the_signature_and_words_of_their_call() -> None:
    for name in sorted(public(consentry.Client) - {"close", "config", "start"}):
        sync, other = getattr(consentry.Client, name), getattr(aio.Client, name)
        assert sync.__doc__, name
        assert sync.__name__ == name
        assert list(inspect.signature(sync).parameters) == list(inspect.signature(other).parameters), name
    assert list(inspect.signature(consentry.Client.record_interaction).parameters) == [
        "self",
        "subject_id",
        "occur_time",
        "claims",
        "request_id",
    ]


def test_there_is_one_error_root() -> None:
    names = [name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert [name for name in names if not issubclass(getattr(errors, name), errors.ConsentryError)] == []
    assert set(names) <= set(consentry.__all__)


def test_every_word_prints_as_itself() -> None:
    assert [str(word) for kind in Word.__subclasses__() for word in kind] == [
        word.name for kind in Word.__subclasses__() for word in kind
    ]
