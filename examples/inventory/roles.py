"""Who may do what with a queue: one role sends, one receives, and nobody comes over plain HTTP.

What a role may do is said twice: in a policy of the role, and in the policy of the queue, which
says whom it lets in. In one account either would do; in two, as producers and consumers often are,
it takes both.

On AWS, what has just been made is not known everywhere at once; so this tries for a while.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from botocore.exceptions import ClientError
from dead_letters import queue_arn
from service import Credentials, connect

PRODUCER = "inventory-producer"
CONSUMER = "inventory-consumer"
ACTIONS: Mapping[str, Sequence[str]] = {
    PRODUCER: ["sqs:SendMessage"],
    CONSUMER: [
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:ChangeMessageVisibility",
        "sqs:GetQueueAttributes",
    ],
}
"""By role. A batch needs what its single action needs."""

STARTER = "inventory-starter"
"""A user who may do nothing but be one of the roles: AWS lets no root user be one."""

NOT_YET = ("AccessDenied", "InvalidAttributeValue", "InvalidClientTokenId")
PATIENCE_S = 60

Answer = TypeVar("Answer")


def role_credentials(sqs: Any, queue_url: str) -> dict[str, Credentials]:
    """Make the roles, let them use a queue, and be them for an hour. By name of the role."""
    iam = connect(service="iam")
    arn = queue_arn(sqs, queue_url)
    roles = {name: role(iam, name, arn) for name in ACTIONS}
    protect(sqs, queue_url, roles)
    credentials = sessions(iam, roles)
    consumer = connect(credentials[CONSUMER])
    patiently(lambda: queue_arn(consumer, queue_url))
    return credentials


def check_channel(sqs: Any) -> None:
    """Whoever sets a queue up over plain HTTP would shut themselves out."""
    if sqs.meta.endpoint_url.startswith("http://"):
        sys.exit(
            f"The queues will be closed to plain HTTP, and {sqs.meta.endpoint_url} is that. Have"
            " AWS_ENDPOINT_URL begin with https://, and AWS_CA_BUNDLE name the certificate."
        )


def role(iam: Any, name: str, queue_arn: str) -> str:
    """The ARN of a role that may use a queue; makes it if it is not there."""
    account_id, queue_name = queue_arn.split(":")[4:]
    trust = {"Effect": "Allow", "Principal": {"AWS": account_id}, "Action": "sts:AssumeRole"}
    try:
        reply = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))
    except iam.exceptions.EntityAlreadyExistsException:
        reply = iam.get_role(RoleName=name)
    may = {"Effect": "Allow", "Action": ACTIONS[name], "Resource": queue_arn}
    # A policy for each queue, so that what is said of one changes nothing for another.
    iam.put_role_policy(RoleName=name, PolicyName=queue_name, PolicyDocument=document(may))
    return str(reply["Role"]["Arn"])


def document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def protect(sqs: Any, queue_url: str, roles: Mapping[str, str]) -> None:
    """Let roles in, by their ARNs, and nobody at all whose messages can be read on the way."""
    attributes = {"Policy": queue_policy(queue_arn(sqs, queue_url), roles)}
    patiently(lambda: sqs.set_queue_attributes(QueueUrl=queue_url, Attributes=attributes))


def queue_policy(queue_arn: str, roles: Mapping[str, str]) -> str:
    allowed = [
        {
            "Sid": name,
            "Effect": "Allow",
            "Principal": {"AWS": arn},
            "Action": ACTIONS[name],
            "Resource": queue_arn,
        }
        for name, arn in roles.items()
    ]
    denied = {
        "Sid": "no-plain-http",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Resource": queue_arn,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return document(*allowed, denied)


def sessions(iam: Any, roles: Mapping[str, str]) -> dict[str, Credentials]:
    """Be each of the roles. The key that this takes is gone when it is done; the sessions last."""
    try:
        iam.create_user(UserName=STARTER)
    except iam.exceptions.EntityAlreadyExistsException:
        # A run that was killed may have left its key.
        for left in iam.list_access_keys(UserName=STARTER)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=STARTER, AccessKeyId=left["AccessKeyId"])
    may = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": list(roles.values())}
    iam.put_user_policy(UserName=STARTER, PolicyName="roles", PolicyDocument=document(may))
    key = iam.create_access_key(UserName=STARTER)["AccessKey"]
    try:
        sts = connect(Credentials(key["AccessKeyId"], key["SecretAccessKey"]), "sts")
        return {name: session(sts, arn) for name, arn in roles.items()}
    finally:
        iam.delete_access_key(UserName=STARTER, AccessKeyId=key["AccessKeyId"])


def session(sts: Any, role_arn: str) -> Credentials:
    reply = patiently(lambda: sts.assume_role(RoleArn=role_arn, RoleSessionName="example"))
    given = reply["Credentials"]
    return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


def patiently(
    call: Callable[[], Answer],
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Answer:
    """Call until what was made a moment ago is known; raises the last refusal in the end."""
    deadline_s = clock() + PATIENCE_S
    while True:
        try:
            return call()
        except ClientError as error:
            if error.response["Error"]["Code"] not in NOT_YET or clock() > deadline_s:
                raise
        pause(1)
