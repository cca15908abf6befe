"""Who may do what: a row for every operation, and nothing without permission."""

from typing import Any

import pytest
from msgspec import Struct

from stanchion.access.identity import anonymous
from stanchion.kms import authorisation, condition_keys
from stanchion.kms.authorisation import RULES, SHAREABLE, authorise
from stanchion.kms.service import REGISTRY
from stanchion.model.errors import (
    AccessDenied,
    MissingAuthenticationToken,
    ServiceError,
    ValidationError,
)
from stanchion.model.kms import (
    CreateAliasRequest,
    CreateGrantRequest,
    CreateKeyRequest,
    DescribeKeyRequest,
    EncryptRequest,
    GenerateDataKeyRequest,
    GrantConstraints,
    InvalidAliasNameException,
    NotFoundException,
    PutKeyPolicyRequest,
    ScheduleKeyDeletionRequest,
    Tag,
    TagResourceRequest,
    UpdateAliasRequest,
)
from stanchion.service import Call
from tests.kms.harness import (
    ACCOUNT,
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

BY_ACTION = {"Decrypt", "ReEncrypt", "RetireGrant"}
"""The key is in a ciphertext or a token."""
ON_ALIAS = {"CreateAlias", "UpdateAlias", "DeleteAlias"}
ON_ACCOUNT = {"CreateKey", "GenerateRandom", "ListAliases", "ListKeys", "ListRetirableGrants"}
ON_KEY = sorted(set(REGISTRY.model.operations) - BY_ACTION - ON_ALIAS - ON_ACCOUNT)

MORE: dict[str, dict[str, Any]] = {
    "CreateAlias": {"alias_name": "alias/new"},
    "UpdateAlias": {"alias_name": "alias/orders"},
    "DeleteAlias": {"alias_name": "alias/orders"},
    "CreateGrant": {"grantee_principal": "x", "operations": ["Decrypt"]},
    "Encrypt": {"plaintext": b"x"},
    "GenerateMac": {"message": b"x", "mac_algorithm": "HMAC_SHA_256"},
    "PutKeyPolicy": {"policy": "{}"},
    "RevokeGrant": {"grant_id": "x"},
    "TagResource": {"tags": []},
    "UntagResource": {"tag_keys": []},
    "UpdateKeyDescription": {"description": "x"},
    "VerifyMac": {"message": b"x", "mac": b"x", "mac_algorithm": "HMAC_SHA_256"},
}


class Fixture(Service):
    """With a key that has an alias."""

    def __init__(self) -> None:
        super().__init__()
        self.id = self.key()
        self.arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{self.id}"
        self.alias("alias/orders", self.id)

    def request(self, operation: str) -> Struct:
        """One that nothing is wrong with."""
        input_type = REGISTRY.model.operations[operation].input
        named = {"key_id", "target_key_id"} & set(input_type.__struct_fields__)
        if operation in ON_ACCOUNT:
            named = set()
        return input_type(**dict.fromkeys(named, self.arn), **MORE.get(operation, {}))

    def allows(self, request: Struct, call: Call) -> ServiceError | None:
        operation = type(request).__name__.removesuffix("Request")
        try:
            finish(authorise(self.kms, call, operation, request))
        except ServiceError as refusal:
            return refusal
        return None

    def policy(self, *statements: Any, root: bool = True) -> None:
        policy = key_policy(*statements, root=root)
        self.do(
            PutKeyPolicyRequest(
                key_id=self.id, policy=policy, bypass_policy_lockout_safety_check=True
            )
        )


def test_every_operation_has_a_row() -> None:
    assert set(REGISTRY.model.operations) <= set(RULES)
    rows = {name for name, rule in RULES.items() if rule is authorisation._by_action}
    assert rows == BY_ACTION


OPERATIONS = sorted(set(REGISTRY.model.operations) - BY_ACTION)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_answers_without_permission(operation: str) -> None:
    service = Fixture()
    request = service.request(operation)
    others = [f"kms:{name}" for name in OPERATIONS if name != operation]
    refusal = service.allows(request, service.user("alice", allow(*others)))
    assert isinstance(refusal, AccessDenied)
    on = service.arn if operation in ON_KEY else "*"
    if operation in ON_ALIAS:
        alias = MORE[operation]["alias_name"]
        on = f"arn:aws:kms:{REGION}:{ACCOUNT}:{alias}"
    assert refusal.message == (
        f"User: arn:aws:iam::{ACCOUNT}:user/alice is not authorized to perform: kms:{operation}"
        f" on resource: {on} because no identity-based policy allows the kms:{operation} action"
    )


@pytest.mark.parametrize("operation", OPERATIONS)
def test_one_permission_is_enough(operation: str) -> None:
    service = Fixture()
    user = service.user("alice", allow(f"kms:{operation}"))
    assert service.allows(service.request(operation), user) is None
    assert service.allows(service.request(operation), service.call) is None


@pytest.mark.parametrize("operation", sorted(REGISTRY.model.operations))
def test_nobody_unknown_is_answered(operation: str) -> None:
    service = Fixture()
    service.policy(statement("*", "kms:*"))
    refusal = service.allows(service.request(operation), call_of(anonymous("127.0.0.1")))
    assert isinstance(refusal, MissingAuthenticationToken)


@pytest.mark.parametrize("operation", ON_KEY)
def test_the_key_policy_is_the_source_of_all_rights(operation: str) -> None:
    service = Fixture()
    service.policy(statement({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "kms:ListKeys"), root=False)
    request = service.request(operation)
    for call in (service.call, service.user("alice", allow("kms:*"))):
        refusal = service.allows(request, call)
        assert isinstance(refusal, AccessDenied)
        assert "because no resource-based policy allows" in refusal.message


@pytest.mark.parametrize("operation", ON_KEY)
def test_the_key_policy_alone_can_allow_a_user(operation: str) -> None:
    service = Fixture()
    alice = service.user("alice")
    service.policy(statement({"AWS": alice.caller.arn}, f"kms:{operation}"), root=False)
    assert service.allows(service.request(operation), alice) is None
    service.policy(statement({"AWS": alice.caller.arn}, "kms:*", effect="Deny"))
    refusal = service.allows(service.request(operation), service.user("alice", allow("kms:*")))
    assert refusal is not None
    assert "with an explicit deny in a resource-based policy" in refusal.message


# --- Other accounts -------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ON_KEY)
def test_another_account_is_let_in_for_some_operations(operation: str) -> None:
    service = Fixture()
    service.policy(statement({"AWS": f"arn:aws:iam::{OTHER_ACCOUNT}:root"}, "kms:*"))
    bob = service.user("bob", allow("kms:*"), account_id=OTHER_ACCOUNT)
    for call in (bob, service.other_root):
        refusal = service.allows(service.request(operation), call)
        assert (refusal is None) is (f"kms:{operation}" in SHAREABLE)


def test_both_accounts_must_allow() -> None:
    service = Fixture()
    request = DescribeKeyRequest(key_id=service.arn)
    bob = service.user("bob", allow("kms:*"), account_id=OTHER_ACCOUNT)
    assert isinstance(service.allows(request, bob), AccessDenied)
    service.policy(statement({"AWS": bob.caller.arn}, "kms:DescribeKey"))
    assert service.allows(request, bob) is None
    powerless = service.user("bob", account_id=OTHER_ACCOUNT)
    assert isinstance(service.allows(request, powerless), AccessDenied)


@pytest.mark.parametrize("policy", [allow("kms:*"), allow("sqs:*"), deny("kms:*")])
def test_another_account_learns_nothing_of_a_key(policy: str) -> None:
    service = Fixture()
    bob = service.user("bob", policy, account_id=OTHER_ACCOUNT)
    base = f"arn:aws:kms:{REGION}:{ACCOUNT}:"
    pairs = [
        (service.arn, f"{base}key/12345678-1234-1234-1234-123456789012"),
        (f"{base}alias/orders", f"{base}alias/nothing"),
    ]
    for pair in pairs:
        texts = set()
        for name in pair:
            refusal = service.allows(DescribeKeyRequest(key_id=name), bob)
            assert refusal is not None
            texts.add(refusal.message.replace(name, "N"))
        assert texts == {HIDDEN}


HIDDEN = (
    f"User: arn:aws:iam::{OTHER_ACCOUNT}:user/bob is not authorized to perform: kms:DescribeKey on"
    " resource: N because the resource does not exist in this Region, no resource-based policies"
    " allow access, or a resource-based policy explicitly denies access"
)


def test_an_own_key_that_is_not_there_is_told() -> None:
    service = Fixture()
    missing = DescribeKeyRequest(key_id="12345678-1234-1234-1234-123456789012")
    assert isinstance(service.allows(missing, service.user()), NotFoundException)


# --- Conditions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "allowed", "refused"),
    [
        (
            "kms:EncryptionContext:Team",
            "a",
            EncryptRequest(plaintext=b"x", encryption_context={"team": "a", "x": "y"}),
            EncryptRequest(plaintext=b"x", encryption_context={"team": "b"}),
        ),
        (
            "kms:EncryptionContextKeys",
            "Team",
            GenerateDataKeyRequest(encryption_context={"Team": "a"}),
            GenerateDataKeyRequest(encryption_context={"team": "a"}),
        ),
        (
            "kms:EncryptionAlgorithm",
            "SYMMETRIC_DEFAULT",
            EncryptRequest(plaintext=b"x"),
            EncryptRequest(plaintext=b"x", encryption_algorithm="SM2PKE"),
        ),
        (
            "kms:ScheduleKeyDeletionPendingWindowInDays",
            "30",
            ScheduleKeyDeletionRequest(),
            ScheduleKeyDeletionRequest(pending_window_in_days=7),
        ),
        (
            "kms:BypassPolicyLockoutSafetyCheck",
            "false",
            PutKeyPolicyRequest(policy="x"),
            PutKeyPolicyRequest(policy="x", bypass_policy_lockout_safety_check=True),
        ),
        (
            "kms:GrantOperations",
            "Decrypt",
            CreateGrantRequest(grantee_principal="x", operations=["Decrypt"]),
            CreateGrantRequest(grantee_principal="x", operations=["Encrypt"]),
        ),
        (
            "kms:GranteePrincipal",
            "x",
            CreateGrantRequest(grantee_principal="x", operations=["Decrypt"]),
            CreateGrantRequest(grantee_principal="y", operations=["Decrypt"]),
        ),
        (
            "kms:GrantConstraintType",
            "EncryptionContextEquals",
            CreateGrantRequest(
                grantee_principal="x",
                operations=["Decrypt"],
                constraints=GrantConstraints(encryption_context_equals={"a": "b"}),
            ),
            CreateGrantRequest(
                grantee_principal="x",
                operations=["Decrypt"],
                constraints=GrantConstraints(encryption_context_subset={"a": "b"}),
            ),
        ),
        (
            "kms:GrantConstraintType",
            "EncryptionContextSubset",
            CreateGrantRequest(
                grantee_principal="x",
                operations=["Decrypt"],
                constraints=GrantConstraints(
                    encryption_context_equals={}, encryption_context_subset={"a": "b"}
                ),
            ),
            CreateGrantRequest(
                grantee_principal="x",
                operations=["Decrypt"],
                constraints=GrantConstraints(
                    encryption_context_equals={}, encryption_context_subset={}
                ),
            ),
        ),
        (
            "aws:RequestTag/Team",
            "a",
            TagResourceRequest(tags=[Tag(tag_key="team", tag_value="a")]),
            TagResourceRequest(tags=[Tag(tag_key="team", tag_value="b")]),
        ),
    ],
)
def test_conditions_see_the_request(key: str, value: str, allowed: Any, refused: Any) -> None:
    service = Fixture()
    user = service.user("alice", allow("kms:*", StringEquals={key: value}))
    for request in (allowed, refused):
        request.key_id = service.id
    assert service.allows(allowed, user) is None
    assert isinstance(service.allows(refused, user), AccessDenied)


@pytest.mark.parametrize(
    ("condition", "is_allowed"),
    [
        ({"kms:KeySpec": "SYMMETRIC_DEFAULT"}, True),
        ({"kms:KeySpec": "AES_256"}, False),
        ({"kms:KeyUsage": "ENCRYPT_DECRYPT", "kms:MultiRegion": "false"}, True),
        ({"kms:CallerAccount": ACCOUNT}, True),
        ({"kms:ViaService": f"sqs.{REGION}.amazonaws.com"}, False),
        ({"aws:ResourceTag/team": "a"}, True),
        ({"aws:ResourceTag/team": "b"}, False),
    ],
)
def test_conditions_see_the_key_and_the_caller(condition: dict[str, str], is_allowed: bool) -> None:
    service = Fixture()
    service.do(TagResourceRequest(key_id=service.id, tags=[Tag(tag_key="Team", tag_value="a")]))
    user = service.user("alice", allow("kms:*", StringEquals=condition))
    request = GenerateDataKeyRequest(key_id=service.id, key_spec="AES_256")
    assert (service.allows(request, user) is None) is is_allowed


def test_conditions_see_by_which_alias_a_key_was_asked_for() -> None:
    service = Fixture()
    service.alias("alias/other", service.id)
    user = service.user("alice", allow("kms:*", StringEquals={"kms:RequestAlias": "alias/orders"}))
    prefix = f"arn:aws:kms:{REGION}:{ACCOUNT}:"
    for name in ("alias/orders", f"{prefix}alias/orders"):
        assert service.allows(DescribeKeyRequest(key_id=name), user) is None
    for name in ("alias/other", service.id, service.arn):
        assert isinstance(service.allows(DescribeKeyRequest(key_id=name), user), AccessDenied)


def test_conditions_see_all_aliases_of_a_key() -> None:
    service = Fixture()
    service.alias("alias/other", service.id)
    bare = service.key()
    policy = allow("kms:*", **{"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/other"}})
    user = service.user("alice", policy)
    assert service.allows(DescribeKeyRequest(key_id="alias/orders"), user) is None
    assert isinstance(service.allows(DescribeKeyRequest(key_id=bare), user), AccessDenied)


