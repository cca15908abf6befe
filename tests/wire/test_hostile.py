"""Whatever arrives, a codec answers with an input of the model or with one of our errors."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stanchion.http.message import HttpRequest
from stanchion.model.errors import ServiceError
from stanchion.model.shapes import members
from stanchion.model.sqs import OPERATIONS
from stanchion.wire.protocol import JSON, QUERY, Protocol
from tests.wire import oracle

OPERATION_NAMES = st.sampled_from(oracle.OPERATION_NAMES)

_SHAPES = [operation.input for operation in OPERATIONS.values()]
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
_QUERY_NAMES = sorted({member.query.member for shape in _SHAPES for member in members(shape)})
PARAMETER_NAMES = st.builds(
    lambda first, rest: ".".join([first, *rest]),
    st.sampled_from([*_QUERY_NAMES, "SendMessageBatchRequestEntry"]),
    st.lists(st.sampled_from([*_STEPS, *_QUERY_NAMES]), max_size=5),
)
PARAMETER_VALUES = st.sampled_from(["", "1", "x", "AQID", "%41", "%", "%ff", "+", "=", "é"])
FORMS = st.lists(st.tuples(PARAMETER_NAMES, PARAMETER_VALUES).map("=".join), max_size=6)


def _answers(codec: Protocol, name: str, body: bytes) -> None:
    headers = {"x-amz-target": f"AmazonSQS.{name}"}
    request = HttpRequest("POST", "/", "", headers, body, False, "127.0.0.1")
    try:
        operation, decoded = codec.decode(request)
    except ServiceError as error:
        status = codec.encode_error(error, "id").status
    else:
        status = 200 if isinstance(decoded, operation.input) else 500
    assert status < 500


@given(OPERATION_NAMES, st.binary(max_size=64))
def test_any_bytes(name: str, body: bytes) -> None:
    _answers(JSON, name, body)
    _answers(QUERY, name, body)
    _answers(QUERY, name, f"Action={name}&".encode() + body)


@given(OPERATION_NAMES, JSON_VALUES)
def test_any_json(name: str, value: object) -> None:
    _answers(JSON, name, msgspec.json.encode(value))


@given(OPERATION_NAMES, FORMS)
def test_any_form(name: str, parameters: list[str]) -> None:
    _answers(QUERY, name, "&".join([f"Action={name}", *parameters]).encode())
