"""Encrypt, Decrypt and ReEncrypt as a client sees them: permissions, states, errors."""

from typing import Any

import pytest

from stanchion.keys.ring import KeyRing
from stanchion.kms.ciphertexts import encrypt
from stanchion.kms.grant_tokens import check_tokens
from stanchion.model.errors import AccessDenied, ServiceError, ValidationError
from stanchion.model.kms import (
    CreateGrantRequest,
    DecryptRequest,
    DisabledException,
    DisableKeyRequest,
    DryRunOperationException,
    EnableKeyRotationRequest,
    EncryptRequest,
    IncorrectKeyException,
    InvalidCiphertextException,
    InvalidGrantTokenException,
    InvalidKeyUsageException,
    KMSInvalidStateException,
    NotFoundException,
    PutKeyPolicyRequest,
    RecipientInfo,
    ReEncryptRequest,
    RotateKeyOnDemandRequest,
    ScheduleKeyDeletionRequest,
    UnsupportedOperationException,
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
    key_policy,
    statement,
)

CONTEXT = {"purpose": "test"}


def arn(key_id: str, account_id: str = ACCOUNT) -> str:
    return f"arn:aws:kms:{REGION}:{account_id}:key/{key_id}"


def encrypted(service: Service, key_id: str, call: Call | None = None, **more: Any) -> bytes:
    request = EncryptRequest(key_id=key_id, plaintext=b"secret", **more)
    blob: bytes = service.ask(request, call).ciphertext_blob
    return blob


# --- Encrypt and Decrypt --------------------------------------------------------------------------


def test_a_round_trip_needs_no_key_id() -> None:
    service = Service()
    key_id = service.key()
    request = EncryptRequest(key_id=key_id, plaintext=b"secret", encryption_context=CONTEXT)
    answer = service.ask(request)
    assert (answer.key_id, answer.encryption_algorithm) == (arn(key_id), "SYMMETRIC_DEFAULT")
    assert b"secret" not in answer.ciphertext_blob
    told = service.ask(
        DecryptRequest(ciphertext_blob=answer.ciphertext_blob, encryption_context=CONTEXT)
    )
    assert (told.plaintext, told.key_id) == (b"secret", arn(key_id))
    assert len(told.key_material_id) == 64


def test_an_alias_names_the_key_on_both_ways() -> None:
    service = Service()
    service.alias("alias/a", service.key())
    blob = encrypted(service, "alias/a")
    assert service.ask(DecryptRequest(ciphertext_blob=blob, key_id="alias/a")).plaintext == (
        b"secret"
    )


def test_plaintexts_have_a_size() -> None:
    service = Service()
    key_id = service.key()
    service.ask(EncryptRequest(key_id=key_id, plaintext=b"x" * 4096))
    for plaintext in (b"x" * 4097, b"", None):
        error = service.refuses(EncryptRequest(key_id=key_id, plaintext=plaintext))
        assert isinstance(error, ValidationError)


@pytest.mark.parametrize("context", [None, {}, {"purpose": "Test"}, {**CONTEXT, "more": ""}])
def test_another_context_is_refused(context: dict[str, str] | None) -> None:
    service = Service()
    blob = encrypted(service, service.key(), encryption_context=CONTEXT)
    error = service.refuses(DecryptRequest(ciphertext_blob=blob, encryption_context=context))
    assert type(error) is InvalidCiphertextException


def test_garbage_is_refused() -> None:
    service = Service()
    error = service.refuses(DecryptRequest(ciphertext_blob=b"garbage"))
    assert type(error) is InvalidCiphertextException


def test_a_blob_of_the_wrong_key_is_refused() -> None:
    service = Service()
    blob = encrypted(service, service.key())
    error = service.refuses(DecryptRequest(ciphertext_blob=blob, key_id=service.key()))
    assert type(error) is IncorrectKeyException
    assert error.message == (
        "The key ID in the request does not identify a CMK that can perform this operation."
    )