def test_the_context_must_be_clear_to_conditions() -> None:
    service = Fixture()
    request = EncryptRequest(
        key_id=service.id, plaintext=b"x", encryption_context={"a": "1", "A": "2"}
    )
    assert isinstance(service.allows(request, service.call), ValidationError)
    assert condition_keys.of_encryption_context({}) == {}


def test_a_request_is_checked_before_anything_is_looked_up() -> None:
    service = Fixture()
    refusal = service.allows(EncryptRequest(key_id="nothing"), service.user())
    assert isinstance(refusal, ValidationError)
    assert "Value null at 'plaintext'" in refusal.message


# --- Making keys and aliases ----------------------------------------------------------------------


def test_making_a_key_with_tags_needs_both_permissions() -> None:
    service = Fixture()
    tagged = CreateKeyRequest(tags=[Tag(tag_key="team", tag_value="a")])
    create = allow("kms:CreateKey", StringEquals={"kms:KeySpec": "SYMMETRIC_DEFAULT"})
    user = service.user("alice", create)
    assert service.allows(CreateKeyRequest(), user) is None
    hmac = CreateKeyRequest(key_spec="HMAC_256", key_usage="GENERATE_VERIFY_MAC")
    assert isinstance(service.allows(hmac, user), AccessDenied)
    refusal = service.allows(tagged, user)
    assert refusal is not None
    assert "kms:TagResource" in refusal.message
    tag = allow("kms:TagResource", StringEquals={"aws:RequestTag/team": "a"})
    assert service.allows(tagged, service.user("alice", create, tag)) is None


