"""The queue checker: judges a history by the invariants S1 to S9 and F1 to F4.

It knows nothing of the server. Each rule yields a sentence per violation; none is a pass.
"""

from tests.crash import fifo_rules, queue_rules, standard_rules
from tests.crash.history import History

RULES = (*standard_rules.RULES, *queue_rules.RULES, *fifo_rules.RULES)


def violations(history: History) -> list[str]:
    """Every violation found. The history must end with a drain that found the queues empty."""
    return [violation for rule in RULES for violation in rule(history)]
