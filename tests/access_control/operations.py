"""Every operation of every service with parameters that make sense.

Those of IAM and STS are rows in which `{}` stands for a name; in their order, those of IAM succeed
for root where there is nothing of that name yet, except `NEVER_FOUND`. Those of SQS and KMS choose
what they have of one set of members.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.access_control.stage import (
    ACCOUNT,
    OTHER,
    allow,
    document,
    queue_arn,
    root_arn,
    trusting,
)
from tests.wire.oracle import operation_model

AWS_POLICY = "arn:aws:iam::aws:policy/AmazonSQSFullAccess"
POLICY = f"arn:aws:iam::{ACCOUNT}:policy/{{}}"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{{}}.example.com"
USER_ARN = f"arn:aws:iam::{ACCOUNT}:user/{{}}"
DOCUMENT = document(allow("sqs:SendMessage"))
TRUST = trusting(root_arn(ACCOUNT))
TAGS = [{"Key": "team", "Value": "blue"}]
THUMBPRINT = "a" * 40
AS_KEY = "AKIA{}"
"""Replaced by the id of an access key of the user."""


class Row(NamedTuple):
    operation: str
    parameters: dict[str, Any]


def row(operation: str, /, **parameters: Any) -> Row:
    return Row(operation, parameters)


_user, _group, _role = {"UserName": "{}"}, {"GroupName": "{}"}, {"RoleName": "{}"}
_policy, _provider = {"PolicyArn": POLICY}, {"OpenIDConnectProviderArn": PROVIDER}
_inline = {"PolicyName": "own"}
_text = {"PolicyDocument": DOCUMENT}
_keys = {"TagKeys": ["team"]}

IAM: tuple[Row, ...] = (
    row("CreateUser", **_user),
    row("GetUser", **_user),
    row("ListUsers", PathPrefix="/"),
    row("UpdateUser", **_user, NewPath="/"),
    row("TagUser", **_user, Tags=TAGS),
    row("ListUserTags", **_user),
    row("UntagUser", **_user, **_keys),
    row("PutUserPolicy", **_user, **_inline, **_text),
    row("GetUserPolicy", **_user, **_inline),
    row("ListUserPolicies", **_user),
    row("DeleteUserPolicy", **_user, **_inline),
    row("AttachUserPolicy", **_user, PolicyArn=AWS_POLICY),
    row("ListAttachedUserPolicies", **_user),
    row("DetachUserPolicy", **_user, PolicyArn=AWS_POLICY),
    row("PutUserPermissionsBoundary", **_user, PermissionsBoundary=AWS_POLICY),
    row("DeleteUserPermissionsBoundary", **_user),
    row("CreateAccessKey", **_user),
    row("ListAccessKeys", **_user),
    row("GetAccessKeyLastUsed", AccessKeyId=AS_KEY),
    row("UpdateAccessKey", **_user, AccessKeyId=AS_KEY, Status="Inactive"),
    row("DeleteAccessKey", **_user, AccessKeyId=AS_KEY),
    row("CreateGroup", **_group),
    row("AddUserToGroup", **_group, **_user),
    row("GetGroup", **_group),
    row("ListGroups", PathPrefix="/"),
    row("ListGroupsForUser", **_user),
    row("UpdateGroup", **_group, NewPath="/"),
    row("PutGroupPolicy", **_group, **_inline, **_text),
    row("GetGroupPolicy", **_group, **_inline),
    row("ListGroupPolicies", **_group),
    row("DeleteGroupPolicy", **_group, **_inline),
    row("AttachGroupPolicy", **_group, PolicyArn=AWS_POLICY),
    row("ListAttachedGroupPolicies", **_group),
    row("DetachGroupPolicy", **_group, PolicyArn=AWS_POLICY),
    row("RemoveUserFromGroup", **_group, **_user),
    row("CreateRole", **_role, AssumeRolePolicyDocument=TRUST),
    row("GetRole", **_role),
    row("ListRoles", PathPrefix="/"),
    row("UpdateRole", **_role, MaxSessionDuration=7200),
    row("UpdateRoleDescription", **_role, Description="does things"),
    row("UpdateAssumeRolePolicy", **_role, PolicyDocument=TRUST),
    row("TagRole", **_role, Tags=TAGS),
    row("ListRoleTags", **_role),
    row("UntagRole", **_role, **_keys),
    row("PutRolePolicy", **_role, **_inline, **_text),
    row("GetRolePolicy", **_role, **_inline),
    row("ListRolePolicies", **_role),
    row("DeleteRolePolicy", **_role, **_inline),
    row("AttachRolePolicy", **_role, PolicyArn=AWS_POLICY),
    row("ListAttachedRolePolicies", **_role),
    row("DetachRolePolicy", **_role, PolicyArn=AWS_POLICY),
    row("PutRolePermissionsBoundary", **_role, PermissionsBoundary=AWS_POLICY),
    row("DeleteRolePermissionsBoundary", **_role),
    row("CreatePolicy", PolicyName="{}", **_text),
    row("GetPolicy", **_policy),
    row("ListPolicies", Scope="Local"),
    row("CreatePolicyVersion", **_policy, **_text),
    row("GetPolicyVersion", **_policy, VersionId="v2"),
    row("ListPolicyVersions", **_policy),
    row("SetDefaultPolicyVersion", **_policy, VersionId="v2"),
    row("DeletePolicyVersion", **_policy, VersionId="v1"),
    row("ListEntitiesForPolicy", **_policy),
    row("TagPolicy", **_policy, Tags=TAGS),
    row("ListPolicyTags", **_policy),
    row("UntagPolicy", **_policy, **_keys),
    row("GetAccountAuthorizationDetails"),
    row("GetAccountSummary"),
    row("CreateAccountAlias", AccountAlias="{}"),
    row("ListAccountAliases"),
    row("DeleteAccountAlias", AccountAlias="{}"),
    row("SimulatePrincipalPolicy", PolicySourceArn=USER_ARN, ActionNames=["sqs:SendMessage"]),
    row("SimulateCustomPolicy", PolicyInputList=[DOCUMENT], ActionNames=["sqs:SendMessage"]),
    row("GetContextKeysForCustomPolicy", PolicyInputList=[DOCUMENT]),
    row("GetContextKeysForPrincipalPolicy", PolicySourceArn=USER_ARN),
    row(
        "CreateOpenIDConnectProvider",
        Url="https://{}.example.com",
        ClientIDList=["one"],
        ThumbprintList=[THUMBPRINT],
    ),
    row("GetOpenIDConnectProvider", **_provider),
    row("ListOpenIDConnectProviders"),
    row("AddClientIDToOpenIDConnectProvider", **_provider, ClientID="two"),
    row("RemoveClientIDFromOpenIDConnectProvider", **_provider, ClientID="two"),
    row("UpdateOpenIDConnectProviderThumbprint", **_provider, ThumbprintList=[THUMBPRINT]),
    row("TagOpenIDConnectProvider", **_provider, Tags=TAGS),
    row("ListOpenIDConnectProviderTags", **_provider),
    row("UntagOpenIDConnectProvider", **_provider, **_keys),
    row("DeleteOpenIDConnectProvider", **_provider),
    row("DeletePolicy", **_policy),
    row("ListInstanceProfilesForRole", **_role),
    row("DeleteRole", **_role),
    row("DeleteGroup", **_group),
    row("ListSSHPublicKeys", **_user),
    row("ListMFADevices", **_user),
    row("ListVirtualMFADevices", AssignmentStatus="Any"),
    row("GetLoginProfile", **_user),
    row("DeleteLoginProfile", **_user),
    row("ListSigningCertificates", **_user),
    row("ListServiceSpecificCredentials", **_user),
    row("DeleteUser", **_user),
)

NEVER_FOUND = {"GetLoginProfile", "DeleteLoginProfile"}
"""Operations of IAM about what nobody has."""

STS: tuple[Row, ...] = (
    row("GetCallerIdentity"),
    row("AssumeRole", RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{{}}", RoleSessionName="session"),
    row("GetSessionToken", DurationSeconds=900),
    row("GetFederationToken", Name="{}", Policy=DOCUMENT),
    row(
        "AssumeRoleWithWebIdentity",
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{{}}",
        RoleSessionName="session",
        WebIdentityToken="header.claims.signature",
    ),
    row("GetAccessKeyInfo", AccessKeyId=AS_KEY),
)


def named(value: Any, name: str, access_key_id: str) -> Any:
    """Parameters with a name put in."""
    if isinstance(value, dict):
        return {key: named(part, name, access_key_id) for key, part in value.items()}
    if isinstance(value, list):
        return [named(part, name, access_key_id) for part in value]
    if not isinstance(value, str) or value.startswith('{"'):
        return value
    return value.replace(AS_KEY, access_key_id).replace("{}", name)


# --- SQS and KMS ----------------------------------------------------------------------------------


def queue_parameters(origin: str, name: str) -> dict[str, Any]:
    """Of a call about a queue of account `ACCOUNT`."""
    arn = queue_arn(name)
    return {
        "QueueUrl": f"{origin}/{ACCOUNT}/{name}",
        "QueueName": name,
        "QueueOwnerAWSAccountId": ACCOUNT,
        "MessageBody": "b",
        "ReceiptHandle": "r",
        "VisibilityTimeout": 0,
        "Entries": [{"Id": "1", "MessageBody": "b", "ReceiptHandle": "r", "VisibilityTimeout": 0}],
        "Label": "x",
        "AWSAccountIds": [OTHER],
        "Actions": ["SendMessage"],
        "Attributes": {"DelaySeconds": "1"},
        "Tags": {"a": "b"},
        "TagKeys": ["a"],
        "SourceArn": arn,
        "TaskHandle": task_handle(arn),
    }


def task_handle(arn: str) -> str:
    """Of a move task that nobody started."""
    return b64encode(json.dumps({"taskId": "1", "sourceArn": arn}).encode()).decode()


def key_parameters(key_arn: str, alias: str, ciphertext: bytes) -> dict[str, Any]:
    """Of a call about a key of account `ACCOUNT`."""
    return {
        "KeyId": key_arn,
        "TargetKeyId": key_arn,
        "SourceKeyId": key_arn,
        "DestinationKeyId": key_arn,
        "AliasName": alias,
        "CiphertextBlob": ciphertext,
        "Plaintext": b"plain",
        "Message": b"message",
        "Mac": b"m" * 32,
        "MacAlgorithm": "HMAC_SHA_256",
        "NumberOfBytes": 32,
        "GranteePrincipal": root_arn(OTHER),
        "RetiringPrincipal": root_arn(ACCOUNT),
        "Operations": ["Decrypt"],
        "GrantId": "a" * 64,
        "PendingWindowInDays": 7,
        "Policy": document(allow("kms:*", Principal="*")),
        "Description": "taken over",
        "Tags": [{"TagKey": "a", "TagValue": "b"}],
        "TagKeys": ["a"],
    }


def chosen(wire: str, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that an operation has."""
    shape = operation_model(wire, operation).input_shape
    found = {name: value for name, value in parameters.items() if name in shape.members}
    if "Entries" in found:
        entry = shape.members["Entries"].member.members
        found["Entries"] = [
            {name: value for name, value in each.items() if name in entry}
            for each in found["Entries"]
        ]
    return found
