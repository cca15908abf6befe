"""`stanchion policy explain`: what would be decided about a call, and which statement decides.

The decision is the server's own, over the same identities; only the caller and the circumstances
are made up. The policy of a queue comes from a file or from a running server. Nothing is called
and nothing is changed.
"""

import re
from collections.abc import Mapping
from typing import Any

import click
from msgspec import Struct, structs

from stanchion.access.authoriser import Circumstances, Resource
from stanchion.access.entities import Role, User, entity_arn
from stanchion.access.identity import Caller, anonymous, root_of
from stanchion.access.policy.context import Values
from stanchion.access.policy.decision import Decision, Request, text
from stanchion.access.policy.document import MalformedPolicy, parse
from stanchion.access.policy_principals import UnknownPrincipal, to_ids
from stanchion.access.root import DEFAULT_REGION
from stanchion.access.sessions import Session
from stanchion.cli.identities import (
    JSON,
    PLACE,
    Refused,
    check_account,
    identities,
    label,
    show_json,
    text_of,
)
from stanchion.cli.settings import Fault, with_options
from stanchion.iam.service import Iam
from stanchion.model import iam as iam_model
from stanchion.model import sqs as sqs_model
from stanchion.model.iam import NoSuchEntityException
from stanchion.sqs.authorisation import SHAREABLE
from stanchion.sqs.policy_document import named, normalise
from stanchion.sqs.urls import read_arn
from stanchion.store.contract import QueueName


