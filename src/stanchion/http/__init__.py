"""The listener: bytes on a socket become `HttpRequest`s, `HttpResponse`s become bytes."""
