"""A machine of key states: whatever is done in whatever order, a key is where it should be."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from stanchion.kms import finding, materials, rotation
from stanchion.kms.entities import Alias, KeyCount
from stanchion.kms.keys import destroy_due
from stanchion.model.errors import ServiceError
from stanchion.model.kms import (
    CancelKeyDeletionRequest,
    CreateAliasRequest,
    DeleteAliasRequest,
    DescribeKeyRequest,
    DisableKeyRequest,
    EnableKeyRequest,
    EnableKeyRotationRequest,
    ListKeysRequest,
    RotateKeyOnDemandRequest,
    ScheduleKeyDeletionRequest,
    UpdateAliasRequest,
)
from tests.kms.harness import ACCOUNT, DAY_S, REGION, Service
from tests.model_based.profiles import share
from tests.sqs.harness import finish

ALIASES = ("alias/a", "alias/b")


@dataclass
class Expected:
    """What a key should be."""

    state: str = "Enabled"
    deletion_at_s: float = 0
    plaintexts: list[bytes] = field(default_factory=list)


class Machine(RuleBasedStateMachine):
    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.service = Service()
        self.expected: dict[str, Expected] = {}
        self.aliases: dict[str, str] = {}

    def now_s(self) -> float:
        return self.service.clock.now_ms() / 1000

    def is_there(self, key_id: str) -> bool:
        expected = self.expected[key_id]
        return expected.state != "PendingDeletion" or self.now_s() < expected.deletion_at_s

    def attempt(self, key_id: str, request: Any, *states: str) -> bool:
        """Ask, and check that it is done in those states only."""
        should = self.is_there(key_id) and self.expected[key_id].state in states
        if should:
            self.service.ask(request)
        else:
            self.service.refuses(request)
        return should

    @initialize(target=keys)
    def create_first(self) -> str:
        return self.created()

    @rule(target=keys)
    def create(self) -> str:
        return self.created()

    def created(self) -> str:
        key_id = self.service.key()
        key = self.service.found(key_id)
        plaintext = materials.opened(self.service.kms, key, key.materials[0])
        self.expected[key_id] = Expected(plaintexts=[plaintext])
        return key_id

    @rule(key_id=keys)
    def enable(self, key_id: str) -> None:
        if self.attempt(key_id, EnableKeyRequest(key_id=key_id), "Enabled", "Disabled"):
            self.expected[key_id].state = "Enabled"

    @rule(key_id=keys)
    def disable(self, key_id: str) -> None:
        if self.attempt(key_id, DisableKeyRequest(key_id=key_id), "Enabled", "Disabled"):
            self.expected[key_id].state = "Disabled"

    @rule(key_id=keys, days=st.sampled_from([7, 8, 30]))
    def schedule(self, key_id: str, days: int) -> None:
        request = ScheduleKeyDeletionRequest(key_id=key_id, pending_window_in_days=days)
        if self.attempt(key_id, request, "Enabled", "Disabled"):
            self.expected[key_id].state = "PendingDeletion"
            self.expected[key_id].deletion_at_s = self.now_s() + days * DAY_S

    @rule(key_id=keys)
    def cancel(self, key_id: str) -> None:
        if self.attempt(key_id, CancelKeyDeletionRequest(key_id=key_id), "PendingDeletion"):
            self.expected[key_id].state = "Disabled"

    @rule(key_id=keys)
    def rotate(self, key_id: str) -> None:
        if len(self.expected[key_id].plaintexts) > 20:
            return
        if self.attempt(key_id, RotateKeyOnDemandRequest(key_id=key_id), "Enabled"):
            self.note_rotation(key_id)

    @rule(key_id=keys)
    def rotate_from_now_on(self, key_id: str) -> None:
        request = EnableKeyRotationRequest(key_id=key_id, rotation_period_in_days=90)
        self.attempt(key_id, request, "Enabled")

    @rule(key_id=keys)
    def use(self, key_id: str) -> None:
        if self.is_there(key_id):
            before = self.service.found(key_id)
            after = finish(rotation.up_to_date(self.service.kms, before))
            if len(after.materials) > len(before.materials):
                assert self.expected[key_id].state == "Enabled"
                self.note_rotation(key_id)

    def note_rotation(self, key_id: str) -> None:
        key = self.service.found(key_id)
        plaintext = materials.opened(self.service.kms, key, key.materials[-1])
        assert plaintext not in self.expected[key_id].plaintexts
        self.expected[key_id].plaintexts.append(plaintext)

    @rule(key_id=keys, name=st.sampled_from(ALIASES))
    def name(self, key_id: str, name: str) -> None:
        is_known = name in self.aliases and self.is_there(self.aliases[name])
        request_type = UpdateAliasRequest if is_known else CreateAliasRequest
        request = request_type(alias_name=name, target_key_id=key_id)
        if self.attempt(key_id, request, "Enabled", "Disabled"):
            self.aliases[name] = key_id

    @rule(name=st.sampled_from(ALIASES))
    def unname(self, name: str) -> None:
        key_id = self.aliases.get(name)
        if key_id is not None and self.is_there(key_id):
            self.service.ask(DeleteAliasRequest(alias_name=name))
            del self.aliases[name]

    @rule(days=st.sampled_from([0.5, 1, 7, 30, 90]))
    def wait(self, days: float) -> None:
        self.service.clock.advance(days * DAY_S)

    @rule()
    def upkeep(self) -> None:
        finish(destroy_due(self.service.kms))
        there = [key_id for key_id in self.expected if self.is_there(key_id)]
        count = self.service.get(KeyCount, ACCOUNT, REGION)
        assert (count.keys if count else 0) == len(there)
        for name, key_id in list(self.aliases.items()):
            if not self.is_there(key_id):
                assert self.service.get(Alias, ACCOUNT, f"{REGION}/{name}") is None
                del self.aliases[name]

    @invariant()
    def every_key_is_where_it_should_be(self) -> None:
        there = {key_id for key_id in self.expected if self.is_there(key_id)}
        listed = self.service.ask(ListKeysRequest()).keys
        assert {key.key_id for key in listed} == there
        for key_id in there:
            key = self.service.found(key_id)
            assert key.state == self.expected[key_id].state
            named = {name for name, owner in self.aliases.items() if owner == key_id}
            assert set(key.aliases) == named
            opened = [materials.opened(self.service.kms, key, m) for m in key.materials]
            assert opened == self.expected[key_id].plaintexts

    @invariant()
    def what_is_usable_is_enabled(self) -> None:
        for key_id in filter(self.is_there, self.expected):
            is_enabled = self.expected[key_id].state == "Enabled"
            if is_enabled:
                finding.usable(self.service.found(key_id))
            else:
                with pytest.raises(ServiceError):
                    finding.usable(self.service.found(key_id))

    @invariant()
    def what_is_gone_is_not_found(self) -> None:
        for key_id in self.expected:
            if not self.is_there(key_id):
                with pytest.raises(ServiceError, match="does not exist"):
                    self.service.ask(DescribeKeyRequest(key_id=key_id))


Machine.TestCase.settings = share(1.0, steps=50)
TestKeyStates = Machine.TestCase
