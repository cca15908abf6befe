"""Several processes on one port, and the one that looks after them.

The supervisor holds the ports, starts the workers, starts another one for each that ends, passes
signals on, and ends when they have. It serves nobody, opens no store and runs no event loop, so
that it can be copied at any time: workers are forks of it. Each worker has two pipes: on one it
says that it is ready, or why it will never be, and its end is noticed by the end of that pipe; on
the other it notices the end of the supervisor, however that comes about, and ends too.
Linux hands new connections out evenly; other systems may prefer one worker. Called by the server.
"""

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence

from stanchion.observe import logs

RESTART_PAUSE_S = 0.1
RESTART_PAUSE_MAX_S = 5.0
"""The pause doubles from worker to worker that does not last."""
STEADY_AFTER_S = 10.0
_REPORT_BYTES_MAX = 4096
_SIGNALLED = 128
"""An exit code above is that of a process that a signal has ended, as shells have it."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Refused(Exception):
    """A worker could not start; the message is its one line that says why."""


class Worker:
    """What a worker has of its supervisor."""

    def __init__(self, number: int, report: int, supervisor: int) -> None:
        self.number = number
        """From 1 on. One that takes another's place has its number."""
        self.supervisor = supervisor
        """A file descriptor that becomes readable when the supervisor is gone."""
        self._report = report

    def ready(self, line: str) -> None:
        """Requests are accepted from now on. `line` is for the operator."""
        os.write(self._report, f"+{line}\n".encode())

    def refuse(self, reason: str) -> None:
        """This worker cannot start."""
        line = " ".join(reason.split())
        os.write(self._report, f"-{line}\n".encode()[:_REPORT_BYTES_MAX])


Work = Callable[[Worker], int]
"""What a worker does. Answer: its exit code."""


def supervise(
    count: int,
    work: Work,
    announce: Callable[[str], None],
    ports: Sequence[socket.socket],
    *,
    hang_up: bool,
    end_within_s: float,
) -> int:
    """Keep so many workers running until told to stop. Answer: the exit code, 0 if theirs were.

    `announce` is given the line of the first one when all are ready. `ports` are closed in the
    workers. SIGHUP is passed on if `hang_up` says so. Raises `Refused`, with all workers gone.
    """
    supervisor = _Supervisor(work, announce, ports, end_within_s)
    signals = _SIGNALS if hang_up else _SIGNALS[:2]
    with supervisor.listening(signals):
        return supervisor.run(count)


class _Process:
    """A worker as its supervisor sees it."""

    def __init__(self, number: int, failures: int) -> None:
        self.number = number
        self.failures = failures
        """How many before it have not lasted."""
        self.pid = 0
        self.reports = -1
        self.ready_s: float | None = None
        self.refusal = ""


