"""Whatever arrives, a codec answers with an input of the model or with one of our errors."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.http.message import HttpRequest
from stanchion.model import iam
from stanchion.model.errors import MalformedInput, ServiceError
from stanchion.model.shapes import Operation, ServiceModel, members
from stanchion.wire.protocol import IAM_QUERY, PROTOCOLS, Protocol
from stanchion.wire.query import QueryCodec

_BY_SERVICE = {
    protocol: st.sampled_from(sorted(protocol.service.operations))
    for protocol in PROTOCOLS
    if protocol.name != "query-json"
}
CALLS = st.sampled_from(list(_BY_SERVICE)).flatmap(
    lambda protocol: st.tuples(st.just(protocol), _BY_SERVICE[protocol])
)

_SHAPES = [
    operation.input
    for protocol in _BY_SERVICE
    for operation in protocol.service.operations.values()
]
_NAMES = sorted({member.name for shape in _SHAPES for member in members(shape)})
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*_NAMES, "Id", "BinaryValue"]), inner, max_size=4)
    ),
    max_leaves=12,
)

_STEPS = ["Name", "Value", "Key", "Id", "1", "01", "10", "-1", "", "99999999999", "BinaryValue"]
_STEPS += ["member", "entry", "key", "value", "\u0661"]
_QUERY_NAMES = sorted({member.query.member for shape in _SHAPES for member in members(shape)})
PARAMETER_NAMES = st.builds(
    lambda first, rest: ".".join([first, *rest]),
    st.sampled_from([*_QUERY_NAMES, "SendMessageBatchRequestEntry"]),
    st.lists(st.sampled_from([*_STEPS, *_QUERY_NAMES]) | st.sampled_from(_STEPS), max_size=5),
)
PARAMETER_VALUES = st.sampled_from(["", "1", "x", "true", "AQID", "%41", "%", "%ff", "+", "=", "é"])
FORMS = st.lists(st.tuples(PARAMETER_NAMES, PARAMETER_VALUES).map("=".join), max_size=6)


def _answers(protocol: Protocol, name: str, body: bytes) -> None:
    headers = {"x-amz-target": f"{protocol.service.target_prefix}.{name}"}
    request = HttpRequest("POST", "/", "", headers, body, False, "127.0.0.1")
    try:
        operation, decoded = protocol.decode(request)
    except ServiceError as error:
        status = protocol.encode_error(error, "id").status
    else:
        status = 200 if isinstance(decoded, operation.input) else 500
    assert status < 500


@given(CALLS, st.binary(max_size=64))
def test_any_bytes(call: tuple[Protocol, str], body: bytes) -> None:
    protocol, name = call
    _answers(protocol, name, body)
    _answers(protocol, name, f"Action={name}&".encode() + body)


@given(CALLS, JSON_VALUES)
def test_any_json(call: tuple[Protocol, str], value: object) -> None:
    _answers(*call, msgspec.json.encode(value))


@given(CALLS, FORMS)
def test_any_form(call: tuple[Protocol, str], parameters: list[str]) -> None:
    _answers(*call, "&".join([f"Action={call[1]}", *parameters]).encode())


def _tag_keys(form: str) -> list[str] | None:
    body = f"Action=UntagUser&{form}".encode()
    _, decoded = IAM_QUERY.decode(HttpRequest("POST", "/", "", {}, body, False, "127.0.0.1"))
    assert isinstance(decoded, iam.UntagUserRequest)
    return decoded.tag_keys


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("TagKeys.member.1=a", ["a"]),
        ("TagKeys.member.10=c&TagKeys.member.9=b&TagKeys.member.2=a", ["a", "b", "c"]),
        ("TagKeys.member.1=a&TagKeys.member.99999999=b", ["a", "b"]),
        ("TagKeys.member.1=a&TagKeys.member.99999999999=b", ["a"]),
        ("TagKeys.member.0=a&TagKeys.member.-1=b", ["a"]),
        ("TagKeys.member=a", ["a"]),
        ("TagKeys.member.1=", [""]),
        ("TagKeys=", []),
        ("TagKeys.member=", []),
        ("TagKeys.1=a", []),
        ("TagKeys.entry.1=a", []),
        ("TagKey.member.1=a", None),
    ],
)
def test_members_of_a_list(form: str, expected: list[str] | None) -> None:
    assert _tag_keys(form) == expected


@pytest.mark.parametrize(
    "form",
    [
        "TagKeys=a",
        "TagKeys.member.1.Key=a",
        "TagKeys.member.x=a",
        "TagKeys=a&TagKeys.member.1=b",
        "TagKeys.member.1=a&TagKeys.member.1.Key=b",
    ],
)
def test_what_is_no_list(form: str) -> None:
    with pytest.raises(MalformedInput):
        _tag_keys(form)


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), ("false", False), ("True", True), ("FALSE", False)]
)
def test_booleans(text: str, expected: bool) -> None:
    assert _create_version(f"SetAsDefault={text}").set_as_default is expected


@pytest.mark.parametrize("text", ["", "1", "yes", "true+"])
def test_what_is_no_boolean(text: str) -> None:
    with pytest.raises(MalformedInput):
        _create_version(f"SetAsDefault={text}")


def _create_version(form: str) -> iam.CreatePolicyVersionRequest:
    body = f"Action=CreatePolicyVersion&{form}".encode()
    _, decoded = IAM_QUERY.decode(HttpRequest("POST", "/", "", {}, body, False, "127.0.0.1"))
    assert isinstance(decoded, iam.CreatePolicyVersionRequest)
    return decoded


class _Mapped(msgspec.Struct, kw_only=True, rename="pascal"):
    """What no request of the services that we have holds, but a reply of IAM's does."""

    counts: dict[str, int] | None = None


_COUNTS = QueryCodec(
    ServiceModel(
        name="counts",
        api_version="2026-01-01",
        target_prefix="",
        json_version="",
        xml_namespace="urn:counts",
        query_compatible=False,
        operations={"Count": Operation("Count", _Mapped, None, None)},
    )
)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("Counts.entry.1.key=a&Counts.entry.1.value=1", {"a": 1}),
        (
            "Counts.entry.99999999.key=b&Counts.entry.99999999.value=2"
            "&Counts.entry.7.value=1&Counts.entry.7.key=a",
            {"a": 1, "b": 2},
        ),
        ("Counts.entry.key=a&Counts.entry.value=1", {"a": 1}),
        ("Counts.entry.1=a", {}),
        ("Counts.1.key=a&Counts.1.value=1", {}),
        ("Counts=", {}),
        ("", None),
    ],
)
def test_entries_of_a_map(form: str, expected: dict[str, int] | None) -> None:
    assert _counts(form) == _Mapped(counts=expected)


@pytest.mark.parametrize(
    "form",
    [
        "Counts=a",
        "Counts.entry.1.key=a",
        "Counts.entry.1.key=a&Counts.entry.1.value=x",
        "Counts.entry.1.key.1=a&Counts.entry.1.value=1",
        "Counts.entry.1.key=a&Counts.entry.1.value.1=1",
    ],
)
def test_what_is_no_map(form: str) -> None:
    with pytest.raises(MalformedInput):
        _counts(form)


def _counts(form: str) -> msgspec.Struct:
    body = f"Action=Count&{form}".encode()
    return _COUNTS.decode(HttpRequest("POST", "/", "", {}, body, False, "127.0.0.1"))[1]
