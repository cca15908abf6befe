"""The question every service asks: may this caller do this, here and now?

Gathers the condition keys of a call, lets the policies decide, and remembers decisions that
depended on nothing which passes (the time, the tags asked for): with the caller, so they end when
anything about the caller changes. They are remembered under a key that the service makes of all
that lasts, how new the resource is included. Never allows what no policy, and no rule of
`decision.decide`, allows.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import Struct

from stanchion.access.identity import Caller, NamedPolicy
from stanchion.access.policy.context import NO_KEYS, Context, Values
from stanchion.access.policy.decision import Decision, Request, decide, text
from stanchion.clock import Clock

REMEMBERED_MAX = 2048
"""Decisions per caller."""


class Circumstances(Struct, frozen=True, gc=False):
    """What of a call conditions may ask about, beside who calls and what for."""

    region: str
    is_secure: bool
    peer_ip: str
    headers: Mapping[str, str]


class Resource(Struct, frozen=True):
    """What a call is about."""

    policy: NamedPolicy | None = None
    keys: Mapping[str, Values] = NO_KEYS
    """`aws:resourcetag/...` and the like, in lower case."""


NOTHING = Resource()


class Authoriser:
    """Decides, and remembers. One per process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def decide(
        self,
        caller: Caller,
        request: Request,
        circumstances: Circumstances,
        resource: Resource = NOTHING,
        asked: Mapping[str, Values] = NO_KEYS,
        remember_as: object = None,
    ) -> Decision:
        """`asked` are the condition keys that the request's parameters bring: `aws:requesttag/...`,
        `aws:tagkeys`, `iam:...`.

        With `remember_as`, a decision that lasts is put into `caller.decisions` under that. Two
        calls may only have the same if everything but passing keys is the same.
        """
        context = self._context(caller, request, circumstances, resource, asked)
        decision = decide(caller, request, context, resource.policy)
        if remember_as is not None and not context.is_passing:
            if len(caller.decisions) >= REMEMBERED_MAX:
                caller.decisions.clear()
            caller.decisions[remember_as] = decision
        return decision

    def _context(
        self,
        caller: Caller,
        request: Request,
        circumstances: Circumstances,
        resource: Resource,
        asked: Mapping[str, Values],
    ) -> Context:
        now_s = self._clock.wall_s()
        headers = circumstances.headers
        passing: dict[str, Values] = {
            "aws:currenttime": (datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),),
            "aws:epochtime": (str(int(now_s)),),
            **asked,
        }
        for key, name in (("aws:useragent", "user-agent"), ("aws:referer", "referer")):
            if name in headers:
                passing[key] = (headers[name],)
        return Context(
            keys_of_principal(caller),
            _keys_of_call(request, circumstances),
            resource.keys,
            passing=passing,
        )


_PRINCIPAL_TYPES = {
    "root": "Account",
    "user": "User",
    "role": "AssumedRole",
    "federated": "FederatedUser",
    "web": "FederatedUser",
    "service": "AWSService",
    "anonymous": "Anonymous",
}


def keys_of_principal(caller: Caller) -> dict[str, Values]:
    keys: dict[str, Values] = {
        "aws:principaltype": (_PRINCIPAL_TYPES[caller.kind],),
        "aws:principalisawsservice": ("true" if caller.kind == "service" else "false",),
        "aws:viaawsservice": ("false",),
        **caller.keys,
    }
    if caller.kind == "service":
        keys["aws:principalservicename"] = (caller.arn,)
    elif caller.kind != "anonymous":
        keys["aws:principalarn"] = (caller.role_arn or caller.arn,)
        keys["aws:principalaccount"] = (caller.account_id,)
        keys["aws:userid"] = (caller.sender_id,)
    return keys


def _keys_of_call(request: Request, circumstances: Circumstances) -> dict[str, Values]:
    keys: dict[str, Values] = {
        "aws:securetransport": ("true" if circumstances.is_secure else "false",),
        "aws:requestedregion": (circumstances.region,),
        "aws:resourceaccount": (request.account_id,),
    }
    if circumstances.peer_ip:
        keys["aws:sourceip"] = (circumstances.peer_ip,)
    return keys


def denial(caller: Caller, request: Request, decision: Decision, action: str = "") -> str:
    """The text of an AccessDenied. `action` is how the service spells it, if not as policies do."""
    action = action or request.action
    return (
        f"User: {caller.arn} is not authorized to perform: {action} on resource: "
        f"{request.resource} {text(decision.reason, action)}"
    )
