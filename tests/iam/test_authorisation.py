"""Who may call IAM: what each operation is decided on, and with which condition keys."""

import json
from typing import Any

import msgspec
import pytest
from msgspec import Struct, structs

from stanchion.access.identity import Caller, Grants, NamedPolicy, anonymous, root_of
from stanchion.access.policy.document import parse
from stanchion.iam.authorisation import TARGETS
from stanchion.model import iam as model
from stanchion.model.errors import AccessDenied
from stanchion.model.iam import OPERATIONS, Tag
from stanchion.model.shapes import members
from stanchion.service import Call
from tests.iam.harness import ACCOUNT, OTHER_ACCOUNT, Service, allow, call_of
from tests.sqs.harness import finish

HERE = f"arn:aws:iam::{ACCOUNT}"
AWS_POLICY = "arn:aws:iam::aws:policy/AmazonSQSFullAccess"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
TAGS = [Tag(key="Team", value="x")]


@pytest.fixture
def service() -> Service:
    service = Service()
    service.user("Alice", path="/a/", tags=TAGS)
    service.group("Staff", path="/g/")
    service.do(
        model.CreateRoleRequest(
            role_name="Worker",
            path="/r/",
            tags=TAGS,
            assume_role_policy_document=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": {
                        "Effect": "Allow",
                        "Principal": {"Service": "ec2.amazonaws.com"},
                        "Action": "sts:AssumeRole",
                    },
                }
            ),
        )
    )
    service.do(
        model.CreatePolicyRequest(
            policy_name="Pol", path="/p/", policy_document=allow("sqs:*"), tags=TAGS
        )
    )
    return service


def with_policy(service: Service, *statements: dict[str, Any], name: str = "alice") -> Call:
    """A call by a user who has just these statements."""
    call = service.call_by(name)
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    grants = Grants((NamedPolicy("test", parse(document, "identity")),))
    return call_of(structs.replace(call.caller, grants=grants))


def may(service: Service, request: Struct, call: Call) -> bool:
    name = type(request).__name__.removesuffix("Request")
    try:
        finish(service.service.authorise(call, name, request))
    except AccessDenied:
        return False
    return True


# --- Nobody, and nobody without a right -----------------------------------------------------------


def request_of(operation: str) -> Struct:
    """A request that passes the checks of the model."""
    values: dict[str, Any] = {
        "policy_arn": f"{HERE}:policy/p/Pol",
        "policy_source_arn": f"{HERE}:user/a/Alice",
        "permissions_boundary": AWS_POLICY,
        "open_id_connect_provider_arn": f"{HERE}:oidc-provider/idp.example.com",
        "url": "https://idp.example.com",
        "access_key_id": KEY_ID,
        "policy_document": allow("sqs:*"),
        "assume_role_policy_document": allow("sqs:*"),
        "policy_input_list": [allow("sqs:*")],
        "action_names": ["sqs:SendMessage"],
        "tags": TAGS,
        "tag_keys": ["Team"],
        "thumbprint_list": ["0" * 40],
        "status": "Active",
        "version_id": "v1",
        "account_alias": "alias",
        "user_name": "Alice",
        "role_name": "Worker",
        "group_name": "Staff",
    }
    shape = OPERATIONS[operation].input
    required = [member.field for member in members(shape) if member.required]
    return shape(**{field: values.get(field, "text") for field in required})


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nobody_may_without_credentials(service: Service, operation: str) -> None:
    call = call_of(anonymous("127.0.0.1"))
    error = service.denies(OPERATIONS[operation].input(), call)
    assert (error.query_code, error.http_status) == ("MissingAuthenticationToken", 403)
    assert error.message == "Request is missing Authentication Token"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_user_without_policies_may_nothing(service: Service, operation: str) -> None:
    error = service.denies(request_of(operation), service.call_by("alice"))
    assert (error.query_code, error.http_status) == ("AccessDenied", 403)
    start = f"User: {HERE}:user/a/Alice is not authorized to perform: iam:{operation} on resource: "
    assert error.message.startswith(start)
    end = f" because no identity-based policy allows the iam:{operation} action"
    assert error.message.endswith(end)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_action_itself_is_what_must_be_allowed(service: Service, operation: str) -> None:
    everything_else = {
        "Effect": "Allow",
        "NotAction": f"iam:{operation}",
        "Resource": "*",
    }
    assert not may(service, request_of(operation), with_policy(service, everything_else))
    just_this = {"Effect": "Allow", "Action": f"iam:{operation}", "Resource": "*"}
    assert may(service, request_of(operation), with_policy(service, just_this))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_root_may_everything(service: Service, operation: str) -> None:
    assert may(service, request_of(operation), service.call)


