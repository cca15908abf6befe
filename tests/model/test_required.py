"""What the model requires of requests, and AWS's words for what is not so."""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated

import pytest
from msgspec import Struct, defstruct

from stanchion.model import iam, kms, sqs, sts
from stanchion.model.errors import ValidationError
from stanchion.model.required import check
from stanchion.model.shapes import Limits, members

FAILED = "failed to satisfy constraint:"
TAG_KEY = r"[\p{L}\p{Z}\p{N}_.:/=+\-@]+"


def _complaint(request: Struct) -> str:
    with pytest.raises(ValidationError) as refused:
        check(request)
    return refused.value.message


@pytest.mark.parametrize(
    "request_",
    [
        iam.CreateUserRequest(user_name="a.b+c=d,e@f-g_h", path="/"),
        iam.CreateUserRequest(user_name="x" * 64, path="/a/b/", tags=[]),
        iam.GetUserRequest(),
        iam.GetAccountSummaryRequest(),
        iam.TagUserRequest(user_name="u", tags=[iam.Tag(key="Größe 5\u2003\u4e2d", value="")]),
        iam.ListUsersRequest(max_items=1000),
        iam.CreateAccountAliasRequest(account_alias="my-own"),
        sts.AssumeRoleRequest(role_arn="a" * 20, role_session_name="s2"),
        kms.EncryptRequest(key_id="k", plaintext=b"x", encryption_context={"a": "b"}),
        kms.CreateGrantRequest(key_id="k", grantee_principal="p", operations=["Encrypt"]),
        sqs.SendMessageRequest(),
    ],
)
def test_what_passes(request_: Struct) -> None:
    check(request_)


@pytest.mark.parametrize(
    ("request_", "constraint"),
    [
        (iam.CreateUserRequest(), f"Value null at 'userName' {FAILED} Member must not be null"),
        (
            iam.CreateUserRequest(user_name=""),
            f"Value '' at 'userName' {FAILED} "
            "Member must have length greater than or equal to 1; "
            f"Value '' at 'userName' {FAILED} "
            r"Member must satisfy regular expression pattern: [\w+=,.@-]+",
        ),
        (
            iam.CreateUserRequest(user_name="x" * 65),
            f"Value '{'x' * 65}' at 'userName' {FAILED} "
            "Member must have length less than or equal to 64",
        ),
        (
            iam.CreateUserRequest(user_name="a b"),
            f"Value 'a b' at 'userName' {FAILED} "
            r"Member must satisfy regular expression pattern: [\w+=,.@-]+",
        ),
        (
            iam.CreateUserRequest(user_name="é\n"),
            f"Value 'é\n' at 'userName' {FAILED} "
            r"Member must satisfy regular expression pattern: [\w+=,.@-]+",
        ),
        (
            iam.UpdateAccessKeyRequest(access_key_id="A" * 16, status="Gone"),
            f"Value 'Gone' at 'status' {FAILED} "
            "Member must satisfy enum value set: [Active, Inactive, Expired]",
        ),
        (
            iam.ListUsersRequest(max_items=1001),
            f"Value '1001' at 'maxItems' {FAILED} "
            "Member must have value less than or equal to 1000",
        ),
        (
            iam.ListUsersRequest(max_items=0),
            f"Value '0' at 'maxItems' {FAILED} Member must have value greater than or equal to 1",
        ),
        (
            iam.TagUserRequest(user_name="u", tags=[iam.Tag(key="k", value=""), iam.Tag(key="k")]),
            f"Value null at 'tags.2.member.value' {FAILED} Member must not be null",
        ),
        (
            iam.TagUserRequest(user_name="u", tags=[iam.Tag(key="\t", value="")]),
            f"Value '\t' at 'tags.1.member.key' {FAILED} "
            f"Member must satisfy regular expression pattern: {TAG_KEY}",
        ),
        (
            iam.TagUserRequest(user_name="u", tags=[iam.Tag(key="k", value="v")] * 51),
            f"Value at 'tags' {FAILED} Member must have length less than or equal to 50",
        ),
        (
            iam.UntagUserRequest(user_name="u", tag_keys=["ok", "!"]),
            f"Value '[ok, !]' at 'tagKeys' {FAILED} Member must satisfy constraint: "
            "[Member must have length less than or equal to 128, Member must have length greater "
            f"than or equal to 1, Member must satisfy regular expression pattern: {TAG_KEY}]",
        ),
        (
            kms.ScheduleKeyDeletionRequest(key_id="k", pending_window_in_days=0),
            f"Value '0' at 'pendingWindowInDays' {FAILED} "
            "Member must have value greater than or equal to 1",
        ),
        (
            kms.EncryptRequest(key_id="k", plaintext=b"s" * 4097),
            f"Value at 'plaintext' {FAILED} Member must have length less than or equal to 4096",
        ),
        (
            kms.DecryptRequest(ciphertext_blob=b""),
            f"Value at 'ciphertextBlob' {FAILED} "
            "Member must have length greater than or equal to 1",
        ),
    ],
)
def test_what_does_not(request_: Struct, constraint: str) -> None:
    errors = len(constraint.split("; "))
    noun = "error" if errors == 1 else "errors"
    assert _complaint(request_) == f"{errors} validation {noun} detected: {constraint}"


def test_everything_is_named_in_the_order_of_the_model() -> None:
    assert _complaint(iam.PutUserPolicyRequest(policy_name="p")) == (
        f"2 validation errors detected: Value null at 'userName' {FAILED} Member must not be null; "
        f"Value null at 'policyDocument' {FAILED} Member must not be null"
    )


def test_what_is_sensitive_is_not_repeated() -> None:
    token = "tok"
    complaint = _complaint(
        sts.AssumeRoleWithWebIdentityRequest(
            role_arn="a" * 20, role_session_name="s2", web_identity_token=token
        )
    )
    assert complaint.startswith("1 validation error detected: Value at 'webIdentityToken' failed")
    assert token not in complaint.replace("webIdentityToken", "")


def _patterns(structure: type[Struct]) -> Iterator[str]:
    for member in members(structure):
        limits: Limits | None = member.limits
        while limits is not None:
            if limits.pattern:
                yield limits.pattern
            limits = limits.items
        for kind in (member.type, *getattr(member.type, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, Struct):
                yield from _patterns(kind)


PATTERNS = sorted(
    {
        pattern
        for module in (iam, sts, kms)
        for operation in module.OPERATIONS.values()
        for pattern in _patterns(operation.input)
    }
)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("unit", ["a", "/a", "-", "a-", "a.", "arn:aws:", "\xe9 ", "v1.", "\0"])
def test_no_pattern_takes_long(pattern: str, unit: str) -> None:
    limits = Limits(pattern=pattern)
    probe = defstruct("Probe", [("text", Annotated[str | None, limits], None)], rename="pascal")
    started_s = time.process_time()
    with suppress(ValidationError):
        check(probe(text=unit * 50_000 + "\0"))
    assert time.process_time() - started_s < 1
