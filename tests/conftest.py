"""Hypothesis profiles: few examples in an ordinary run, many for `scripts/sim` and `fuzz`."""

from hypothesis import HealthCheck, settings

_SLOW_MACHINES = [HealthCheck.too_slow]

settings.register_profile(
    "default", deadline=None, max_examples=50, suppress_health_check=_SLOW_MACHINES
)
settings.register_profile(
    "fuzz", deadline=None, max_examples=2_000, suppress_health_check=_SLOW_MACHINES
)
settings.register_profile(
    "sim",
    deadline=None,
    max_examples=300,
    stateful_step_count=100,
    suppress_health_check=_SLOW_MACHINES,
)
settings.load_profile("default")
