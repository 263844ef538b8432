"""Development certificates, checked with openssl where that says more."""

from __future__ import annotations

import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from consentry_server.adapters import certificates
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.services.context import Caller, Role

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TRUST_DOMAIN = "consentry.test"
TENANTS = ["acme", "other"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Caller, certificates.CertificateFiles]]:
    folder = tmp_path_factory.mktemp("state") / "tls"
    return folder, certificates.make_development(folder, trust_domain=TRUST_DOMAIN, tenants=TENANTS, now=NOW)


Made = tuple[Path, dict[Caller, certificates.CertificateFiles]]


def test_files_are_where_they_are_promised(made: Made) -> None:
    folder, files = made
    stems = {"processor-face-tagger", "collector-product", "auditor-counsel", "officer-first", "officer-second"} | {
        "operator-ops"
    }
    assert {path.stem for path in folder.glob("*.pem")} == stems | {"ca", "server"}
    assert {path.stem for path in (folder / "other").glob("*.pem")} == stems
    assert files[Caller("acme", Role.OFFICER, "second")].key == folder / "officer-second.key"
    assert len(files) == 2 * len(stems)


def test_keys_are_for_their_owner_alone(made: Made) -> None:
    folder, _ = made
    keys = list(folder.rglob("*.key"))
    assert len(keys) == 14
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "other")} == {0o700}


def test_openssl_verifies_each_for_its_use_only(made: Made) -> None:
    folder, _ = made

    def accepted(path: Path, purpose: str) -> bool:
        command = ["openssl", "verify", "-x509_strict", "-attime", str(int(NOW.timestamp())), "-purpose", purpose]
        done = subprocess.run([*command, "-CAfile", folder / "ca.pem", path], capture_output=True, check=False)
        return done.returncode == 0

    for path in folder.rglob("*.pem"):
        expected = {"ca": (False, False), "server": (True, False)}.get(path.stem, (False, True))
        assert (accepted(path, "sslserver"), accepted(path, "sslclient")) == expected, path


def test_each_says_that_it_is_for_development_and_ends(made: Made) -> None:
    folder, _ = made
    for path in folder.rglob("*.pem"):
        one = x509.load_pem_x509_certificate(path.read_bytes())
        assert "not for production" in one.subject.rfc4514_string()
        assert one.not_valid_after_utc - NOW <= timedelta(days=825)


def test_the_server_answers_to_this_machines_names(made: Made) -> None:
    one = x509.load_pem_x509_certificate((made[0] / "server.pem").read_bytes())
    names = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["localhost", "127.0.0.1", "::1"]


def test_a_caller_is_named_by_one_uri(made: Made) -> None:
    _, files = made
    for one, (path, _key) in files.items():
        loaded = x509.load_pem_x509_certificate(path.read_bytes())
        names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert [name.value for name in names] == [
            f"spiffe://{TRUST_DOMAIN}/tenant/{one.tenant}/role/{one.role}/{one.name}"
        ]


def test_one_more(tmp_path: Path) -> None:
    certificates.make_development(tmp_path, trust_domain=TRUST_DOMAIN, tenants=TENANTS, now=NOW)
    extra = Caller("other", Role.PROCESSOR, "matcher" + "x" * 57)
    options = {"trust_domain": TRUST_DOMAIN, "tenants": TENANTS}
    files = certificates.issue(tmp_path, extra, **options, now=NOW + timedelta(days=800))  # type: ignore[arg-type]
    assert files.certificate == tmp_path / "other" / f"processor-{extra.name}.pem"
    one = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    assert one.not_valid_after_utc == NOW + timedelta(days=825)  # never beyond its authority

    with pytest.raises(ConsentryError) as caught:
        certificates.issue(tmp_path, extra, **options, now=NOW)  # type: ignore[arg-type]
    assert caught.value.reason is Reason.ALREADY_EXISTS
    with pytest.raises(ConsentryError) as caught:
        certificates.issue(tmp_path, extra, **options, now=NOW + timedelta(days=826))  # type: ignore[arg-type]
    assert caught.value.reason is Reason.STATE_CONFLICT


@pytest.mark.parametrize("name", ["", "Ops", "../ops", "a/b", "a" * 65])
def test_names_that_would_not_be_understood_are_refused(made: Made, name: str) -> None:
    with pytest.raises(ConsentryError) as caught:
        certificates.issue(
            made[0], Caller("acme", Role.OPERATOR, name), trust_domain=TRUST_DOMAIN, tenants=TENANTS, now=NOW
        )
    assert caught.value.field == "name"


def test_without_an_authority_there_is_nothing_to_issue(tmp_path: Path) -> None:
    with pytest.raises(ConsentryError) as caught:
        certificates.issue(
            tmp_path, Caller("acme", Role.OPERATOR, "x"), trust_domain=TRUST_DOMAIN, tenants=TENANTS, now=NOW
        )
    assert caught.value.reason is Reason.NOT_FOUND


def test_certificates_are_never_replaced(tmp_path: Path) -> None:
    certificates.make_development(tmp_path, trust_domain=TRUST_DOMAIN, tenants=TENANTS, now=NOW)
    before = (tmp_path / "ca.key").read_bytes()
    with pytest.raises(ConsentryError) as caught:
        certificates.make_development(tmp_path, trust_domain=TRUST_DOMAIN, tenants=TENANTS, now=NOW)
    assert caught.value.reason is Reason.ALREADY_EXISTS
    assert (tmp_path / "ca.key").read_bytes() == before
