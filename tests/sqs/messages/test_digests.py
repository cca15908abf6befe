"""The digests, against values that the hosted service answered with."""

import pytest

from stanchion.model.sqs import MessageAttributeValue, MessageSystemAttributeValue
from stanchion.sqs import digests


def text_value(value: str, data_type: str = "String") -> MessageAttributeValue:
    return MessageAttributeValue(data_type=data_type, string_value=value)


def test_a_body_is_digested_in_utf_8() -> None:
    assert digests.of_body("héllo ✓".encode()) == "21b1ae5bc147bb564254200a4731e337"


BLUE = text_value("blue")
BLOB = MessageAttributeValue(data_type="Binary", binary_value=b"\x01\x02\x03")


@pytest.mark.parametrize(
    ("attributes", "digest"),
    [
        ({"color": BLUE}, "da1b33cc3cbfe8b1630921e78e6b9880"),
        (
            {"count": text_value("3", "Number"), "color": BLUE, "blob": BLOB},
            "d838729972a4b70e2d2acd9d59ac847c",
        ),
        (
            {"color": BLUE, "tags": text_value('["a","b"]', "String.Array")},
            "56a5bee3ed610a27fd04b2b195aee70b",
        ),
        (
            {"UserId": text_value("1234567890123456789012", "Number.bigint")},
            "797ab158d73dcb5242dedc4412c8e855",
        ),
        (
            {
                "AWSTraceHeader": MessageSystemAttributeValue(
                    data_type="String", string_value="some-trace-id"
                )
            },
            "fdce4f2818803f2f73becc09a54792c0",
        ),
    ],
)
def test_attributes_are_digested_in_the_order_of_their_names(
    attributes: dict[str, digests.AnyAttributeValue], digest: str
) -> None:
    assert digests.of_attributes(attributes) == digest


@pytest.mark.parametrize("nothing", [None, {}])
def test_without_attributes_there_is_no_digest(
    nothing: dict[str, digests.AnyAttributeValue] | None,
) -> None:
    assert digests.of_attributes(nothing) is None