class _Supervisor:
    def __init__(
        self,
        work: Work,
        announce: Callable[[str], None],
        ports: Sequence[socket.socket],
        end_within_s: float,
    ) -> None:
        self._work = work
        self._announce = announce
        self._ports = ports
        self._end_within_s = end_within_s
        self._selector = selectors.DefaultSelector()
        self._life, self._life_held = os.pipe()
        self._signalled, self._signals = socket.socketpair()
        self._running: dict[int, _Process] = {}
        """By number."""
        self._due: dict[int, tuple[float, int]] = {}
        """When to start a worker of that number, and after how many failures."""
        self._line = ""
        self._has_started = False
        self._refusal: str | None = None
        self._kill_at_s: float | None = None
        """Set from the moment that it is to end."""
        self._status = 0

    @contextlib.contextmanager
    def listening(self, signals: Sequence[signal.Signals]) -> Iterator[None]:
        """Take signals as bytes that can be waited for, along with everything else."""
        for end in (self._signalled, self._signals):
            end.setblocking(False)
        self._selector.register(self._signalled, selectors.EVENT_READ)
        before = signal.set_wakeup_fd(self._signals.fileno(), warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, _ignore) for number in signals}
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self._selector.close()
            for end in (self._signalled, self._signals, *self._ports):
                end.close()
            os.close(self._life)
            os.close(self._life_held)

    def run(self, count: int) -> int:
        # The first one brings the database up to date and makes the keys; the others find them.
        self._start(1, 0)
        while self._running or (self._due and self._kill_at_s is None):
            for key, _ in self._selector.select(self._patience_s()):
                if key.fileobj is self._signalled:
                    self._pass_on(self._signalled.recv(100))
                else:
                    self._hear(key.data)
            self._start_others(count)
            self._start_due()
            self._kill_late()
        if self._refusal is not None:
            raise Refused(self._refusal)
        return self._status

    def _patience_s(self) -> float | None:
        instants = [at_s for at_s, _ in self._due.values()]
        if self._kill_at_s is not None:
            instants = [self._kill_at_s]
        return max(0.0, min(instants) - time.monotonic()) if instants else None

    # --- Starting ---------------------------------------------------------------------------------

    def _start(self, number: int, failures: int) -> None:
        process = _Process(number, failures)
        process.reports, report = os.pipe()
        # A signal between the fork and the worker's own handlers would be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            process.pid = os.fork()
            if not process.pid:
                self._become(process, report)
        except OSError:
            os.close(process.reports)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.close(report)
        self._running[number] = process
        self._selector.register(process.reports, selectors.EVENT_READ, process)

    def _become(self, process: _Process, report: int) -> None:
        """In the new process: work, and never return."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            # It is passed on to those too that have no certificates yet to read anew.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._selector.close()
            for end in (self._signalled, self._signals, *self._ports):
                end.close()
            for inherited in (self._life_held, process.reports):
                os.close(inherited)
            for other in self._running.values():
                os.close(other.reports)
            status = self._work(Worker(process.number, report, self._life))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _start_others(self, count: int) -> None:
        first = self._running.get(1)
        if self._has_started or self._kill_at_s is not None or first is None:
            return
        if first.ready_s is None:
            return
        for number in range(2, count + 1):
            if number not in self._running:
                self._start(number, 0)
        if all(process.ready_s is not None for process in self._running.values()):
            self._has_started = True
            self._announce(self._line)

    def _start_due(self) -> None:
        now_s = time.monotonic()
        for number, (at_s, failures) in list(self._due.items()):
            if at_s > now_s or self._kill_at_s is not None:
                continue
            del self._due[number]
            try:
                self._start(number, failures)
            except OSError as error:
                # No more processes or files for now; those that there are go on.
                self._due[number] = (now_s + RESTART_PAUSE_MAX_S, failures + 1)
                logs.event("a worker cannot be started", logs.ERROR, worker=number, error=error)

    # --- Listening --------------------------------------------------------------------------------

    def _hear(self, process: _Process) -> None:
        report = os.read(process.reports, _REPORT_BYTES_MAX).decode()
        if not report:
            self._end(process)
        elif report[0] == "+":
            process.ready_s = time.monotonic()
            self._line = self._line or report[1:].rstrip("\n")
        else:
            process.refusal = report[1:].rstrip("\n")

    def _end(self, process: _Process) -> None:
        """A worker is gone: another one takes its place, unless all are to end."""
        self._selector.unregister(process.reports)
        os.close(process.reports)
        del self._running[process.number]
        _, waited = os.waitpid(process.pid, 0)
        status = os.waitstatus_to_exitcode(waited)
        if self._kill_at_s is not None:
            # One that was not ready yet had nothing to see to.
            if process.ready_s is not None:
                self._status = max(self._status, status if status >= 0 else _SIGNALLED - status)
            return
        if not self._has_started:
            self._refusal = process.refusal or f"worker {process.number} ended with {status}"
            self._stop()
            return
        lasted = process.ready_s is not None and (
            time.monotonic() - process.ready_s >= STEADY_AFTER_S
        )
        failures = 0 if lasted else process.failures
        pause_s = min(RESTART_PAUSE_S * 2**failures, RESTART_PAUSE_MAX_S)
        self._due[process.number] = (time.monotonic() + pause_s, failures + 1)
        reason = {"reason": process.refusal} if process.refusal else {}
        logs.event(
            "a worker has ended and is started again",
            logs.ERROR,
            worker=process.number,
            pid=process.pid,
            status=status,
            pause_s=pause_s,
            **reason,
        )

    # --- Ending -----------------------------------------------------------------------------------

    def _pass_on(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGHUP:
                self._tell(signal.SIGHUP)
            elif self._kill_at_s is None:
                self._stop()

    def _stop(self) -> None:
        self._kill_at_s = time.monotonic() + self._end_within_s
        self._tell(signal.SIGTERM)

    def _tell(self, number: signal.Signals) -> None:
        # Those that have ended are waited for by nobody else, so their ids are theirs still.
        for process in self._running.values():
            os.kill(process.pid, number)

    def _kill_late(self) -> None:
        if self._kill_at_s is not None and self._running and time.monotonic() >= self._kill_at_s:
            logs.event("workers do not end and are killed", logs.ERROR, workers=len(self._running))
            self._tell(signal.SIGKILL)
            self._kill_at_s += self._end_within_s


def _ignore(number: int, frame: object) -> None:
    """What happens is in the wake-up descriptor."""


def hold(host: str, port: int) -> list[socket.socket]:
    """Sockets that hold an address for workers to share; port 0 chooses one. Raises OSError.

    Nobody listens on them. An address that others listen on cannot be had, even if they share it.
    """
    held: list[socket.socket] = []
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    try:
        for family, _, _, _, address in found:
            place = (address[0], port, *address[2:])
            if port:
                _bound(family, place, is_shared=False).close()
            held.append(_bound(family, place, is_shared=True))
            port = port or held[0].getsockname()[1]
    except BaseException:
        for each in held:
            each.close()
        raise
    return held


def _bound(family: int, place: tuple[object, ...], *, is_shared: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(place)
    except BaseException:
        bound.close()
        raise
    return bound
