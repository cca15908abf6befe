"""A real `stanchion serve` with a plain and a TLS port, and whoever the tests want to be.

Everything is done through boto3 and the command line; a test says who may do what, and looks at
what then really happens.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests import server
from tests.http.certificates import Authority

ACCOUNT, OTHER = "000000000000", "222222222222"
REGION = "eu-west-1"
MINUTES_15_S = 900

# What is wrong is for the server to find.
_CONFIG = Config(retries={"total_max_attempts": 1}, parameter_validation=False)

Statement = dict[str, Any]


class Key(NamedTuple):
    """Credentials."""

    access_key_id: str
    secret: str
    token: str | None = None


ROOT = Key(*server.KEY)


class Refusal(NamedTuple):
    """What a client was told."""

    status: int
    code: str
    text: str


def allow(*actions: str, **more: Any) -> Statement:
    """A statement of an identity policy, about everything unless it says what."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*", **more}


def deny(*actions: str, **more: Any) -> Statement:
    return allow(*actions, **more) | {"Effect": "Deny"}


def document(*statements: Statement) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trusting(principal: Any, *actions: str, **more: Any) -> str:
    """A trust policy: an ARN, or the whole Principal; AssumeRole, unless actions are given."""
    named = {"AWS": principal} if isinstance(principal, str) else principal
    chosen = list(actions) or ["sts:AssumeRole"]
    return document({"Effect": "Allow", "Principal": named, "Action": chosen, **more})


def key_of(credentials: Mapping[str, Any]) -> Key:
    """STS's Credentials as a key."""
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
    return Key(*(credentials[name] for name in names))


def refusal(call: Callable[[], Any]) -> Refusal:
    """The error that a call ends with."""
    with pytest.raises(ClientError) as caught:
        call()
    response = caught.value.response
    error = response["Error"]
    return Refusal(
        response["ResponseMetadata"]["HTTPStatusCode"], error["Code"], error.get("Message", "")
    )


def denied(call: Callable[[], Any], *texts: str) -> None:
    """The call is answered with AccessDenied, and these texts."""
    found = refusal(call)
    assert (found.status, found.code) == (403, "AccessDenied"), found
    for text in texts:
        assert text in found.text


