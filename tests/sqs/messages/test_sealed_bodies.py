"""What of a message is sealed at rest and what is not, and for how long a data key is used."""

import pytest
from msgspec import structs

from stanchion.keys.data_keys import DataKeys
from stanchion.keys.envelope import is_sealed, wrapped_key_of
from stanchion.keys.providers import KMS
from stanchion.model.sqs import (
    InvalidSecurity,
    MessageAttributeValue,
    ReceiveMessageRequest,
    SendMessageRequest,
)
from stanchion.sqs.encryption import Bodies
from stanchion.store.contract import ClaimedMessage, NewMessage, Send
from tests.sqs.harness import Service
from tests.sqs.messages.sealing import TEXT, Sealing


def stored(service: Service, body: str = "x") -> NewMessage:
    """A message as the store is asked to keep it."""
    service.store.commands.clear()
    colour = MessageAttributeValue(data_type="String", string_value="mauve")
    service.do(
        SendMessageRequest(queue_url="q", message_body=body, message_attributes={"colour": colour})
    )
    (command,) = (command for command in service.store.commands if isinstance(command, Send))
    (message,) = command.messages
    return message


@pytest.fixture
def service() -> Service:
    service = Service()
    service.create("q")
    return service


def test_a_body_is_stored_sealed_and_without_its_digest(service: Service) -> None:
    body = stored(service, "secret").body
    assert is_sealed(body)
    assert b"secret" not in body
    for struct in (NewMessage, ClaimedMessage):
        assert not any("md5" in name for name in struct.__struct_fields__)
    (message,) = service.do(ReceiveMessageRequest(queue_url="q")).messages
    assert message.md5_of_body == "5ebe2294ecd0e0f08eab7690d2a6ee69"


def test_message_attributes_are_stored_as_they_are(service: Service) -> None:
    assert b"mauve" in stored(service).attributes


def test_a_data_key_of_the_server_lasts_an_hour(service: Service) -> None:
    first = wrapped_key_of(stored(service).body)
    service.clock.advance(3599)
    assert wrapped_key_of(stored(service).body) == first
    service.clock.advance(1)
    assert wrapped_key_of(stored(service).body) != first


def test_a_kms_key_needs_tls_but_where_it_is_let_pass() -> None:
    sealing = Sealing()
    sealing.with_key()
    sealing.call = structs.replace(sealing.call, is_secure=False)
    with pytest.raises(InvalidSecurity) as refusal:
        sealing.send()
    assert refusal.value.http_status == 400
    keys = DataKeys({KMS: sealing.kms}, sealing.clock)
    sealing.sqs = structs.replace(sealing.sqs, bodies=Bodies(keys, kms_needs_tls=False))
    sealing.send()
    assert sealing.bodies_received() == [TEXT]
