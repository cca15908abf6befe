"""What every API of AWS is made of here: a model, actions, and a rule about who may call them.

A package such as `sqs/` has one function per operation, each registered by its name, and one
function that decides whether a caller may; the gateway knows a `Service` and nothing else of it.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from stanchion.access.identity import Caller
from stanchion.model.shapes import ServiceModel

State = TypeVar("State")
Function = TypeVar("Function", bound=Callable[..., Awaitable[Struct | None]])

_NO_HEADERS: Mapping[str, str] = {}


class Call(Struct, frozen=True, gc=False):
    """The call being answered, apart from its parameters."""

    caller: Caller
    region: str
    """The region of the credential scope, which is a namespace of its own."""
    origin: str
    """Scheme and host that the client asked for; queue URLs are made of it."""
    path: str = "/"
    """The request's path: clients may name the queue there."""
    is_secure: bool = False
    """Whether it came over TLS that ended here, or at a proxy that is trusted."""
    peer_ip: str = ""
    headers: Mapping[str, str] = _NO_HEADERS


Action = Callable[[State, Call, Any], Awaitable[Struct | None]]
"""Given the service's state, the call and a request struct of the model, answers with the response
struct, or None if that is void."""

Authorise = Callable[[State, Call, str, Any], Awaitable[None]]
"""Given the operation's name and its parameters, raises the service's error unless the caller may.
What is not known to be allowed is not."""


class Registry(Generic[State]):
    """The actions of a service by name."""

    def __init__(self, model: ServiceModel) -> None:
        self.model = model
        self.actions: dict[str, Action[State]] = {}

    def action(self, function: Function) -> Function:
        """Register `send_message` as what answers `SendMessage`, and so on."""
        spoken = function.__name__.replace("_", "").lower()
        for name in self.model.operations:
            if name.lower() == spoken:
                self.actions[name] = function
                return function
        raise LookupError(f"{function.__name__}: the model has no such operation")

    def missing(self) -> set[str]:
        """Operations of the model that no function answers."""
        return set(self.model.operations) - set(self.actions)


class Service(Protocol):
    """A service as the gateway sees it."""

    @property
    def model(self) -> ServiceModel: ...

    def authorise(self, call: Call, operation: str, parameters: Any) -> Awaitable[None]:
        """Raises the service's AccessDenied, or another error that says no more than it may."""
        ...

    def act(self, call: Call, operation: str, parameters: Any) -> Awaitable[Struct | None]:
        """The output of an operation that was authorised."""
        ...


class ServiceOf(Generic[State]):
    """A `Service` put together from its registry, its rule and its state."""

    def __init__(
        self, registry: Registry[State], authorise: Authorise[State], state: State
    ) -> None:
        self.model = registry.model
        self._actions = registry.actions
        self._authorise = authorise
        self._state = state

    def authorise(self, call: Call, operation: str, parameters: Any) -> Awaitable[None]:
        return self._authorise(self._state, call, operation, parameters)

    def act(self, call: Call, operation: str, parameters: Any) -> Awaitable[Struct | None]:
        return self._actions[operation](self._state, call, parameters)
