"""Queues of one account and callers of another: what can be shared, what cannot, what is told."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from stanchion.model.sqs import SERVICE
from tests.access_control.operations import chosen, queue_parameters, task_handle
from tests.access_control.stage import (
    ACCOUNT,
    OTHER,
    Key,
    Stage,
    allow,
    denied,
    deny,
    not_allowed,
    queue_arn,
    refusal,
    root_arn,
    trusting,
)
from tests.access_control.wire import Reply, Wire, request, signed

THEM = {"AWS": OTHER}
WHO = f"arn:aws:iam::{OTHER}:user"

SHAREABLE: dict[str, Callable[[Any, str, str], Any]] = {
    "SendMessage": lambda sqs, url, _: sqs.send_message(QueueUrl=url, MessageBody="hello"),
    "ReceiveMessage": lambda sqs, url, _: sqs.receive_message(QueueUrl=url),
    "DeleteMessage": lambda sqs, url, handle: sqs.delete_message(
        QueueUrl=url, ReceiptHandle=handle
    ),
    "ChangeMessageVisibility": lambda sqs, url, handle: sqs.change_message_visibility(
        QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=60
    ),
    "GetQueueAttributes": lambda sqs, url, _: sqs.get_queue_attributes(
        QueueUrl=url, AttributeNames=["All"]
    ),
    "GetQueueUrl": lambda sqs, url, _: sqs.get_queue_url(
        QueueName=url.rpartition("/")[2], QueueOwnerAWSAccountId=ACCOUNT
    ),
    "ListDeadLetterSourceQueues": lambda sqs, url, _: sqs.list_dead_letter_source_queues(
        QueueUrl=url
    ),
    "PurgeQueue": lambda sqs, url, _: sqs.purge_queue(QueueUrl=url),
}

BATCHES: dict[str, tuple[str, Callable[[Any, str, str], Any]]] = {
    "SendMessageBatch": (
        "SendMessage",
        lambda sqs, url, _: sqs.send_message_batch(
            QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "hello"}]
        ),
    ),
    "DeleteMessageBatch": (
        "DeleteMessage",
        lambda sqs, url, handle: sqs.delete_message_batch(
            QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": handle}]
        ),
    ),
    "ChangeMessageVisibilityBatch": (
        "ChangeMessageVisibility",
        lambda sqs, url, handle: sqs.change_message_visibility_batch(
            QueueUrl=url,
            Entries=[{"Id": "1", "ReceiptHandle": handle, "VisibilityTimeout": 60}],
        ),
    ),
}

OWNERS_ONLY: dict[str, Callable[[Any, str], Any]] = {
    "AddPermission": lambda sqs, url: sqs.add_permission(
        QueueUrl=url, Label="x", AWSAccountIds=[OTHER], Actions=["SendMessage"]
    ),
    "RemovePermission": lambda sqs, url: sqs.remove_permission(QueueUrl=url, Label="x"),
    "DeleteQueue": lambda sqs, url: sqs.delete_queue(QueueUrl=url),
    "ListQueueTags": lambda sqs, url: sqs.list_queue_tags(QueueUrl=url),
    "SetQueueAttributes": lambda sqs, url: sqs.set_queue_attributes(
        QueueUrl=url, Attributes={"Policy": ""}
    ),
    "TagQueue": lambda sqs, url: sqs.tag_queue(QueueUrl=url, Tags={"a": "b"}),
    "UntagQueue": lambda sqs, url: sqs.untag_queue(QueueUrl=url, TagKeys=["a"]),
    "StartMessageMoveTask": lambda sqs, url: sqs.start_message_move_task(SourceArn=_arn(url)),
    "CancelMessageMoveTask": lambda sqs, url: sqs.cancel_message_move_task(
        TaskHandle=task_handle(_arn(url))
    ),
    "ListMessageMoveTasks": lambda sqs, url: sqs.list_message_move_tasks(SourceArn=_arn(url)),
}

OWN_ACCOUNT = {"CreateQueue", "ListQueues"}
"""These are about the caller's own account, whatever they say."""


def _arn(url: str) -> str:
    return queue_arn(url.rpartition("/")[2])


