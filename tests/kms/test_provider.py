"""The KMS as queues use it: who may, under which conditions, and when that is over."""

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

import pytest
from msgspec import structs

from stanchion.access.authoriser import Authoriser
from stanchion.access.identity import Caller, anonymous
from stanchion.keys.data_keys import DataKeys, Use
from stanchion.keys.providers import KMS, kms_unwrapped, kms_wrapped
from stanchion.keys.sealing import Unsealable
from stanchion.kms.entities import Key
from stanchion.kms.provider import BuiltInKms, ByIdentity
from stanchion.model.errors import AccessDenied, ServiceError
from stanchion.model.kms import (
    CreateGrantRequest,
    DisabledException,
    DisableKeyRequest,
    EnableKeyRequest,
    EnableKeyRotationRequest,
    GenerateDataKeyRequest,
    InvalidKeyUsageException,
    KMSInvalidStateException,
    NotFoundException,
    PutKeyPolicyRequest,
    ScheduleKeyDeletionRequest,
)
from stanchion.service import Call
from tests.kms.harness import (
    ACCOUNT,
    DAY_S,
    OTHER_ACCOUNT,
    REGION,
    Service,
    allow,
    call_of,
    deny,
    key_policy,
    statement,
)
from tests.sqs.harness import finish

CONTEXT = {"aws:sqs:arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"}
MANAGED = "alias/aws/sqs"
OTHER_ROOT = f"arn:aws:iam::{OTHER_ACCOUNT}:root"
GENERATE, DECRYPT = "kms:GenerateDataKey", "kms:Decrypt"


class Fixture(Service):
    """With a key, and the provider."""

    def __init__(self, **key: Any) -> None:
        super().__init__()
        self.id = self.key(**key)
        self.arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{self.id}"
        self.provider = BuiltInKms(self.kms)

    def generate(self, call: Call | None = None, key_id: str = "") -> Any:
        return finish(self.provider.generate(key_id or self.id, CONTEXT, call or self.call))

    def unwrap(self, wrapped: bytes, call: Call | None = None, **context: str) -> bytes:
        wanted = self.provider.unwrap(wrapped, context or CONTEXT, call or self.call)
        return finish(wanted)

    def cannot(self, work: Awaitable[Any]) -> ServiceError:
        with pytest.raises(ServiceError) as refusal:
            finish(work)
        return refusal.value

    def cannot_generate(self, call: Call | None = None, key_id: str = "") -> ServiceError:
        return self.cannot(self.provider.generate(key_id or self.id, CONTEXT, call or self.call))

    def cannot_unwrap(self, wrapped: bytes, call: Call | None = None) -> ServiceError:
        return self.cannot(self.provider.unwrap(wrapped, CONTEXT, call or self.call))


# --- Keys -----------------------------------------------------------------------------------------


def test_a_data_key_comes_back() -> None:
    service = Fixture()
    made = service.generate()
    assert len(made.key) == 32
    assert kms_unwrapped(made.wrapped)[0] == service.arn
    assert service.unwrap(made.wrapped) == made.key
    assert len(made.wrapped) < 200, "it is stored with every message"


def test_it_is_bound_to_its_queue_and_key() -> None:
    service = Fixture()
    wrapped = service.generate().wrapped
    arn, blob = kms_unwrapped(wrapped)
    other = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{service.key()}"
    for damaged in (wrapped[:-1], b"\x01" + wrapped[1:], kms_wrapped(other, blob), b""):
        with pytest.raises(Unsealable):
            service.unwrap(damaged)
    with pytest.raises(Unsealable):
        service.unwrap(wrapped, **{"aws:sqs:arn": CONTEXT["aws:sqs:arn"] + "2"})
    assert arn == service.arn


@pytest.mark.parametrize("name", ["id", "arn", "alias/a", "alias-arn"])
def test_a_queue_may_call_its_key_by_any_name(name: str) -> None:
    service = Fixture()
    service.alias("alias/a", service.id)
    alias_arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/a"
    key_id = {"id": service.id, "arn": service.arn, "alias-arn": alias_arn}.get(name, name)
    assert kms_unwrapped(service.generate(key_id=key_id).wrapped)[0] == service.arn


def test_a_rotation_leaves_old_data_keys_readable() -> None:
    service = Fixture()
    before = service.generate()
    service.do(EnableKeyRotationRequest(key_id=service.id, rotation_period_in_days=90))
    service.clock.advance(100 * DAY_S)
    after = service.generate()
    assert len(service.found(service.id).materials) == 2
    assert service.unwrap(before.wrapped) == before.key
    assert service.unwrap(after.wrapped) == after.key


