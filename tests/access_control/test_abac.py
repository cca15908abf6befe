"""Who may do what by tags: of the queue, of the caller, and those that a request asks for."""

from typing import Any

import pytest

from tests.access_control.stage import (
    ACCOUNT,
    Key,
    Stage,
    Statement,
    allow,
    denied,
    deny,
    not_allowed,
    queue_arn,
)

USER = f"arn:aws:iam::{ACCOUNT}:user"


def tagged(**tags: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def equal(key: str, *values: str) -> Statement:
    return {"StringEquals": {key: list(values)}}


# --- The queue's tags and the caller's ------------------------------------------------------------

SAME_TEAM = equal("aws:ResourceTag/team", "${aws:PrincipalTag/team}")


@pytest.fixture(scope="module")
def blue_user(stage: Stage) -> Key:
    key = stage.user("blue-user", allow("sqs:*Message", Condition=SAME_TEAM))
    stage.iam.tag_user(UserName="blue-user", Tags=tagged(team="blue"))
    return key


def test_a_team_uses_its_own_queues(stage: Stage, blue_user: Key) -> None:
    assert stage.sends(blue_user, stage.queue("of-blue", tags={"team": "blue"}))
    for name, tags in (
        ("of-red", {"team": "red"}),
        ("of-nobody", {}),
        ("of-caps", {"team": "Blue"}),
        ("of-other", {"owner": "blue"}),
    ):
        url = stage.queue(name, tags=tags)
        expected = not_allowed(f"{USER}/blue-user", "SendMessage", queue_arn(name))
        assert stage.refuses_send(blue_user, url).text == expected


def test_tags_count_from_the_next_request_on(stage: Stage, blue_user: Key) -> None:
    url = stage.queue("retagged", tags={"team": "blue"})
    for _ in range(2):
        assert stage.sends(blue_user, url)
        stage.sqs.tag_queue(QueueUrl=url, Tags={"team": "red"})
        assert stage.refuses_send(blue_user, url).code == "AccessDenied"
        stage.sqs.tag_queue(QueueUrl=url, Tags={"team": "blue"})
        assert stage.sends(blue_user, url)
        stage.iam.untag_user(UserName="blue-user", TagKeys=["team"])
        assert stage.refuses_send(blue_user, url).code == "AccessDenied"
        stage.iam.tag_user(UserName="blue-user", Tags=tagged(team="blue"))
    stage.sqs.untag_queue(QueueUrl=url, TagKeys=["team"])
    assert stage.refuses_send(blue_user, url).code == "AccessDenied"


def test_somebody_without_a_team_has_no_queues(stage: Stage) -> None:
    key = stage.user("teamless", allow("sqs:*", Condition=SAME_TEAM))
    for name, tags in (("bare", {}), ("empty", {"team": ""}), ("any", {"team": "x"})):
        url = stage.queue(f"none-{name}", tags=tags)
        assert stage.refuses_send(key, url).code == "AccessDenied"


def test_a_queue_policy_sees_the_tags_of_callers_and_not_its_own(stage: Stage) -> None:
    key = stage.user("tagged-user")
    stage.iam.tag_user(UserName="tagged-user", Tags=tagged(project="x"))
    by_caller = allow(
        "sqs:SendMessage", Principal="*", Condition=equal("aws:PrincipalTag/project", "x")
    )
    by_queue = allow(
        "sqs:SendMessage", Principal="*", Condition=equal("aws:ResourceTag/project", "x")
    )
    assert stage.sends(key, stage.queue("by-caller", by_caller))
    url = stage.queue("by-queue", by_queue, tags={"project": "x"})
    assert stage.refuses_send(key, url).code == "AccessDenied"


def test_a_caller_cannot_tag_its_way_in(stage: Stage, blue_user: Key) -> None:
    url = stage.queue("wanted", tags={"team": "red"})
    sqs = stage.client("sqs", blue_user)
    denied(lambda: sqs.tag_queue(QueueUrl=url, Tags={"team": "blue"}), "sqs:tagqueue")
    denied(lambda: sqs.untag_queue(QueueUrl=url, TagKeys=["team"]), "sqs:untagqueue")


# --- The tags that are asked for ------------------------------------------------------------------

BLUE_ONLY = {
    **equal("aws:RequestTag/team", "blue", "navy"),
    "ForAllValues:StringEquals": {"aws:TagKeys": ["team", "cost-center"]},
}


@pytest.fixture(scope="module")
def maker(stage: Stage) -> Any:
    """May make queues with the right tags only."""
    key = stage.user(
        "maker",
        allow("sqs:CreateQueue", Condition=BLUE_ONLY),
        allow("sqs:TagQueue", Condition=BLUE_ONLY),
        allow(
            "sqs:UntagQueue",
            Condition={"ForAllValues:StringEquals": {"aws:TagKeys": ["cost-center"]}},
        ),
    )
    return stage.client("sqs", key)


def test_a_queue_is_made_with_its_tags(stage: Stage, maker: Any) -> None:
    made = maker.create_queue(QueueName="made", tags={"team": "navy", "cost-center": "42"})
    tags = stage.sqs.list_queue_tags(QueueUrl=made["QueueUrl"])["Tags"]
    assert tags == {"team": "navy", "cost-center": "42"}


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"team": "red"},
        {"team": "BLUE"},
        {"cost-center": "42"},
        {"team": "blue", "owner": "me"},
    ],
)
def test_or_it_is_not_made(stage: Stage, maker: Any, tags: dict[str, str]) -> None:
    denied(
        lambda: maker.create_queue(QueueName="unmade", tags=tags),
        not_allowed(f"{USER}/maker", "CreateQueue", queue_arn("unmade")),
    )
    assert "QueueUrls" not in stage.sqs.list_queues(QueueNamePrefix="unmade")


