"""Message attributes: each rule and text on the way in, and the choice on the way out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.model.errors import InvalidParameterValue, ServiceError
from stanchion.model.sqs import (
    InvalidMessageContents,
    MessageAttributeValue,
    MessageSystemAttributeValue,
    UnsupportedOperation,
)
from stanchion.sqs import message_attributes
from stanchion.sqs.message_attributes import Attributes

TYPE_RULE = "You must use only the following supported type prefixes: Binary, Number, String."


def string(value: str | None = "v", data_type: str | None = "String") -> MessageAttributeValue:
    return MessageAttributeValue(data_type=data_type, string_value=value)


def binary(value: bytes | None = b"v", data_type: str = "Binary") -> MessageAttributeValue:
    return MessageAttributeValue(data_type=data_type, binary_value=value)


def refusal(attributes: Attributes) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        message_attributes.validate(attributes)
    return caught.value


def text_of(attributes: Attributes) -> str:
    error = refusal(attributes)
    assert isinstance(error, InvalidParameterValue)
    return error.message


@pytest.mark.parametrize(
    "attributes",
    [
        None,
        {},
        {"a": string(), "A-b_c.9": string(data_type="String.json"), "b": binary()},
        {"x" * 256: string("v", "String." + "y" * 249)},
        {"a": binary(b"\0\xff", "Binary.png")},
        {str(n): string() for n in range(10)},
        {"awsome": string(), "amazonas": string()},
    ],
)
def test_what_is_well_formed_is_accepted(attributes: Attributes | None) -> None:
    message_attributes.validate(attributes)


def test_there_are_at_most_ten() -> None:
    assert text_of({str(n): string() for n in range(11)}) == (
        "Number of message attributes [11] exceeds the allowed maximum [10]."
    )


@pytest.mark.parametrize("name", ["a b", "é", "a/b", ".a", "a.", "a..b", "a\n"])
def test_a_name_has_its_characters(name: str) -> None:
    assert text_of({name: string()}) == (
        f"The message attribute name '{name}' is invalid. Attribute name can contain "
        "A-Z, a-z, 0-9, underscore (_), hyphen (-), and period (.) characters."
    )


def test_a_name_is_not_empty_nor_too_long() -> None:
    assert text_of({"": string()}) == (
        "The request must contain non-empty message (user) attribute names."
    )
    assert text_of({"x" * 257: string()}) == (
        "Message (user) attribute name must be shorter than 256 bytes."
    )


@pytest.mark.parametrize("name", ["AWS.x", "aws.x", "Amazon.x", "aMaZoN.x"])
def test_some_prefixes_are_reserved(name: str) -> None:
    assert text_of({name: string()}) == (
        "You can't use message attribute names beginning with 'AWS.' or 'Amazon'. "
        "These strings are reserved for internal use."
    )


@pytest.mark.parametrize("data_type", [None, ""])
def test_a_type_is_given(data_type: str | None) -> None:
    assert text_of({"a": string(data_type=data_type)}) == (
        "The message (user) attribute 'a' must contain a non-empty message attribute value."
    )


@pytest.mark.parametrize("data_type", ["Odd", "string", "Strings", ".String", "String.\n"])
def test_a_type_has_one_of_three_prefixes(data_type: str) -> None:
    assert text_of({"a": string(data_type=data_type)}) == (
        f"The type of message (user) attribute 'a' is invalid. {TYPE_RULE}"
    )


def test_a_type_is_not_too_long() -> None:
    assert text_of({"a": string(data_type="String." + "x" * 250)}) == (
        "Message (user) attribute type must be shorter than 256 bytes."
    )


@pytest.mark.parametrize(
    ("value", "base_type"),
    [
        (string(None), "String"),
        (string(""), "String"),
        (string("", "Number"), "Number"),
        (binary(None), "Binary"),
        (binary(b""), "Binary"),
        (string("v", "Binary"), "Binary"),
        (binary(b"v", "String"), "String"),
        (
            MessageAttributeValue(data_type="String", string_value="v", binary_value=b"v"),
            "String",
        ),
        (
            MessageAttributeValue(data_type="Binary.x", string_value="v", binary_value=b"v"),
            "Binary",
        ),
    ],
)
def test_a_value_is_in_the_field_of_its_type(value: MessageAttributeValue, base_type: str) -> None:
    assert text_of({"a": value}) == (
        f"Message (user) attribute 'a' must contain a non-empty value of type '{base_type}'."
    )


@pytest.mark.parametrize(
    "value",
    [
        MessageAttributeValue(data_type="String", string_list_values=["v"]),
        MessageAttributeValue(data_type="Binary", binary_list_values=[b"v"]),
    ],
)
def test_lists_are_not_supported(value: MessageAttributeValue) -> None:
    error = refusal({"a": value})
    assert isinstance(error, UnsupportedOperation)
    assert error.message == (
        "Message attribute list values in SendMessage operation are not supported."
    )


def test_a_string_has_the_characters_of_a_body() -> None:
    assert isinstance(refusal({"a": string("\0")}), InvalidMessageContents)


@pytest.mark.parametrize(
    "number",
    ["0", "-1", "+1", "007", "1.50", ".5", "5.", "1e5", "1E-128", "-1e126", "0e-9999"],
)
def test_a_number_is_decimal(number: str) -> None:
    message_attributes.validate({"a": string(number, "Number.custom")})


def test_a_number_has_at_most_38_significant_digits() -> None:
    for number in ("9" * 38, "1" + "0" * 100, "0." + "0" * 99 + "1"):
        message_attributes.validate({"a": string(number, "Number")})
    for number in ("9" * 39, "1" + "0" * 37 + "1"):
        assert text_of({"a": string(number, "Number")}).startswith("Can't cast")


@pytest.mark.parametrize("number", ["1e-129", "9" * 2000, "Infinity"])
def test_a_number_has_its_magnitude(number: str) -> None:
    assert text_of({"a": string(number, "Number")}).startswith("Can't cast")


@pytest.mark.parametrize(
    "number",
    ["x", "1,5", "0x1", "NaN", "1e", "--1", " 1", "1 ", "٣", "1_0", ".", "1e99999", "1e127"],
)
def test_what_is_no_number_is_refused(number: str) -> None:
    assert text_of({"a": string(number, "Number")}) == (
        "Can't cast the value of message (user) attribute 'a' to a number."
    )


def test_of_two_faults_the_first_is_reported() -> None:
    eleven: Attributes = {str(n): string() for n in range(10)}
    assert text_of({**eleven, "a b": string()}).startswith("Number of")
    assert text_of({"a b": string(data_type="")}).startswith("The message attribute name")
    listed = MessageAttributeValue(data_type="Odd", string_list_values=["v"])
    assert isinstance(refusal({"a": listed}), UnsupportedOperation)
    assert text_of({"a": string("", "Odd")}).startswith("The type of")
    assert text_of({"a": string("", "Number")}).startswith("Message (user) attribute 'a'")
    assert isinstance(refusal({"a": string("\0", "Number")}), InvalidMessageContents)


def test_names_types_and_values_count_in_bytes() -> None:
    assert message_attributes.size_bytes(None) == 0
    attributes = {"ab": string("é", "String.x"), "c": binary(b"123")}
    assert message_attributes.size_bytes(attributes) == (2 + 8 + 2) + (1 + 6 + 3)


# --- System attributes ---------------------------------------------------------------------------


def system(value: str | None, data_type: str = "String") -> MessageSystemAttributeValue:
    return MessageSystemAttributeValue(data_type=data_type, string_value=value)


def test_the_trace_header_is_the_one_system_attribute() -> None:
    assert message_attributes.trace_header(None) is None
    assert message_attributes.trace_header({"AWSTraceHeader": system("any text")}) == "any text"
    with pytest.raises(InvalidParameterValue) as caught:
        message_attributes.trace_header({"SenderId": system("x")})
    assert caught.value.message == "Message system attribute name 'SenderId' is invalid."


@pytest.mark.parametrize("value", [system(None), system(""), system("x", "Number")])
def test_the_trace_header_is_a_string(value: MessageSystemAttributeValue) -> None:
    with pytest.raises(InvalidParameterValue) as caught:
        message_attributes.trace_header({"AWSTraceHeader": value})
    assert caught.value.message == (
        "Message system attribute 'AWSTraceHeader' must contain a non-empty value of type 'String'."
    )


# --- On the way out -------------------------------------------------------------------------------

STORED: Attributes = {"color": string(), "col.or": string(), "count": binary()}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (None, set()),
        ([], set()),
        (["absent", "absent.*"], set()),
        (["color", "absent"], {"color"}),
        (["All"], set(STORED)),
        ([".*"], set(STORED)),
        (["col.*"], {"color", "col.or"}),
        (["col..*"], {"col.or"}),
        (["col"], set()),
        (["c.*", "color"], set(STORED)),
    ],
)
def test_what_is_asked_for_is_returned(names: list[str] | None, expected: set[str]) -> None:
    stored = message_attributes.encoded(STORED)
    shown = message_attributes.selection(names).of(stored)
    assert shown == {name: STORED[name] for name in expected}


@given(
    st.dictionaries(
        st.text(min_size=1),
        st.one_of(
            st.builds(string, st.text(), st.text()), st.builds(binary, st.binary(), st.text())
        ),
    )
)
def test_what_is_stored_comes_back(attributes: Attributes) -> None:
    assert message_attributes.decoded(message_attributes.encoded(attributes)) == attributes
