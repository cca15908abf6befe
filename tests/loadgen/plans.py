"""A plan to vary in tests."""

from typing import Any

from stanchion.loadgen.plan import Credentials, Endpoint, Plan
from tests.loadgen.tiny_sqs import ACCESS_KEY_ID, SECRET


def plan(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "endpoint": Endpoint("sqs.example.com", 9324, False, None, "eu-west-1"),
        "credentials": Credentials(ACCESS_KEY_ID, SECRET),
        "queue_url": "http://sqs.example.com:9324/000000000000/a%b",
        "scenario": "send",
        "connections": 4,
        "batch": 1,
        "body_bytes": 100,
        "duration_s": None,
        "requests": 10,
        "warmup_s": 0.0,
        "wait_s": 0,
        "wake_ups": 0,
        "server_pid": None,
    }
    return Plan(**(values | changes))
