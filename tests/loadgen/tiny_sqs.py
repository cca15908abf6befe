"""A small SQS on a real socket, in a thread: enough for the generator to talk to.

It checks every signature with botocore's own signer, so that a request passes only when a signer
that shares no code with the generator would have signed it the same way.
"""

import asyncio
import json
import ssl
import threading
from collections import Counter
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ACCESS_KEY_ID = "AKIAEXAMPLE"
SECRET = "a/secret+key"


class Refused(Exception):
    """An error reply: status and the shape's name."""


class TinySqs:
    """Use as a context manager. `requests` counts what was answered, by operation."""

    def __init__(
        self, *, chunked: bool = False, close_every: int = 0, idle_max_s: float = 60
    ) -> None:
        self.requests: Counter[str] = Counter()
        self.queues: dict[str, list[str]] = {}
        self.bodies: list[str] = []
        self.sent: list[dict[str, Any]] = []
        """Each message as it was given: of a batch, the entry."""
        self.created: list[dict[str, Any]] = []
        self.fail_next: list[str] = []
        """Names of error shapes that the next SendMessages are answered with."""
        self.url = ""
        self._chunked = chunked
        self._close_every = close_every
        """Close the connection after so many replies; 0: never."""
        self._idle_max_s = idle_max_s
        """Close a connection on which no request comes for so long."""
        self._changed: asyncio.Condition
        self._writers: set[asyncio.StreamWriter] = set()
        self._leases: set[str] = set()

    def start(self, tls: ssl.SSLContext | None = None) -> "TinySqs":
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda loop, context: None)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(tls), self._loop).result(10)
        return self

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self, tls: ssl.SSLContext | None) -> None:
        self._changed = asyncio.Condition()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{port}"

    async def _close(self) -> None:
        self._server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        replies = 0
        try:
            while True:
                async with asyncio.timeout(self._idle_max_s):
                    head = await reader.readuntil(b"\r\n\r\n")
                request = _Request(head)
                request.body = await reader.readexactly(int(request.headers["content-length"]))
                try:
                    status, reply = 200, await self._answer(request)
                except Refused as refused:
                    status = refused.args[0]
                    reply = json.dumps({"__type": f"com.amazonaws.sqs#{refused.args[1]}"})
                replies += 1
                closing = bool(self._close_every) and replies == self._close_every
                writer.write(self._encoded(status, reply.encode(), closing))
                if closing:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _encoded(self, status: int, body: bytes, closing: bool) -> bytes:
        head = b"HTTP/1.1 %d Whatever\r\nContent-Type: application/x-amz-json-1.0\r\n" % status
        head += b"Connection: close\r\n" if closing else b""
        if not self._chunked:
            return head + b"content-length: %d\r\n\r\n" % len(body) + body
        half = len(body) // 2
        chunks = b"".join(
            b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part
        )
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"

    async def _answer(self, request: "_Request") -> str:
        request.check_signature(self.url)
        operation = request.headers["x-amz-target"].partition(".")[2]
        self.requests[operation] += 1
        given = json.loads(request.body)
        reply = await getattr(self, f"_{operation.lower()}")(given)
        return json.dumps(reply) if reply is not None else ""

    async def _createqueue(self, given: Any) -> Any:
        self.created.append(given)
        self.queues[f"{self.url}/000000000000/{given['QueueName']}"] = []
        return await self._getqueueurl(given)

    async def _getqueueurl(self, given: Any) -> Any:
        url = f"{self.url}/000000000000/{given['QueueName']}"
        self._queue({"QueueUrl": url})
        return {"QueueUrl": url}

    async def _deletequeue(self, given: Any) -> Any:
        del self.queues[given["QueueUrl"]]

    async def _sendmessage(self, given: Any) -> Any:
        if self.fail_next:
            raise Refused(403, self.fail_next.pop())
        self._queue(given).append(given["MessageBody"])
        self.bodies.append(given["MessageBody"])
        self.sent.append(given)
        async with self._changed:
            self._changed.notify(1)
        return {"MessageId": "m"}

    async def _sendmessagebatch(self, given: Any) -> Any:
        successful = []
        for entry in given["Entries"]:
            await self._sendmessage({**given, **entry})
            successful.append({"Id": entry["Id"]})
        return {"Successful": successful}

    async def _receivemessage(self, given: Any) -> Any:
        queue = self._queue(given)
        if not queue and given["WaitTimeSeconds"]:
            async with self._changed:
                try:
                    async with asyncio.timeout(given["WaitTimeSeconds"]):
                        await self._changed.wait_for(lambda: queue)
                except TimeoutError:
                    return {}
        handles = []
        while queue and len(handles) < given["MaxNumberOfMessages"]:
            handles.append(f"handle-{queue.pop(0)}")
        self._leases.update(handles)
        attributes = {"SentTimestamp": "1700000000000"}
        messages = [
            {"ReceiptHandle": handle, "Body": handle[7:], "Attributes": attributes}
            for handle in handles
        ]
        return {"Messages": messages} if messages else {}

    async def _deletemessage(self, given: Any) -> Any:
        self._leases.remove(given["ReceiptHandle"])

    async def _deletemessagebatch(self, given: Any) -> Any:
        for entry in given["Entries"]:
            await self._deletemessage(entry)
        return {"Successful": [{"Id": entry["Id"]} for entry in given["Entries"]]}

    def _queue(self, given: Any) -> list[str]:
        try:
            return self.queues[given["QueueUrl"]]
        except KeyError:
            raise Refused(400, "QueueDoesNotExist") from None


class _Request:
    def __init__(self, head: bytes) -> None:
        self.body = b""
        lines = head.decode().split("\r\n")[1:-2]
        pairs = (line.partition(":") for line in lines)
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}

    def check_signature(self, url: str) -> None:
        fields = dict(
            field.split("=", 1)
            for field in self.headers["authorization"].partition(" ")[2].split(", ")
        )
        access_key_id, date, region, service, _ = fields["Credential"].split("/")
        if access_key_id != ACCESS_KEY_ID:
            raise Refused(403, "UnrecognizedClientException")
        signed = {name: self.headers[name] for name in fields["SignedHeaders"].split(";")}
        expected = botocore_signature(url, signed, self.body, region, service)
        if expected != fields["Signature"] or date != signed["x-amz-date"][:8]:
            raise Refused(403, "InvalidSignatureException")


def botocore_signature(
    url: str, signed: dict[str, str], body: bytes, region: str, service: str
) -> str:
    """What botocore signs a POST to `/` with, given all the headers that are signed."""
    token = signed.get("x-amz-security-token")
    auth = SigV4Auth(Credentials(ACCESS_KEY_ID, SECRET, token), service, region)
    request = AWSRequest("POST", url + "/", headers=signed, data=body)
    request.context["timestamp"] = signed["x-amz-date"]
    to_sign = auth.string_to_sign(request, auth.canonical_request(request))
    return str(auth.signature(to_sign, request))
