"""Documents as requests bring them: what counts of their length, and what is refused."""

import pytest

from stanchion.iam import documents, limits
from stanchion.model.iam import LimitExceededException, MalformedPolicyDocumentException
from tests.iam.harness import allow


def test_white_space_does_not_count() -> None:
    assert documents.size(' {\t"a b":\r\n1 } ') == len('{"ab":1}')
    assert documents.size("\u00a0\u0085") == 2


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(MalformedPolicyDocumentException) as refusal:
        documents.parsed(allow("sqs:SendMessage").replace("Allow", "allow"))
    assert refusal.value.message == "Statement[0].Effect: must be Allow or Deny"


@pytest.mark.parametrize(
    ("sort", "most"),
    [
        ("user", limits.USER_POLICIES_BYTES_MAX),
        ("group", limits.GROUP_POLICIES_BYTES_MAX),
        ("role", limits.ROLE_POLICIES_BYTES_MAX),
    ],
)
def test_inline_policies_count_together(sort: str, most: int) -> None:
    documents.check_inline_size(sort, "x", ["a" * (most - 1), " a "])
    with pytest.raises(LimitExceededException):
        documents.check_inline_size(sort, "x", ["a" * (most - 1), "aa"])
