"""The quotas of an account, which are AWS's. Texts that name one are beside the check."""

USERS_MAX = 5000
GROUPS_MAX = 300
ROLES_MAX = 1000
POLICIES_MAX = 1500
OIDC_PROVIDERS_MAX = 100

GROUPS_PER_USER_MAX = 10
ACCESS_KEYS_PER_USER_MAX = 2
TAGS_MAX = 50
"""Of one user, role, policy or provider."""
ATTACHED_POLICIES_MAX = 10
"""Managed policies of one user, group or role."""
POLICY_VERSIONS_MAX = 5

ALIASES_MAX = 1
"""Of an account. A new alias takes the place of the old one."""
USER_POLICIES_BYTES_MAX = 2048
"""All inline policies of a user, without white space; so for the others."""
GROUP_POLICIES_BYTES_MAX = 5120
ROLE_POLICIES_BYTES_MAX = 10240
MANAGED_POLICY_BYTES_MAX = 6144
TRUST_POLICY_BYTES_MAX = 2048

PAGE_ITEMS_DEFAULT = 100
PAGE_ITEMS_MAX = 1000
EXAMINED_PER_PAGE_MAX = 2000
"""How many documents a list that filters looks at before it answers with what it has."""
