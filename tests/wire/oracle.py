"""botocore as the other end of the wire: it writes our requests and reads our replies."""

from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import strategies as st
from tools import generate_model

from stanchion.http.message import HttpRequest, HttpResponse
from stanchion.model.shapes import members
from stanchion.wire import protocol

Parameters = dict[str, Any]

_MERGED = generate_model.merged_model("sqs")
_QUERY_METADATA = {"protocol": "query", "protocols": ["query"]}


class Wire(NamedTuple):
    """One of the ways in: botocore's end and ours."""

    kind: str
    """What botocore calls the protocol."""
    model: ServiceModel
    ours: protocol.Protocol


def _installed(service: str, ours: protocol.Protocol) -> Wire:
    model = ServiceModel(generate_model.installed_model(service), service)
    return Wire(model.metadata["protocol"], model, ours)


WIRES = {
    "json": _installed("sqs", protocol.SQS_JSON),
    "query": Wire(
        "query",
        ServiceModel(_MERGED | {"metadata": _MERGED["metadata"] | _QUERY_METADATA}, "sqs"),
        protocol.SQS_QUERY,
    ),
    "iam": _installed("iam", protocol.IAM_QUERY),
    "sts": _installed("sts", protocol.STS_QUERY),
    "kms": _installed("kms", protocol.KMS_JSON),
}
CALLS = [(wire, name) for wire in WIRES for name in WIRES[wire].ours.service.operations]
"""Every operation of every service: the name of its wire, and its own."""

AWKWARD = "\r\n\t \"'<>&%+=.;\\/\u00e9\u2028\u2603\U0001d11e"
ANY_TEXT = st.text(
    st.one_of(st.sampled_from(AWKWARD), st.characters(exclude_categories=["Cs"])), max_size=12
)
XML_TEXT = st.text(
    st.one_of(
        st.sampled_from(AWKWARD),
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"),
    ),
    max_size=12,
)


INSTANTS = st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1)).map(
    # Query says nothing below a second.
    lambda value: value.replace(microsecond=0, tzinfo=UTC)
)


def operation_model(wire: str, name: str) -> OperationModel:
    return WIRES[wire].model.operation_model(name)


def values(shape: Shape | None, text: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Parameters of a shape. Nothing inside is empty: the Query protocol cannot say that."""
    if shape is None:
        return st.just({})
    match shape.type_name:
        case "structure":
            parts = {
                name: values(member, text).filter(_says_something)
                for name, member in shape.members.items()
            }
            return st.fixed_dictionaries({}, optional=parts)
        case "list":
            return st.lists(
                values(shape.member, text).filter(_says_something), min_size=1, max_size=2
            )
        case "map":
            return st.dictionaries(text, values(shape.value, text), min_size=1, max_size=2)
        case scalar:
            return {
                "string": text,
                "integer": st.integers(-(2**31), 2**31 - 1),
                "long": st.integers(-(2**53), 2**53),
                "boolean": st.booleans(),
                "blob": st.binary(max_size=8),
                "timestamp": INSTANTS,
            }[scalar]


def _says_something(value: Any) -> bool:
    # A structure without members is nothing in a form: an entry, a hole between its neighbours.
    return bool(value != {})


def request(wire: str, name: str, parameters: Parameters) -> HttpRequest:
    """What botocore sends for a call, before it signs."""
    serializer = create_serializer(WIRES[wire].kind, include_validation=False)
    serialized = serializer.serialize_to_request(parameters, operation_model(wire, name))
    body = serialized["body"]
    encoded = urlencode(body).encode() if isinstance(body, dict) else body
    headers = {key.lower(): value for key, value in serialized["headers"].items()}
    path = serialized["url_path"]
    return HttpRequest(serialized["method"], path, "", headers, encoded, False, "127.0.0.1")


def parsed(wire: str, name: str, response: HttpResponse) -> Parameters:
    """What botocore makes of a reply."""
    received = {
        "status_code": response.status,
        "headers": {key.lower(): value for key, value in response.headers},
        "body": response.body,
    }
    model = operation_model(wire, name)
    result: Parameters = create_parser(WIRES[wire].kind).parse(received, model.output_shape)
    return result


def parameters_of(value: Any) -> Any:
    """A struct as botocore would have it: names of the model, nothing that is absent."""
    if isinstance(value, msgspec.Struct):
        pairs = ((m.name, getattr(value, m.field)) for m in members(type(value)))
        return {name: parameters_of(part) for name, part in pairs if part is not None}
    if isinstance(value, list):
        return [parameters_of(item) for item in value]
    if isinstance(value, dict):
        return {key: parameters_of(item) for key, item in value.items()}
    return value
