"""Keys that AWS manages: one per service, account and region, made when first asked for.

Its policy lets all principals of the account use it through the service, and nobody do anything to
it: not even the root user can change, disable or delete it. Called by the service that encrypts
with it, and when it is described.
"""

from msgspec import structs

from stanchion.kms import materials
from stanchion.kms.entities import Alias, Key
from stanchion.kms.finding import put, record_name
from stanchion.kms.service import Kms
from stanchion.store.documents import Draft

PREFIX = "alias/aws/"
"""Of aliases that customers cannot make."""

DESCRIPTIONS = {"sqs": "Default key that protects my SQS messages when no other key is defined"}
"""By service."""

ALIASES = frozenset(PREFIX + service for service in DESCRIPTIONS)


async def aws_managed_key(kms: Kms, account_id: str, region: str, service: str) -> Key:
    """The key of `alias/aws/<service>`. `service` is one of `DESCRIPTIONS`."""
    name = PREFIX + service
    alias = await kms.documents.get(Alias, account_id, record_name(region, name))
    if alias is not None:
        key = await kms.documents.get(Key, account_id, record_name(region, alias.key_id))
        assert key is not None
        return key
    key = _made(kms, account_id, region, service)

    async def work(draft: Draft) -> Key:
        alias = await draft.get(Alias, account_id, record_name(region, name))
        if alias is not None:
            found = await draft.get(Key, account_id, record_name(region, alias.key_id))
            assert found is not None
            return found
        now_ms = key.created_at_ms
        alias = Alias(name=name, key_id=key.id, created_at_ms=now_ms, updated_at_ms=now_ms)
        draft.put(alias, account_id, record_name(region, name))
        put(draft, key)
        return key

    return await kms.documents.change(work)


def _made(kms: Kms, account_id: str, region: str, service: str) -> Key:
    now_ms = kms.clock.now_ms()
    key = Key(
        id=kms.ids.uuid(),
        account_id=account_id,
        region=region,
        manager="AWS",
        description=DESCRIPTIONS[service],
        created_at_ms=now_ms,
        policy=_policy(account_id, region, service),
        aliases=(PREFIX + service,),
        rotates=True,
        rotated_at_ms=now_ms,
    )
    return structs.replace(key, materials=(materials.made(kms, key),))


def _policy(account_id: str, region: str, service: str) -> str:
    """As AWS has it."""
    return (
        _POLICY.replace("ACCOUNT", account_id).replace("REGION", region).replace("SERVICE", service)
    )


_POLICY = """{
  "Version" : "2012-10-17",
  "Id" : "auto-SERVICE-1",
  "Statement" : [ {
    "Sid" : "Allow access for all principals in the account that are authorized to use the service",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "*"
    },
    "Action" : [ "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", \
"kms:CreateGrant", "kms:DescribeKey" ],
    "Resource" : "*",
    "Condition" : {
      "StringEquals" : {
        "kms:ViaService" : "SERVICE.REGION.amazonaws.com",
        "kms:CallerAccount" : "ACCOUNT"
      }
    }
  }, {
    "Sid" : "Allow direct access to key metadata to the account",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::ACCOUNT:root"
    },
    "Action" : [ "kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant" ],
    "Resource" : "*"
  } ]
}"""
