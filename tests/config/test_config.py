"""Every source of settings, which one wins, and the one line that a mistake gets."""

from pathlib import Path

import pytest

from stanchion.config import TYPES, ConfigError, Settings, configure, without_password


def write(tmp_path: Path, text: str) -> str:
    file = tmp_path / "stanchion.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def refused(*arguments: object) -> str:
    with pytest.raises(ConfigError) as caught:
        configure(*arguments)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults() -> None:
    configuration = configure({}, {})
    assert configuration.settings == Settings()
    assert configuration.sources == dict.fromkeys(TYPES, "default")
    assert configuration.root_key is None


def test_each_source_overrides_those_before_it(tmp_path: Path) -> None:
    file = write(tmp_path, 'host = "::1"\nport = 1\ntls_port = 2\nregions = ["eu-west-1"]')
    environment = {"STANCHION_PORT": "3", "STANCHION_TLS_PORT": "4", "HOME": "/"}
    settings, sources, _ = configure({"tls_port": 5, "store": None}, environment, file)
    assert (settings.host, settings.port, settings.tls_port) == ("::1", 3, 5)
    assert settings.regions == ("eu-west-1",)
    assert sources["host"] == file
    assert sources["port"] == "STANCHION_PORT"
    assert sources["tls_port"] == "--tls-port"
    assert sources["store"] == "default"


def test_the_environment_names_the_file_unless_a_flag_does(tmp_path: Path) -> None:
    file = write(tmp_path, "port = 1")
    assert configure({}, {"STANCHION_CONFIG": file}).settings.port == 1
    assert configure({}, {"STANCHION_CONFIG": "/nonexistent"}, file).settings.port == 1


def test_text_becomes_what_the_setting_is() -> None:
    settings = configure(
        {},
        {
            "STANCHION_REGIONS": "eu-west-1, us-east-1",
            "STANCHION_PURGE_INTERVAL_S": "0.5",
            "STANCHION_IN_FLIGHT_MAX": "7",
        },
    ).settings
    assert settings.regions == ("eu-west-1", "us-east-1")
    assert settings.purge_interval_s == 0.5
    assert settings.in_flight_max == 7


@pytest.mark.parametrize("variable", ["STANCHION_PORTS", "STANCHION_port", "STANCHION_"])
def test_unknown_variables(variable: str) -> None:
    assert refused({}, {variable: "1"}) == f"{variable}: there is no such setting"


def test_unknown_keys_of_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "ports = 1")
    assert refused({}, {}, file) == f"{file}: ports: there is no such setting"


def test_values_that_a_setting_cannot_have(tmp_path: Path) -> None:
    port = "a whole number from 0 to 65535"
    assert refused({}, {"STANCHION_PORT": "http"}) == f"STANCHION_PORT: {port}, got 'http'"
    assert refused({"port": 70_000}, {}) == f"--port: {port}, got 70000"
    file = write(tmp_path, 'port = true\nlog_level = "loud"')
    assert refused({}, {}, file) == f"{file}: port: {port}, got True"
    assert refused({}, {"STANCHION_LOG_LEVEL": "loud"}) == (
        "STANCHION_LOG_LEVEL: one of debug, info, warning, error, got 'loud'"
    )
    assert refused({"drain_timeout_s": "long"}, {}) == (
        "--drain-timeout-s: a number from 0 to 86400, got 'long'"
    )
    assert refused({"fifo_quotas": "maybe"}, {}) == "--fifo-quotas: true or false, got 'maybe'"
    # Where msgspec's words are the better ones, they stay.
    assert "matching regex" in refused({"postgres_schema": "A"}, {})


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.toml")
    assert refused({}, {}, missing) == f"{missing}: No such file or directory"
    broken = write(tmp_path, "port = ")
    assert refused({}, {}, broken).startswith(f"{broken}: not TOML: ")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    assert refused({}, {}, str(binary)).startswith(f"{binary}: not TOML: ")


def test_a_store_that_is_not_there() -> None:
    assert refused({"store": "mysql://me:secret@x"}, {}) == (
        "store: 'mysql://me:***@x' is neither 'sqlite' nor postgresql://…"
    )


def test_half_of_a_certificate() -> None:
    assert refused({"tls_cert": "a"}, {}) == "tls_cert and tls_key: one without the other"


@pytest.mark.parametrize(
    "url", ["example.com", "ftp://h", "https://", "https://h/path", "http://["]
)
def test_external_urls_that_are_none(url: str) -> None:
    assert refused({"external_url": url}, {}).startswith("external_url: ")


def test_an_external_url() -> None:
    url = "https://queues.example.com:8443"
    assert configure({"external_url": url}, {}).settings.external_url == url


def test_the_root_key_of_the_environment_is_no_setting() -> None:
    configuration = configure(
        {},
        {
            "STANCHION_ROOT_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "STANCHION_ROOT_SECRET_ACCESS_KEY": "hidden-secret",
        },
    )
    assert configuration.root_key is not None
    assert configuration.root_key.secret == "hidden-secret"
    assert "hidden-secret" not in repr(configuration)


@pytest.mark.parametrize(
    ("access_key_id", "secret"),
    [("AKIDEXAMPLE", ""), ("", "hidden-secret"), ("a b", "hidden-secret"), ("AKID", "hidden")],
)
def test_half_a_root_key(access_key_id: str, secret: str) -> None:
    message = refused(
        {},
        {
            "STANCHION_ROOT_ACCESS_KEY_ID": access_key_id,
            "STANCHION_ROOT_SECRET_ACCESS_KEY": secret,
        },
    )
    assert "both are needed" in message
    assert "hidden" not in message


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite", "sqlite"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:s@cr:t@a,b/db?x=1", "postgresql://me:***@a,b/db?x=1"),
        ("postgresql://h/db?x=1&password=secret&y=2", "postgresql://h/db?x=1&password=***&y=2"),
        ("postgresql://h/db?sslpassword=secret", "postgresql://h/db?sslpassword=***"),
        ("postgresql://h/db?user=a&password=se@cr:et", "postgresql://h/db?user=a&password=***"),
        ("postgresql://h:1/db?password=se@cr:et", "postgresql://h:1/db?password=***"),
        ("postgresql://a:se@h/db?password=cr@et&x=1", "postgresql://a:***@h/db?password=***&x=1"),
        ("me:secret@host/db", "me:***@host/db"),
        ("host=h password=secret", "host=h password=***"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown
