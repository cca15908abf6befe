"""The fixed limits of the service, each with its unit; what the values are is AWS's choice.

Limits that an operator may change are in `service.Limits`. Nothing here depends on anything.
"""

# Queues.
QUEUE_NAME_CHARS_MAX = 80
LIST_RESULTS_MAX = 1000
CACHED_QUEUES_MAX = 10_000
CACHED_URLS_MAX = 10_000
CHANGES_MAX = 1_000
"""Changed queues that are asked for at once."""
CHANGES_TOLD_FOR_MS = 3_600_000
"""Less than the day for which the store can tell of a deleted queue."""
CACHED_URL_CHARS_MAX = 512

# Queue attributes; the values that a send or a receive gives for itself have the same ranges.
DELAY_S_MAX = 900
MESSAGE_BYTES_MIN = 1024
MESSAGE_BYTES_MAX = 1_048_576
RETENTION_S_MIN = 60
RETENTION_S_MAX = 1_209_600
RECEIVE_WAIT_S_MAX = 20
VISIBILITY_TIMEOUT_S_MAX = 43_200
DATA_KEY_REUSE_S_MIN = 60
DATA_KEY_REUSE_S_MAX = 86_400
KMS_KEY_ID_CHARS_MAX = 2048

# Dead letters.
REDRIVE_RECEIVE_COUNT_MAX = 1000
REDRIVE_SOURCES_MAX = 10
MOVE_TASKS_MAX = 100
MOVE_RATE_PER_S_MAX = 500
MOVE_TASK_RESULTS_MAX = 10
TASK_HANDLE_CHARS_MAX = 1024

# Messages.
BATCH_ENTRIES_MAX = 10
BATCH_BYTES_MAX = 1_048_576
BATCH_ENTRY_ID_CHARS_MAX = 80
RECEIVE_MESSAGES_MAX = 10
MESSAGE_ATTRIBUTES_MAX = 10
ATTRIBUTE_NAME_CHARS_MAX = 256
ATTRIBUTE_TYPE_CHARS_MAX = 256
GROUP_ID_CHARS_MAX = 128
RECEIPT_HANDLE_CHARS_MAX = 1024

# Tags.
TAGS_MAX = 50
TAG_KEY_CHARS_MAX = 128
TAG_VALUE_CHARS_MAX = 256

# Policies.
POLICY_BYTES_MAX = 8192
POLICY_STATEMENTS_MAX = 20
POLICY_PRINCIPALS_MAX = 50
POLICY_CONDITIONS_MAX = 10
POLICY_ACTIONS_MAX = 7
LABEL_CHARS_MAX = 80

# SSE-SQS: how long a data key of the server is used, in seconds.
MANAGED_DATA_KEY_S = 3600

# Callers whose last receive a KMS refused, by queue.
REFUSED_READERS_MAX = 10_000

# How many token buckets are kept when FIFO quotas are on.
QUOTA_BUCKETS_MAX = 30_000

# How often an edit that lost a race with another edit of the same queue is decided again.
EDIT_ATTEMPTS_MAX = 100
