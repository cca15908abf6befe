"""What `scripts/quickstart` shows: a server, the life of a message, and the inventory example.

The example has two parts: stock levels with dead letters, and price adjustments in FIFO order. Both
are run by roles of least privilege, over TLS with a certificate that is made here.

Starts the production server on a temporary data directory, talks to it with boto3 as any client
would, checks what it sees, and stops the server. Exits with 1 if anything is not as it should be.
"""

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from rich.console import Console

CHECKOUT = Path(__file__).resolve().parent.parent
STOP_TIMEOUT_S = 30

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="stanchion-quickstart-") as directory:
        data_dir, tls_dir = Path(directory) / "data", Path(directory) / "tls"
        step("A server with TLS; what it confirms is on disk, and bodies are encrypted there")
        make_certificate(tls_dir)
        with server(data_dir, tls_dir) as (plain_url, tls_url):
            point_boto3_at(plain_url, tls_url, tls_dir / "cert.pem", credentials(data_dir))
            note(f"listening on {tls_url}, and on {plain_url} without TLS")
            note("root-credentials.env has its root user's key; root.key is what opens its data")
            one_message(boto3.client("sqs"))
            step("The inventory example: 3,000 stock levels, of which eight fail at first")
            run_example("run.py")
            step("The same with a FIFO queue: 400 price adjustments, in order, each once")
            run_example("run_prices.py")
        step("The server was told to stop, finished what it was doing, and left with status 0")
    how_to_go_on()
    return 0


def step(text: str) -> None:
    console.print(f"\n[bold]{text}[/]")


def note(text: str) -> None:
    console.print(f"  {text}")


def make_certificate(tls_dir: Path) -> None:
    arguments = ["tls", "self-signed", "--dir", str(tls_dir)]
    note("$ stanchion " + shlex.join(arguments))
    command = [sys.executable, "-m", "stanchion", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=server_environment())


@contextmanager
def server(data_dir: Path, tls_dir: Path) -> Iterator[tuple[str, str]]:
    """Run `stanchion serve`; gives its endpoints without TLS and with it."""
    tls_port = str(free_port())
    arguments = ["serve", "--data-dir", str(data_dir), "--port", "0", "--tls-port", tls_port]
    arguments += ["--tls-cert", str(tls_dir / "cert.pem"), "--tls-key", str(tls_dir / "key.pem")]
    note("$ stanchion " + shlex.join(arguments))
    process = subprocess.Popen(
        [sys.executable, "-m", "stanchion", *arguments, "--log-level", "error"],
        stdout=subprocess.PIPE,
        text=True,
        env=server_environment(),
    )
    try:
        yield ready_endpoint(process), f"https://127.0.0.1:{tls_port}"
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(STOP_TIMEOUT_S)
    if status != 0:
        raise Failure(f"the server left with status {status}")


def free_port() -> int:
    """One that nobody uses now; the ready line says only the other."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def server_environment() -> dict[str, str]:
    """Without settings and keys that the caller may have for a server of their own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("STANCHION_")}


def ready_endpoint(process: subprocess.Popen[str]) -> str:
    """Wait for `stanchion ready on http://…`, the one line that a server prints."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("stanchion ready on "):
        raise Failure("the server did not start; its own words are above")
    return line.split()[-1]


def credentials(data_dir: Path) -> dict[str, str]:
    """The `export NAME=value` lines that the server wrote on its first start."""
    lines = (data_dir / "root-credentials.env").read_text().splitlines()
    pairs = (line.removeprefix("export ").split("=", 1) for line in lines if "=" in line)
    return {name: shlex.split(value)[0] for name, value in pairs if name.startswith("AWS_")}


def point_boto3_at(
    plain_url: str, tls_url: str, certificate: Path, credentials: dict[str, str]
) -> None:
    """By the standard variables only: profiles and proxies of the caller's are set aside."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= credentials
    os.environ["AWS_ENDPOINT_URL"] = tls_url
    os.environ["AWS_CA_BUNDLE"] = str(certificate)
    os.environ["PLAIN_HTTP_ENDPOINT_URL"] = plain_url
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    os.environ["AWS_CONFIG_FILE"] = os.devnull
    os.environ["NO_PROXY"] = "127.0.0.1"


def one_message(sqs: Any) -> None:
    step("The life of a message, with plain boto3")
    queue_url = sqs.create_queue(QueueName="hello")["QueueUrl"]
    note(f"create_queue     {queue_url}")
    sent = sqs.send_message(QueueUrl=queue_url, MessageBody="Hello, queue!")
    note(f"send_message     {sent['MessageId']}, MD5 {sent['MD5OfMessageBody']}")
    (message,) = receive(sqs, queue_url)
    note(f"receive_message  {message['Body']!r}, now hidden from others for 30 seconds")
    expect(message["Body"] == "Hello, queue!", "the body is what was sent")
    expect(message["MessageId"] == sent["MessageId"], "the id is what was promised")
    expect(not receive(sqs, queue_url), "nobody else can receive it meanwhile")
    sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    counts = sqs.get_queue_attributes(
        QueueUrl=queue_url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    expect(set(counts.values()) == {"0"}, "delete_message: the queue is empty again")
    sqs.delete_queue(QueueUrl=queue_url)


def receive(sqs: Any, queue_url: str) -> list[Any]:
    reply = sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=0)
    messages: list[Any] = reply.get("Messages", [])
    return messages


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise Failure(f"it is not so that {what}")
    note(f"[green]✓[/] {what}")


def run_example(script: str) -> None:
    path = CHECKOUT / "examples" / "inventory" / script
    subprocess.run([sys.executable, str(path)], check=True)


def how_to_go_on() -> None:
    step("To go on")
    note("source .venv/bin/activate")
    note("stanchion serve --data-dir ./data         # a server that keeps what it is given")
    note("source ./data/root-credentials.env        # key, region, endpoint: for any AWS client")
    note("stanchion dev                             # in memory, any credentials, for tests")
    note("examples/inventory/README.md              # the example on a server of your own")


class Failure(Exception):
    """Something is not as it should be."""


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failure, subprocess.CalledProcessError) as failure:
        console.print(f"[red]✗[/] {failure}")
        sys.exit(1)
