"""Encryption of bodies: which keys are asked for, by whom, how often; and what stays as it was."""

import asyncio
import logging
from collections.abc import Coroutine
from hashlib import md5, sha256
from typing import Any

import pytest
from msgspec import structs

from stanchion.access.identity import anonymous
from stanchion.keys.data_keys import OUTAGE_RETRY_S
from stanchion.keys.envelope import is_sealed
from stanchion.keys.providers import (
    KMS,
    RING,
    ProviderThrottled,
    ProviderUnavailable,
)
from stanchion.model import kms, sqs
from stanchion.model.errors import AccessDenied, ServiceError, ServiceUnavailable
from stanchion.model.sqs import (
    MessageAttributeValue,
    ReceiveMessageRequest,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageRequest,
    SetQueueAttributesRequest,
)
from stanchion.service import Call
from stanchion.store.contract import Claim, Claimed, SendFifo
from tests.sqs.harness import ACCOUNT, REGION
from tests.sqs.messages.sealing import OUTAGE_MAX_S, PERIOD_S, TEXT, Sealing, by

# --- What is sealed -------------------------------------------------------------------------------


def test_a_queue_seals_unless_it_says_otherwise() -> None:
    service = Sealing()
    service.create("q")
    service.create("plain", SqsManagedSseEnabled="false")
    service.send()
    (body,) = service.stored()
    assert is_sealed(body)
    assert TEXT.encode() not in body
    service.send(queue="plain")
    assert service.stored() == [TEXT.encode()]
    assert service.bodies_received() == service.bodies_received(queue="plain") == [TEXT]
    assert service.ring.calls == {"generate": 1, "unwrap": 1}
    assert service.kms.calls == []


def test_what_a_client_sees_is_what_it_would_see_without() -> None:
    service = Sealing()
    service.with_key()
    attributes = {"colour": MessageAttributeValue(data_type="String", string_value="grün")}
    sent = service.send(message_attributes=attributes)
    assert sent.md5_of_message_body == md5(TEXT.encode()).hexdigest()
    (message,) = service.receive(message_attribute_names=["All"])
    assert (message.body, message.md5_of_body) == (TEXT, sent.md5_of_message_body)
    assert message.message_attributes == attributes
    assert message.md5_of_message_attributes == sent.md5_of_message_attributes


def test_the_same_text_is_sealed_otherwise_each_time() -> None:
    service = Sealing()
    service.create("q")
    entries = [
        SendMessageBatchRequestEntry(id=str(number), message_body=TEXT) for number in range(10)
    ]
    service.do(SendMessageBatchRequest(queue_url="q", entries=entries))
    assert len(set(service.stored())) == 10
    assert service.ring.calls["generate"] == 1


@pytest.mark.parametrize("attributes", [{}, {"KmsMasterKeyId": "alias/k"}])
def test_content_is_deduplicated_by_the_text(attributes: dict[str, str]) -> None:
    service = Sealing()
    service.create("q.fifo", FifoQueue="true", ContentBasedDeduplication="true", **attributes)
    first = service.send(queue="q.fifo", message_group_id="g")
    service.clock.advance(PERIOD_S - 1)
    second = service.send(queue="q.fifo", message_group_id="g")
    assert first.message_id == second.message_id
    command = service.store.commands[-1]
    assert isinstance(command, SendFifo)
    assert command.messages[0].deduplication_id == sha256(TEXT.encode()).hexdigest()
    assert is_sealed(command.messages[0].body)
    assert service.bodies_received(queue="q.fifo") == [TEXT]


def test_a_message_stays_as_it_was_sent_whatever_the_queue_is_set_to() -> None:
    service = Sealing()
    service.create("q")
    settings = [
        {},
        {"KmsMasterKeyId": "alias/k", "KmsDataKeyReusePeriodSeconds": "60"},
        {"KmsMasterKeyId": "", "SqsManagedSseEnabled": "false"},
    ]
    kinds = []
    for number, attributes in enumerate(settings):
        if attributes:
            service.do(SetQueueAttributesRequest(queue_url="q", attributes=attributes))
        service.send(body=f"{TEXT} {number}")
        (body,) = service.stored()
        kinds.append(body[3] if is_sealed(body) else None)
    assert kinds == [RING, KMS, None]
    assert sorted(map(str, service.bodies_received())) == [
        f"{TEXT} {number}" for number in range(3)
    ]


# --- Which keys -----------------------------------------------------------------------------------


def test_a_data_key_is_one_queues_and_one_principals() -> None:
    service = Sealing()
    service.with_key("q")
    service.with_key("r")
    for _ in range(3):
        service.send(by("alice"))
        service.send(by("bob"))
        service.send(by("alice"), queue="r")
    assert service.kms.calls == [("generate", "alice"), ("generate", "bob"), ("generate", "alice")]
    assert service.kms.contexts == {"aws:sqs:arn"}