class Stage:
    """A running server. Root's clients are `sqs`, `iam` and `sts`."""

    def __init__(self, running: server.Server, data_dir: Path, authority: Authority) -> None:
        self.data_dir = data_dir
        self.http = running.url
        self.https = _tls_url(running.log)
        self.authority = authority
        self._session = boto3.Session()
        self._clients: dict[Any, Any] = {}
        self._roots: dict[str, Key] = {ACCOUNT: ROOT}
        self.sqs = self.client("sqs")
        self.iam = self.client("iam")
        self.sts = self.client("sts")

    def client(self, service: str, key: Key = ROOT, *, secure: bool = False, **config: Any) -> Any:
        """An official client of somebody. Kept, as making one takes a while."""
        name = (service, key, secure, tuple(sorted(config.items())))
        if name not in self._clients:
            self._clients[name] = self._session.client(
                service,
                region_name=REGION,
                endpoint_url=self.https if secure else self.http,
                verify=str(self.authority.path) if secure else None,
                aws_access_key_id=key.access_key_id,
                aws_secret_access_key=key.secret,
                aws_session_token=key.token,
                config=_CONFIG.merge(Config(**config)),
            )
        return self._clients[name]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    # --- Who there is -----------------------------------------------------------------------------

    def root_of(self, account_id: str) -> Key:
        """The root key of an account, which is made when it is first asked for."""
        if account_id not in self._roots:
            made = self.run("account", "create", "--id", account_id, "--json")
            key = json.loads(made)
            self._roots[account_id] = Key(key["access_key_id"], key["secret_access_key"])
        return self._roots[account_id]

    def run(self, *arguments: str) -> str:
        """What the command line prints, on the server's data directory."""
        command = [sys.executable, "-m", "stanchion", *arguments, "--data-dir", str(self.data_dir)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def iam_of(self, account_id: str) -> Any:
        return self.client("iam", self.root_of(account_id))

    def user(self, name: str, *statements: Statement, account_id: str = ACCOUNT) -> Key:
        """A new user whose one policy, named `own`, has these statements. Answer: its key."""
        iam = self.iam_of(account_id)
        iam.create_user(UserName=name)
        if statements:
            iam.put_user_policy(
                UserName=name, PolicyName="own", PolicyDocument=document(*statements)
            )
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return Key(made["AccessKeyId"], made["SecretAccessKey"])

    def role(
        self,
        name: str,
        *statements: Statement,
        trust: str = "",
        account_id: str = ACCOUNT,
        **more: Any,
    ) -> str:
        """A new role, which trusts its account unless told otherwise. Answer: its ARN."""
        iam = self.iam_of(account_id)
        trust = trust or trusting(root_arn(account_id))
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, **more)
        if statements:
            iam.put_role_policy(
                RoleName=name, PolicyName="own", PolicyDocument=document(*statements)
            )
        arn: str = made["Role"]["Arn"]
        return arn

    def assume(self, key: Key, role_arn: str, session: str = "run-1", **more: Any) -> Key:
        """Be a role. Answer: the temporary key."""
        sts = self.client("sts", key)
        made = sts.assume_role(RoleArn=role_arn, RoleSessionName=session, **more)
        return key_of(made["Credentials"])

    def identity(self, key: Key) -> tuple[str, str, str]:
        """UserId, account and ARN of a caller."""
        found = self.client("sts", key).get_caller_identity()
        return found["UserId"], found["Account"], found["Arn"]

    # --- Queues -----------------------------------------------------------------------------------

    def queue(self, name: str, *statements: Statement, key: Key = ROOT, **more: Any) -> str:
        """A new queue whose policy has these statements. Answer: its URL."""
        attributes = {"Policy": document(*statements)} if statements else {}
        made = self.client("sqs", key).create_queue(QueueName=name, Attributes=attributes, **more)
        url: str = made["QueueUrl"]
        return url

    def set_policy(self, url: str, *statements: Statement) -> None:
        """Give a queue a policy of these statements, or take it away."""
        policy = document(*statements) if statements else ""
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})

    def policy_of(self, url: str) -> Any:
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
        return json.loads(found["Attributes"]["Policy"])

    def sends(self, key: Key, url: str, *, secure: bool = False) -> str:
        """Somebody sends a message. Answer: its id."""
        client = self.client("sqs", key, secure=secure)
        sent: str = client.send_message(QueueUrl=url, MessageBody="hello")["MessageId"]
        return sent

    def refuses_send(self, key: Key, url: str, *, secure: bool = False) -> Refusal:
        return refusal(lambda: self.sends(key, url, secure=secure))


def root_arn(account_id: str) -> str:
    return f"arn:aws:iam::{account_id}:root"


def queue_arn(name: str, account_id: str = ACCOUNT) -> str:
    return f"arn:aws:sqs:{REGION}:{account_id}:{name}"


def not_allowed(who: str, action: str, resource: str, reason: str = "") -> str:
    """The text of an AccessDenied; the action as SQS says it, in lower case."""
    action = f"sqs:{action.lower()}"
    reason = reason or f"because no identity-based policy allows the {action} action"
    return f"User: {who} is not authorized to perform: {action} on resource: {resource} {reason}"


@contextmanager
def open_stage(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Stage]:
    """A server and what goes with it, for the length of a block."""
    authority = Authority(folder, "authority")
    files = authority.issue("server")
    given = {
        "tls_cert": str(files.certificate),
        "tls_key": str(files.key),
        "tls_port": "0",
        "queue_name_quarantine_s": "0",
        "purge_interval_s": "0",
        **(settings or {}),
    }
    with server.running(folder / "data", settings=given) as running:
        stage = Stage(running, folder / "data", authority)
        try:
            yield stage
        finally:
            stage.close()


def _tls_url(log: Path) -> str:
    lines = log.read_text().splitlines()
    (url,) = (
        word.partition("url=")[2] for line in lines for word in line.split() if "=https" in word
    )
    return url