def test_every_action_is_among_these() -> None:
    assert {*SHAREABLE, *BATCHES, *OWNERS_ONLY, *OWN_ACCOUNT} == set(SERVICE.operations)


# --- Both sides -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def they_allow_all(stage: Stage) -> Any:
    return stage.client("sqs", stage.user("all", allow("sqs:*"), account_id=OTHER))


@pytest.fixture(scope="module")
def they_allow_nothing(stage: Stage) -> Any:
    return stage.client("sqs", stage.user("none", account_id=OTHER))


@pytest.fixture(scope="module")
def their_root(stage: Stage) -> Any:
    return stage.client("sqs", stage.root_of(OTHER))


@pytest.fixture(scope="module")
def unshared(stage: Stage) -> str:
    return stage.queue("unshared")


def handle_in(stage: Stage, url: str) -> str:
    """Of a message that was just received."""
    stage.sqs.send_message(QueueUrl=url, MessageBody="hello")
    (message,) = stage.sqs.receive_message(QueueUrl=url)["Messages"]
    handle: str = message["ReceiptHandle"]
    return handle


ACTIONS = {name: (name, call) for name, call in SHAREABLE.items()} | BATCHES


@pytest.mark.parametrize("operation", ACTIONS)
def test_a_shareable_action_needs_both_sides(
    stage: Stage, they_allow_nothing: Any, their_root: Any, unshared: str, operation: str
) -> None:
    action, call = ACTIONS[operation]
    key = stage.user(operation, allow(f"sqs:{action}"), account_id=OTHER)
    both = stage.client("sqs", key)
    shared = stage.queue(operation, allow(f"sqs:{action}", Principal=THEM))
    call(both, shared, handle_in(stage, shared))
    # A root user needs no policy of its own.
    call(their_root, shared, handle_in(stage, shared))
    handle = handle_in(stage, unshared)
    cases = (
        (both, unshared, f"{WHO}/{operation}", "resource-based"),
        (they_allow_nothing, shared, f"{WHO}/none", "identity-based"),
        (they_allow_nothing, unshared, f"{WHO}/none", "identity-based"),
        (their_root, unshared, root_arn(OTHER), "resource-based"),
    )
    for client, url, who, side in cases:
        found = refusal(partial(call, client, url, handle))
        reason = f"because no {side} policy allows the sqs:{action.lower()} action"
        if action == "GetQueueUrl":
            assert found.code == "AWS.SimpleQueueService.NonExistentQueue"
        else:
            expected = not_allowed(who, action, _arn(url), reason)
            assert found == (403, "AccessDenied", expected)


@pytest.mark.parametrize("operation", ACTIONS)
def test_all_of_sqs_is_what_can_be_shared(
    stage: Stage, they_allow_all: Any, operation: str
) -> None:
    _, call = ACTIONS[operation]
    for number, principal in enumerate((THEM, "*", {"AWS": "*"}, {"AWS": f"{WHO}/all"})):
        url = stage.queue(f"all-{operation}-{number}", allow("sqs:*", Principal=principal))
        call(they_allow_all, url, handle_in(stage, url))


@pytest.mark.parametrize("operation", OWNERS_ONLY)
def test_the_rest_is_for_the_owner(
    stage: Stage, they_allow_all: Any, their_root: Any, operation: str
) -> None:
    grants = (
        allow("sqs:*", Principal=THEM),
        allow("*", Principal="*"),
        allow(f"sqs:{operation}", Principal={"AWS": f"{WHO}/all"}),
    )
    url = stage.queue(f"rest-{operation}", *grants, tags={"a": "b"})
    text = f"because no resource-based policy allows the sqs:{operation.lower()} action"
    for client, who in ((they_allow_all, f"{WHO}/all"), (their_root, root_arn(OTHER))):
        denied(
            partial(OWNERS_ONLY[operation], client, url),
            not_allowed(who, operation, _arn(url), text),
        )
    assert stage.policy_of(url)["Statement"][1]["Principal"] == "*"
    assert stage.sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "b"}