def test_a_consumer_is_asked_about_by_itself() -> None:
    """What a producer was allowed opens nothing for anybody, not even for itself."""
    service = Sealing()
    service.with_key()
    service.send(by("alice"))
    for _ in range(3):
        service.receive(by("bob"))
        service.receive(by("alice"))
    assert service.kms.calls[1:] == [("unwrap", "bob"), ("unwrap", "alice")]


@pytest.mark.parametrize("period_s", [60, PERIOD_S, 86_400])
def test_a_data_key_is_used_for_the_reuse_period(period_s: int) -> None:
    service = Sealing()
    service.with_key(KmsDataKeyReusePeriodSeconds=str(period_s), MessageRetentionPeriod="1209600")

    def both() -> None:
        service.send()
        service.receive(max_number_of_messages=1)

    both()
    service.clock.advance(period_s - 0.001)
    both()
    assert [operation for operation, _ in service.kms.calls] == ["generate", "unwrap"]
    service.clock.advance(0.001)
    both()
    assert [operation for operation, _ in service.kms.calls] == ["generate", "unwrap"] * 2


def test_a_change_of_key_is_a_change_of_data_key() -> None:
    service = Sealing()
    service.with_key()
    service.send()
    changed = {"KmsMasterKeyId": "alias/another"}
    service.do(SetQueueAttributesRequest(queue_url="q", attributes=changed))
    service.send()
    assert [operation for operation, _ in service.kms.calls] == ["generate"] * 2


def test_callers_who_miss_the_same_key_share_one_call() -> None:
    service = Sealing()
    service.with_key()
    sends = [
        service.start(SendMessageRequest(queue_url="q", message_body=f"{number}"))
        for number in range(20)
    ]
    assert len(all_at_once(service, sends)) == 20
    assert [operation for operation, _ in service.kms.calls] == ["generate"]
    receives = [service.start(ReceiveMessageRequest(queue_url="q")) for _ in range(20)]
    answers = all_at_once(service, receives)
    assert {answer.messages[0].body for answer in answers} == {str(number) for number in range(20)}
    assert [operation for operation, _ in service.kms.calls] == ["generate", "unwrap"]


def all_at_once(service: Sealing, requests: list[Coroutine[Any, Any, Any]]) -> list[Any]:
    """The answers of requests that wait for the KMS together."""

    async def answers() -> list[Any]:
        service.kms.gate = asyncio.Event()
        waiting = asyncio.gather(*requests)
        for _ in range(5):
            await asyncio.sleep(0)
        service.kms.gate.set()
        return await waiting

    return asyncio.run(answers())


# --- What is refused ------------------------------------------------------------------------------

REFUSALS = [
    (AccessDenied, sqs.KmsAccessDenied),
    (kms.DisabledException, sqs.KmsDisabled),
    (kms.KMSInvalidStateException, sqs.KmsInvalidState),
    (kms.NotFoundException, sqs.KmsNotFound),
    (kms.InvalidKeyUsageException, sqs.KmsInvalidKeyUsage),
    (kms.LimitExceededException, sqs.KmsThrottled),
    (ProviderThrottled, sqs.KmsThrottled),
    (kms.KeyUnavailableException, ServiceUnavailable),
    (kms.KMSInternalException, ServiceUnavailable),
    (kms.DependencyTimeoutException, ServiceUnavailable),
    (ProviderUnavailable, ServiceUnavailable),
]


@pytest.mark.parametrize(("fault", "told"), REFUSALS, ids=lambda error: error.__name__)
def test_a_refusal_of_the_kms_has_its_error(
    fault: type[Exception], told: type[ServiceError]
) -> None:
    service = Sealing()
    service.with_key()
    service.send()
    service.kms.fault = fault("the text of the KMS")
    stranger = by("stranger")
    entries = [SendMessageBatchRequestEntry(id="a", message_body=TEXT)]
    for request in (
        SendMessageRequest(queue_url="q", message_body=TEXT),
        SendMessageBatchRequest(queue_url="q", entries=entries),
        ReceiveMessageRequest(queue_url="q", visibility_timeout=600),
    ):
        error = service.refuses(request, stranger)
        assert type(error) is told
        if not issubclass(fault, ProviderUnavailable):
            assert error.message == "the text of the KMS"
    service.kms.fault = None
    service.send(stranger)
    assert service.bodies_received(stranger) == [TEXT] * 2


def test_a_refused_receive_counts_once_and_hides_nothing() -> None:
    service = Sealing()
    service.with_key()
    service.send()
    service.kms.fault = kms.DisabledException("disabled")
    for _ in range(10):
        service.refuses(ReceiveMessageRequest(queue_url="q", visibility_timeout=600))
    claims = [command for command in service.store.commands if isinstance(command, Claim)]
    assert len(claims) == 1
    service.kms.fault = None
    (message,) = service.receive(message_system_attribute_names=["ApproximateReceiveCount"])
    assert message.attributes == {"ApproximateReceiveCount": "2"}