def test_an_alias_needs_the_permission_on_both() -> None:
    service = Fixture()
    alias_arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/new"
    request = CreateAliasRequest(alias_name="alias/new", target_key_id=service.id)
    for only in (alias_arn, service.arn):
        user = service.user("alice", allow("kms:CreateAlias", resource=only))
        assert isinstance(service.allows(request, user), AccessDenied)
    both = [allow("kms:CreateAlias", resource=on) for on in (alias_arn, service.arn)]
    assert service.allows(request, service.user("alice", *both)) is None


def test_moving_an_alias_needs_the_permission_on_both_keys() -> None:
    service = Fixture()
    target = service.key()
    request = UpdateAliasRequest(alias_name="alias/orders", target_key_id=target)
    arns = [
        f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/orders",
        f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{target}",
        service.arn,
    ]
    policies = [allow("kms:UpdateAlias", resource=arn) for arn in arns]
    assert service.allows(request, service.user("alice", *policies)) is None
    for missing in policies:
        some = [policy for policy in policies if policy is not missing]
        assert isinstance(service.allows(request, service.user("alice", *some)), AccessDenied)


@pytest.mark.parametrize(
    ("name", "error"),
    [("orders", ValidationError), ("alias/", InvalidAliasNameException)],
)
def test_what_is_no_alias(name: str, error: type[ServiceError]) -> None:
    service = Fixture()
    request = CreateAliasRequest(alias_name=name, target_key_id=service.id)
    assert type(service.allows(request, service.call)) is error
