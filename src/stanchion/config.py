"""The settings: what there is to set, what each may be, and which source decided it.

Sources, each overriding those before it: the defaults here, a TOML file, the environment
(`STANCHION_` and the setting's name in capitals), flags. A name that is not a setting is an error
in every source. Built once by the command line; everything else is handed plain values. Credentials
are not settings: they are read apart and never shown.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

PREFIX = "STANCHION_"

Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
WholeSeconds = Annotated[int, Meta(ge=1, le=86_400)]
Count = Annotated[int, Meta(ge=1, le=10_000_000)]
AccessKeyId = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{3,128}$")]
Secret = Annotated[str, Meta(min_length=8, max_length=1024)]


SQLITE = "sqlite"
_POSTGRES_SCHEMES = ("postgresql://", "postgres://")
_PASSWORD_PARAMETER = re.compile(r"((?:^|[?&\s])(?:ssl)?password=)[^&]*")


class ConfigError(Exception):
    """A setting is wrong; the message is one line that says which, where, and why."""


class Settings(Struct, frozen=True, kw_only=True):
    """Everything an operator may set. Times are in seconds."""

    data_dir: str = ""
    """Where state lives. Without a default: a server that starts on another directory than
    yesterday's looks like one that has lost everything."""
    store: str = SQLITE
    """`sqlite`: a file in the data directory. `postgresql://…`: a database, for many servers."""
    postgres_schema: Annotated[str, Meta(pattern="^[a-z_][a-z0-9_]{0,47}$")] = "stanchion"
    """The schema in the database that holds everything; made if there is none."""
    shards: tuple[str, ...] = ()
    """Further databases for messages, `name=postgresql://…` each; `store` is their home."""
    host: str = "127.0.0.1"
    port: Port = 9324
    """0 takes any free port, and the ready line says which."""
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    """Processes that share the ports; more than one needs a database."""
    tls_cert: str = ""
    tls_key: str = ""
    tls_port: Port = 9325
    """Listened on as well when there is a certificate."""
    tls_client_ca: str = ""
    """CAs of clients' certificates, which clients then need."""
    plain_http: bool = True
    """Whether there is a port without TLS."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and CIDR blocks of those whose X-Forwarded headers are believed."""
    external_url: str = ""
    """Scheme, host and port of queue URLs; empty: those that the client asked for."""
    regions: tuple[str, ...] = ()
    """The regions that may be called; empty: any."""
    root_key_file: str = ""
    """The root of trust; empty: `root.key` in the data directory, unless another kind is given."""
    root_passphrase_fd: Annotated[int, Meta(ge=-1, le=1_000_000)] = -1
    """A file descriptor to read the root's passphrase from."""
    root_pkcs11_module: str = ""
    """A library that speaks PKCS#11, and the labels of the token and of the AES key in it."""
    root_pkcs11_token: str = ""
    root_pkcs11_key: str = ""
    kms_endpoint_url: str = ""
    """An AWS KMS, or what speaks like one, for SSE-KMS; empty: the KMS of this server."""
    kms_region: str = "us-east-1"
    """Where the external KMS is."""
    oidc_jwks: tuple[str, ...] = ()
    """Keys of OIDC issuers that are not to be asked: `https://issuer=FILE`."""
    oidc_ca: str = ""
    """CAs (PEM) of OIDC issuers that the system does not know."""
    queue_name_quarantine_s: Seconds = 60
    purge_interval_s: Seconds = 60
    in_flight_max: Count = 120_000
    """Messages of one standard queue that may be received and not yet deleted."""
    fifo_quotas: bool = False
    """Whether FIFO queues are throttled where AWS throttles them."""
    connections_max: Count = 10_000
    header_timeout_s: WholeSeconds = 20
    """For a request's head to arrive, from its first byte."""
    idle_timeout_s: WholeSeconds = 75
    """For a kept-alive connection without a request: longer than clients keep theirs."""
    drain_timeout_s: Seconds = 25
    """For requests under way when the server is asked to stop."""
    body_bytes_max: Annotated[int, Meta(ge=65_536, le=67_108_864)] = 10_485_760
    """A message of 1 MiB takes up to 9 MiB where a client escapes everything."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"

    @property
    def data_path(self) -> Path | None:
        """The data directory; None where there is none, which only a database allows."""
        return Path(self.data_dir) if self.data_dir else None

    @property
    def shard_urls(self) -> dict[str, str]:
        """The URLs of `shards` by name."""
        return dict(shard.split("=", 1) for shard in self.shards)

    @property
    def has_place(self) -> bool:
        """Whether it is said where state lives."""
        return bool(self.data_dir) or self.store != SQLITE

    def __post_init__(self) -> None:
        if self.store != SQLITE and not self.store.startswith(_POSTGRES_SCHEMES):
            raise ValueError(
                f"store: {without_password(self.store)!r} is neither 'sqlite' nor postgresql://…"
            )
        _check_shards(self.shards, has_home=self.store != SQLITE)
        if self.workers > 1 and self.store == SQLITE:
            raise ValueError("workers: more than one needs a store in PostgreSQL")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("tls_cert and tls_key: one without the other")
        if self.tls_client_ca and not self.tls_cert:
            raise ValueError("tls_client_ca: of no use without tls_cert and tls_key")
        if not self.plain_http and not self.tls_cert:
            raise ValueError("plain_http: without it, tls_cert and tls_key are needed")
        for pair in self.oidc_jwks:
            if not pair.startswith("https://") or not all(pair.rpartition("=")):
                raise ValueError(f"oidc_jwks: {pair!r} is not of the form https://issuer=FILE")
        for proxy in self.trusted_proxies:
            _check_network(proxy)
        if self.external_url and not _is_origin(self.external_url):
            raise ValueError(
                f"external_url: {self.external_url!r} is not of the form http(s)://host[:port]"
            )


_SHARD_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_NEXT_SHARD = re.compile(r",\s*(?=[a-z][a-z0-9-]*=postgres(?:ql)?://)")
"""A URL may have commas itself, between hosts."""


def _check_shards(shards: Sequence[str], *, has_home: bool) -> None:
    names = set()
    for shard in shards:
        name, _, url = shard.partition("=")
        if not _SHARD_NAME.fullmatch(name) or not url.startswith(_POSTGRES_SCHEMES):
            raise ValueError(
                f"shards: {without_password(shard)!r} is not of the form name=postgresql://…, with"
                " a name of up to 32 small letters, digits and -"
            )
        if name == "home" or name in names:
            raise ValueError(f"shards: there is one {name!r} already")
        names.add(name)
    if shards and not has_home:
        raise ValueError("shards: of no use unless store is a PostgreSQL database, their home")


def without_password(url: str) -> str:
    """A URL that may be shown, or what was meant to be one."""
    # First of all, as an '@' may be in them.
    shown = _PASSWORD_PARAMETER.sub(r"\1***", url)
    scheme, found, rest = shown.partition("://") if "://" in shown else ("", "", shown)
    credentials, at, place = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{found}{user}{':***' if colon else ''}{at}{place}"


def _check_network(text: str) -> None:
    try:
        ip_network(text)
    except ValueError as error:
        raise ValueError(f"trusted_proxies: {error}") from None


def _is_origin(url: str) -> bool:
    try:
        parts = urlsplit(url)
        rest = parts.path or parts.query or parts.fragment or parts.username
        return parts.scheme in ("http", "https") and bool(parts.hostname) and not rest
    except ValueError:
        return False


TYPES: Mapping[str, Any] = get_type_hints(Settings, include_extras=True)
"""The settings by name, in the order of their definition."""

_LISTS = {name for name, kind in TYPES.items() if kind == tuple[str, ...]}


class RootKey(Struct, frozen=True):
    """The root credentials that the environment gives."""

    access_key_id: str
    secret: str

    def __repr__(self) -> str:
        return f"RootKey({self.access_key_id!r})"


class Configuration(NamedTuple):
    """The settings, and for each of them where its value came from."""

    settings: Settings
    sources: Mapping[str, str]
    root_key: RootKey | None


def configure(
    flags: Mapping[str, object], environment: Mapping[str, str], file: str | None = None
) -> Configuration:
    """Merge all sources. A flag that is None was not given. Raises `ConfigError`."""
    file = file or environment.get(f"{PREFIX}CONFIG")
    values: dict[str, object] = {}
    sources = dict.fromkeys(TYPES, "default")
    for source, layer in (
        *_file_layer(file),
        *_environment_layer(environment),
        *((f"--{name.replace('_', '-')}", {name: value}) for name, value in flags.items()),
    ):
        for name, value in layer.items():
            if value is not None:
                values[name] = _checked(source, name, value)
                sources[name] = source
    try:
        settings = Settings(**values)  # type: ignore[arg-type]
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return Configuration(settings, sources, _root_key(environment))


Layer = tuple[str, Mapping[str, object]]


def _file_layer(file: str | None) -> list[Layer]:
    if file is None:
        return []
    try:
        return [(file, tomllib.loads(Path(file).read_text(encoding="utf-8")))]
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{file}: not TOML: {error}") from None


_NOT_SETTINGS = frozenset(
    {
        "CONFIG",
        "NEW_ROOT_PASSPHRASE",
        "ROOT_ACCESS_KEY_ID",
        "ROOT_PASSPHRASE",
        "ROOT_PKCS11_PIN",
        "ROOT_SECRET_ACCESS_KEY",
    }
)
"""Secrets, which are read where they are needed and never shown."""


def _environment_layer(environment: Mapping[str, str]) -> list[Layer]:
    layers: list[Layer] = []
    for variable, text in environment.items():
        name = variable.removeprefix(PREFIX)
        if name == variable or name in _NOT_SETTINGS:
            continue
        if name.lower() not in TYPES or not name.isupper():
            raise ConfigError(f"{variable}: there is no such setting")
        layers.append((variable, {name.lower(): text}))
    return layers


def _checked(source: str, name: str, value: object) -> object:
    kind = TYPES.get(name)
    if kind is None:
        raise ConfigError(f"{source}: {name}: there is no such setting")
    if isinstance(value, str) and name in _LISTS:
        items = _NEXT_SHARD.split(value) if name == "shards" else value.split(",")
        value = [item.strip() for item in items if item.strip()]
    # Text from the environment or a flag stands for a number where one is wanted.
    strict = not isinstance(value, str)
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        label = source if source.startswith(("--", PREFIX)) else f"{source}: {name}"
        shown = "what has passwords in it" if name == "shards" else repr(value)
        wanted = _wanted(kind) or str(error)
        raise ConfigError(f"{label}: {wanted}, got {shown}") from None


_WORDS: Mapping[type, str] = {bool: "true or false", int: "a whole number", float: "a number"}


def _wanted(kind: Any) -> str:
    """What a setting may be, in words; nothing where msgspec has the better ones."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    kind, *about = get_args(kind) or (kind,)
    limits = next((each for each in about if isinstance(each, Meta)), Meta())
    words = _WORDS.get(kind, "")
    return words if limits.ge is None else f"{words} from {limits.ge} to {limits.le}"


def _root_key(environment: Mapping[str, str]) -> RootKey | None:
    access_key_id = environment.get(f"{PREFIX}ROOT_ACCESS_KEY_ID", "")
    secret = environment.get(f"{PREFIX}ROOT_SECRET_ACCESS_KEY", "")
    if not access_key_id and not secret:
        return None
    # The secret is never part of a message.
    try:
        msgspec.convert(access_key_id, AccessKeyId)
        msgspec.convert(secret, Secret)
    except msgspec.ValidationError:
        raise ConfigError(
            f"{PREFIX}ROOT_ACCESS_KEY_ID and {PREFIX}ROOT_SECRET_ACCESS_KEY: both are needed, an "
            "id of 3 to 128 letters, digits, - or _, and a secret of at least 8 characters"
        ) from None
    return RootKey(access_key_id, secret)
