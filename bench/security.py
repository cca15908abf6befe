"""What security costs: policies, encryption under the server's key, encryption under a KMS key.

Compared by CPU, between queues of the same server that take turns: a few per cent of throughput
would drown in what else the machine does.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from bench.processes import CREDENTIALS, certificate, durable_server, free_port
from bench.runs import SPARE_S, Bench, Sizes, measured, say, sqs_client
from bench.table import Line
from msgspec.structs import replace

from stanchion.loadgen import queues
from stanchion.loadgen.plan import Credentials, Plan
from stanchion.loadgen.report import Summary

_TURNS_PER_REPEAT = 4
_REGION = "us-east-1"
_POLICIES = 20
_ATTACHED = 10
"""As many managed policies as a user can have; the others are those of a group."""


def security_lines(folder: Path, sizes: Sizes) -> Iterator[Line]:
    with _secured(folder / "secured", sizes) as bench:
        yield _policies(bench)
        yield _managed_key(bench)
        yield _customer_key(bench, folder / "secured-tls" / "cert.pem")


@contextmanager
def _secured(data_dir: Path, sizes: Sizes) -> Iterator[Bench]:
    """A server with both ports. The queue of the bench is not encrypted."""
    folder = data_dir.with_name(f"{data_dir.name}-tls")
    cert, key = certificate(folder)
    tls = ("--tls-cert", cert, "--tls-key", key, "--tls-port", free_port())
    with durable_server(data_dir, *tls) as server:
        url = _queue(server.url, "plain", SqsManagedSseEnabled="false")
        yield Bench(server, url, sizes, tls_port=int(tls[-1]))


def _queue(url: str, name: str, **attributes: str) -> str:
    created = sqs_client(url).create_queue(QueueName=name, Attributes=attributes)
    return str(created["QueueUrl"])


# --- Policies -------------------------------------------------------------------------------------


def _policies(bench: Bench) -> Line:
    """One user without any to speak of, root, against one with all that a decision can meet."""
    url = _queue(bench.server.url, "guarded", SqsManagedSseEnabled="false")
    sqs_client(bench.server.url).set_queue_attributes(
        QueueUrl=url, Attributes={"Policy": json.dumps(_queue_policy(url))}
    )
    free = bench.plan("send")
    guarded = replace(free, queue_url=url, credentials=_user(bench.server.url))
    return _line(
        f"CPU that {_POLICIES} policies of a user and {_POLICIES} statements of a queue add to"
        " SendMessage",
        bench,
        free,
        guarded,
        10,
    )


def _queue_policy(url: str) -> dict[str, Any]:
    """Statements that all have to be looked at, and none of which decides."""
    arn = f"arn:aws:sqs:{_REGION}:000000000000:{url.rpartition('/')[2]}"
    statements = [
        {
            "Sid": f"s{number}",
            "Effect": "Deny" if number % 2 else "Allow",
            "Principal": "*",
            "Action": "sqs:SendMessage",
            "Resource": arn,
            **_condition(number),
        }
        for number in range(_POLICIES)
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def _condition(number: int) -> dict[str, Any]:
    """At most ten statements of a queue's policy can have one."""
    if number % 2 == 0:
        return {"Condition": {"IpAddress": {"aws:SourceIp": f"192.0.2.{number}/32"}}}
    return {"Action": "sqs:PurgeQueue"}


def _user(url: str) -> Credentials:
    """A user who may send by the last of many policies, which is a group's."""
    iam = queues.session(None, CREDENTIALS, _REGION).client("iam", endpoint_url=url)
    iam.create_user(UserName="bench")
    iam.create_group(GroupName="bench")
    iam.add_user_to_group(UserName="bench", GroupName="bench")
    for number in range(_POLICIES):
        last = number == _POLICIES - 1
        statement = {
            "Effect": "Allow",
            "Action": ["sqs:Send*", "sqs:Get*"] if last else ["sqs:ReceiveMessage", "sqs:Delete*"],
            "Resource": "*" if last else f"arn:aws:sqs:*:000000000000:other-{number}-*",
            "Condition": {"StringNotEquals": {"aws:RequestedRegion": f"nowhere-{number}"}},
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        made = iam.create_policy(PolicyName=f"p{number}", PolicyDocument=document)
        arn = made["Policy"]["Arn"]
        if number < _ATTACHED:
            iam.attach_user_policy(UserName="bench", PolicyArn=arn)
        else:
            iam.attach_group_policy(GroupName="bench", PolicyArn=arn)
    key = iam.create_access_key(UserName="bench")["AccessKey"]
    return Credentials(key["AccessKeyId"], key["SecretAccessKey"])


# --- Encryption -----------------------------------------------------------------------------------


def _managed_key(bench: Bench) -> Line:
    sealed = replace(bench.plan("cycle"), queue_url=_queue(bench.server.url, "managed"))
    what = "CPU that SSE-SQS adds to send, receive, delete"
    return _line(what, bench, bench.plan("cycle"), sealed, 5)


def _customer_key(bench: Bench, ca_bundle: Path) -> Line:
    """Over TLS, without which there is no SSE-KMS; the other queue is over TLS as well."""
    url = _queue(bench.server.url, "customer", KmsMasterKeyId="alias/aws/sqs")

    def over_tls(plan: Plan) -> Plan:
        host = urlsplit(bench.server.url).hostname or ""
        endpoint = replace(
            plan.endpoint, host=host, port=bench.tls_port, tls=True, ca_bundle=str(ca_bundle)
        )
        return replace(plan, endpoint=endpoint)

    plain = over_tls(bench.plan("cycle"))
    what = "CPU that SSE-KMS adds to send, receive, delete, over TLS"
    return _line(what, bench, plain, replace(plain, queue_url=url), 8)


# --- Comparing ------------------------------------------------------------------------------------


def _line(what: str, bench: Bench, without: Plan, with_it: Plan, bar_percent: float) -> Line:
    """In turns, and in both orders, so that what drifts does not count for either."""
    pairs = []
    for turn in range(bench.sizes.repeats * _TURNS_PER_REPEAT):
        order = (without, with_it) if turn % 2 else (with_it, without)
        found = {plan.queue_url: _cpu_us(_run(bench, plan)) for plan in order}
        pairs.append((found[without.queue_url], found[with_it.queue_url]))
    before, after = (median(figures) for figures in zip(*pairs, strict=True))
    added = (median(b / a for a, b in pairs) - 1) * 100
    say(f"    {before:.1f} and {after:.1f} µs, {added:+.1f} %")
    return Line(what, f"{before:.1f} and {after:.1f} µs each", added, bar_percent, "at most", " %")


def _run(bench: Bench, plan: Plan) -> Summary:
    return measured(replace(plan, duration_s=bench.sizes.seconds / 2), SPARE_S)


def _cpu_us(summary: Summary) -> float:
    assert summary.server is not None
    return summary.server.cpu_us_per_request
