"""The managed policies of AWS that Stanchion knows by name: what templates attach to roles.

They say what AWS's say as far as it concerns the services here; statements about services that do
not exist here are kept, as they do no harm and templates compare them.
"""

import json
from typing import Any

from msgspec import Struct

_PREFIX = "arn:aws:iam::aws:policy"


class AwsPolicy(Struct, frozen=True):
    name: str
    path: str
    id: str
    description: str
    document: str

    @property
    def arn(self) -> str:
        return f"{_PREFIX}{self.path}{self.name}"


def _allow(actions: list[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": "*"}


def _policy(
    name: str, number: int, description: str, *statements: dict[str, Any], path: str = "/"
) -> AwsPolicy:
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    return AwsPolicy(name, path, f"ANPAAWSMANAGED{number:07d}", description, document)


_READ_QUEUES = [
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ListDeadLetterSourceQueues",
    "sqs:ListMessageMoveTasks",
    "sqs:ListQueues",
    "sqs:ListQueueTags",
]
_CONSUME = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
_WRITE_LOGS = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]

AWS_POLICIES: dict[str, AwsPolicy] = {
    policy.arn: policy
    for policy in (
        _policy("AdministratorAccess", 1, "Everything.", _allow(["*"])),
        _policy("AmazonSQSFullAccess", 2, "Everything about queues.", _allow(["sqs:*"])),
        _policy("AmazonSQSReadOnlyAccess", 3, "Looking at queues.", _allow(_READ_QUEUES)),
        _policy(
            "AWSLambdaSQSQueueExecutionRole",
            4,
            "What a function needs that is fed from a queue.",
            _allow(_CONSUME + _WRITE_LOGS),
            path="/service-role/",
        ),
        _policy(
            "AWSLambdaBasicExecutionRole",
            5,
            "What a function needs to write logs.",
            _allow(_WRITE_LOGS),
            path="/service-role/",
        ),
        _policy("IAMFullAccess", 6, "Everything about identities.", _allow(["iam:*"])),
        _policy(
            "IAMReadOnlyAccess", 7, "Looking at identities.", _allow(["iam:Get*", "iam:List*"])
        ),
    )
}
"""By ARN."""