def test_what_the_model_demands_is_checked_first(service: Service) -> None:
    error = service.denies(model.CreateUserRequest(), service.call_by("alice"))
    assert error.query_code == "ValidationError"


# --- What operations are about --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "arns"),
    [
        (model.CreateUserRequest(user_name="New", path="/x/"), ["user/x/New"]),
        (model.CreateUserRequest(user_name="New"), ["user/New"]),
        (model.GetUserRequest(user_name="aLICE"), ["user/a/Alice"]),
        (model.GetUserRequest(user_name="Nobody"), ["user/Nobody"]),
        (model.GetUserRequest(), ["user/a/Alice"]),
        (model.CreateAccessKeyRequest(), ["user/a/Alice"]),
        (model.ListMFADevicesRequest(), ["user/a/Alice"]),
        (model.DeleteLoginProfileRequest(user_name="alice"), ["user/a/Alice"]),
        (model.ListServiceSpecificCredentialsRequest(), ["user/a/Alice"]),
        (model.ListServiceSpecificCredentialsRequest(all_users=True), ["user/"]),
        (model.ListUsersRequest(), ["user/"]),
        (model.ListUsersRequest(path_prefix="/a/"), ["user/a/"]),
        (model.ListRolesRequest(), ["role/"]),
        (
            model.UpdateUserRequest(user_name="alice", new_user_name="Bea"),
            ["user/a/Alice", "user/a/Bea"],
        ),
        (
            model.UpdateUserRequest(user_name="alice", new_path="/b/"),
            ["user/a/Alice", "user/b/Alice"],
        ),
        (
            model.UpdateGroupRequest(group_name="none", new_group_name="new"),
            ["group/none", "group/new"],
        ),
        (model.AddUserToGroupRequest(group_name="staff", user_name="alice"), ["group/g/Staff"]),
        (model.GetRoleRequest(role_name="worker"), ["role/r/Worker"]),
        (model.ListInstanceProfilesForRoleRequest(role_name="worker"), ["role/r/Worker"]),
        (model.CreatePolicyRequest(policy_name="New", path="/x/"), ["policy/x/New"]),
        (model.GetPolicyRequest(policy_arn=f"{HERE}:policy/p/Pol"), ["policy/p/Pol"]),
        (
            model.CreateOpenIDConnectProviderRequest(url="https://idp.example.com/x"),
            ["oidc-provider/idp.example.com/x"],
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Struct) else "",
)
def test_the_arns(service: Service, request_: Struct, arns: list[str]) -> None:
    caller = service.call_by("alice").caller
    name = type(request_).__name__.removesuffix("Request")
    found = finish(TARGETS[name](service.iam, caller, request_))
    assert [target.arn for target in found] == [f"{HERE}:{arn}" for arn in arns]
    assert {target.account_id for target in found} == {ACCOUNT}


def test_a_name_may_not_be_reached_under_another_s_arn(service: Service) -> None:
    own = {"Effect": "Allow", "Action": "iam:*", "Resource": f"{HERE}:user/Alice"}
    assert not may(service, model.DeleteUserRequest(user_name="Alice"), with_policy(service, own))


@pytest.mark.parametrize("source", ["user/x/Alice", "user/Alice", "queue/Alice", "role/a/Alice"])
def test_a_source_is_decided_on_the_arn_that_was_given(service: Service, source: str) -> None:
    request = model.GetContextKeysForPrincipalPolicyRequest(policy_source_arn=f"{HERE}:{source}")
    caller = service.call_by("alice").caller
    (target,) = finish(TARGETS["GetContextKeysForPrincipalPolicy"](service.iam, caller, request))
    assert (target.arn, target.tags) == (f"{HERE}:{source}", {})


def test_moving_needs_a_right_on_both_ends(service: Service) -> None:
    request = model.UpdateUserRequest(user_name="alice", new_path="/admins/")
    here = {"Effect": "Allow", "Action": "iam:UpdateUser", "Resource": f"{HERE}:user/a/*"}
    there = {**here, "Resource": f"{HERE}:user/admins/*"}
    assert not may(service, request, with_policy(service, here))
    assert not may(service, request, with_policy(service, there))
    assert may(service, request, with_policy(service, here, there))