def test_a_blob_of_a_key_that_is_not_there_says_nothing_else() -> None:
    service, elsewhere = Service(), Service()
    elsewhere.key()
    blob = encrypted(elsewhere, elsewhere.key())
    error = service.refuses(DecryptRequest(ciphertext_blob=blob))
    assert type(error) is AccessDenied
    assert error.message.startswith("The ciphertext refers to a customer master key that does not")


def test_a_blob_of_another_account_looks_the_same_whether_there_is_the_key_or_not() -> None:
    service = Service()
    key_id = service.key()
    key = service.found(key_id)
    there = encrypt(service.kms, key, b"x", {})
    gone = there[:24] + b"\xff" + there[25:]
    errors = [
        service.refuses(DecryptRequest(ciphertext_blob=blob), service.other_root)
        for blob in (there, gone)
    ]
    assert [type(error) for error in errors] == [AccessDenied, AccessDenied]
    assert len({error.message.partition(" because ")[2] for error in errors}) == 1


def test_rotation_keeps_old_blobs_readable() -> None:
    service = Service()
    key_id = service.key()
    blobs = [encrypted(service, key_id)]
    service.do(RotateKeyOnDemandRequest(key_id=key_id))
    blobs.append(encrypted(service, key_id))
    service.do(EnableKeyRotationRequest(key_id=key_id, rotation_period_in_days=90))
    service.clock.advance(91 * DAY_S)
    blobs.append(encrypted(service, key_id))
    told = [service.ask(DecryptRequest(ciphertext_blob=blob)) for blob in blobs]
    assert [answer.plaintext for answer in told] == [b"secret"] * 3
    assert len({answer.key_material_id for answer in told}) == 3


def test_each_operation_needs_its_permission() -> None:
    service = Service()
    key_id = service.key()
    encrypter = service.user("alice", allow("kms:Encrypt"))
    decrypter = service.user("bob", allow("kms:Decrypt"))
    blob = encrypted(service, key_id, encrypter)
    assert service.ask(DecryptRequest(ciphertext_blob=blob), decrypter).plaintext == b"secret"
    error = service.refuses(DecryptRequest(ciphertext_blob=blob), encrypter)
    assert isinstance(error, AccessDenied)
    assert "kms:Decrypt" in error.message
    error = service.refuses(EncryptRequest(key_id=key_id, plaintext=b"x"), decrypter)
    assert "kms:Encrypt" in error.message


def test_conditions_see_the_context_and_the_alias() -> None:
    service = Service()
    service.alias("alias/a", service.key())
    key = {"StringEquals": {"kms:EncryptionContext:purpose": "test", "kms:RequestAlias": "alias/a"}}
    alice = service.user("alice", allow("kms:*", **key))
    blob = encrypted(service, "alias/a", alice, encryption_context=CONTEXT)
    fine = DecryptRequest(ciphertext_blob=blob, key_id="alias/a", encryption_context=CONTEXT)
    assert service.ask(fine, alice).plaintext == b"secret"
    for wrong in (
        DecryptRequest(ciphertext_blob=blob, encryption_context=CONTEXT),
        DecryptRequest(ciphertext_blob=blob, key_id="alias/a"),
    ):
        assert isinstance(service.refuses(wrong, alice), AccessDenied)


def test_another_account_decrypts_when_both_sides_say_so() -> None:
    service = Service()
    other = {"AWS": f"arn:aws:iam::{OTHER_ACCOUNT}:root"}
    key_id = service.key()
    blob = encrypted(service, key_id)
    bob = service.user("bob", allow("kms:Decrypt"), account_id=OTHER_ACCOUNT)
    assert isinstance(service.refuses(DecryptRequest(ciphertext_blob=blob), bob), AccessDenied)
    policy = key_policy(statement(other, "kms:Decrypt"))
    service.do(PutKeyPolicyRequest(key_id=key_id, policy=policy))
    assert service.ask(DecryptRequest(ciphertext_blob=blob), bob).plaintext == b"secret"