def test_receives_that_find_out_together_that_they_may_again() -> None:
    service = Sealing()
    service.with_key()
    service.send()
    service.kms.fault = kms.DisabledException("disabled")
    service.refuses(ReceiveMessageRequest(queue_url="q", visibility_timeout=0))
    service.kms.fault = None
    request = ReceiveMessageRequest(queue_url="q", visibility_timeout=0)
    answers = all_at_once(service, [service.start(request) for _ in range(2)])
    assert [answer.messages[0].body for answer in answers] == [TEXT] * 2


def test_a_message_whose_key_is_gone_does_not_keep_the_others_from_their_readers() -> None:
    service = Sealing()
    service.with_key()
    service.send()
    service.do(
        SetQueueAttributesRequest(queue_url="q", attributes={"KmsMasterKeyId": "alias/other"})
    )
    service.kms.fault = kms.NotFoundException("destroyed")
    assert service.receive() == []
    assert service.sqs.bodies.unreadable == 1
    service.kms.fault = None
    service.send()
    assert service.bodies_received() == [TEXT] * 2


def test_one_readers_refusal_is_not_anothers() -> None:
    service = Sealing()
    service.with_key()
    service.send()
    service.receive(by("bob"))
    service.kms.fault = AccessDenied("not you")
    service.refuses(ReceiveMessageRequest(queue_url="q"), by("mallory"))
    assert service.bodies_received(by("bob")) == [TEXT]


def test_an_outage_is_outlived_by_keys_at_hand() -> None:
    service = Sealing()
    service.with_key()
    service.send()
    service.receive()
    service.kms.fault = ProviderUnavailable("nobody there")
    service.clock.advance(PERIOD_S)
    service.send()
    assert service.bodies_received() == [TEXT] * 2
    asked = len(service.kms.calls)
    service.clock.advance(OUTAGE_RETRY_S - 1)
    service.send()
    assert len(service.kms.calls) == asked
    service.clock.advance(OUTAGE_MAX_S)
    for request in (
        SendMessageRequest(queue_url="q", message_body=TEXT),
        ReceiveMessageRequest(queue_url="q"),
    ):
        assert type(service.refuses(request)) is ServiceUnavailable
    service.kms.fault = None
    assert service.bodies_received() == [TEXT] * 3


INSECURE = [
    structs.replace(by("alice"), is_secure=False),
    Call(anonymous("127.0.0.1"), REGION, "https://localhost:9324", is_secure=True),
]


@pytest.mark.parametrize("call", INSECURE, ids=["plain", "anonymous"])
def test_a_key_of_a_kms_needs_tls_and_a_signature(call: Call) -> None:
    service = Sealing()
    service.create(
        "q",
        KmsMasterKeyId="alias/k",
        Policy='{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", '
        f'"Action": "sqs:*", "Resource": "arn:aws:sqs:{REGION}:{ACCOUNT}:q"}}]}}',
    )
    service.send()
    asked = list(service.kms.calls)
    url = f"https://localhost:9324/{ACCOUNT}/q"
    claims = sum(isinstance(command, Claim) for command in service.store.commands)
    for request in (
        SendMessageRequest(queue_url=url, message_body=TEXT),
        ReceiveMessageRequest(queue_url=url),
    ):
        error = service.refuses(request, call)
        assert type(error) is sqs.InvalidSecurity
        assert error.message == "All requests to this queue must use HTTPS and SigV4."
    assert service.kms.calls == asked
    assert sum(isinstance(command, Claim) for command in service.store.commands) == claims


# --- What does not open ---------------------------------------------------------------------------


def test_a_body_that_does_not_open_is_left_out_and_noted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = Sealing()
    service.create("q")
    sent = [service.send(body=f"{TEXT} {number}").message_id for number in range(3)]

    def altered(claim: Claim) -> Claimed:
        """The second message has the body of the first."""
        (claimed,) = service.store.engine.execute([claim], service.clock.now_ms()).answers
        assert isinstance(claimed, Claimed)
        first, second, third = claimed.messages
        messages = (first, structs.replace(second, body=first.body), third)
        return structs.replace(claimed, messages=messages)

    service.store.answers[Claim] = altered
    with caplog.at_level(logging.ERROR, "stanchion"):
        assert service.bodies_received() == [f"{TEXT} 0", f"{TEXT} 2"]
    assert service.bodies.unreadable == 1
    (record,) = caplog.records
    assert record.message == "a body does not open and is not delivered"
    fields: dict[str, Any] = record.__dict__["fields"]
    assert fields["message_id"] == sent[1]
    assert fields["queue"] == f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
    assert TEXT not in str(fields)
