"""The role table against the contract: nothing without roles, nothing that the contract does not say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from grpc_channelz.v1 import channelz_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from consentry_server.adapters.grpc.access import ACCESS, ENDLESS, OPEN_SERVICES
from consentry_server.adapters.grpc.server import SERVICES
from consentry_server.adapters.grpc.unbuilt import INSTEAD
from consentry_server.services.context import Role

CONTRACT = Path(__file__).parents[3] / "proto/consentry/v1"
METHODS = {f"/{name}/{method.name}" for name, service in SERVICES.items() for method in service.methods}
CHANNELZ = {
    f"/grpc.channelz.v1.Channelz/{method.name}"
    for method in channelz_pb2.DESCRIPTOR.services_by_name["Channelz"].methods
}


def documented() -> dict[str, frozenset[Role]]:
    """Method to the roles that its comment names."""
    found = {}
    for path in CONTRACT.glob("*_service.proto"):
        service = ""
        comment = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if match := re.match(r"service (\w+) ", line):
                service, comment = match[1], ""
            elif match := re.match(r"  // ?(.*)", line):
                comment += f"{match[1]} "
            elif match := re.match(r"  rpc (\w+)\(", line):
                roles = re.search(r"Roles: ([^.]*)\.", comment)
                assert roles, f"{path.name}: {match[1]} names no roles"
                words = set(re.findall(r"[a-z]+", roles[1]))
                named = frozenset(Role) if words == {"all"} else frozenset(role for role in Role if role.value in words)
                found[f"/consentry.v1.{service}/{match[1]}"] = named
                comment = ""
    return found


def test_every_rpc_has_roles_and_every_role_an_rpc() -> None:
    assert set(ACCESS) == METHODS | CHANNELZ
    assert all(ACCESS.values())
    assert frozenset().union(*ACCESS.values()) == frozenset(Role)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_roles_are_those_of_the_contract(method: str) -> None:
    assert ACCESS[method] == documented()[method]


def test_the_services_are_those_of_the_contract() -> None:
    assert {method.split("/")[1] for method in documented()} == set(SERVICES)


def test_open_services_tell_nothing_of_a_tenant() -> None:
    standard = {
        *(service.full_name for service in health_pb2.DESCRIPTOR.services_by_name.values()),
        *(service.full_name for service in reflection_pb2.DESCRIPTOR.services_by_name.values()),
    }
    assert standard == OPEN_SERVICES
    assert not [method for method in ACCESS if method.split("/")[1] in OPEN_SERVICES]


def test_endless_calls_stream() -> None:
    ours = {method for method in ENDLESS if method.startswith("/consentry")}
    streaming = {
        f"/{name}/{method.name}"
        for name, service in SERVICES.items()
        for method in service.methods
        if method.server_streaming
    }
    assert ours < streaming


def test_advice_names_methods_that_exist() -> None:
    assert set(INSTEAD) <= METHODS
    names = {method.rpartition("/")[2] for method in METHODS}
    for advice in INSTEAD.values():
        assert set(re.findall(r"\b[A-Z][a-z]+[A-Z]\w+", advice)) <= names | {"RegistryService"}
