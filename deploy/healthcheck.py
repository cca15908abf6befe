"""Whether the server in this container is alive: exit code 0 or 1.

An image has no curl, and needs none. The container's health check; it looks at settings in the
environment only, so whoever sets ports in a file gives a health check of their own.
"""

import http.client
import os
import ssl
import sys

TIMEOUT_S = 3.0


def main() -> int:
    connection = _connection()
    try:
        connection.request("GET", "/health/live")
        return 0 if connection.getresponse().status == http.HTTPStatus.OK else 1
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"/health/live: {error}\n")
        return 1
    finally:
        connection.close()


def _connection() -> http.client.HTTPConnection:
    if os.environ.get("STANCHION_PLAIN_HTTP", "true").lower() not in ("false", "0"):
        port = int(os.environ.get("STANCHION_PORT", "9324"))
        return http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    # It is for the names that clients use; here it is only asked whether somebody answers.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    port = int(os.environ.get("STANCHION_TLS_PORT", "9325"))
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=context)


if __name__ == "__main__":
    sys.exit(main())
