"""The quotas of KMS, which are AWS's. Texts that name one are beside the check."""

KEYS_MAX = 100_000
"""Customer keys of an account in one region."""
ALIASES_PER_KEY_MAX = 50
TAGS_MAX = 50
"""Of one key."""
POLICY_BYTES_MAX = 32_768
ON_DEMAND_ROTATIONS_MAX = 25
"""Of one key, ever."""
GRANTS_MAX = 50_000
"""Of one key."""
GRANT_CONTEXT_PAIRS_MAX = 8
GRANT_CONTEXT_VALUE_CHARACTERS_MAX = 384
"""Of one constraint."""

PENDING_WINDOW_DAYS_MIN = 7
PENDING_WINDOW_DAYS_MAX = 30
PENDING_WINDOW_DAYS_DEFAULT = 30
ROTATION_DAYS_DEFAULT = 365

DESTROYED_AT_ONCE_MAX = 100
"""Keys per call of `destroy_due`."""
GRANTS_DELETED_AT_ONCE = 500
