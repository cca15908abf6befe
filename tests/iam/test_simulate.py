"""The simulator: verdicts, the statements behind them, and the keys that policies ask for."""

import json
from typing import Any

import pytest

from stanchion.access.entities import User
from stanchion.access.identity import root_of
from stanchion.model.errors import ValidationError
from stanchion.model.iam import (
    AddUserToGroupRequest,
    AttachGroupPolicyRequest,
    AttachRolePolicyRequest,
    AttachUserPolicyRequest,
    ContextEntry,
    CreateUserRequest,
    GetContextKeysForCustomPolicyRequest,
    GetContextKeysForPrincipalPolicyRequest,
    InlinePolicyIdentifierType,
    InvalidInputException,
    NoSuchEntityException,
    OrderedOrganizationPolicyType,
    PolicyIdentifier,
    Position,
    PutUserPolicyRequest,
    SimulateCustomPolicyRequest,
    SimulatePrincipalPolicyRequest,
    Tag,
)
from tests.iam.harness import ACCOUNT, OTHER_ACCOUNT, Service, allow, call_of
from tests.iam.policies import create_policy, create_role, trusting

QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:q"
THEIR_QUEUE = f"arn:aws:sqs:us-east-1:{OTHER_ACCOUNT}:q"
ALICE = f"arn:aws:iam::{ACCOUNT}:user/alice"
SEND = ["sqs:SendMessage"]


