"""IAM through boto3: all of it can be called, and what it says is what then happens to requests."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from botocore import xform_name

from stanchion.model.iam import SERVICE
from tests.access_control import operations
from tests.access_control.stage import (
    ACCOUNT,
    OTHER,
    ROOT,
    Key,
    Stage,
    allow,
    denied,
    deny,
    document,
    not_allowed,
    queue_arn,
    refusal,
    root_arn,
    trusting,
)

UNKNOWN_KEY = (
    403,
    "InvalidClientTokenId",
    "The security token included in the request is invalid.",
)
TRUST = trusting(root_arn(ACCOUNT))
USER = f"arn:aws:iam::{ACCOUNT}:user"


@pytest.fixture(scope="module")
def queue(stage: Stage) -> str:
    return stage.queue("q", tags={"team": "blue"})


def test_every_operation_can_be_called(stage: Stage) -> None:
    """One by one on things named `everything`, from their creation to their deletion."""
    listed = [row.operation for row in operations.IAM]
    assert sorted(listed) == sorted(SERVICE.operations)
    access_key_id = ""
    for operation, parameters in operations.IAM:
        given = operations.named(parameters, "everything", access_key_id)
        call = partial(getattr(stage.iam, xform_name(operation)), **given)
        if operation in operations.NEVER_FOUND:
            assert refusal(call).code == "NoSuchEntity", operation
            continue
        answer = call()
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200, operation
        if operation == "CreateAccessKey":
            access_key_id = answer["AccessKey"]["AccessKeyId"]


# --- Policies of users ----------------------------------------------------------------------------


def test_a_policy_counts_from_the_next_request_on(stage: Stage, queue: str) -> None:
    alice = stage.user("alice")
    refused = not_allowed(f"{USER}/alice", "SendMessage", queue_arn("q"))
    for _ in range(3):
        assert stage.refuses_send(alice, queue) == (403, "AccessDenied", refused)
        stage.iam.put_user_policy(
            UserName="alice", PolicyName="send", PolicyDocument=document(allow("sqs:SendMessage"))
        )
        assert stage.sends(alice, queue)
        stage.iam.delete_user_policy(UserName="alice", PolicyName="send")
    assert stage.refuses_send(alice, queue).text == refused


def test_a_managed_policy_in_its_default_version(stage: Stage, queue: str) -> None:
    bob = stage.user("bob")
    iam = stage.iam
    made = iam.create_policy(
        PolicyName="messages", Path="/queues/", PolicyDocument=document(allow("sqs:SendMessage"))
    )
    arn = made["Policy"]["Arn"]
    assert arn == f"arn:aws:iam::{ACCOUNT}:policy/queues/messages"
    iam.attach_user_policy(UserName="bob", PolicyArn=arn)
    assert stage.sends(bob, queue)
    no_send = document(allow("sqs:ReceiveMessage"))
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=no_send)
    assert stage.sends(bob, queue)
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v2")
    assert stage.refuses_send(bob, queue).code == "AccessDenied"
    version = iam.get_policy_version(PolicyArn=arn, VersionId="v2")["PolicyVersion"]
    assert (version["Document"], version["IsDefaultVersion"]) == (json.loads(no_send), True)
    assert refusal(lambda: iam.delete_policy(PolicyArn=arn)).code == "DeleteConflict"
    found = iam.list_entities_for_policy(PolicyArn=arn)
    assert [user["UserName"] for user in found["PolicyUsers"]] == ["bob"]
    iam.detach_user_policy(UserName="bob", PolicyArn=arn)
    denied(lambda: stage.client("sqs", bob).receive_message(QueueUrl=queue))


def test_the_policies_of_a_group_are_its_members(stage: Stage, queue: str) -> None:
    carol = stage.user("carol")
    iam = stage.iam
    iam.create_group(GroupName="senders")
    iam.put_group_policy(
        GroupName="senders", PolicyName="send", PolicyDocument=document(allow("sqs:SendMessage"))
    )
    assert stage.refuses_send(carol, queue).code == "AccessDenied"
    iam.add_user_to_group(GroupName="senders", UserName="carol")
    assert stage.sends(carol, queue)
    assert iam.get_group(GroupName="senders")["Users"][0]["UserName"] == "carol"
    iam.remove_user_from_group(GroupName="senders", UserName="carol")
    assert stage.refuses_send(carol, queue).code == "AccessDenied"


def test_a_boundary_bounds(stage: Stage, queue: str) -> None:
    dave = stage.user("dave", allow("sqs:*"))
    receiving = stage.iam.create_policy(
        PolicyName="receiving", PolicyDocument=document(allow("sqs:ReceiveMessage"))
    )["Policy"]["Arn"]
    stage.iam.put_user_permissions_boundary(UserName="dave", PermissionsBoundary=receiving)
    reason = "because no permissions boundary allows the sqs:sendmessage action"
    refused = not_allowed(f"{USER}/dave", "SendMessage", queue_arn("q"), reason)
    assert stage.refuses_send(dave, queue).text == refused
    stage.client("sqs", dave).receive_message(QueueUrl=queue)
    shown = stage.iam.get_user(UserName="dave")["User"]["PermissionsBoundary"]
    assert shown["PermissionsBoundaryArn"] == receiving
    stage.iam.delete_user_permissions_boundary(UserName="dave")
    assert stage.sends(dave, queue)


def test_a_user_may_be_allowed_to_look_after_others(stage: Stage) -> None:
    helper = stage.user("helper", allow("iam:*User", Resource=f"{USER}/helped-*"))
    iam = stage.client("iam", helper)
    iam.create_user(UserName="helped-one")
    denied(
        lambda: iam.create_user(UserName="other"),
        f"User: {USER}/helper is not authorized to perform: iam:CreateUser on resource: "
        f"{USER}/other because no identity-based policy allows the iam:CreateUser action",
    )
    denied(lambda: iam.create_access_key(UserName="helped-one"), "iam:CreateAccessKey")
    iam.delete_user(UserName="helped-one")


# --- Access keys ----------------------------------------------------------------------------------


def test_the_life_of_an_access_key(stage: Stage, queue: str) -> None:
    first = stage.user("erin", allow("sqs:*"))
    iam = stage.iam
    second = iam.create_access_key(UserName="erin")["AccessKey"]
    assert second["Status"] == "Active"
    assert refusal(lambda: iam.create_access_key(UserName="erin")).code == "LimitExceeded"
    listed = iam.list_access_keys(UserName="erin")["AccessKeyMetadata"]
    assert {key["AccessKeyId"] for key in listed} == {first.access_key_id, second["AccessKeyId"]}
    assert "Secret" not in str(listed)

    named = {"UserName": "erin", "AccessKeyId": first.access_key_id}
    for _ in range(2):
        assert stage.sends(first, queue)
        iam.update_access_key(**named, Status="Inactive")
        assert stage.refuses_send(first, queue) == UNKNOWN_KEY
        # At once, although a moment ago nobody knew it.
        iam.update_access_key(**named, Status="Active")
    iam.delete_access_key(**named)
    assert stage.refuses_send(first, queue) == UNKNOWN_KEY
    assert stage.sends(Key(second["AccessKeyId"], second["SecretAccessKey"]), queue)


def test_ones_own_keys_and_nobody_elses(stage: Stage) -> None:
    own = f"{USER}/${{aws:username}}"
    keeper = stage.user("keeper", allow("iam:*AccessKey*", Resource=own))
    victim = stage.user("victim", allow("sqs:*"))
    iam = stage.client("iam", keeper)
    (listed,) = iam.list_access_keys()["AccessKeyMetadata"]
    assert listed["AccessKeyId"] == keeper.access_key_id
    theirs = {"AccessKeyId": victim.access_key_id}
    for call in (
        partial(iam.update_access_key, **theirs, Status="Inactive"),
        partial(iam.delete_access_key, **theirs),
    ):
        assert refusal(call).code == "NoSuchEntity"
        denied(partial(call, UserName="victim"))
    denied(partial(iam.create_access_key, UserName="victim"))
    made = iam.create_access_key()["AccessKey"]
    assert made["UserName"] == "keeper"
    assert stage.identity(victim)[2] == f"{USER}/victim"


def test_a_role_makes_no_keys_of_root(stage: Stage) -> None:
    """Whoever is no user has to say whose key is meant."""
    gate = stage.user("key-gate", allow("sts:AssumeRole"))
    admin = stage.client("iam", stage.assume(gate, stage.role("key-maker", allow("*"))))
    for call in (
        admin.create_access_key,
        admin.list_access_keys,
        partial(admin.delete_access_key, AccessKeyId=ROOT.access_key_id),
        partial(admin.update_access_key, AccessKeyId=ROOT.access_key_id, Status="Inactive"),
        admin.get_user,
    ):
        assert refusal(call).code == "ValidationError"
    assert stage.identity(ROOT)[2] == root_arn(ACCOUNT)


def test_when_a_key_was_last_used(stage: Stage, queue: str) -> None:
    frank = stage.user("frank", allow("sqs:*"))
    asked = {"AccessKeyId": frank.access_key_id}
    assert stage.iam.get_access_key_last_used(**asked)["AccessKeyLastUsed"]["Region"] == "N/A"
    stage.sends(frank, queue)
    found = stage.iam.get_access_key_last_used(**asked)
    assert found["UserName"] == "frank"
    used = found["AccessKeyLastUsed"]
    assert (used["ServiceName"], used["Region"]) == ("sqs", "eu-west-1")
    assert abs(used["LastUsedDate"] - datetime.now(UTC)) < timedelta(minutes=5)


def test_the_keys_of_a_user_go_with_it(stage: Stage, queue: str) -> None:
    gone = stage.user("gone", allow("sqs:*"))
    assert stage.sends(gone, queue)
    conflict = refusal(lambda: stage.iam.delete_user(UserName="gone"))
    assert (conflict.status, conflict.code) == (409, "DeleteConflict")
    stage.iam.delete_user_policy(UserName="gone", PolicyName="own")
    stage.iam.delete_access_key(UserName="gone", AccessKeyId=gone.access_key_id)
    stage.iam.delete_user(UserName="gone")
    assert stage.refuses_send(gone, queue) == UNKNOWN_KEY


def test_a_renamed_user_keeps_its_key_and_policies(stage: Stage, queue: str) -> None:
    key = stage.user("before", allow("sqs:*"))
    url = stage.queue("renamed", deny("sqs:*", Principal={"AWS": f"{USER}/before"}))
    stage.iam.update_user(UserName="before", NewUserName="after", NewPath="/moved/")
    assert stage.sends(key, queue)
    arn = stage.client("sts", key).get_caller_identity()["Arn"]
    assert arn == f"{USER}/moved/after"
    # A queue policy means the user, whatever it is called.
    assert "explicit deny in a resource-based policy" in stage.refuses_send(key, url).text
    assert stage.policy_of(url)["Statement"][0]["Principal"] == {"AWS": arn}


# --- Lists and reports ----------------------------------------------------------------------------


def test_paginators(stage: Stage) -> None:
    names = [f"page-{number}" for number in range(5)]
    for name in names:
        stage.iam.create_user(UserName=name, Path="/pages/")
    pages = stage.iam.get_paginator("list_users").paginate(
        PathPrefix="/pages/", PaginationConfig={"PageSize": 2}
    )
    found = [[user["UserName"] for user in page["Users"]] for page in pages]
    assert found == [names[:2], names[2:4], names[4:]]


def test_the_report_on_everything(stage: Stage) -> None:
    policy = document(allow("sqs:GetQueueUrl"))
    stage.iam.create_user(UserName="grace", Tags=[{"Key": "team", "Value": "red"}])
    stage.iam.put_user_policy(UserName="grace", PolicyName="look", PolicyDocument=policy)
    stage.role("reported", allow("sqs:*"))
    users: dict[str, Any] = {}
    roles: dict[str, Any] = {}
    for page in stage.iam.get_paginator("get_account_authorization_details").paginate():
        users |= {user["UserName"]: user for user in page["UserDetailList"]}
        roles |= {role["RoleName"]: role for role in page["RoleDetailList"]}
    (inline,) = users["grace"]["UserPolicyList"]
    assert inline == {"PolicyName": "look", "PolicyDocument": json.loads(policy)}
    assert users["grace"]["Tags"] == [{"Key": "team", "Value": "red"}]
    trusted = roles["reported"]["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]
    assert trusted == {"AWS": root_arn(ACCOUNT)}
    summary = stage.iam.get_account_summary()["SummaryMap"]
    assert summary["Users"] >= len(users) > 0


def test_a_simulation_says_what_happens(stage: Stage, queue: str) -> None:
    only_blue = {"StringEquals": {"aws:ResourceTag/team": "blue"}}
    heidi = stage.user(
        "heidi",
        allow("sqs:SendMessage", "sqs:PurgeQueue", Condition=only_blue),
        allow("sqs:ReceiveMessage", Resource=queue_arn("q")),
        deny("sqs:PurgeQueue"),
    )
    sqs = stage.client("sqs", heidi)
    calls: dict[str, Callable[[], Any]] = {
        "sqs:SendMessage": lambda: sqs.send_message(QueueUrl=queue, MessageBody="b"),
        "sqs:ReceiveMessage": lambda: sqs.receive_message(QueueUrl=queue),
        "sqs:PurgeQueue": lambda: sqs.purge_queue(QueueUrl=queue),
        "sqs:ListQueueTags": lambda: sqs.list_queue_tags(QueueUrl=queue),
    }
    blue = {
        "ContextKeyName": "aws:ResourceTag/team",
        "ContextKeyValues": ["blue"],
        "ContextKeyType": "string",
    }
    found = stage.iam.simulate_principal_policy(
        PolicySourceArn=f"{USER}/heidi",
        ActionNames=list(calls),
        ResourceArns=[queue_arn("q")],
        ContextEntries=[blue],
    )["EvaluationResults"]
    decisions = {each["EvalActionName"]: each["EvalDecision"] for each in found}
    assert decisions == {
        "sqs:SendMessage": "allowed",
        "sqs:ReceiveMessage": "allowed",
        "sqs:PurgeQueue": "explicitDeny",
        "sqs:ListQueueTags": "implicitDeny",
    }
    told = {
        "explicitDeny": "with an explicit deny in an identity-based policy",
        "implicitDeny": "because no identity-based policy allows",
    }
    for action, call in calls.items():
        if decisions[action] == "allowed":
            call()
        else:
            denied(call, told[decisions[action]])


# --- Errors ---------------------------------------------------------------------------------------


def test_errors_are_exceptions_of_the_client(stage: Stage) -> None:
    iam, errors = stage.iam, stage.iam.exceptions
    stage.iam.create_user(UserName="ivan")
    with pytest.raises(errors.NoSuchEntityException):
        iam.get_user(UserName="nobody")
    with pytest.raises(errors.EntityAlreadyExistsException):
        iam.create_user(UserName="IVAN")
    with pytest.raises(errors.MalformedPolicyDocumentException):
        iam.put_user_policy(UserName="ivan", PolicyName="p", PolicyDocument="{}")
    with pytest.raises(errors.MalformedPolicyDocumentException):
        iam.create_role(RoleName="r", AssumeRolePolicyDocument=trusting(f"{USER}/nobody-at-all"))
    with pytest.raises(errors.InvalidInputException):
        iam.tag_user(UserName="ivan", Tags=[{"Key": "aws:x", "Value": "y"}])
    with pytest.raises(errors.NoSuchEntityException):
        iam.attach_user_policy(UserName="ivan", PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/nothing")
    invalid = refusal(lambda: iam.create_user(UserName="not a name"))
    assert (invalid.status, invalid.code) == (400, "ValidationError")


def test_a_refusal_tells_neither_whether_somebody_is_there_nor_where(stage: Stage) -> None:
    stage.iam.create_user(UserName="Hidden", Path="/deep/")
    stage.iam.create_group(GroupName="Hidden", Path="/deep/")
    stage.iam.create_role(RoleName="Hidden", Path="/deep/", AssumeRolePolicyDocument=TRUST)
    iam = stage.client("iam", stage.user("snoop"))
    for sort in ("user", "group", "role"):
        get, member = getattr(iam, f"get_{sort}"), f"{sort.capitalize()}Name"
        hidden = refusal(partial(get, **{member: "hidden"}))
        absent = refusal(partial(get, **{member: "absent"}))
        assert (absent.status, absent.code) == (403, "AccessDenied")
        assert hidden._replace(text=hidden.text.replace("hidden", "absent")) == absent


# --- Another account ------------------------------------------------------------------------------


def test_the_other_account_sees_and_changes_nothing_here(stage: Stage) -> None:
    stage.iam.create_user(UserName="judy")
    stage.iam.create_policy(PolicyName="judy", PolicyDocument=document(allow("sqs:*")))
    stranger = stage.iam_of(OTHER)
    assert stranger.list_users()["Users"] == []
    assert refusal(lambda: stranger.get_user(UserName="judy")).code == "NoSuchEntity"
    stranger.create_user(UserName="theirs")
    simulated = ["sqs:SendMessage"]
    policy = f"arn:aws:iam::{ACCOUNT}:policy/"
    calls: tuple[Callable[[str], Any], ...] = (
        lambda name: stranger.get_policy(PolicyArn=policy + name),
        lambda name: stranger.attach_user_policy(UserName="theirs", PolicyArn=policy + name),
        lambda name: stranger.put_user_permissions_boundary(
            UserName="theirs", PermissionsBoundary=policy + name
        ),
        lambda name: stranger.create_user(UserName="x", PermissionsBoundary=policy + name),
        lambda name: stranger.simulate_principal_policy(
            PolicySourceArn=f"{USER}/{name}", ActionNames=simulated
        ),
    )
    for call in calls:
        judy = refusal(partial(call, "judy"))
        assert judy.status in (400, 403, 404)
        nobody = refusal(partial(call, "nobody"))
        assert judy._replace(text=judy.text.replace("judy", "nobody")) == nobody


def test_a_key_of_another_account_is_as_unknown_as_one_that_is_not(stage: Stage) -> None:
    stranger = stage.iam_of(OTHER)
    made_up = "AKIA" + "A" * 16
    theirs, nobodys = (
        refusal(partial(stranger.get_access_key_last_used, AccessKeyId=access_key_id))
        for access_key_id in (ROOT.access_key_id, made_up)
    )
    shown = theirs.text.replace(ROOT.access_key_id, made_up)
    assert theirs._replace(text=shown) == nobodys
