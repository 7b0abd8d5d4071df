"""Settings come from the environment or from files, and what cannot be used is told by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from settings import Settings, SettingsError, load, pin_environment, redacted


def test_defaults_and_given_values() -> None:
    assert load({}) == Settings()
    own = load({"HOLDFAST_USECASE": "telco", "HOLDFAST_MAX_ROWS": "5", "HOLDFAST_HOME": ""})
    assert (own.usecase, own.max_rows, own.home) == ("telco", 5, Settings().home)


def test_what_kubernetes_puts_beside_a_service_called_holdfast_is_left_alone() -> None:
    links = {"HOLDFAST_GRPC_PORT": "tcp://10.0.0.1:3001", "HOLDFAST_METRICS_PORT": "tcp://10.0.0.1:3002"}
    loaded = load({"HOLDFAST_PORT": "tcp://10.0.0.1:3000", "HOLDFAST_SERVICE_HOST": "10.0.0.1", **links})
    assert (loaded, loaded.model_fields_set) == (Settings(), set())


def test_a_value_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text("sqlite:///data/online.sqlite\n")
    assert load({"HOLDFAST_ONLINE_URL_FILE": str(path)}).online_url == "sqlite:///data/online.sqlite"
    with pytest.raises(SettingsError, match="both set"):
        load({"HOLDFAST_ONLINE_URL_FILE": str(path), "HOLDFAST_ONLINE_URL": "x"})
    with pytest.raises(SettingsError, match=r"HOLDFAST_ONLINE_URL_FILE.*No such file"):
        load({"HOLDFAST_ONLINE_URL_FILE": str(tmp_path / "none")})


@pytest.mark.parametrize(
    ("name", "value"),
    [("NOW", "1998-07-01T00:00:00"), ("NOW", "soon"), ("MAX_ROWS", "0"), ("MAX_BODY_BYTES", "many"), ("GATE", "off")],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"HOLDFAST_{name}={value!r}"):
        load({f"HOLDFAST_{name}": value})


def test_every_setting_has_a_sentence() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_the_environment_is_pinned_but_what_is_set_stays() -> None:
    environ = {"BENTOML_DO_NOT_TRACK": "False"}
    pin_environment(environ)
    assert environ["BENTOML_DO_NOT_TRACK"] == "False"
    assert "X86_V4" in environ["NPY_DISABLE_CPU_FEATURES"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://ann:secret@host:5432/db", "postgresql://ann:***@host:5432/db"),
        ("redis://:secret@host/0", "redis://:***@host/0"),
        ("postgresql://ann:sec/ret?#@x[@host/db", "postgresql://ann:***@host/db"),
        (
            "postgresql://ann@host/db?password=secret&connect_timeout=1",
            "postgresql://ann@host/db?password=***&connect_timeout=1",
        ),
        ("postgresql://ann@host:5432/db", "postgresql://ann@host:5432/db"),
        ("sqlite:///home/a:b/online", "sqlite:///home/a:b/online"),
    ],
)
def test_an_address_is_told_without_its_password(url: str, told: str) -> None:
    assert redacted(url) == told


def test_a_file_that_holds_nothing_is_refused_and_one_that_does_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(" \n")
    with pytest.raises(SettingsError, match=r"HOLDFAST_API_KEYS_FILE=.*is empty"):
        load({"HOLDFAST_API_KEYS_FILE": str(path)})
    path.write_bytes(b"a=\xff")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load({"HOLDFAST_API_KEYS_FILE": str(path)})
    path.write_text("team=0123456789abcdef\n")
    loaded = load({"HOLDFAST_API_KEYS_FILE": str(path)})
    assert (loaded.file("api_keys"), loaded.file("online_url")) == (path, None)
    assert loaded.api_keys is not None
    assert loaded.api_keys.get_secret_value() == "team=0123456789abcdef"


def test_secrets_are_not_told() -> None:
    secret = "0123456789abcdef"
    loaded = load({"HOLDFAST_API_KEYS": f"team={secret}", "HOLDFAST_ID_HMAC_KEY": secret})
    for told in (repr(loaded), str(loaded), loaded.model_dump_json()):
        assert secret not in told
        assert "***" in told
    with pytest.raises(SettingsError) as refused:
        load({"HOLDFAST_ID_HMAC_KEY": secret[:-1]})
    assert "HOLDFAST_ID_HMAC_KEY=***" in str(refused.value)
    assert secret[:-1] not in str(refused.value)


def test_origins_are_listed_with_commas() -> None:
    assert load({"HOLDFAST_CORS_ORIGINS": "https://a.example, http://b:8080,"}).cors_origins == (
        "https://a.example",
        "http://b:8080",
    )
    for wrong in ("a.example", "https://a.example/", "https://a https://b"):
        with pytest.raises(SettingsError, match="HOLDFAST_CORS_ORIGINS"):
            load({"HOLDFAST_CORS_ORIGINS": wrong})
