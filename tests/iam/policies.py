"""What tests of roles and policies make again and again."""

import json
from typing import Any

from msgspec import Struct

from stanchion.model.iam import CreatePolicyRequest, CreateRoleRequest
from stanchion.store.records import EditRecords
from tests.iam.harness import ACCOUNT, Service, allow
from tests.sqs.harness import finish

AWS_POLICY = "arn:aws:iam::aws:policy/AmazonSQSFullAccess"


def trusting(principal: Any = f"arn:aws:iam::{ACCOUNT}:root", **more: Any) -> str:
    """A trust policy; a string is an ARN, anything else the whole Principal."""
    named = {"AWS": principal} if isinstance(principal, str) else principal
    statement = {"Effect": "Allow", "Principal": named, "Action": "sts:AssumeRole", **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def create_role(service: Service, name: str = "worker", **more: Any) -> Any:
    """Create a role. Answer: the `model.iam.Role`."""
    given = {"assume_role_policy_document": trusting(), **more}
    return service.do(CreateRoleRequest(role_name=name, **given)).role


def create_policy(service: Service, name: str = "send", **more: Any) -> str:
    """Create a managed policy. Answer: its ARN."""
    given = {"policy_document": allow("sqs:SendMessage"), **more}
    return str(service.do(CreatePolicyRequest(policy_name=name, **given)).policy.arn)


def meanwhile(service: Service, request: Struct) -> None:
    """Have a request answered between the reading and the writing of the next one."""

    def first(command: EditRecords) -> bool:
        del service.store.answers[EditRecords]
        service.do(request)
        return finish(service.store.run(command))

    service.store.answers[EditRecords] = first


def allow_of_size(characters: int) -> str:
    """A document of that many characters, white space beside."""
    empty = allow("sqs:SendMessage", resource="arn:aws:sqs:::")
    padding = "q" * (characters - len(empty))
    return allow("sqs:SendMessage", resource=f"arn:aws:sqs:::{padding}").replace(",", ",\n\t ")