def test_creating_and_listing_are_about_ones_own(stage: Stage, they_allow_all: Any) -> None:
    stage.queue("namesake", allow("*", Principal="*"))
    made = they_allow_all.create_queue(QueueName="namesake")["QueueUrl"]
    assert made.endswith(f"/{OTHER}/namesake")
    assert they_allow_all.list_queues()["QueueUrls"] == [made]
    assert made not in stage.sqs.list_queues()["QueueUrls"]
    assert they_allow_all.get_queue_url(QueueName="namesake")["QueueUrl"] == made
    they_allow_all.delete_queue(QueueUrl=made)


def test_the_account_decides_who_of_its_own_may(stage: Stage) -> None:
    """To name an account is to leave it to that."""
    url = stage.queue("delegated", allow("sqs:SendMessage", Principal={"AWS": root_arn(OTHER)}))
    key = stage.user("later", account_id=OTHER)
    assert "no identity-based policy" in stage.refuses_send(key, url).text
    iam = stage.iam_of(OTHER)
    policy = {"Version": "2012-10-17", "Statement": [allow("sqs:SendMessage")]}
    iam.put_user_policy(UserName="later", PolicyName="own", PolicyDocument=json.dumps(policy))
    assert stage.sends(key, url)
    bounds = iam.create_policy(
        PolicyName="bounds",
        PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [allow("sqs:ReceiveMessage")]}
        ),
    )["Policy"]["Arn"]
    iam.put_user_permissions_boundary(UserName="later", PermissionsBoundary=bounds)
    assert "no permissions boundary" in stage.refuses_send(key, url).text
    iam.delete_user_permissions_boundary(UserName="later")
    stage.set_policy(url)
    assert "no resource-based policy" in stage.refuses_send(key, url).text


def test_to_name_an_own_account_gives_its_users_nothing(stage: Stage) -> None:
    url = stage.queue("own", allow("sqs:*", Principal={"AWS": ACCOUNT}))
    key = stage.user("own-user")
    assert "no identity-based policy" in stage.refuses_send(key, url).text
    assert stage.policy_of(url)["Statement"][0]["Principal"] == {"AWS": root_arn(ACCOUNT)}


def test_a_permission_that_was_added(stage: Stage, they_allow_all: Any) -> None:
    url = stage.queue("labelled")
    send = partial(they_allow_all.send_message, QueueUrl=url, MessageBody="hello")
    denied(send)
    stage.sqs.add_permission(
        QueueUrl=url, Label="them", AWSAccountIds=[OTHER], Actions=["SendMessage"]
    )
    send()
    denied(partial(they_allow_all.receive_message, QueueUrl=url))
    stage.sqs.remove_permission(QueueUrl=url, Label="them")
    denied(send)


def test_a_role_of_theirs_that_is_named(stage: Stage) -> None:
    gate = stage.user("their-gate", allow("sts:AssumeRole"), account_id=OTHER)
    arn = stage.role("their-role", allow("sqs:SendMessage"), account_id=OTHER)
    url = stage.queue("to-their-role", allow("sqs:*", Principal={"AWS": arn}))
    session = stage.assume(gate, arn)
    assert stage.sends(session, url)
    denied(partial(stage.client("sqs", session).receive_message, QueueUrl=url), "identity-based")
    assert stage.refuses_send(gate, url).code == "AccessDenied"
    iam = stage.iam_of(OTHER)
    iam.delete_role_policy(RoleName="their-role", PolicyName="own")
    iam.delete_role(RoleName="their-role")
    stage.role("their-role", allow("sqs:SendMessage"), account_id=OTHER)
    assert "no resource-based policy" in stage.refuses_send(stage.assume(gate, arn), url).text


def test_a_role_of_ours_that_they_may_assume(stage: Stage) -> None:
    key = stage.user("visitor", allow("sts:AssumeRole"), account_id=OTHER)
    bare = stage.user("bare-visitor", account_id=OTHER)
    arn = stage.role("for-them", allow("sqs:SendMessage"), trust=trusting(root_arn(OTHER)))
    url = stage.queue("by-our-role")
    assert stage.sends(stage.assume(key, arn), url)
    denied(partial(stage.assume, bare, arn), "sts:AssumeRole")
    # Across accounts a trust policy that names the user is half of it, too.
    named = stage.role("for-bare", trust=trusting(f"{WHO}/bare-visitor"))
    denied(partial(stage.assume, bare, named))
    ours = stage.role("for-us")
    denied(partial(stage.assume, key, ours))


# --- What is told ---------------------------------------------------------------------------------