def test_states_and_usages() -> None:
    service = Fixture()
    wrapped = service.generate().wrapped
    mac_id = service.key(key_spec="HMAC_256", key_usage="GENERATE_VERIFY_MAC")
    assert type(service.cannot_generate(key_id=mac_id)) is InvalidKeyUsageException
    assert type(service.cannot_generate(key_id="alias/none")) is NotFoundException
    service.do(DisableKeyRequest(key_id=service.id))
    assert type(service.cannot_generate()) is DisabledException
    assert type(service.cannot_unwrap(wrapped)) is DisabledException
    service.do(ScheduleKeyDeletionRequest(key_id=service.id))
    assert type(service.cannot_generate()) is KMSInvalidStateException
    assert type(service.cannot_unwrap(wrapped)) is KMSInvalidStateException
    service.clock.advance(31 * DAY_S)
    assert type(service.cannot_unwrap(wrapped)) is NotFoundException


# --- Permissions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actions", "missing_to_send", "missing_to_receive"),
    [
        ([GENERATE, DECRYPT], None, None),
        ([GENERATE], DECRYPT, DECRYPT),
        ([DECRYPT], GENERATE, None),
        (["kms:Encrypt", "sqs:*"], GENERATE, DECRYPT),
    ],
)
def test_what_producers_and_consumers_need(
    actions: list[str], missing_to_send: str | None, missing_to_receive: str | None
) -> None:
    service = Fixture()
    made = service.generate()
    alice = service.user("alice", allow(*actions))
    if missing_to_send is None:
        service.generate(alice)
    else:
        error = service.cannot_generate(alice)
        assert type(error) is AccessDenied
        assert error.message == (
            f"User: {alice.caller.arn} is not authorized to perform: {missing_to_send} on"
            f" resource: {service.arn} because no identity-based policy allows the"
            f" {missing_to_send} action"
        )
    if missing_to_receive is None:
        assert service.unwrap(made.wrapped, alice) == made.key
    else:
        assert missing_to_receive in service.cannot_unwrap(made.wrapped, alice).message


SEEN = {
    "StringEquals": {
        "kms:ViaService": f"sqs.{REGION}.amazonaws.com",
        "kms:EncryptionContext:aws:sqs:arn": CONTEXT["aws:sqs:arn"],
        "kms:CallerAccount": ACCOUNT,
    },
    "Bool": {"aws:ViaAWSService": "true"},
}


def test_what_conditions_see() -> None:
    service = Fixture()
    alice = service.user("alice", allow(GENERATE, DECRYPT, **SEEN))
    made = service.generate(alice)
    assert service.unwrap(made.wrapped, alice) == made.key
    direct = GenerateDataKeyRequest(
        key_id=service.id, key_spec="AES_256", encryption_context=CONTEXT
    )
    assert type(service.refuses(direct, alice)) is AccessDenied
    wrong = json.loads(json.dumps(SEEN).replace(":q", ":another"))
    bob = service.user("bob", allow(GENERATE, DECRYPT, **wrong))
    assert type(service.cannot_generate(bob)) is AccessDenied
    assert type(service.cannot_unwrap(made.wrapped, bob)) is AccessDenied


def test_the_alias_is_seen_where_it_is_used() -> None:
    service = Fixture()
    service.alias("alias/a", service.id)
    named = {"StringEquals": {"kms:RequestAlias": "alias/a"}}
    alice = service.user("alice", allow(GENERATE, **named), allow(DECRYPT))
    service.generate(alice, "alias/a")
    assert type(service.cannot_generate(alice)) is AccessDenied


def test_the_address_of_the_client_is_not_seen() -> None:
    service = Fixture()
    here = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
    alice = structs.replace(
        service.user("alice", allow(GENERATE, DECRYPT, **here)), peer_ip="10.0.0.1"
    )
    assert type(service.cannot_generate(alice)) is AccessDenied


def test_a_denial_and_a_grant() -> None:
    service = Fixture()
    alice, bob = service.user("alice"), service.user("bob", deny("kms:*"))
    for name in ("alice", "bob"):
        service.do(
            CreateGrantRequest(
                key_id=service.id,
                grantee_principal=f"arn:aws:iam::{ACCOUNT}:user/{name}",
                operations=["GenerateDataKey", "Decrypt"],
            )
        )
    assert service.unwrap(service.generate(alice).wrapped, alice)
    assert type(service.cannot_generate(bob)) is AccessDenied


def test_nobody_unknown_uses_a_key() -> None:
    service = Fixture()
    everybody = key_policy(statement("*", "kms:*"))
    service.do(PutKeyPolicyRequest(key_id=service.id, policy=everybody))
    stranger = call_of(anonymous("10.0.0.1"))
    assert type(service.cannot_generate(stranger)) is AccessDenied
    assert type(service.cannot_unwrap(service.generate().wrapped, stranger)) is AccessDenied


def test_a_service_may_by_the_policy_of_the_key() -> None:
    service = Fixture()
    topic = call_of(Caller("service", "", "sns.amazonaws.com", "sns.amazonaws.com"))
    assert type(service.cannot_generate(topic)) is AccessDenied
    letting = key_policy(statement({"Service": "sns.amazonaws.com"}, GENERATE, DECRYPT))
    service.do(PutKeyPolicyRequest(key_id=service.id, policy=letting))
    service.generate(topic)