@pytest.mark.parametrize(
    ("edit", "error", "text"),
    [
        (DisableKeyRequest, DisabledException, "is disabled."),
        (ScheduleKeyDeletionRequest, KMSInvalidStateException, "is pending deletion."),
    ],
)
def test_a_key_that_is_not_enabled_does_nothing(edit: Any, error: Any, text: str) -> None:
    service = Service()
    key_id, other_id = service.key(), service.key()
    blob, other = encrypted(service, key_id), encrypted(service, other_id)
    service.do(edit(key_id=key_id))
    for request in (
        EncryptRequest(key_id=key_id, plaintext=b"x"),
        DecryptRequest(ciphertext_blob=blob),
        ReEncryptRequest(ciphertext_blob=blob, destination_key_id=other_id),
        ReEncryptRequest(ciphertext_blob=other, destination_key_id=key_id),
    ):
        refusal = service.refuses(request)
        assert (type(refusal), refusal.message) == (error, f"{arn(key_id)} {text}")


def test_a_key_for_macs_does_not_encrypt() -> None:
    service = Service()
    key_id = service.key(key_spec="HMAC_256", key_usage="GENERATE_VERIFY_MAC")
    error = service.refuses(EncryptRequest(key_id=key_id, plaintext=b"x"))
    assert type(error) is InvalidKeyUsageException
    assert error.message == (
        f"{arn(key_id)} key usage is GENERATE_VERIFY_MAC which is not valid for Encrypt."
    )


def test_an_algorithm_of_other_keys_is_refused() -> None:
    service = Service()
    key_id = service.key()
    request = EncryptRequest(
        key_id=key_id, plaintext=b"x", encryption_algorithm="RSAES_OAEP_SHA_256"
    )
    error = service.refuses(request)
    assert type(error) is InvalidKeyUsageException
    assert error.message == (
        "Algorithm RSAES_OAEP_SHA_256 is incompatible with key spec SYMMETRIC_DEFAULT."
    )


def test_a_key_that_is_not_there() -> None:
    service = Service()
    error = service.refuses(EncryptRequest(key_id="alias/none", plaintext=b"x"))
    assert type(error) is NotFoundException


def test_there_are_no_enclaves() -> None:
    service = Service()
    request = DecryptRequest(ciphertext_blob=b"x", recipient=RecipientInfo())
    assert type(service.refuses(request)) is UnsupportedOperationException


def test_grant_tokens_must_have_been_handed_out() -> None:
    service = Service()
    key_id = service.key()
    token = service.ask(
        CreateGrantRequest(
            key_id=key_id,
            grantee_principal=f"arn:aws:iam::{ACCOUNT}:root",
            operations=["Encrypt"],
        )
    ).grant_token
    blob = encrypted(service, key_id, grant_tokens=[token])
    forged = (token[:-8] + "AAAAAAA=", "nonsense", "\u00e4")
    for wrong in forged:
        for request in (
            EncryptRequest(key_id=key_id, plaintext=b"x", grant_tokens=[token, wrong]),
            DecryptRequest(ciphertext_blob=blob, grant_tokens=[wrong]),
        ):
            assert type(service.refuses(request)) is InvalidGrantTokenException
    with pytest.raises(InvalidGrantTokenException):
        check_tokens(Service().kms, [KeyRing.ephemeral().seal("kms-grant-token", b"x").hex()])


# --- Dry runs -------------------------------------------------------------------------------------


def test_a_dry_run_does_all_but_the_work() -> None:
    service = Service()
    key_id = service.key()
    blob = encrypted(service, key_id)
    for request in (
        EncryptRequest(key_id=key_id, plaintext=b"x", dry_run=True),
        DecryptRequest(ciphertext_blob=blob, dry_run=True),
        ReEncryptRequest(ciphertext_blob=blob, destination_key_id=key_id, dry_run=True),
    ):
        error = service.refuses(request)
        assert type(error) is DryRunOperationException
        assert error.message == "The request would have succeeded, but the DryRun option is set."
    error = service.refuses(DecryptRequest(ciphertext_blob=b"garbage", dry_run=True))
    assert type(error) is InvalidCiphertextException