HIDDEN = ("bare-00", "deny-00", "http-00", "ours-00", "tags-00")
"""Queues that are there; whatever they are like, they sound like `MISSING`."""
MISSING = "none-00"


@pytest.fixture(scope="module")
def hidden(stage: Stage) -> None:
    insecure = {"Bool": {"aws:SecureTransport": "false"}}
    stage.queue("bare-00")
    stage.queue("deny-00", deny("sqs:*", Principal="*"))
    stage.queue("http-00", deny("sqs:*", Principal="*", Condition=insecure))
    stage.queue("ours-00", allow("sqs:*", Principal={"AWS": root_arn(ACCOUNT)}))
    stage.queue("tags-00", tags={"team": "blue"})


@pytest.fixture(scope="module")
def strangers(stage: Stage) -> dict[str, Key | None]:
    seen = {"StringLike": {"aws:ResourceTag/team": "*"}}
    return {
        "root": stage.root_of(OTHER),
        "all": stage.user("stranger-all", allow("*"), account_id=OTHER),
        "nothing": stage.user("stranger", account_id=OTHER),
        # Whoever writes policies may ask in them what cannot be asked otherwise.
        "prying": stage.user("prying", allow("*"), deny("sqs:*", Condition=seen), account_id=OTHER),
        "guessing": stage.user("guessing", allow("sqs:*", Condition=seen), account_id=OTHER),
        "nobody": None,
    }


@pytest.fixture(scope="module")
def wire(stage: Stage) -> Iterator[Wire]:
    opened = Wire(stage.http)
    yield opened
    opened.close()


@pytest.mark.parametrize("operation", sorted({*SHAREABLE, *BATCHES, *OWNERS_ONLY}))
def test_nothing_tells_whether_a_queue_exists(
    stage: Stage, hidden: None, strangers: dict[str, Key | None], wire: Wire, operation: str
) -> None:
    def told(who: Key | None, name: str, protocol: str) -> Reply:
        members = chosen(protocol, operation, queue_parameters(stage.http, name))
        written = request(stage.http, protocol, operation, members)
        reply = wire.send(signed(written, who, "sqs") if who else written)
        assert 400 <= reply.status < 500
        return reply._replace(text=reply.text.replace(name, MISSING))

    for who in strangers.values():
        for protocol in ("json", "query"):
            expected = told(who, MISSING, protocol)
            assert [told(who, name, protocol) for name in HIDDEN] == [expected] * len(HIDDEN)


def test_whoever_is_let_in_but_for_a_deny_hears_of_it(stage: Stage, their_root: Any) -> None:
    insecure = {"Bool": {"aws:SecureTransport": "false"}}
    let_in = allow("sqs:SendMessage", Principal=THEM)
    url = stage.queue("tls", let_in, deny("sqs:*", Principal="*", Condition=insecure))
    send = {"QueueUrl": url, "MessageBody": "hello"}
    assert refusal(partial(their_root.send_message, **send)).code == "InvalidSecurity"
    denied(partial(their_root.receive_message, QueueUrl=url), "no resource-based policy")
    secure = stage.client("sqs", stage.root_of(OTHER), secure=True)
    assert secure.send_message(**send)["MessageId"]
    barred = stage.queue("barred", let_in, deny("sqs:*", Principal=THEM))
    denied(
        partial(their_root.send_message, QueueUrl=barred, MessageBody="hello"),
        "with an explicit deny in a resource-based policy",
    )


def test_dead_letters_stay_in_the_account(
    stage: Stage, hidden: None, their_root: Any, strangers: dict[str, Key | None]
) -> None:
    """Not even a queue that is open to everybody takes in those of another account."""
    stage.queue("open-00", allow("sqs:*", Principal="*"))
    texts = set()
    for name in ("open-00", "bare-00", MISSING):
        policy = json.dumps({"deadLetterTargetArn": queue_arn(name), "maxReceiveCount": 1})
        found = refusal(
            partial(
                their_root.create_queue,
                QueueName="their-source",
                Attributes={"RedrivePolicy": policy},
            )
        )
        assert (found.status, found.code) == (400, "InvalidParameterValue")
        texts.add(found.text.replace(name, MISSING))
    assert len(texts) == 1
