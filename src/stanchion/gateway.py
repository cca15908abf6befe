"""From a request to its reply: the pipeline, and the one place where an exception becomes an error.

Choose the protocol, authenticate, decode, authorise, act, encode. The listener calls
`Gateway.handle` once per request; a gateway never lets an exception through, never acts on what it
has not authorised, and never tells a client more about a failure inside than that there was one.
"""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from time import perf_counter
from typing import Any

from stanchion.access.authenticator import Authenticator
from stanchion.access.identity import Identity
from stanchion.clock import Ids
from stanchion.http.message import HttpRequest, HttpResponse
from stanchion.http.proxies import NoProxies, Proxies
from stanchion.http.refusals import Refusal, refused
from stanchion.model.errors import InternalFailure, ServiceError, ServiceUnavailable
from stanchion.observe import logs
from stanchion.observe.metrics import Metrics
from stanchion.service import Call, Service
from stanchion.store.contract import (
    OutcomeUnknown,
    StoreBroken,
    StoreBusy,
    StoreError,
    StoreFull,
)
from stanchion.wire.protocol import Protocol, choose

_NO_ACTION = "-"
"""In logs and metrics, where there is no action or none that we know."""

Page = Callable[[], HttpResponse]
"""Something else to GET on this port, such as `/metrics`."""


class Gateway:
    """The front door of all services. `pages` are looked up by path before anything else."""

    def __init__(
        self,
        authenticator: Authenticator,
        services: Iterable[Service],
        ids: Ids,
        metrics: Metrics,
        *,
        external_url: str | None = None,
        proxies: Proxies | None = None,
        pages: Mapping[str, Page] | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._services = {service.model.name: service for service in services}
        self._ids = ids
        self._metrics = metrics
        self._proxies = proxies or NoProxies()
        self._external_url = external_url
        self._pages = pages or {}

    def handle(self, request: HttpRequest) -> HttpResponse | Coroutine[Any, Any, HttpResponse]:
        """The listener's handler."""
        if request.path in self._pages and request.method in ("GET", "HEAD"):
            return self._pages[request.path]()
        self._proxies.apply(request)
        return self._answer(request)

    def refuse(self, refusal: Refusal, peer_ip: str) -> HttpResponse:
        """The listener's way to turn away what never became a request."""
        request_id = self._ids.uuid()
        logs.failed(
            refusal.error,
            action=_NO_ACTION,
            request_id=request_id,
            peer_ip=peer_ip,
            status=refusal.status,
            cause=None,
        )
        self._metrics.answered(_NO_ACTION, refusal.error, 0.0)
        return refused(refusal, peer_ip)

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        started_s = perf_counter()
        request_id = self._ids.uuid()
        protocol = choose(request)
        action, code = _NO_ACTION, "OK"
        try:
            service = self._services[protocol.service.name]
            identity = await self._authenticator.authenticate(request, protocol.service.name)
            operation, parameters = protocol.decode(request)
            action = operation.name
            call = self._call(request, identity)
            await service.authorise(call, action, parameters)
            output = await service.act(call, action, parameters)
            response = protocol.encode(operation, output, request_id)
        except Exception as error:
            code, response = self._failed(error, request, request_id, protocol, action)
        self._metrics.answered(action, code, perf_counter() - started_s)
        return response

    def _call(self, request: HttpRequest, identity: Identity) -> Call:
        return Call(
            identity.caller,
            identity.region,
            self._origin(request),
            request.path,
            request.secure,
            request.peer_ip,
            request.headers,
        )

    def _origin(self, request: HttpRequest) -> str:
        """What queue URLs begin with: as the client sees us, or as configured."""
        if self._external_url:
            return self._external_url
        scheme = "https://" if request.secure else "http://"
        return scheme + request.headers.get("host", "localhost")

    def _failed(
        self,
        error: Exception,
        request: HttpRequest,
        request_id: str,
        protocol: Protocol,
        action: str,
    ) -> tuple[str, HttpResponse]:
        """The error's code and the reply that tells it; one line in the log."""
        told = _told(error)
        logs.failed(
            told.query_code,
            action=action,
            request_id=request_id,
            peer_ip=request.peer_ip,
            status=told.http_status,
            cause=None if told is error else error,
        )
        return told.query_code, protocol.encode_error(told, request_id)


def _told(error: Exception) -> ServiceError:
    """What the client is told of an exception."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, StoreBusy):
        return ServiceUnavailable(str(error))
    if isinstance(error, StoreFull):
        return ServiceUnavailable("There is no space left for messages.")
    if isinstance(error, StoreError) and not isinstance(error, StoreBroken | OutcomeUnknown):
        # Nothing was done. What a database says is for the log: it may tell where that is.
        return ServiceUnavailable("The service cannot answer now; the request may be retried.")
    return InternalFailure("The request failed because of an internal error; it may be retried.")
