"""botocore as the other end of the wire: it writes our requests and reads our replies."""

from typing import Any
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

_MERGED = generate_model.merged_model()
_QUERY_METADATA = {"protocol": "query", "protocols": ["query"]}

MODELS = {
    "json": ServiceModel(generate_model.installed_model(), "sqs"),
    "query": ServiceModel(
        _MERGED | {"metadata": _MERGED["metadata"] | _QUERY_METADATA},
        "sqs",
    ),
}
PROTOCOLS = {"json": protocol.JSON, "query": protocol.QUERY}
OPERATION_NAMES = sorted(MODELS["json"].operation_names)

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


def operation_model(kind: str, name: str) -> OperationModel:
    return MODELS[kind].operation_model(name)


def values(shape: Shape | None, text: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Parameters of a shape. No list or map is empty: the Query protocol cannot say that."""
    if shape is None:
        return st.just({})
    match shape.type_name:
        case "structure":
            parts = {name: values(member, text) for name, member in shape.members.items()}
            return st.fixed_dictionaries({}, optional=parts)
        case "list":
            return st.lists(
                values(shape.member, text).filter(_says_something), min_size=1, max_size=3
            )
        case "map":
            return st.dictionaries(text, values(shape.value, text), min_size=1, max_size=3)
        case scalar:
            return {
                "string": text,
                "integer": st.integers(-(2**31), 2**31 - 1),
                "long": st.integers(-(2**53), 2**53),
                "boolean": st.booleans(),
                "blob": st.binary(max_size=8),
            }[scalar]


def _says_something(value: Any) -> bool:
    # An entry without members would be a hole between its neighbours.
    return bool(value != {})


def request(kind: str, name: str, parameters: Parameters) -> HttpRequest:
    """What botocore sends for a call."""
    serialized = create_serializer(kind, include_validation=False).serialize_to_request(
        parameters, operation_model(kind, name)
    )
    body = serialized["body"]
    encoded = urlencode(body).encode() if isinstance(body, dict) else body
    headers = {key.lower(): value for key, value in serialized["headers"].items()}
    path = serialized["url_path"]
    return HttpRequest(serialized["method"], path, "", headers, encoded, False, "127.0.0.1")


def parsed(kind: str, name: str, response: HttpResponse) -> Parameters:
    """What botocore makes of a reply."""
    received = {
        "status_code": response.status,
        "headers": {key.lower(): value for key, value in response.headers},
        "body": response.body,
    }
    model = operation_model(kind, name)
    result: Parameters = create_parser(kind).parse(received, model.output_shape)
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
