"""Standard queues with dead-letter queues, as a list of messages and of where each may be.

When exactly an exhausted message moves is the server's choice: with the next receive from its
queue, or in the background. So between two sightings a message may be in either queue, and the
reference keeps the set of its places; once it is seen, or must have moved, there is one.
"""

from dataclasses import dataclass, field

from tests.model_based.messages import Handle, Message

NOWHERE = "nowhere"
"""Gone, with a queue in which it may have been."""


@dataclass(slots=True)
class Redrive:
    target: str
    receive_count_max: int


@dataclass(slots=True)
class Letter:
    """A message that may be in one of several places."""

    message: Message
    home: str
    """The queue in which it was seen last."""
    places: set[str]
    received_here: int = 0
    """How often it was received since it came to its home."""
    is_due: bool = False
    """It was received for the last time allowed, and no rule has changed since."""

    def leave(self, queue: str) -> None:
        self.places = {NOWHERE if place == queue else place for place in self.places}


@dataclass(slots=True)
class Redrives:
    """Queues by name, with their redrive policies and retention; no cap on what is in flight."""

    retention_s: dict[str, int]
    visibility_timeout_s: int = 30
    policies: dict[str, Redrive] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)
    handles: list[tuple[str, Handle, Letter]] = field(default_factory=list)

    # --- What there is ------------------------------------------------------------------------

    def update(self, now_ms: int) -> None:
        """What time alone does: exhausted messages may move, old ones die where they are."""
        for letter in self.letters:
            message = letter.message
            if self.is_exhausted(letter, letter.home) and message.visible_at_ms <= now_ms:
                letter.places.add(self.policies[letter.home].target)
            for place in list(letter.places):
                if place != NOWHERE and not self._is_live(message, place, now_ms):
                    letter.leave(place)
        self.letters = [letter for letter in self.letters if letter.places != {NOWHERE}]

    def _is_live(self, message: Message, place: str, now_ms: int) -> bool:
        return message.sent_at_ms + self.retention_s[place] * 1000 > now_ms

    def is_exhausted(self, letter: Letter, queue: str) -> bool:
        """It would be one receive too many. A dead letter that has just arrived gets one anyway."""
        policy = self.policies.get(queue)
        return (
            policy is not None
            and policy.target in self.retention_s
            and queue == letter.home
            and queue in letter.places
            and letter.received_here > 0
            and letter.message.receive_count >= policy.receive_count_max
        )

    def in_flight(self, queue: str, now_ms: int) -> int:
        return sum(
            letter.places == {queue} and letter.message.in_flight(now_ms) for letter in self.letters
        )

    def delayed(self, queue: str, now_ms: int) -> int:
        return sum(
            letter.places == {queue}
            and letter.message.visible_at_ms > now_ms
            and not letter.message.receive_count
            for letter in self.letters
        )

    def visible(self, queue: str, now_ms: int) -> tuple[int, int]:
        """The least and the most there can be."""
        letters = self._in_view(queue, now_ms)
        return sum(letter.places == {queue} for letter in letters), len(letters)

    def everywhere(self, now_ms: int) -> tuple[int, int]:
        """Visible in all queues together: the least and the most there can be."""
        letters = [x for x in self.letters if x.message.visible_at_ms <= now_ms]
        return sum(NOWHERE not in letter.places for letter in letters), len(letters)

    def deliverable(self, queue: str, now_ms: int) -> tuple[int, int]:
        """The least and the most that receives without a limit can get."""
        letters = self._in_view(queue, now_ms)
        certain = [
            letter
            for letter in letters
            if letter.places == {queue} and not self.is_exhausted(letter, queue)
        ]
        return len(certain), sum(self.may_be_received(letter, queue) for letter in letters)

    def may_be_received(self, letter: Letter, queue: str) -> bool:
        # Rules that become stricter for a dead letter are met with its next receive.
        is_spared = letter.message.source is not None and not letter.is_due
        return is_spared or not self.is_exhausted(letter, queue)

    def _in_view(self, queue: str, now_ms: int) -> list[Letter]:
        return [
            letter
            for letter in self.letters
            if queue in letter.places and letter.message.visible_at_ms <= now_ms
        ]

    # --- What happens to it -------------------------------------------------------------------

    def send(self, queue: str, message: Message) -> None:
        self.letters.append(Letter(message, queue, {queue}))

    def received(
        self, queue: str, message_id: str, handle: str, visibility_s: int | None, now_ms: int
    ) -> Message:
        (letter,) = (
            letter
            for letter in self._in_view(queue, now_ms)
            if letter.message.message_id == message_id
        )
        assert self.may_be_received(letter, queue), "an exhausted message was handed out"
        message = letter.message
        if queue != letter.home:
            message.source = _arn(letter.home)
            letter.home, letter.received_here = queue, 0
        letter.places = {queue}
        letter.received_here += 1
        seconds = self.visibility_timeout_s if visibility_s is None else visibility_s
        message.received(now_ms + seconds * 1000, now_ms)
        letter.is_due = self.is_exhausted(letter, queue)
        self.handles.append((queue, Handle(handle, message, message.receive_count, now_ms), letter))
        return message

    def swept(self, queue: str, is_empty: bool, now_ms: int) -> None:
        """A receive has moved what was due in its queue; all that is exhausted, if it saw all."""
        for letter in self._in_view(queue, now_ms):
            if self.is_exhausted(letter, queue) and (letter.is_due or is_empty):
                letter.places.discard(queue)

    def settled(self, now_ms: int) -> None:
        """The background work is done: what was due has moved."""
        for queue in self.retention_s:
            self.swept(queue, is_empty=False, now_ms=now_ms)

    def delete(self, queue: str, handle: Handle, letter: Letter) -> None:
        if handle.is_latest():
            letter.leave(queue)

    def change_visibility(self, queue: str, letter: Letter, seconds: int, now_ms: int) -> None:
        letter.places = {queue}
        letter.message.visible_at_ms = now_ms + seconds * 1000

    def purge(self, queue: str) -> None:
        for letter in self.letters:
            letter.leave(queue)

    def delete_queue(self, queue: str) -> None:
        """Its messages go with it. What it would have been sent stays where it is."""
        self.purge(queue)
        del self.retention_s[queue]
        self.policies.pop(queue, None)
        self._rules_changed()

    def set_policy(self, queue: str, policy: Redrive | None) -> None:
        self.policies.pop(queue, None)
        if policy is not None:
            self.policies[queue] = policy
        self._rules_changed()

    def _rules_changed(self) -> None:
        for letter in self.letters:
            letter.is_due = False


def _arn(queue: str) -> str:
    return f"arn:aws:sqs:us-east-1:000000000000:{queue}"
