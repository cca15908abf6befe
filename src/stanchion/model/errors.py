"""The errors every AWS service shares, and the base that the generated ones of a service extend.

An error is raised by its AWS name with the text the client will read. Its HTTP status, its name on
each wire and whose fault it is are class variables, read in one place only: `wire/`.
"""

from typing import ClassVar, Literal

Fault = Literal["Sender", "Receiver"]


class ServiceError(Exception):
    """Something that a client is told about. `message` is the text that the client reads."""

    http_status: ClassVar[int] = 400
    json_type: ClassVar[str]
    """`__type` in the JSON protocol, with its namespace."""
    query_code: ClassVar[str]
    """`Code` in the Query protocol, and the first half of `x-amzn-query-error`."""
    fault: ClassVar[Fault] = "Sender"
    json_message_key: ClassVar[str] = "message"

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message


class InvalidParameterValue(ServiceError):
    """A parameter's value, name or size is not acceptable."""

    json_type = "com.amazon.coral.service#InvalidParameterValueException"
    query_code = "InvalidParameterValue"


class MissingParameter(ServiceError):
    """A required parameter is absent or empty."""

    json_type = "com.amazon.coral.service#MissingRequiredParameterException"
    query_code = "MissingParameter"

    @classmethod
    def named(cls, name: str) -> "MissingParameter":
        return cls(f"The request must contain the parameter {name}.")


class ValidationError(ServiceError):
    """Something in a request to IAM, STS or KMS is not what the service's model says."""

    json_type = "com.amazon.coral.service#ValidationException"
    query_code = "ValidationError"


class MalformedInput(ServiceError):
    """The body is not of the protocol, or a value is of the wrong type."""

    json_type = "com.amazon.coral.service#SerializationException"
    query_code = "MalformedInput"


class UnknownOperation(ServiceError):
    """The operation asked for is absent or does not exist."""

    json_type = "com.amazon.coral.service#UnknownOperationException"
    query_code = "InvalidAction"


class MissingAction(ServiceError):
    """A Query request without an Action."""

    json_type = "com.amazon.coral.service#UnknownOperationException"
    query_code = "MissingAction"


class AccessDenied(ServiceError):
    """The caller is not allowed, or did not say who it is."""

    http_status = 403
    json_type = "com.amazon.coral.service#AccessDeniedException"
    query_code = "AccessDenied"
    json_message_key = "Message"


class InvalidClientTokenId(ServiceError):
    """The access key or session token is not known."""

    http_status = 403
    json_type = "com.amazon.coral.service#UnrecognizedClientException"
    query_code = "InvalidClientTokenId"


class ExpiredToken(ServiceError):
    """The session that the credentials belong to is over."""

    http_status = 403
    json_type = "com.amazon.coral.service#ExpiredTokenException"
    query_code = "ExpiredToken"

    def __init__(
        self, message: str = "The security token included in the request is expired"
    ) -> None:
        super().__init__(message)


class MissingAuthenticationToken(ServiceError):
    """The request is not signed, and the service answers nobody unknown. SQS denies access."""

    http_status = 403
    json_type = "com.amazon.coral.service#MissingAuthenticationTokenException"
    query_code = "MissingAuthenticationToken"


class SignatureDoesNotMatch(ServiceError):
    """The signature, its date or its scope is wrong."""

    http_status = 403
    json_type = "com.amazon.coral.service#InvalidSignatureException"
    query_code = "SignatureDoesNotMatch"


class IncompleteSignature(ServiceError):
    """The Authorization header cannot be read."""

    json_type = "com.amazon.coral.service#IncompleteSignatureException"
    query_code = "IncompleteSignature"


class InternalFailure(ServiceError):
    """The server failed; the outcome is unknown to the client, who may retry."""

    http_status = 500
    json_type = "com.amazon.coral.service#InternalFailure"
    query_code = "InternalFailure"
    fault = "Receiver"


class ServiceUnavailable(ServiceError):
    """The server cannot do this now; nothing was done, and the client may retry."""

    http_status = 503
    json_type = "com.amazon.coral.service#ServiceUnavailableException"
    query_code = "ServiceUnavailable"
    fault = "Receiver"