def test_users_may_keep_their_own_keys(service: Service) -> None:
    service.user("bob")
    own = {
        "Effect": "Allow",
        "Action": ["iam:*AccessKey*", "iam:GetUser"],
        "Resource": f"{HERE}:user/a/${{aws:username}}",
    }
    call = with_policy(service, own)
    assert may(service, model.CreateAccessKeyRequest(), call)
    assert may(service, model.GetUserRequest(), call)
    assert may(service, model.ListAccessKeysRequest(user_name="alice"), call)
    assert not may(service, model.CreateAccessKeyRequest(user_name="bob"), call)


def test_last_use_is_decided_on_the_owner(service: Service) -> None:
    key = service.do(model.CreateAccessKeyRequest(user_name="alice")).access_key.access_key_id
    own = {"Effect": "Allow", "Action": "iam:*", "Resource": f"{HERE}:user/a/Alice"}
    call = with_policy(service, own)
    assert may(service, model.GetAccessKeyLastUsedRequest(access_key_id=key), call)
    assert not may(service, model.GetAccessKeyLastUsedRequest(access_key_id=KEY_ID), call)
    root_key = service.do(model.CreateAccessKeyRequest()).access_key.access_key_id
    assert not may(service, model.GetAccessKeyLastUsedRequest(access_key_id=root_key), call)


# --- Other accounts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        model.GetPolicyRequest(policy_arn=f"arn:aws:iam::{OTHER_ACCOUNT}:policy/p"),
        model.SimulatePrincipalPolicyRequest(
            policy_source_arn=f"arn:aws:iam::{OTHER_ACCOUNT}:user/alice", action_names=["sqs:x"]
        ),
        model.GetOpenIDConnectProviderRequest(
            open_id_connect_provider_arn=f"arn:aws:iam::{OTHER_ACCOUNT}:oidc-provider/idp"
        ),
    ],
    ids=lambda request: type(request).__name__,
)
def test_what_belongs_to_another_account(service: Service, request_: Struct) -> None:
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    for call in (service.call, with_policy(service, everything)):
        error = service.denies(request_, call)
        assert error.query_code == "AccessDenied"
        assert "because no resource-based policy allows" in error.message


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::123:policy/policy",
        "arn:aws:sqs::123456789012:policy",
        "arn:aws:iam:us-east-1:123456789012:policy/p",
        "not-an-arn-but-long-enough",
    ],
)
def test_an_arn_that_is_none(service: Service, arn: str) -> None:
    error = service.denies(model.GetPolicyRequest(policy_arn=arn))
    assert (error.query_code, error.http_status) == ("InvalidInput", 400)
    assert error.message == f"ARN {arn} is not valid."


def test_a_policy_of_aws_is_everybody_s(service: Service) -> None:
    assert may(service, model.GetPolicyRequest(policy_arn=AWS_POLICY), service.call)


# --- Conditions -----------------------------------------------------------------------------------


def allowed_if(action: str, operator: str, key: str, value: str) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Action": action,
        "Resource": "*",
        "Condition": {operator: {key: value}},
    }


@pytest.mark.parametrize("key", ["aws:ResourceTag/team", "iam:ResourceTag/Team"])
@pytest.mark.parametrize(
    "request_",
    [
        model.GetUserRequest(user_name="alice"),
        model.GetRoleRequest(role_name="worker"),
        model.GetPolicyRequest(policy_arn=f"{HERE}:policy/p/Pol"),
        model.GetContextKeysForPrincipalPolicyRequest(policy_source_arn=f"{HERE}:role/r/Worker"),
    ],
    ids=lambda request: type(request).__name__,
)
def test_tags_of_the_resource(service: Service, request_: Struct, key: str) -> None:
    call = with_policy(service, allowed_if("iam:Get*", "StringEquals", key, "x"))
    assert may(service, request_, call)
    call = with_policy(service, allowed_if("iam:Get*", "StringEquals", key, "y"))
    assert not may(service, request_, call)


@pytest.mark.parametrize(
    ("operator", "key", "value"),
    [
        ("StringEquals", "aws:RequestTag/team", "x"),
        ("ForAllValues:StringEquals", "aws:TagKeys", "Team"),
    ],
)
def test_tags_of_the_request(service: Service, operator: str, key: str, value: str) -> None:
    call = with_policy(service, allowed_if("iam:TagUser", operator, key, value))
    assert may(service, model.TagUserRequest(user_name="alice", tags=TAGS), call)
    other = [Tag(key="other", value="x")]
    assert not may(service, model.TagUserRequest(user_name="alice", tags=other), call)