# --- Accounts, and the AWS managed key ------------------------------------------------------------


def test_a_key_without_an_arn_is_of_the_account_of_the_queue() -> None:
    service = Fixture()
    service.alias("alias/a", service.id)
    bob = service.user("bob", allow("kms:*"), account_id=OTHER_ACCOUNT)
    for key_id in (service.id, "alias/a", "alias/none"):
        assert type(service.cannot_generate(bob, key_id)) is AccessDenied
    letting = key_policy(statement({"AWS": OTHER_ROOT}, GENERATE, DECRYPT))
    service.do(PutKeyPolicyRequest(key_id=service.id, policy=letting))
    for key_id in (service.id, "alias/a"):
        made = service.generate(bob, key_id)
        assert service.unwrap(made.wrapped, bob) == made.key


def test_the_managed_key_is_made_when_it_is_needed_and_once() -> None:
    service = Fixture()
    alice = service.user("alice")
    made = service.generate(alice, MANAGED)
    key = service.found(MANAGED)
    assert (key.manager, key.aliases) == ("AWS", (MANAGED,))
    assert kms_unwrapped(made.wrapped)[0].endswith(key.id)
    assert service.unwrap(made.wrapped, alice) == made.key
    again = kms_unwrapped(service.generate(alice, MANAGED).wrapped)[0]
    assert again == kms_unwrapped(made.wrapped)[0]


def test_the_managed_key_is_for_its_account_alone() -> None:
    service = Fixture()
    bob = service.user("bob", allow("kms:*"), account_id=OTHER_ACCOUNT)
    assert type(service.cannot_generate(bob, MANAGED)) is AccessDenied
    wrapped = service.generate(key_id=MANAGED).wrapped
    assert type(service.cannot_unwrap(wrapped, bob)) is AccessDenied
    assert type(service.cannot_generate(service.other_root, MANAGED)) is AccessDenied
    assert service.get(Key, OTHER_ACCOUNT, f"{REGION}/{service.found(MANAGED).id}") is None


def test_the_managed_key_of_another_account_is_not_made_here() -> None:
    service = Fixture()
    theirs = f"arn:aws:kms:{REGION}:{OTHER_ACCOUNT}:{MANAGED}"
    assert type(service.cannot_generate(key_id=theirs)) is AccessDenied
    for call in (service.call, service.other_root):
        with pytest.raises(NotFoundException):
            service.found(MANAGED, call)


# --- When what was allowed is over ----------------------------------------------------------------


def test_a_cached_key_is_not_used_when_anything_has_changed() -> None:
    async def story() -> None:
        service = Fixture()
        keys = DataKeys({KMS: service.provider}, service.clock)
        use = Use("root", service.call, CONTEXT, 300)
        made = await keys.new_sealing_key(KMS, 1, service.id, use)
        assert keys.sealing_key(1, service.id, "root") is made
        await _edit(service, DisableKeyRequest(key_id=service.id))
        assert keys.sealing_key(1, service.id, "root") is None
        with pytest.raises(DisabledException):
            await keys.new_sealing_key(KMS, 1, service.id, use)
        await _edit(service, EnableKeyRequest(key_id=service.id))
        await keys.new_sealing_key(KMS, 1, service.id, use)
        assert keys.sealing_key(1, service.id, "root") is not None

    asyncio.run(story())


async def _edit(service: Service, request: Any) -> None:
    service.do(request)


# --- A KMS elsewhere ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policies", "is_allowed"),
    [
        ([allow(GENERATE, **SEEN)], True),
        ([allow("kms:*", resource="arn:aws:kms:*:999999999999:key/k")], True),
        ([allow("kms:*", resource="arn:aws:kms:*:999999999999:key/other")], False),
        ([allow(DECRYPT)], False),
        ([], False),
        ([allow("kms:*"), deny(GENERATE)], False),
    ],
)
def test_the_callers_own_policies_decide_about_keys_elsewhere(
    policies: list[str], is_allowed: bool
) -> None:
    service = Service()
    check = ByIdentity(Authoriser(service.clock)).check
    alice, key_arn = service.user("alice", *policies), f"arn:aws:kms:{REGION}:999999999999:key/k"
    if is_allowed:
        check(alice, GENERATE, key_arn, CONTEXT)
        return
    with pytest.raises(AccessDenied, match=f"perform: {GENERATE} on resource: {key_arn} "):
        check(alice, GENERATE, key_arn, CONTEXT)


def test_root_may_use_keys_elsewhere_and_strangers_may_not() -> None:
    service = Service()
    check = ByIdentity(Authoriser(service.clock)).check
    check(service.call, DECRYPT, "arn:aws:kms:eu-west-1:999999999999:key/k", CONTEXT)
    for caller in (anonymous("10.0.0.1"), Caller("service", "", "sns.amazonaws.com", "sns")):
        with pytest.raises(AccessDenied):
            check(call_of(caller), DECRYPT, "arn:aws:kms:eu-west-1:999999999999:key/k", CONTEXT)