def test_tags_on_a_new_queue_need_the_permission_to_tag(stage: Stage) -> None:
    key = stage.user("no-tagger", allow("sqs:CreateQueue"))
    sqs = stage.client("sqs", key)
    sqs.create_queue(QueueName="plain")
    denied(
        lambda: sqs.create_queue(QueueName="tagged", tags={"team": "blue"}),
        not_allowed(f"{USER}/no-tagger", "TagQueue", queue_arn("tagged")),
    )
    assert "QueueUrls" not in stage.sqs.list_queues(QueueNamePrefix="tagged")


def test_tagging_and_untagging_by_what_is_asked(stage: Stage, maker: Any) -> None:
    url = stage.queue("to-tag")
    maker.tag_queue(QueueUrl=url, Tags={"team": "blue", "cost-center": "7"})
    denied(lambda: maker.tag_queue(QueueUrl=url, Tags={"team": "red"}))
    denied(lambda: maker.tag_queue(QueueUrl=url, Tags={"team": "blue", "x": "y"}))
    denied(lambda: maker.untag_queue(QueueUrl=url, TagKeys=["team"]))
    denied(lambda: maker.untag_queue(QueueUrl=url, TagKeys=["cost-center", "team"]))
    maker.untag_queue(QueueUrl=url, TagKeys=["cost-center"])
    assert stage.sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"team": "blue"}
    # What was allowed a moment ago is asked again with other tags.
    denied(lambda: maker.tag_queue(QueueUrl=url, Tags={"team": "red"}))


def test_a_queue_policy_sees_the_tags_asked_for(stage: Stage) -> None:
    key = stage.user("tagger")
    arn = f"{USER}/tagger"
    url = stage.queue(
        "tagged-by-policy",
        allow("sqs:TagQueue", Principal={"AWS": arn}, Condition=equal("aws:RequestTag/env", "dev")),
        deny(
            "sqs:TagQueue",
            Principal={"AWS": arn},
            Condition={"ForAnyValue:StringLike": {"aws:TagKeys": "secret*"}},
        ),
    )
    sqs = stage.client("sqs", key)
    sqs.tag_queue(QueueUrl=url, Tags={"env": "dev"})
    denied(lambda: sqs.tag_queue(QueueUrl=url, Tags={"env": "prod"}), "no identity-based policy")
    denied(
        lambda: sqs.tag_queue(QueueUrl=url, Tags={"env": "dev", "secret-1": "x"}),
        "with an explicit deny in a resource-based policy",
    )


# --- The same for users themselves ----------------------------------------------------------------


def test_users_are_made_with_their_tags(stage: Stage) -> None:
    key = stage.user(
        "personnel",
        allow("iam:CreateUser", "iam:TagUser", Condition=equal("aws:RequestTag/team", "blue")),
        allow("iam:DeleteUser", Condition=equal("aws:ResourceTag/team", "blue")),
    )
    iam = stage.client("iam", key)
    iam.create_user(UserName="recruit", Tags=tagged(team="blue"))
    denied(lambda: iam.create_user(UserName="spy"), "iam:CreateUser")
    denied(lambda: iam.create_user(UserName="spy", Tags=tagged(team="red")))
    denied(lambda: iam.delete_user(UserName="personnel"), "iam:DeleteUser")
    iam.delete_user(UserName="recruit")
