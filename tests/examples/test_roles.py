"""The roles of the inventory example, against services that answer as they are told to."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import refusals
import roles
import run
from botocore.exceptions import ClientError
from service import Credentials

from stanchion.access.authoriser import keys_of_principal
from stanchion.access.identity import Caller, Grants, NamedPolicy
from stanchion.access.policy.context import Context
from stanchion.access.policy.decision import Decision, Request, decide
from stanchion.access.policy.document import parse
from tests.examples.test_inventory import Service

QUEUE = "arn:aws:sqs:us-east-1:000000000000:inventory"
ARNS = {name: f"arn:aws:iam::000000000000:role/{name}" for name in roles.ACTIONS}
SOMEBODY = Credentials("ASIASOMEBODY", "secret", "token")
ALL_ACTIONS = ("SendMessage", "ReceiveMessage", "DeleteMessage", "PurgeQueue", "DeleteQueue")


class Iam(Service):
    """Where roles and users are there already, if told so."""

    exceptions = SimpleNamespace(EntityAlreadyExistsException=FileExistsError)


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "No."}}, "Something")


def may(role: str, action: str, *, secure: bool = True, own: str | None = None) -> Decision:
    """Whether a role may do something to the queue, by its policy and that of the queue."""
    identity = NamedPolicy("own", parse(own, "identity")) if own else None
    caller = Caller(
        "role",
        "000000000000",
        f"arn:aws:sts::000000000000:assumed-role/{role}/example",
        f"AROA{role}:example",
        role_arn=f"arn:aws:iam::000000000000:role/{role}",
        grants=Grants((identity,) if identity else ()),
    )
    keys = {
        "aws:securetransport": ("true" if secure else "false",),
        **keys_of_principal(caller),
    }
    policy = NamedPolicy("queue", parse(roles.queue_policy(QUEUE, ARNS), "resource"))
    request = Request(f"sqs:{action}", QUEUE, "000000000000")
    return decide(caller, request, Context(keys), policy)


def test_the_producer_may_only_send() -> None:
    allowed = {action for action in ALL_ACTIONS if may(roles.PRODUCER, action).allowed}
    assert allowed == {"SendMessage"}


def test_the_consumer_may_only_receive_and_delete() -> None:
    allowed = {action for action in ALL_ACTIONS if may(roles.CONSUMER, action).allowed}
    assert allowed == {"ReceiveMessage", "DeleteMessage"}


def test_nobody_else_is_let_in() -> None:
    assert not any(may("somebody", action).allowed for action in ALL_ACTIONS)


def test_nobody_gets_in_over_plain_http() -> None:
    everything = roles.document({"Effect": "Allow", "Action": "*", "Resource": "*"})
    for action in ALL_ACTIONS:
        assert may("administrator", action, own=everything).allowed
        assert not may("administrator", action, own=everything, secure=False).allowed


def test_a_role_is_made_with_a_policy_for_the_queue() -> None:
    iam = Iam({"Role": {"Arn": "arn"}}, {})
    assert roles.role(iam, roles.PRODUCER, QUEUE) == "arn"
    (own,) = iam.asked("put_role_policy")
    (statement,) = json.loads(own["PolicyDocument"])["Statement"]
    assert own["PolicyName"] == "inventory"
    assert statement == {"Effect": "Allow", "Action": ["sqs:SendMessage"], "Resource": QUEUE}


def test_a_role_that_is_there_is_used() -> None:
    iam = Iam({"Role": {"Arn": "arn"}}, {})
    vars(iam)["create_role"] = _already_there
    assert roles.role(iam, roles.PRODUCER, QUEUE) == "arn"
    assert iam.asked("get_role") == [{"RoleName": roles.PRODUCER}]


def _already_there(**parameters: Any) -> None:
    raise FileExistsError


def test_the_key_that_starts_sessions_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"AccessKeyId": "ASIA", "SecretAccessKey": "secret", "SessionToken": "token"}
    sts = Service({"Credentials": given}, {"Credentials": given})
    monkeypatch.setattr(roles, "connect", lambda *_: sts)
    iam = Iam({}, {}, {"AccessKey": {"AccessKeyId": "AKIA", "SecretAccessKey": "x"}}, {})
    found = roles.sessions(iam, ARNS)
    assert found == dict.fromkeys(ARNS, Credentials("ASIA", "secret", "token"))
    assert iam.calls[-1] == (
        "delete_access_key",
        {"UserName": roles.STARTER, "AccessKeyId": "AKIA"},
    )


def test_what_is_not_known_yet_is_waited_for() -> None:
    outcomes = [refusal("AccessDenied"), refusal("InvalidClientTokenId"), None]
    pauses: list[float] = []

    def call() -> str:
        if error := outcomes.pop(0):
            raise error
        return "done"

    assert roles.patiently(call, pauses.append, lambda: 0.0) == "done"
    assert len(pauses) == 2


@pytest.mark.parametrize(
    ("code", "calls"), [("AccessDenied", roles.PATIENCE_S + 1), ("Throttling", 1)]
)
def test_patience_ends(code: str, calls: int) -> None:
    asked: list[float] = []

    def call() -> None:
        asked.append(len(asked))
        raise refusal(code)

    with pytest.raises(ClientError):
        roles.patiently(call, lambda _: None, lambda: float(len(asked)))
    assert len(asked) == calls


def test_a_service_over_plain_http_is_not_set_up() -> None:
    with pytest.raises(SystemExit, match="closed to plain HTTP"):
        roles.check_channel(SimpleNamespace(meta=SimpleNamespace(endpoint_url="http://x:1")))
    roles.check_channel(SimpleNamespace(meta=SimpleNamespace(endpoint_url="https://x:1")))


def test_credentials_are_the_whole_of_them() -> None:
    assert SOMEBODY.environment() == {
        "AWS_ACCESS_KEY_ID": "ASIASOMEBODY",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
    }
    assert set(SOMEBODY.options()) == {name.lower() for name in SOMEBODY.environment()}


def test_an_outcome_is_the_code_of_the_error() -> None:
    def denied() -> None:
        raise refusal("AccessDenied")

    assert refusals.outcome(denied) == "AccessDenied"
    assert refusals.outcome(dict) == "nothing"


def test_the_service_is_asked_in_the_clear_where_that_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(refusals, "connect", lambda _, **options: asked.append(options))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://localhost:1")
    monkeypatch.delenv("PLAIN_HTTP_ENDPOINT_URL", raising=False)
    refusals.over_plain_http(SOMEBODY)
    assert asked == []
    monkeypatch.setenv("PLAIN_HTTP_ENDPOINT_URL", "http://localhost:2")
    refusals.over_plain_http(SOMEBODY)
    monkeypatch.delenv("PLAIN_HTTP_ENDPOINT_URL")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    refusals.over_plain_http(SOMEBODY)
    assert asked == [{"endpoint_url": "http://localhost:2"}, {"use_ssl": False}]


def test_what_somebody_gets_away_with_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        refusals.Trial("one", "AccessDenied", "AccessDenied"),
        refusals.Trial("two", "InvalidSecurity", "nothing"),
    ]
    monkeypatch.setattr(run, "trials", lambda *_: found)
    assert run.show_refusals(SOMEBODY, "url") == ["two: not InvalidSecurity but nothing"]