def test_a_dry_run_may_leave_the_ciphertext_aside() -> None:
    service = Service()
    key_id = service.key()
    aside = ["IGNORE_CIPHERTEXT"]
    alice = service.user("alice", allow("kms:ReEncrypt*"))
    decrypt = DecryptRequest(key_id=key_id, dry_run=True, dry_run_modifiers=aside)
    re_encrypt = ReEncryptRequest(
        source_key_id=key_id, destination_key_id=key_id, dry_run=True, dry_run_modifiers=aside
    )
    assert type(service.refuses(decrypt)) is DryRunOperationException
    assert type(service.refuses(decrypt, alice)) is AccessDenied
    assert type(service.refuses(re_encrypt, alice)) is DryRunOperationException
    for wrong in (
        DecryptRequest(dry_run=True, dry_run_modifiers=aside),
        DecryptRequest(key_id=key_id, dry_run_modifiers=aside),
        DecryptRequest(key_id=key_id),
    ):
        assert type(service.refuses(wrong)) is ValidationError


# --- ReEncrypt ------------------------------------------------------------------------------------


def re_encrypt(blob: bytes, key_id: str, **more: Any) -> ReEncryptRequest:
    return ReEncryptRequest(ciphertext_blob=blob, destination_key_id=key_id, **more)


def test_a_blob_changes_its_key_and_context() -> None:
    service = Service()
    old_id, new_id = service.key(), service.key()
    blob = encrypted(service, old_id, encryption_context=CONTEXT)
    answer = service.ask(
        re_encrypt(
            blob,
            new_id,
            source_encryption_context=CONTEXT,
            destination_encryption_context={"new": "1"},
        )
    )
    assert (answer.source_key_id, answer.key_id) == (arn(old_id), arn(new_id))
    told = service.ask(
        DecryptRequest(
            ciphertext_blob=answer.ciphertext_blob, key_id=new_id, encryption_context={"new": "1"}
        )
    )
    assert told.plaintext == b"secret"
    assert told.key_material_id == answer.destination_key_material_id
    assert answer.source_key_material_id != answer.destination_key_material_id


@pytest.mark.parametrize(
    ("source", "destination", "error"),
    [
        (["kms:ReEncryptFrom"], ["kms:ReEncryptTo"], None),
        (["kms:ReEncryptTo"], ["kms:ReEncryptTo"], "kms:ReEncryptFrom"),
        (["kms:ReEncryptFrom"], ["kms:ReEncryptFrom"], "kms:ReEncryptTo"),
        (["kms:Decrypt"], ["kms:Encrypt"], "kms:ReEncryptFrom"),
    ],
)
def test_both_keys_must_let_it(source: Any, destination: Any, error: str | None) -> None:
    service = Service()
    old_id, new_id = service.key(), service.key()
    blob = encrypted(service, old_id)
    alice = service.user(
        "alice",
        allow(*source, resource=arn(old_id)),
        allow(*destination, resource=arn(new_id)),
    )
    if error is None:
        service.ask(re_encrypt(blob, new_id), alice)
    else:
        refusal = service.refuses(re_encrypt(blob, new_id), alice)
        assert isinstance(refusal, AccessDenied)
        assert error in refusal.message


def test_conditions_see_whether_it_is_the_same_key() -> None:
    service = Service()
    key_id, other_id = service.key(), service.key()
    blob = encrypted(service, key_id)
    alice = service.user("alice", allow("kms:ReEncrypt*", Bool={"kms:ReEncryptOnSameKey": "true"}))
    service.ask(re_encrypt(blob, key_id), alice)
    service.ask(re_encrypt(blob, arn(key_id), source_key_id=key_id), alice)
    assert isinstance(service.refuses(re_encrypt(blob, other_id), alice), AccessDenied)


def test_a_wrong_source_key_is_refused() -> None:
    service = Service()
    key_id, other_id = service.key(), service.key()
    blob = encrypted(service, key_id)
    error: ServiceError = service.refuses(re_encrypt(blob, key_id, source_key_id=other_id))
    assert type(error) is IncorrectKeyException
    error = service.refuses(re_encrypt(blob, "alias/none"))
    assert type(error) is NotFoundException


def test_another_region_has_none_of_it() -> None:
    service = Service()
    blob = encrypted(service, service.key())
    elsewhere = call_of(service.call.caller, "us-east-1")
    error = service.refuses(DecryptRequest(ciphertext_blob=blob), elsewhere)
    assert type(error) is AccessDenied
