"""Users, groups and keys against a simple model: any order of operations leaves both the same."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import Struct

from stanchion.access import entities
from stanchion.access.entities import UniqueId
from stanchion.model.iam import (
    AddUserToGroupRequest,
    CreateAccessKeyRequest,
    CreateGroupRequest,
    CreateUserRequest,
    DeleteAccessKeyRequest,
    DeleteGroupRequest,
    DeleteUserRequest,
    RemoveUserFromGroupRequest,
    UpdateGroupRequest,
    UpdateUserRequest,
)
from tests.iam.harness import ACCOUNT, Service
from tests.sqs.harness import finish

NAMES = st.sampled_from(["a", "A", "b", "B", "c"])
KEYS_PER_USER = 2


class ModelUser:
    def __init__(self, name: str, unique_id: str) -> None:
        self.name = name
        self.id = unique_id
        self.groups: set[str] = set()
        """Names in lower case, as everywhere in the model."""
        self.keys: set[str] = set()


class Identities(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.service = Service()
        self.users: dict[str, ModelUser] = {}
        self.groups: dict[str, tuple[str, str]] = {}
        """Name and unique id."""

    def attempt(self, request: Struct, code: str | None) -> Any:
        """Do it, and expect this error or none. Answer: what was answered."""
        if code is None:
            return self.service.do(request)
        assert self.service.refuses(request).query_code == code
        return None

    @rule(name=NAMES)
    def create_user(self, name: str) -> None:
        code = "EntityAlreadyExists" if name.lower() in self.users else None
        if (answer := self.attempt(CreateUserRequest(user_name=name), code)) is not None:
            self.users[name.lower()] = ModelUser(name, answer.user.user_id)

    @rule(name=NAMES)
    def create_group(self, name: str) -> None:
        code = "EntityAlreadyExists" if name.lower() in self.groups else None
        if (answer := self.attempt(CreateGroupRequest(group_name=name), code)) is not None:
            self.groups[name.lower()] = (name, answer.group.group_id)

    @rule(name=NAMES)
    def delete_user(self, name: str) -> None:
        user = self.users.get(name.lower())
        if user is None:
            code = "NoSuchEntity"
        else:
            code = "DeleteConflict" if user.groups or user.keys else None
        self.attempt(DeleteUserRequest(user_name=name), code)
        if code is None:
            del self.users[name.lower()]

    @rule(name=NAMES)
    def delete_group(self, name: str) -> None:
        code = None if name.lower() in self.groups else "NoSuchEntity"
        if any(name.lower() in user.groups for user in self.users.values()):
            code = "DeleteConflict"
        self.attempt(DeleteGroupRequest(group_name=name), code)
        if code is None:
            del self.groups[name.lower()]

    @rule(old=NAMES, new=NAMES)
    def rename_user(self, old: str, new: str) -> None:
        code = None
        if old.lower() not in self.users:
            code = "NoSuchEntity"
        elif new.lower() != old.lower() and new.lower() in self.users:
            code = "EntityAlreadyExists"
        self.attempt(UpdateUserRequest(user_name=old, new_user_name=new), code)
        if code is None:
            user = self.users.pop(old.lower())
            user.name = new
            self.users[new.lower()] = user

    @rule(old=NAMES, new=NAMES)
    def rename_group(self, old: str, new: str) -> None:
        code = None
        if old.lower() not in self.groups:
            code = "NoSuchEntity"
        elif new.lower() != old.lower() and new.lower() in self.groups:
            code = "EntityAlreadyExists"
        self.attempt(UpdateGroupRequest(group_name=old, new_group_name=new), code)
        if code is None:
            _, unique_id = self.groups.pop(old.lower())
            self.groups[new.lower()] = (new, unique_id)
            for user in self.users.values():
                if old.lower() in user.groups:
                    user.groups.remove(old.lower())
                    user.groups.add(new.lower())

    @precondition(lambda self: self.users)
    @rule(user=NAMES, group=NAMES, comes=st.booleans())
    def come_or_go(self, user: str, group: str, comes: bool) -> None:
        are_there = user.lower() in self.users and group.lower() in self.groups
        code = None if are_there else "NoSuchEntity"
        request = AddUserToGroupRequest if comes else RemoveUserFromGroupRequest
        self.attempt(request(group_name=group, user_name=user), code)
        if code is None:
            groups = self.users[user.lower()].groups
            if comes:
                groups.add(group.lower())
            else:
                groups.discard(group.lower())

    @precondition(lambda self: self.users)
    @rule(name=NAMES)
    def create_key(self, name: str) -> None:
        user = self.users.get(name.lower())
        if user is None:
            code = "NoSuchEntity"
        else:
            code = "LimitExceeded" if len(user.keys) == KEYS_PER_USER else None
        answer = self.attempt(CreateAccessKeyRequest(user_name=name), code)
        if answer is not None and user is not None:
            user.keys.add(answer.access_key.access_key_id)

    @precondition(lambda self: any(user.keys for user in self.users.values()))
    @rule(name=NAMES, data=st.data())
    def delete_key(self, name: str, data: st.DataObject) -> None:
        keys = sorted(key for user in self.users.values() for key in user.keys)
        key = data.draw(st.sampled_from(keys))
        user = self.users.get(name.lower())
        is_owner = user is not None and key in user.keys
        request = DeleteAccessKeyRequest(user_name=name, access_key_id=key)
        self.attempt(request, None if is_owner else "NoSuchEntity")
        if is_owner and user is not None:
            user.keys.remove(key)

    @invariant()
    def users_are_as_in_the_model(self) -> None:
        listed = finish(self.service.documents.list(entities.User, ACCOUNT))
        assert [name for name, _ in listed] == sorted(self.users)
        for name, user in listed:
            expected = self.users[name]
            assert (user.name, user.id) == (expected.name, expected.id)
            groups = {self.groups[group][0] for group in expected.groups}
            assert sorted(user.groups) == sorted(groups)
            assert sorted(user.access_key_ids) == sorted(expected.keys)

    @invariant()
    def groups_are_as_in_the_model(self) -> None:
        listed = finish(self.service.documents.list(entities.Group, ACCOUNT))
        assert [name for name, _ in listed] == sorted(self.groups)
        for name, group in listed:
            assert (group.name, group.id) == self.groups[name]
            users = [user.name for user in self.users.values() if name in user.groups]
            assert sorted(group.users) == sorted(users)

    @invariant()
    def keys_and_unique_ids_have_their_owners(self) -> None:
        keys = finish(self.service.documents.list(entities.AccessKey, ""))
        owned = {key: user.name for user in self.users.values() for key in user.keys}
        assert {name: key.user for name, key in keys} == owned
        ids = finish(self.service.documents.list(UniqueId, ""))
        expected = {user.id: ("user", user.name) for user in self.users.values()}
        expected |= {unique_id: ("group", name) for name, unique_id in self.groups.values()}
        assert {name: (owner.sort, owner.name) for name, owner in ids} == expected


TestIdentities = Identities.TestCase
TestIdentities.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
