"""Callers of all kinds before a queue: who gets in, and what of that is remembered."""

from collections.abc import Mapping
from itertools import product

import pytest
from msgspec import structs

from stanchion.access.identity import Caller, Grants, NamedPolicy, root_of
from stanchion.access.policy.context import Values
from stanchion.model import sqs as model
from stanchion.model.errors import AccessDenied
from stanchion.model.sqs import InvalidSecurity
from stanchion.service import Call
from stanchion.store.contract import GetQueue
from tests.sqs.control.desk import (
    NO_KEYS,
    ONLY_TLS,
    PEER_IP,
    RECEIVE,
    SEND,
    Desk,
    allow,
    call_of,
    deny,
    document,
    named,
    open_desk,
    refusal_text,
    session,
    url_of,
    user,
)
from tests.sqs.harness import ACCOUNT


@pytest.fixture
def desk() -> Desk:
    return open_desk()


# --- Kinds of callers -----------------------------------------------------------------------------


def test_a_session_is_held_by_its_policy(desk: Desk) -> None:
    worker = session(allow("sqs:*"), allow("sqs:ReceiveMessage"))
    desk.asks(RECEIVE, call_of(worker))
    assert desk.turns_away(SEND, call_of(worker)).message == refusal_text(
        f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/run-1",
        "sendmessage",
        "because no session policy allows the sqs:sendmessage action",
    )


def test_a_boundary_bounds_what_a_queue_grants_to_everybody(desk: Desk) -> None:
    desk.set_policy(allow("sqs:SendMessage", Principal="*"))
    desk.asks(SEND, call_of(user()))
    bounded = user(boundary=(allow("sqs:ReceiveMessage"),))
    assert desk.turns_away(SEND, call_of(bounded)).message == refusal_text(
        f"arn:aws:iam::{ACCOUNT}:user/alice",
        "sendmessage",
        "because no permissions boundary allows the sqs:sendmessage action",
    )


def test_a_service_is_let_in_by_the_queue_alone(desk: Desk) -> None:
    keys: dict[str, Values] = {"aws:sourcearn": ("arn:aws:sns:eu-central-1:1:t",)}

    def service(name: str, keys: Mapping[str, Values] = keys) -> Call:
        return call_of(Caller("service", "", name, name, keys=keys))

    sns = service("sns.amazonaws.com")
    request = structs.replace(SEND, queue_url=url_of("q"))
    assert not desk.lets_in(request, sns)
    desk.set_policy(
        allow(
            "sqs:SendMessage",
            Principal={"Service": "sns.amazonaws.com"},
            Condition={"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:*:t"}},
        )
    )
    desk.asks(request, sns)
    assert not desk.lets_in(request, service("s3.amazonaws.com"))
    assert not desk.lets_in(request, service("sns.amazonaws.com", NO_KEYS))


def test_a_policy_that_cannot_be_read_denies(desk: Desk) -> None:
    unreadable = structs.replace(user(), grants=Grants((NamedPolicy("x", None), named(allow("*")))))
    assert not desk.lets_in(SEND, call_of(unreadable))


# --- Only over TLS --------------------------------------------------------------------------------


def test_a_deny_of_plain_http_is_a_demand_for_tls(desk: Desk) -> None:
    desk.set_policy(ONLY_TLS)
    for caller in (user(allow("*")), root_of(ACCOUNT, ""), session(allow("*"))):
        refused = desk.turns_away(SEND, call_of(caller, is_secure=False))
        assert isinstance(refused, InvalidSecurity)
        assert refused.message == "All requests to this queue must use HTTPS and SigV4."
        desk.asks(SEND, call_of(caller))
    # One more condition that TLS would not help with.
    desk.set_policy(deny("sqs:*", Principal="*"))
    assert type(desk.turns_away(SEND, call_of(user(allow("*")), is_secure=False))) is AccessDenied


def test_root_mends_over_tls_what_wants_tls(desk: Desk) -> None:
    desk.set_policy(ONLY_TLS)
    mend = model.SetQueueAttributesRequest(queue_url="q", attributes={"Policy": ""})
    root = root_of(ACCOUNT, "")
    assert isinstance(desk.turns_away(mend, call_of(root, is_secure=False)), InvalidSecurity)
    desk.do(mend, call_of(root))
    desk.asks(SEND, call_of(root, is_secure=False))


def test_over_tls_it_is_never_said(desk: Desk) -> None:
    odd = deny("sqs:*", Principal="*", Condition={"Bool": {"aws:SecureTransport": "true"}})
    desk.set_policy(odd)
    assert isinstance(desk.turns_away(SEND, call_of(user(allow("*")))), AccessDenied)


# --- Tags -----------------------------------------------------------------------------------------


