"""Who calls, from the certificate, and whether that role may call this method.

A caller is named by one URI in its certificate's subject alternative name::

    spiffe://<trust-domain>/tenant/<tenant>/role/<role>/<name>
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.services.context import Caller, Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    import grpc

EXPECTED: Final = "spiffe://<trust-domain>/tenant/<tenant>/role/<role>/<name>"
UNSAFE_ROLE_KEY: Final = "consentry-unsafe-role"
"""Metadata key by which a caller of the insecure loopback listener names its own role."""
MAX_URI_BYTES: Final = 2048  # SPIFFE-ID, section 2.3
MAX_KNOWN_CALLERS: Final = 4096
"""How many parsed certificates are remembered; more callers than that only cost the parsing."""
_SCHEME: Final = b"spiffe://"
_PATH: Final = re.compile(
    r"spiffe://(?P<trust_domain>[a-z0-9._-]{1,255})/tenant/(?P<tenant>[a-z0-9][a-z0-9._-]{0,63})"
    r"/role/(?P<role>[a-z]{1,16})/(?P<name>[a-z0-9][a-z0-9._-]{0,63})"
)

_CALLER: ContextVar[Caller] = ContextVar("caller")


class Identity(Protocol):
    """Names the caller of a call."""

    def identify(self, context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
        """Name the caller.

        Raises:
            ConsentryError: ``IDENTITY_MISSING``: the caller has no name that this server accepts.
        """
        ...


class CertificateIdentity:
    """The caller that a verified client certificate names.

    Args:
        trust_domain: The only trust domain whose names count here, ``consentry.local``.
        tenants: The tenants that this server hosts.
    """

    def __init__(self, trust_domain: str, tenants: Iterable[str]) -> None:
        self._trust_domain = trust_domain
        self._tenants = frozenset(tenants)
        self._known: dict[tuple[bytes, ...], Caller] = {}

    def identify(self, context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
        """Name the caller; see :class:`Identity`."""
        uris = tuple(context.auth_context().get("peer_uri", ()))
        found = self._known.get(uris)
        if found is None:
            found = self.parse(uris)
            if len(self._known) >= MAX_KNOWN_CALLERS:
                self._known.clear()
            self._known[uris] = found
        return found

    def parse(self, uris: Iterable[bytes]) -> Caller:
        """Read a caller from a certificate's URIs.

        1. Exactly one of them is a SPIFFE id: a certificate that names two callers names none.
        2. It has the expected form, to the letter: no escapes, no query, no trailing slash.
        3. It is of this server's trust domain.
        4. Its role is one of the five.
        5. Its tenant is hosted here.

        Args:
            uris: Every URI of the subject alternative name, as in the certificate.

        Returns:
            The caller.

        Raises:
            ConsentryError: ``IDENTITY_MISSING``.
        """
        ids = [uri for uri in uris if uri[: len(_SCHEME)].lower() == _SCHEME]
        if len(ids) != 1:  # (1)
            raise _missing("the client certificate must name its caller by exactly one SPIFFE URI")
        text = ids[0].decode("ascii", errors="replace")
        match = _PATH.fullmatch(text) if len(text) <= MAX_URI_BYTES else None
        if match is None:  # (2)
            raise _missing("the SPIFFE URI of the client certificate does not have the expected form")
        if match["trust_domain"] != self._trust_domain:  # (3)
            raise _missing("the client certificate belongs to another trust domain than this server's")
        if match["role"] not in list(Role):  # (4)
            raise _missing("the client certificate names a role that does not exist")
        if match["tenant"] not in self._tenants:  # (5)
            raise _missing("the client certificate names a tenant that this server does not host")
        return Caller(tenant=match["tenant"], role=Role(match["role"]), name=match["name"])


class UnsafeLoopbackIdentity:
    """Believes whatever role a caller claims. For trying things out on the loopback interface, and for nothing else.

    Every process of every user of the machine can call as any role. The server takes it with an insecure loopback
    listener only.

    Args:
        tenant: Everybody's tenant.
        name: Everybody's name.
    """

    def __init__(self, tenant: str, name: str) -> None:
        self._tenant = tenant
        self._name = name

    def identify(self, context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
        """Take the role from the metadata key ``consentry-unsafe-role``, ``operator`` where there is none."""
        claimed = [value for key, value in context.invocation_metadata() or () if key == UNSAFE_ROLE_KEY]
        role = claimed[-1] if claimed else Role.OPERATOR.value
        if role not in list(Role):
            raise _missing(f"the metadata {UNSAFE_ROLE_KEY} must be one of: {', '.join(Role)}")
        return Caller(tenant=self._tenant, role=Role(role), name=self._name)


def require_role(caller: Caller, allowed: frozenset[Role], method: str) -> None:
    """Refuse a caller whose role is not among the allowed ones.

    Args:
        caller: Who calls.
        allowed: Who may; nobody where it is empty.
        method: Full name of the method, for the message.

    Raises:
        ConsentryError: ``ROLE_NOT_ALLOWED``.
    """
    if caller.role not in allowed:
        names = ", ".join(sorted(allowed)) or "no role"
        raise ConsentryError(
            Reason.ROLE_NOT_ALLOWED,
            f"{method} may be called by {names}, not by {caller.role}: use a certificate of an allowed role",
            metadata={"role": caller.role.value, "allowed": ",".join(sorted(allowed))},
        )


def caller() -> Caller:
    """Return who made the call that is being answered.

    Raises:
        ConsentryError: ``IDENTITY_MISSING``: no call is being answered, or one that needs no identity.
    """
    found = _CALLER.get(None)
    if found is None:
        raise _missing("this call has no identified caller")
    return found


def set_caller(found: Caller) -> None:
    """Say who made the call that this task answers."""
    _CALLER.set(found)


def _missing(message: str) -> ConsentryError:
    return ConsentryError(Reason.IDENTITY_MISSING, message, metadata={"expected": EXPECTED})