def test_keys_of_tags_that_go(service: Service) -> None:
    condition = allowed_if("iam:UntagUser", "ForAllValues:StringEquals", "aws:TagKeys", "Team")
    call = with_policy(service, condition)
    assert may(service, model.UntagUserRequest(user_name="alice", tag_keys=["Team"]), call)
    keys = ["Team", "Cost"]
    assert not may(service, model.UntagUserRequest(user_name="alice", tag_keys=keys), call)


def test_creating_with_tags_is_tagging(service: Service) -> None:
    create = {"Effect": "Allow", "Action": "iam:CreateUser", "Resource": "*"}
    tag = {"Effect": "Allow", "Action": "iam:TagUser", "Resource": "*"}
    plain = model.CreateUserRequest(user_name="new")
    tagged = model.CreateUserRequest(user_name="new", tags=TAGS)
    assert may(service, plain, with_policy(service, create))
    assert not may(service, tagged, with_policy(service, create))
    assert may(service, tagged, with_policy(service, create, tag))


def test_the_policy_to_be_attached(service: Service) -> None:
    condition = allowed_if("iam:AttachUserPolicy", "ArnEquals", "iam:PolicyARN", AWS_POLICY)
    call = with_policy(service, condition)
    alice = {"user_name": "alice"}
    assert may(service, model.AttachUserPolicyRequest(**alice, policy_arn=AWS_POLICY), call)
    own = f"{HERE}:policy/p/Pol"
    assert not may(service, model.AttachUserPolicyRequest(**alice, policy_arn=own), call)


def test_the_boundary_asked_for(service: Service) -> None:
    boundary = f"{HERE}:policy/p/Pol"
    condition = allowed_if("iam:*User*", "StringEquals", "iam:PermissionsBoundary", boundary)
    call = with_policy(service, condition)
    assert may(
        service, model.CreateUserRequest(user_name="new", permissions_boundary=boundary), call
    )
    assert not may(service, model.CreateUserRequest(user_name="new"), call)
    request = model.PutUserPermissionsBoundaryRequest(
        user_name="alice", permissions_boundary=AWS_POLICY
    )
    assert not may(service, request, call)


def test_the_boundary_there_is(service: Service) -> None:
    boundary = f"{HERE}:policy/p/Pol"
    service.user("bound", permissions_boundary=boundary)
    condition = allowed_if("iam:*", "StringEquals", "iam:PermissionsBoundary", boundary)
    call = with_policy(service, condition)
    for name, expected in (("bound", True), ("alice", False)):
        put = model.PutUserPolicyRequest(
            user_name=name, policy_name="p", policy_document=allow("sqs:*")
        )
        assert may(service, put, call) is expected
        attach = model.AttachUserPolicyRequest(user_name=name, policy_arn=AWS_POLICY)
        assert may(service, attach, call) is expected
    # It does not count for what has no such key.
    assert not may(service, model.GetUserRequest(user_name="bound"), call)


# --- Sessions -------------------------------------------------------------------------------------

ISSUED = ("2023-11-14T22:00:00Z",)


@pytest.mark.parametrize(("mfa", "expected"), [((), False), (("false",), False), (("true",), True)])
def test_sessions_of_a_user_need_a_second_factor(
    service: Service, mfa: tuple[str, ...], expected: bool
) -> None:
    keys = {"aws:tokenissuetime": ISSUED} | ({"aws:multifactorauthpresent": mfa} if mfa else {})
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    user = with_policy(service, everything).caller
    root = root_of(ACCOUNT, "ASIA")
    for caller in (user, root):
        call = call_of(structs.replace(caller, keys={**caller.keys, **keys}))
        assert may(service, model.ListUsersRequest(), call) is expected


def test_sessions_of_a_role_need_none(service: Service) -> None:
    grants = Grants((NamedPolicy("test", parse(allow("iam:*"), "identity")),))
    role = Caller(
        "role",
        ACCOUNT,
        f"arn:aws:sts::{ACCOUNT}:assumed-role/Worker/s",
        "AROA:s",
        grants=grants,
        keys={"aws:tokenissuetime": ISSUED},
    )
    assert may(service, model.ListUsersRequest(), call_of(role))
    federated = structs.replace(role, kind="federated")
    assert not may(service, model.ListUsersRequest(), call_of(federated))


def test_what_is_asked_is_answered(service: Service) -> None:
    call = with_policy(service, {"Effect": "Allow", "Action": "iam:*", "Resource": "*"})
    found = service.ask(model.GetUserRequest(), call)
    assert msgspec.to_builtins(found)["User"]["UserName"] == "Alice"