def test_tags_that_are_asked_for(desk: Desk) -> None:
    condition = {
        "StringEquals": {"aws:RequestTag/Team": "blue"},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["team", "size"]},
    }
    caller = call_of(user(allow("sqs:CreateQueue", "sqs:TagQueue", Condition=condition)))
    for tags, may in (
        ({"team": "blue"}, True),
        ({"team": "blue", "size": "1"}, True),
        ({"team": "red"}, False),
        ({"team": "blue", "x": "y"}, False),
        ({}, False),
    ):
        assert desk.lets_in(model.CreateQueueRequest(queue_name="n", tags=tags), caller) == may
        assert desk.lets_in(model.TagQueueRequest(queue_url="q", tags=tags), caller) == may


def test_tags_that_are_taken_away(desk: Desk) -> None:
    only_size = {"ForAllValues:StringEquals": {"aws:TagKeys": ["size"]}}
    caller = call_of(user(allow("sqs:UntagQueue", Condition=only_size)))
    for keys, may in ((["size"], True), (["team"], False), (["size", "team"], False)):
        assert desk.lets_in(model.UntagQueueRequest(queue_url="q", tag_keys=keys), caller) == may


# --- Remembering ----------------------------------------------------------------------------------


def test_what_was_decided_is_not_decided_again(desk: Desk) -> None:
    alice = user(allow("sqs:SendMessage"))
    desk.asks(SEND, call_of(alice))
    (decision,) = alice.decisions.values()
    desk.asks(SEND, call_of(alice))
    assert list(alice.decisions.values()) == [decision]
    desk.store.commands.clear()
    desk.asks(SEND, call_of(alice))
    assert not [command for command in desk.store.commands if isinstance(command, GetQueue)]


def test_for_each_action_address_and_transport_by_itself(desk: Desk) -> None:
    condition = {"IpAddress": {"aws:SourceIp": PEER_IP}, "Bool": {"aws:SecureTransport": "true"}}
    alice = user(allow("sqs:SendMessage", Condition=condition))
    for _, secure, peer_ip, request in product(
        range(2), (True, False), (PEER_IP, "192.0.2.2"), (SEND, RECEIVE)
    ):
        may = secure and peer_ip == PEER_IP and request is SEND
        call = call_of(alice, is_secure=secure, peer_ip=peer_ip)
        assert desk.lets_in(request, call) == may


def test_edits_of_the_queue_count_at_once(desk: Desk) -> None:
    alice = user(allow("sqs:SendMessage", Condition={"StringEquals": {"aws:ResourceTag/t": "1"}}))
    tag = model.TagQueueRequest(queue_url="q", tags={"t": "1"})
    for _ in range(2):
        assert not desk.lets_in(SEND, call_of(alice))
        desk.do(tag)
        assert desk.lets_in(SEND, call_of(alice))
        desk.set_policy(deny("sqs:SendMessage", Principal="*"))
        assert not desk.lets_in(SEND, call_of(alice))
        desk.set_policy()
        assert desk.lets_in(SEND, call_of(alice))
        desk.do(model.UntagQueueRequest(queue_url="q", tag_keys=["t"]))


def test_another_queue_of_the_same_name_is_decided_anew(desk: Desk) -> None:
    desk.sqs = structs.replace(
        desk.sqs, limits=structs.replace(desk.sqs.limits, queue_name_quarantine_s=0)
    )
    desk.set_policy(allow("sqs:SendMessage", Principal="*"))
    alice = user()
    desk.asks(SEND, call_of(alice))
    desk.do(model.DeleteQueueRequest(queue_url="q"))
    assert not desk.lets_in(SEND, call_of(alice))
    desk.create("q")
    assert not desk.lets_in(SEND, call_of(alice))


def test_what_depends_on_the_time_or_the_program_is_not_remembered(desk: Desk) -> None:
    until = {"DateLessThan": {"aws:CurrentTime": "2023-11-14T22:13:30Z"}}
    timed = user(allow("sqs:SendMessage", Condition=until))
    assert desk.lets_in(SEND, call_of(timed))
    desk.clock.advance(10)
    assert not desk.lets_in(SEND, call_of(timed))
    program = user(allow("sqs:SendMessage", Condition={"StringLike": {"aws:UserAgent": "good*"}}))
    for agent, may in (("good/1", True), ("bad/1", False)) * 2:
        headers = {"user-agent": agent}
        assert desk.lets_in(SEND, call_of(program, headers=headers)) == may


# --- Who is named in a queue's policy -------------------------------------------------------------


def test_a_batch_has_no_name_in_policies(desk: Desk) -> None:
    request = model.SetQueueAttributesRequest(
        queue_url="q",
        attributes={"Policy": document(allow("sqs:SendMessageBatch", Principal="*"))},
    )
    refused = desk.refuses(request)
    assert refused.message == "Invalid value for the parameter Policy."
    assert not desk.lets_in(
        model.SendMessageBatchRequest(queue_url="q"),
        call_of(user(allow("sqs:SendMessageBatch"))),
    )
