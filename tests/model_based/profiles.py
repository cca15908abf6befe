"""How long each machine runs: a share of the profile in force, so `sim` runs all of them deeper."""

from hypothesis import settings


def share(examples: float, steps: int | None = None) -> settings:
    """Settings with that part of the profile's examples, of so many steps by default."""
    profile = settings()
    deep = profile.stateful_step_count > 50
    return settings(
        max_examples=max(1, round(profile.max_examples * examples)),
        stateful_step_count=profile.stateful_step_count if deep or steps is None else steps,
    )
