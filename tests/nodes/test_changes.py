"""What is changed through one node is known to the others within a second.

Two nodes in TLS and plain HTTP, one PostgreSQL, and official clients that go to one of them each.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import asyncpg
import pytest
from botocore.exceptions import ClientError

from tests import server
from tests.access_control.stage import Key, Stage, allow, document, key_of, refusal, trusting
from tests.encryption.rig import metric, receive
from tests.http.certificates import Authority
from tests.nodes.processes import end, launch
from tests.postgres import Loop, new_server

WITHIN_S = 2.0
"""A second, and some patience with a machine that has other things to do."""
SCHEMA = "changes"


class Nodes(NamedTuple):
    here: Stage
    there: Stage
    settings: dict[str, str]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("nodes")
    authority = Authority(folder, "authority")
    files = authority.issue("server")
    postgres = new_server()
    place = {"store": postgres.url, "postgres_schema": SCHEMA}
    settings = {
        **place,
        "root_key_file": server.root_key_file(folder),
        "tls_cert": str(files.certificate),
        "tls_key": str(files.key),
        "tls_port": "0",
        "queue_name_quarantine_s": "0",
    }
    with contextlib.ExitStack() as stack:
        stack.callback(postgres.stop)
        stages = []
        for name in ("here", "there"):
            running = stack.enter_context(server.running(folder / name, settings=settings))
            stages.append(Stage(running, folder / name, authority))
            stack.callback(stages[-1].close)
        yield Nodes(*stages, settings)


def soon(check: Callable[[], object]) -> None:
    """It is so, within a second of now."""
    end_s = time.monotonic() + WITHIN_S
    while not check():
        assert time.monotonic() < end_s, "the other node does not know"
        time.sleep(0.02)


def soon_answered(call: Callable[[], object], code: str) -> None:
    """It is answered so, within a second of now."""
    soon(lambda: code_of(call) == code)


def code_of(call: Callable[[], object]) -> str:
    """The last part of a refusal's code, or OK."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"]).rpartition(".")[2]
    return "OK"


def queue(stage: Stage, name: str, **attributes: str) -> str:
    url: str = stage.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url


# --- Queues -------------------------------------------------------------------------------------


def test_an_attribute(nodes: Nodes) -> None:
    url = queue(nodes.here, "attribute")
    body = "x" * 2000
    nodes.there.sqs.send_message(QueueUrl=url, MessageBody=body)
    nodes.here.sqs.set_queue_attributes(QueueUrl=url, Attributes={"MaximumMessageSize": "1024"})
    send = lambda: nodes.there.sqs.send_message(QueueUrl=url, MessageBody=body)  # noqa: E731
    soon_answered(send, "InvalidParameterValue")


def test_a_queue_that_is_gone_and_its_successor(nodes: Nodes) -> None:
    url = queue(nodes.here, "successor")
    send = lambda: nodes.there.sqs.send_message(QueueUrl=url, MessageBody="one")  # noqa: E731
    send()
    nodes.here.sqs.delete_queue(QueueUrl=url)
    soon_answered(send, "NonExistentQueue")
    queue(nodes.here, "successor")
    nodes.there.sqs.send_message(QueueUrl=url, MessageBody="two")
    assert [message["Body"] for message in receive(nodes.here.sqs, url)] == ["two"]


def test_a_long_poll_of_a_queue_that_is_gone(nodes: Nodes) -> None:
    url = queue(nodes.here, "long-poll")
    codes: list[str] = []

    def poll() -> None:
        codes.append(refusal(lambda: receive(nodes.there.sqs, url, WaitTimeSeconds=20)).code)

    waiting = threading.Thread(target=poll)
    waiting.start()
    soon(lambda: metric(nodes.there, "stanchion_long_polls") == 1)
    nodes.here.sqs.delete_queue(QueueUrl=url)
    waiting.join(WITHIN_S)
    assert codes == ["AWS.SimpleQueueService.NonExistentQueue"]


def test_a_queue_policy(nodes: Nodes) -> None:
    url = queue(nodes.here, "policy")
    user = an_user(nodes, "guest", allow("sqs:SendMessage"))
    sqs = nodes.there.client("sqs", user)
    send = lambda: sqs.send_message(QueueUrl=url, MessageBody="hello")  # noqa: E731
    soon_answered(send, "OK")
    arn = "arn:aws:sqs:eu-west-1:000000000000:policy"
    statement = {"Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    attributes = {"Policy": document(statement)}
    nodes.here.sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
    soon_answered(send, "AccessDenied")


# --- Identities ---------------------------------------------------------------------------------


def an_user(nodes: Nodes, name: str, *statements: dict[str, Any]) -> Key:
    """A user made through one node, with an inline policy."""
    iam = nodes.here.iam
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document(*statements))
    made = iam.create_access_key(UserName=name)["AccessKey"]
    return Key(made["AccessKeyId"], made["SecretAccessKey"])