@pytest.fixture
def service() -> Service:
    return Service()


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def statement(effect: str = "Allow", action: str = "sqs:*", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": "*", **more}


def for_alice(effect: str = "Allow", **more: Any) -> str:
    return policy(statement(effect, Principal={"AWS": ALICE}, **more))


def custom(service: Service, *documents: str, actions: list[str] = SEND, **more: Any) -> Any:
    request = SimulateCustomPolicyRequest(
        policy_input_list=list(documents), action_names=actions, **more
    )
    return service.do(request)


def one(service: Service, *documents: str, **more: Any) -> Any:
    (result,) = custom(service, *documents, **more).evaluation_results
    return result


def of_principal(service: Service, arn: str, **more: Any) -> Any:
    given = {"action_names": SEND, **more}
    request = SimulatePrincipalPolicyRequest(policy_source_arn=arn, **given)
    (result,) = service.do(request).evaluation_results
    return result


def sources(result: Any) -> list[str]:
    return [matched.source_policy_id for matched in result.matched_statements]


# --- Policies that are given ----------------------------------------------------------------------


def test_allowed_by_every_statement_that_allows(service: Service) -> None:
    result = one(service, policy(statement()), allow("sqs:SendMessage"), allow("iam:*"))
    assert (result.eval_action_name, result.eval_resource_name) == ("sqs:SendMessage", "*")
    assert result.eval_decision == "allowed"
    assert sources(result) == ["PolicyInputList.1", "PolicyInputList.2"]
    assert {matched.source_policy_type for matched in result.matched_statements} == {"IAM Policy"}
    assert result.missing_context_values == []
    assert result.permissions_boundary_decision_detail is None


def test_statements_that_do_not_apply_are_not_told(service: Service) -> None:
    result = one(
        service,
        allow("sqs:*", resource=THEIR_QUEUE),
        allow("sqs:*", resource=QUEUE),
        resource_arns=[QUEUE],
        caller_arn=ALICE,
        resource_policy=policy(
            statement(Principal={"AWS": ALICE.replace("alice", "bob")}),
            statement(Principal={"AWS": ALICE}, Sid="hers"),
        ),
    )
    assert sources(result) == ["PolicyInputList.2", "ResourcePolicy"]


def test_denied_by_the_statement_that_denies(service: Service) -> None:
    result = one(service, policy(statement()), policy(statement(), statement("Deny")))
    assert result.eval_decision == "explicitDeny"
    assert sources(result) == ["PolicyInputList.2"]


def test_denied_because_nothing_allows(service: Service) -> None:
    result = one(service, allow("sqs:ReceiveMessage"))
    assert (result.eval_decision, result.matched_statements) == ("implicitDeny", [])


def test_where_a_statement_is(service: Service) -> None:
    document = (
        '{"Version": "2012-10-17",\n "Statement": [\n'
        '  {"Effect": "Allow", "Action": "iam:*", "Resource": "*"},\n'
        '  {"Effect": "Allow", "Action": "sqs:*", "Resource": "*",\n'
        '   "Condition": {"StringEquals": {"aws:username": "}"}}}]}'
    )
    entries = [ContextEntry(context_key_name="aws:username", context_key_values=["}"])]
    (matched,) = one(service, document, context_entries=entries).matched_statements
    assert matched.start_position == Position(line=4, column=3)
    # The place behind its last character.
    assert matched.end_position == Position(line=5, column=57)


def test_each_action_on_each_resource_by_page(service: Service) -> None:
    request: dict[str, Any] = {
        "actions": ["sqs:SendMessage", "sqs:PurgeQueue"],
        "resource_arns": [QUEUE, THEIR_QUEUE],
    }
    document = allow("sqs:SendMessage", resource=QUEUE)
    first = custom(service, document, max_items=3, **request)
    assert first.is_truncated
    rest = custom(service, document, marker=first.marker, **request)
    assert (rest.is_truncated, rest.marker) == (False, None)
    found = [
        (result.eval_action_name, result.eval_resource_name, result.eval_decision)
        for result in [*first.evaluation_results, *rest.evaluation_results]
    ]
    assert found == [
        ("sqs:SendMessage", QUEUE, "allowed"),
        ("sqs:SendMessage", THEIR_QUEUE, "implicitDeny"),
        ("sqs:PurgeQueue", QUEUE, "implicitDeny"),
        ("sqs:PurgeQueue", THEIR_QUEUE, "implicitDeny"),
    ]


@pytest.mark.parametrize("marker", ["!", "LTE=", "YWJj", "OTk5OTk5OTk5OTk5OTk="])
def test_markers_that_are_not_ours(service: Service, marker: str) -> None:
    request = SimulateCustomPolicyRequest(
        policy_input_list=[], action_names=["sqs:SendMessage"], marker=marker
    )
    assert isinstance(service.refuses(request), ValidationError)


def test_keys_that_conditions_ask_for(service: Service) -> None:
    on_tag = {"StringEquals": {"aws:ResourceTag/Team": "a", "aws:SecureTransport": "true"}}
    document = policy(statement(Condition=on_tag))
    result = one(service, document)
    assert result.eval_decision == "implicitDeny"
    assert result.missing_context_values == ["aws:ResourceTag/Team", "aws:SecureTransport"]
    entries = [
        ContextEntry(context_key_name="AWS:resourcetag/team", context_key_values=["a"]),
        ContextEntry(context_key_name="aws:SecureTransport", context_key_values=["true"]),
    ]
    result = one(service, document, context_entries=entries)
    assert (result.eval_decision, result.missing_context_values) == ("allowed", [])


@pytest.mark.parametrize(
    ("boundary", "decision", "is_allowed"),
    [
        (policy(statement()), "allowed", True),
        (allow("iam:*"), "implicitDeny", False),
        (policy(statement(), statement("Deny")), "explicitDeny", False),
    ],
)
def test_a_boundary(service: Service, boundary: str, decision: str, is_allowed: bool) -> None:
    given = [boundary]
    result = one(service, policy(statement()), permissions_boundary_policy_input_list=given)
    assert result.eval_decision == decision
    detail = result.permissions_boundary_decision_detail
    assert detail.allowed_by_permissions_boundary is is_allowed
    if decision == "explicitDeny":
        assert sources(result) == ["PermissionsBoundaryPolicyInputList.1"]


# --- A resource's policy --------------------------------------------------------------------------


def test_a_resource_s_policy_allows_whom_it_names(service: Service) -> None:
    request = {"resource_arns": [QUEUE], "resource_policy": for_alice()}
    result = one(service, allow("iam:*"), caller_arn=ALICE, **request)
    assert (result.eval_decision, sources(result)) == ("allowed", ["ResourcePolicy"])
    assert result.matched_statements[0].source_policy_type == "Resource Policy"
    assert result.eval_decision_details is None
    bob = ALICE.replace("alice", "bob")
    assert one(service, allow("iam:*"), caller_arn=bob, **request).eval_decision == "implicitDeny"


def test_a_resource_s_policy_denies(service: Service) -> None:
    result = one(
        service,
        policy(statement()),
        caller_arn=ALICE,
        resource_arns=[QUEUE],
        resource_policy=for_alice("Deny"),
    )
    assert (result.eval_decision, sources(result)) == ("explicitDeny", ["ResourcePolicy"])


@pytest.mark.parametrize(
    ("own", "theirs", "decision", "details"),
    [
        ("sqs:*", for_alice(), "allowed", ("allowed", "allowed")),
        ("iam:*", for_alice(), "implicitDeny", ("implicitDeny", "allowed")),
        ("sqs:*", for_alice(Action="sqs:Get*"), "implicitDeny", ("allowed", "implicitDeny")),
        ("sqs:*", for_alice("Deny"), "explicitDeny", ("allowed", "explicitDeny")),
    ],
)
def test_across_accounts_both_sides_must_allow(
    service: Service, own: str, theirs: str, decision: str, details: tuple[str, str]
) -> None:
    result = one(
        service,
        allow(own),
        caller_arn=ALICE,
        resource_arns=[THEIR_QUEUE],
        resource_policy=theirs,
    )
    assert result.eval_decision == decision
    assert result.eval_decision_details == {"IAM Policy": details[0], "Resource Policy": details[1]}


def test_the_owner_of_a_resource_that_does_not_say(service: Service) -> None:
    result = one(
        service,
        allow("iam:*"),
        actions=["s3:GetObject"],
        caller_arn=ALICE,
        resource_arns=["arn:aws:s3:::bucket/key"],
        resource_policy=for_alice(Action="s3:*"),
        resource_owner=f"arn:aws:iam::{OTHER_ACCOUNT}:root",
    )
    assert result.eval_decision == "implicitDeny"
    assert result.eval_decision_details["Resource Policy"] == "allowed"


# --- Policies of somebody -------------------------------------------------------------------------


def test_what_a_user_may_do(service: Service) -> None:
    service.user("alice", tags=[Tag(key="Team", value="a")])
    service.group("staff")
    service.do(AddUserToGroupRequest(group_name="staff", user_name="alice"))
    on_tag = {"StringEquals": {"aws:PrincipalTag/Team": "a"}}
    own = policy(statement(Condition=on_tag))
    service.do(PutUserPolicyRequest(user_name="alice", policy_name="own", policy_document=own))
    arn = create_policy(service)
    service.do(AttachGroupPolicyRequest(group_name="staff", policy_arn=arn))
    result = of_principal(service, ALICE)
    assert result.eval_decision == "allowed"
    assert sources(result) == ["user_alice_own", "send"]
    result = of_principal(service, ALICE, policy_input_list=[policy(statement("Deny"))])
    assert (result.eval_decision, sources(result)) == ("explicitDeny", ["PolicyInputList.1"])
    staff = of_principal(service, f"arn:aws:iam::{ACCOUNT}:group/staff")
    assert (staff.eval_decision, sources(staff)) == ("allowed", ["send"])


def test_without_policies_that_are_excluded(service: Service) -> None:
    bounding = create_policy(service, "bounding", policy_document=allow("iam:*"))
    service.user("alice", permissions_boundary=bounding)
    arn = create_policy(service)
    service.do(AttachUserPolicyRequest(user_name="alice", policy_arn=arn))
    service.do(
        PutUserPolicyRequest(
            user_name="alice", policy_name="own", policy_document=policy(statement())
        )
    )
    no_boundary = PolicyIdentifier(policy_type="permission-boundary", policy_arn=bounding)
    no_send = PolicyIdentifier(policy_type="user-managed", policy_arn=arn)
    inline = InlinePolicyIdentifierType(
        policy_name="own", attachment_type="user", attachment_name="alice"
    )
    no_own = PolicyIdentifier(policy_type="inline", inline_policy_identifier=inline)
    assert of_principal(service, ALICE).eval_decision == "implicitDeny"
    result = of_principal(service, ALICE, policy_exclusion_list=[no_boundary, no_send])
    assert (result.eval_decision, sources(result)) == ("allowed", ["user_alice_own"])
    result = of_principal(service, ALICE, policy_exclusion_list=[no_boundary, no_own])
    assert (result.eval_decision, sources(result)) == ("allowed", ["send"])
    refusal = service.refuses(
        SimulatePrincipalPolicyRequest(
            policy_source_arn=ALICE, action_names=SEND, policy_exclusion_list=[PolicyIdentifier()]
        )
    )
    assert isinstance(refusal, InvalidInputException)


def test_a_boundary_that_is_given_takes_the_place_of_the_user_s(service: Service) -> None:
    bounding = create_policy(service, "bounding", policy_document=allow("iam:*"))
    service.user("alice", permissions_boundary=bounding)
    arn = create_policy(service)
    service.do(AttachUserPolicyRequest(user_name="alice", policy_arn=arn))
    given = [allow("sqs:*")]
    result = of_principal(service, ALICE, permissions_boundary_policy_input_list=given)
    assert result.eval_decision == "allowed"


def test_what_a_role_may_do(service: Service) -> None:
    arn = create_role(service, path="/a/", tags=[Tag(key="Team", value="a")]).arn
    on_arn = {"ArnEquals": {"aws:PrincipalArn": arn}, "Null": {"aws:PrincipalTag/Team": "false"}}
    document = policy(statement(Condition=on_arn))
    managed = create_policy(service, policy_document=document)
    service.do(AttachRolePolicyRequest(role_name="worker", policy_arn=managed))
    assert of_principal(service, arn).eval_decision == "allowed"


def test_a_user_is_the_caller_of_a_simulation_of_its_policies(service: Service) -> None:
    service.user("alice")
    request = {"resource_arns": [QUEUE], "resource_policy": for_alice()}
    assert of_principal(service, ALICE, **request).eval_decision == "allowed"


def test_a_policy_that_cannot_be_read_denies(service: Service) -> None:
    service.user("alice")
    stored = service.get(User, ACCOUNT, "alice")
    broken = User(
        name=stored.name, id=stored.id, created_at_ms=0, inline={"a": "{", "b": allow("sqs:*")}
    )
    service.put(broken, ACCOUNT, "alice")
    result = of_principal(service, ALICE)
    assert result.eval_decision == "explicitDeny"


def test_users_of_other_accounts_are_not_looked_at(service: Service) -> None:
    theirs = call_of(root_of(OTHER_ACCOUNT, "AKIAOTHER"))
    service.do(CreateUserRequest(user_name="bob", tags=[Tag(key="Team", value="a")]), theirs)
    on_tag = {"Null": {"aws:PrincipalTag/Team": "false"}}
    bob = f"arn:aws:iam::{OTHER_ACCOUNT}:user/bob"
    result = one(service, policy(statement(Condition=on_tag)), caller_arn=bob)
    assert result.eval_decision == "implicitDeny"


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        {"policy_input_list": ["{"]},
        {"policy_input_list": [trusting()]},
        {"action_names": ["SendMessage"]},
        {"action_names": ["sqs:*"]},
        {"caller_arn": f"arn:aws:iam::{ACCOUNT}:role/worker"},
        {"resource_policy": for_alice()},
        {"resource_policy": allow("sqs:*"), "caller_arn": ALICE},
        {"resource_owner": "somebody"},
        {"permissions_boundary_policy_input_list": ["{"]},
        {"permissions_boundary_policy_input_list": [allow("sqs:*")] * 2},
        {"ordered_organization_policy_input_list": [OrderedOrganizationPolicyType()]},
    ],
    ids=lambda more: "-".join(more),
)
def test_bad_input(service: Service, more: dict[str, Any]) -> None:
    given = {"policy_input_list": [allow("sqs:*")], "action_names": SEND, **more}
    refusal = service.refuses(SimulateCustomPolicyRequest(**given))
    assert isinstance(refusal, InvalidInputException)
    assert refusal.message


