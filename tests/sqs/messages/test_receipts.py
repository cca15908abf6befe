"""Receipt handles: what one says comes back, and nothing else is believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.model.sqs import ReceiptHandleIsInvalid
from stanchion.sqs.receipts import Receipt, Receipts
from stanchion.store.contract import Lease

RECEIPTS = Receipts(b"k" * 32)
RECEIPT = Receipt(Lease(7, 2), 1_700_000_000_123)
HANDLE = RECEIPTS.issue(5, RECEIPT)


def refusal(handle: str, queue_id: int = 5, receipts: Receipts = RECEIPTS) -> str:
    with pytest.raises(ReceiptHandleIsInvalid) as caught:
        receipts.read(queue_id, handle)
    return caught.value.message


@given(
    sequence=st.integers(0, 2**63 - 1),
    count=st.integers(1, 2**32 - 1),
    received_at_ms=st.integers(0, 2**63 - 1),
    queue_id=st.integers(1, 2**63 - 1),
)
def test_a_handle_says_what_was_put_in(
    sequence: int, count: int, received_at_ms: int, queue_id: int
) -> None:
    receipt = Receipt(Lease(sequence, count), received_at_ms)
    assert RECEIPTS.read(queue_id, RECEIPTS.issue(queue_id, receipt)) == receipt


def test_the_same_receive_has_the_same_handle_and_the_next_another() -> None:
    assert RECEIPTS.issue(5, RECEIPT) == HANDLE
    assert RECEIPTS.issue(5, Receipt(Lease(7, 3), RECEIPT.received_at_ms)) != HANDLE


def test_a_handle_can_be_part_of_a_url() -> None:
    for count in range(1, 200):
        handle = RECEIPTS.issue(5, Receipt(Lease(7, count), 0))
        assert len(handle) <= 1024
        assert handle.replace("-", "").replace("_", "").isalnum()


def test_a_handle_is_good_for_its_queue_and_installation_only() -> None:
    text = f'The input receipt handle "{HANDLE}" is not a valid receipt handle.'
    assert refusal(HANDLE, queue_id=6) == text
    assert refusal(HANDLE, receipts=Receipts(b"x" * 32)) == text


@given(st.integers(0, len(HANDLE) - 1), st.sampled_from("AZaz09-_+/=!é\n "))
def test_no_character_can_be_changed(position: int, character: str) -> None:
    changed = HANDLE[:position] + character + HANDLE[position + 1 :]
    if changed != HANDLE:
        refusal(changed)


@pytest.mark.parametrize("garbage", ["x", HANDLE[:-1], HANDLE + "A", HANDLE * 2, "é" * len(HANDLE)])
def test_garbage_is_refused(garbage: str) -> None:
    assert refusal(garbage) == (
        f'The input receipt handle "{garbage}" is not a valid receipt handle.'
    )


def test_garbage_is_not_repeated_at_any_length() -> None:
    assert len(refusal("x" * 100_000)) < 1200
