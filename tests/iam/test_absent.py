"""What users and roles of AWS may have beside what they have here: it is asked for, never there."""

import pytest
from msgspec import Struct, structs

from stanchion.access.identity import Caller
from stanchion.model.iam import (
    DeleteLoginProfileRequest,
    GetLoginProfileRequest,
    ListInstanceProfilesForRoleRequest,
    ListMFADevicesRequest,
    ListServiceSpecificCredentialsRequest,
    ListSigningCertificatesRequest,
    ListSSHPublicKeysRequest,
    ListVirtualMFADevicesRequest,
)
from tests.iam.harness import ACCOUNT, Service, call_of
from tests.iam.policies import create_role

LISTS_OF_USERS: dict[type[Struct], str] = {
    ListSSHPublicKeysRequest: "ssh_public_keys",
    ListMFADevicesRequest: "mfa_devices",
    ListSigningCertificatesRequest: "certificates",
    ListServiceSpecificCredentialsRequest: "service_specific_credentials",
}
LOGIN_PROFILES = (GetLoginProfileRequest, DeleteLoginProfileRequest)
OF_USERS = (*LISTS_OF_USERS, *LOGIN_PROFILES)
A_ROLE = Caller("role", ACCOUNT, f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s", "AROA:s")


@pytest.fixture
def service() -> Service:
    service = Service()
    service.user("Alice")
    return service


@pytest.mark.parametrize("sort", LISTS_OF_USERS)
def test_lists_of_users_are_empty(service: Service, sort: type[Struct]) -> None:
    nothing = {LISTS_OF_USERS[sort]: [], "is_truncated": False, "marker": None}
    assert structs.asdict(service.ask(sort(user_name="alice"))) == nothing
    assert structs.asdict(service.do(sort(), service.call_by("alice"))) == nothing
    # Those of root itself.
    assert structs.asdict(service.ask(sort())) == nothing


@pytest.mark.parametrize("sort", OF_USERS)
def test_nobody_of_that_name(service: Service, sort: type[Struct]) -> None:
    error = service.refuses(sort(user_name="Bob"))
    assert (error.query_code, error.http_status) == ("NoSuchEntity", 404)
    assert error.message == "The user with name Bob cannot be found."


@pytest.mark.parametrize("sort", OF_USERS)
def test_a_session_of_a_role_has_to_say_which_user(service: Service, sort: type[Struct]) -> None:
    error = service.refuses(sort(), call_of(A_ROLE))
    assert error.message == "Must specify userName when calling with non-User credentials"


@pytest.mark.parametrize("sort", LOGIN_PROFILES)
def test_nobody_has_a_login_profile(service: Service, sort: type[Struct]) -> None:
    by_alice = service.refuses(sort(), service.call_by("alice"))
    assert (by_alice.query_code, by_alice.http_status) == ("NoSuchEntity", 404)
    assert by_alice.message == "Login Profile for User Alice cannot be found."
    assert service.refuses(sort(user_name="alice")).message == by_alice.message
    assert service.refuses(sort()).message == "Login Profile for User root cannot be found."


def test_credentials_of_all_users(service: Service) -> None:
    request = ListServiceSpecificCredentialsRequest(all_users=True)
    assert service.do(request, call_of(A_ROLE)).service_specific_credentials == []
    error = service.refuses(structs.replace(request, user_name="alice"))
    assert error.query_code == "ValidationError"


def test_there_are_no_virtual_mfa_devices(service: Service) -> None:
    found = service.ask(ListVirtualMFADevicesRequest(assignment_status="Any"))
    assert (found.virtual_mfa_devices, found.is_truncated, found.marker) == ([], False, None)


def test_a_role_is_in_no_instance_profile(service: Service) -> None:
    create_role(service)
    found = service.ask(ListInstanceProfilesForRoleRequest(role_name="Worker"))
    assert (found.instance_profiles, found.is_truncated, found.marker) == ([], False, None)
    error = service.refuses(ListInstanceProfilesForRoleRequest(role_name="other"))
    assert (error.query_code, error.http_status) == ("NoSuchEntity", 404)
    assert error.message == "The role with name other cannot be found."


@pytest.mark.parametrize(
    "sort", [*LISTS_OF_USERS, ListVirtualMFADevicesRequest, ListInstanceProfilesForRoleRequest]
)
def test_a_marker_is_none_of_theirs(service: Service, sort: type[Struct]) -> None:
    assert service.refuses(sort(marker="?")).message == "Invalid Marker."