@click.command()
@click.option("--principal", required=True, metavar="ARN", help="Who; see above.")
@click.option("--action", required=True, metavar="SERVICE:ACTION", help="Such as sqs:SendMessage.")
@click.option("--resource", required=True, metavar="ARN", help="What: the ARN of a queue, or *.")
@click.option(
    "--context",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="A condition key of the call, such as aws:SourceIp=10.0.0.1. Again: one more value.",
)
@click.option("--queue-policy", metavar="FILE", help="The queue's policy; - is stdin.")
@click.option("--endpoint-url", metavar="URL", help="Ask this server for the queue's policy.")
@with_options(JSON, *PLACE)
def explain(
    config: str | None,
    principal: str,
    action: str,
    resource: str,
    given: tuple[str, ...],
    queue_policy: str | None,
    endpoint_url: str | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Say whether somebody may do something, why, and by which statement.

    The principal is the ARN of a root user, user, role or session of a role, `anonymous`, or the
    name of a service such as events.amazonaws.com. A queue's own policy is not in the data
    directory's records: give it with --queue-policy, or let it and the queue's tags be read from a
    running server with the credentials of the environment.

    The call is over plain HTTP from no address unless --context says otherwise:
    aws:SecureTransport=true, aws:SourceIp=10.0.0.1, aws:ResourceTag/team=blue.
    """
    question = _question(action, resource)
    context = _context(given)
    if queue_policy is not None and endpoint_url is not None:
        raise Fault("the queue's policy: give either --queue-policy or --endpoint-url")
    with identities(config, flags) as found:
        iam = found.iam
        caller = found.do(lambda: _caller(iam, principal))
        asked = Request(
            question.action,
            resource,
            question.account_id or caller.account_id,
            shareable=question.action in SHAREABLE,
        )
        about = Resource()
        if queue_policy is not None:
            document = text_of(queue_policy)
            about = found.do(lambda: _of_file(iam, question, queue_policy, document))
        elif endpoint_url is not None:
            about = _of_server(question, endpoint_url)
        caller = structs.replace(caller, keys={**caller.keys, **context}, decisions={})
        # What is given counts before what the call itself would bring along.
        circumstances = Circumstances(question.region, False, "", {})
        decision = iam.authoriser.decide(caller, asked, circumstances, about)
    _show(principal, asked, decision, about, as_json)


# --- What is asked ------------------------------------------------------------------------------


class _Question(Struct, frozen=True):
    action: str
    """As AWS spells it."""
    account_id: str
    """Of the resource; empty where its ARN has none."""
    region: str
    queue: QueueName | None


_ACTIONS = {
    f"{service}:{operation}".lower(): f"{service}:{operation}"
    for service, model in (("sqs", sqs_model), ("iam", iam_model))
    for operation in model.OPERATIONS
}
_ARN_PARTS = 6


def _question(action: str, resource: str) -> _Question:
    """Raises `Fault`."""
    known = _ACTIONS.get(action.lower())
    if known is None:
        raise Fault(f"--action: {action!r} is no action of SQS or IAM, such as sqs:SendMessage")
    if known.endswith("Batch"):
        raise Fault(f"--action: {known} needs the permission {known.removesuffix('Batch')}")
    parts = resource.split(":", _ARN_PARTS - 1)
    if resource != "*" and (len(parts) < _ARN_PARTS or parts[0] != "arn"):
        raise Fault(f"--resource: {resource!r} is neither an ARN nor *")
    arn = read_arn(resource)
    region, account_id = (parts[3], parts[4]) if len(parts) == _ARN_PARTS else ("", "")
    queue = arn.queue_name() if arn is not None else None
    return _Question(known, account_id, region or DEFAULT_REGION, queue)


def _context(given: tuple[str, ...]) -> dict[str, Values]:
    """Condition keys in lower case. Raises `Fault`."""
    found: dict[str, Values] = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or ":" not in key:
            raise Fault(f"--context: {pair!r} is not of the form aws:SourceIp=10.0.0.1")
        found[key.lower()] = (*found.get(key.lower(), ()), value)
    return found


# --- Who ----------------------------------------------------------------------------------------

_PRINCIPAL = re.compile(
    r"arn:aws[a-z-]*:(?:iam|sts)::(?P<account>[0-9]{12}):"
    r"(?:(?P<root>root)|user(?P<user>/.+)|role(?P<role>/.+)"
    r"|assumed-role/(?P<assumed>[^/]+)/(?P<session>[^/]+))",
    re.ASCII,
)
_SERVICE = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+", re.ASCII)
_SESSION_NAME = "explained"


async def _caller(iam: Iam, principal: str) -> Caller:
    """Raises `Fault`, and `NoSuchEntityException`."""
    if principal == "anonymous":
        return anonymous("")
    if _SERVICE.fullmatch(principal):
        return Caller("service", "", principal, principal)
    match = _PRINCIPAL.fullmatch(principal)
    if match is None:
        raise Fault(
            f"--principal: {principal!r} is not the ARN of a root user, user, role or session of "
            "a role, nor anonymous, nor the name of a service"
        )
    account_id = match["account"]
    await check_account(iam, account_id)
    if match["root"]:
        return root_of(account_id, "")
    if match["user"]:
        return await _user(iam, account_id, match["user"])
    if match["role"]:
        return await _role(iam, account_id, match["role"], _SESSION_NAME)
    return await _role(iam, account_id, f"/{match['assumed']}", match["session"], is_session=True)


async def _user(iam: Iam, account_id: str, place: str) -> Caller:
    """`place` is path and name."""
    user = await iam.documents.get(User, account_id, place.rpartition("/")[2].lower())
    if user is None or user.path + user.name != place:
        raise _nobody(entity_arn(account_id, "user", place, ""))
    return await iam.directory.caller_of_user(account_id, user)


def _nobody(arn: str) -> NoSuchEntityException:
    return NoSuchEntityException(f"There is no {arn}.")


async def _role(
    iam: Iam, account_id: str, place: str, session_name: str, *, is_session: bool = False
) -> Caller:
    """A session of a role. The ARN of a session leaves the role's path out."""
    role = await iam.documents.get(Role, account_id, place.rpartition("/")[2].lower())
    if role is None or place not in (role.path + role.name, f"/{role.name}" if is_session else ""):
        raise _nobody(entity_arn(account_id, "role", place, ""))
    now_s = int(iam.clock.wall_s())
    session = Session(
        access_key_id="",
        secret="",
        kind="role",
        account_id=account_id,
        name=role.name,
        entity_id=role.id,
        session_name=session_name,
        issued_at_s=now_s,
        expires_at_s=now_s,
    )
    caller = await iam.directory.caller_of_session(session)
    if caller is None:
        raise _nobody(entity_arn(account_id, "role", place, ""))
    return caller


# --- On what ------------------------------------------------------------------------------------


async def _of_file(iam: Iam, question: _Question, file: str, document: str) -> Resource:
    """A queue with the policy of a file. Raises `Fault` for one that no queue would take."""
    queue = _queue(question)
    kept = normalise(document, queue)
    try:
        parse(kept or document, "resource")
        if kept is None:
            raise Fault(f"{label(file)}: is not a policy that a queue takes")
        return Resource(named(await to_ids(iam.documents, kept)))
    except (MalformedPolicy, UnknownPrincipal) as error:
        raise Fault(f"{label(file)}: {error}") from None


def _queue(question: _Question) -> QueueName:
    if question.queue is None:
        raise Fault("--resource: only a queue has a policy, and this is not the ARN of one")
    return question.queue


def _of_server(question: _Question, endpoint_url: str) -> Resource:
    """A queue as a server has it. Raises `Fault`, `Refused`."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    queue = _queue(question)
    try:
        sqs = boto3.client("sqs", endpoint_url=endpoint_url, region_name=queue.region)
        url = sqs.get_queue_url(QueueName=queue.name, QueueOwnerAWSAccountId=queue.account_id)[
            "QueueUrl"
        ]
        read = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
        tags: Mapping[str, str] = sqs.list_queue_tags(QueueUrl=url).get("Tags", {})
    except (BotoCoreError, ClientError, ValueError) as error:
        raise Refused(f"{endpoint_url}: {error}") from None
    keys = {f"aws:resourcetag/{name.lower()}": (value,) for name, value in tags.items()}
    return Resource(named(read.get("Attributes", {}).get("Policy")), keys)


# --- The answer ---------------------------------------------------------------------------------


def _show(
    principal: str, asked: Request, decision: Decision, about: Resource, as_json: bool
) -> None:
    reason = text(decision.reason, asked.action)
    if as_json:
        show_json(
            {
                "allowed": decision.allowed,
                "reason": reason,
                "policy": decision.policy or None,
                "statement": decision.statement or None,
                "principal": principal,
                "action": asked.action,
                "resource": asked.resource,
                "with_queue_policy": about.policy is not None,
            }
        )
        return
    verdict = "ALLOWED" if decision.allowed else "DENIED"
    click.echo(f"{verdict}: {principal} {asked.action} {asked.resource}")
    click.echo(f"reason: {reason}")
    if decision.policy:
        click.echo(f"policy: {decision.policy}")
    if decision.statement:
        click.echo(f"statement: {decision.statement}")
    if about.policy is None and asked.action.startswith("sqs:"):
        click.echo("No policy of the queue was looked at.", err=True)