def test_an_access_key_and_what_it_may_do(nodes: Nodes) -> None:
    key = an_user(nodes, "worker", allow("sqs:*"))
    sqs = nodes.there.client("sqs", key)
    soon_answered(sqs.list_queues, "OK")
    policy = document(allow("sqs:SendMessage"))
    nodes.here.iam.put_user_policy(UserName="worker", PolicyName="p", PolicyDocument=policy)
    soon_answered(sqs.list_queues, "AccessDenied")
    which = {"UserName": "worker", "AccessKeyId": key.access_key_id}
    nodes.here.iam.update_access_key(**which, Status="Inactive")
    soon_answered(sqs.list_queues, "InvalidClientTokenId")
    nodes.here.iam.update_access_key(**which, Status="Active")
    soon_answered(sqs.list_queues, "AccessDenied")


def test_a_session_works_on_every_node_until_its_role_is_gone(nodes: Nodes) -> None:
    trust = trusting("arn:aws:iam::000000000000:root")
    nodes.here.iam.create_role(RoleName="visitor", AssumeRolePolicyDocument=trust)
    policy = {"PolicyName": "p", "PolicyDocument": document(allow("sqs:*"), allow("sts:*"))}
    nodes.here.iam.put_role_policy(RoleName="visitor", **policy)
    user = nodes.here.client("sts", an_user(nodes, "traveller", allow("sts:AssumeRole")))
    role = "arn:aws:iam::000000000000:role/visitor"
    assumed = user.assume_role(RoleArn=role, RoleSessionName="trip")
    sqs = nodes.there.client("sqs", key_of(assumed["Credentials"]))
    soon_answered(sqs.list_queues, "OK")
    nodes.here.iam.delete_role_policy(RoleName="visitor", PolicyName="p")
    soon_answered(sqs.list_queues, "AccessDenied")


def test_a_node_that_waits_for_locks_still_learns_of_it(nodes: Nodes) -> None:
    key = an_user(nodes, "leaver", allow("sqs:*"))
    sqs = nodes.there.client("sqs", key)
    soon_answered(sqs.list_queues, "OK")
    loop = Loop()
    blocker = loop.run(asyncpg.connect(nodes.settings["store"]))
    create = lambda n: nodes.there.sqs.create_queue(QueueName=f"waits-{n}")  # noqa: E731
    loop.run(blocker.execute(f"SELECT pg_advisory_lock(hashtext('{SCHEMA}'), 1)"))
    try:
        with ThreadPoolExecutor() as threads:
            waiting = [threads.submit(create, number) for number in range(4)]
            which = {"UserName": "leaver", "AccessKeyId": key.access_key_id}
            nodes.here.iam.update_access_key(**which, Status="Inactive")
            soon_answered(sqs.list_queues, "InvalidClientTokenId")
            assert not any(creation.done() for creation in waiting)
            loop.run(blocker.close())
    finally:
        blocker.terminate()


# --- Keys ---------------------------------------------------------------------------------------


def test_a_disabled_kms_key_ends_the_data_keys_in_use(nodes: Nodes) -> None:
    here, there = (node.client("kms") for node in (nodes.here, nodes.there))
    key_id = here.create_key()["KeyMetadata"]["KeyId"]
    url = queue(nodes.here, "sealed", KmsMasterKeyId=key_id, KmsDataKeyReusePeriodSeconds="3600")
    sqs = nodes.there.client("sqs", secure=True)
    send = lambda: sqs.send_message(QueueUrl=url, MessageBody="hello")  # noqa: E731
    send()
    here.disable_key(KeyId=key_id)
    soon_answered(send, "DisabledException")
    here.enable_key(KeyId=key_id)
    soon_answered(send, "OK")
    assert there.describe_key(KeyId=key_id)["KeyMetadata"]["Enabled"]


def test_no_message_is_unreadable_when_the_root_rotates(nodes: Nodes) -> None:
    """Each queue is sealed under a data key of its own, made and used within a moment."""
    place = {n: nodes.settings[n] for n in ("store", "postgres_schema", "root_key_file")}
    rotating = launch(place, "keys rotate")
    assert rotating.wait(30) == 0, rotating.communicate()
    end(rotating)
    end_s = time.monotonic() + 6.5
    number = 0
    while time.monotonic() < end_s:
        stages = (nodes.here, nodes.there) if number % 2 else (nodes.there, nodes.here)
        url = queue(stages[0], f"rotation-{number}")
        stages[0].sqs.send_message(QueueUrl=url, MessageBody="hello")
        assert [message["Body"] for message in receive(stages[1].sqs, url)] == ["hello"]
        number += 1
        time.sleep(0.05)
    assert number > 10
    for stage in (nodes.here, nodes.there):
        assert metric(stage, "stanchion_unreadable_bodies_total") == 0