@pytest.mark.parametrize("sort", ["user", "group", "role"])
def test_somebody_who_is_not_there(service: Service, sort: str) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:{sort}/none"
    for request in (
        SimulatePrincipalPolicyRequest(policy_source_arn=arn, action_names=SEND),
        GetContextKeysForPrincipalPolicyRequest(policy_source_arn=arn),
    ):
        assert isinstance(service.refuses(request), NoSuchEntityException)


def test_what_is_nobody_s_arn(service: Service) -> None:
    request = SimulatePrincipalPolicyRequest(policy_source_arn=QUEUE, action_names=SEND)
    assert isinstance(service.refuses(request), InvalidInputException)


# --- Condition keys -------------------------------------------------------------------------------

ON_TAG = statement(Condition={"StringEquals": {"aws:ResourceTag/Team": "${aws:username}"}})


def test_the_keys_of_policies_that_are_given(service: Service) -> None:
    on_ip = statement(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})
    request = GetContextKeysForCustomPolicyRequest(
        policy_input_list=[policy(ON_TAG), policy(ON_TAG, on_ip)]
    )
    names = service.do(request).context_key_names
    assert names == ["aws:ResourceTag/Team", "aws:SourceIp", "aws:username"]
    malformed = GetContextKeysForCustomPolicyRequest(policy_input_list=["{"])
    assert isinstance(service.refuses(malformed), InvalidInputException)


def test_the_keys_of_somebody_s_policies(service: Service) -> None:
    service.user("alice")
    service.do(
        PutUserPolicyRequest(user_name="alice", policy_name="p", policy_document=policy(ON_TAG))
    )
    request = GetContextKeysForPrincipalPolicyRequest(policy_source_arn=ALICE)
    assert service.do(request).context_key_names == ["aws:ResourceTag/Team", "aws:username"]
