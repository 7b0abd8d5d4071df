"""Every setting of Holdfast, in one place, each with a sentence.

A setting is an environment variable `HOLDFAST_<NAME>`; `holdfast settings` prints them with their values. Variables
that are no setting are left alone: Kubernetes puts `HOLDFAST_PORT` and the like into every pod beside a Service
called `holdfast`, and `HOLDFAST_GRPC_PORT=tcp://...` beside one called `holdfast-grpc`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    StringConstraints,
    ValidationError,
)

VERSION = "0.1.0"
PREFIX = "HOLDFAST_"

PINNED = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # exp and log have other bits with AVX-512
    "OMP_WAIT_POLICY": "passive",  # OpenMP's threads would spin where a container has fewer processors than it sees
    "BENTOML_DO_NOT_TRACK": "True",  # no usage reports
    "GRPC_VERBOSITY": "NONE",  # gRPC's core tells of each handshake and header that is wrong: clients could fill a disk
}
"""What must stand in the environment before numpy, XGBoost or BentoML is imported; a value already set stays."""


_LINK = re.compile(r"(tcp|udp|sctp)://")


def _listed(value: Any) -> Any:
    """What stands between the commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Origin = Annotated[str, StringConstraints(pattern=r"^(\*|https?://[^/\s]+)$")]
"""`https://HOST[:PORT]` as browsers send it, or `*` for any."""


class HoldfastError(Exception):
    """Base of every error a user can cause or mend; a command prints its message and exits with 1.

    SettingsError, UseCaseError                         a setting or a use case cannot be used
    ContractError, FeatureError                         a declaration cannot be kept on every engine
    SourceError, FetchError, StoreError                 data cannot be read, had or kept
    LeakageError, LabelError                            a training set would know the future, or teaches nothing
    ArtefactError, GateRefused, ModelNotFound           a model is not what it says, or not there
    ArchiveError                                        a model cannot be moved to or from where archives are
    RegistryError, Conflict, Busy                       an alias or a way back does not exist, or others were first
    VerifyError                                         the journal or a stored model is not what it was
    ParityError, ServerError, DemoError                 two paths differ; a server, or what was to appear, did not
    """


class SettingsError(HoldfastError, ValueError):
    """A setting has a value that cannot be used; the message names the variable and what it takes."""


class Settings(BaseModel):
    """The settings in force, read once from the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(Path("var"), description="Directory of events, training sets and online rows.")
    usecase: str = Field("cdnow", description="The use case to work on: a module of usecases/.")
    usecases: Path | None = Field(None, description="Your own directory of use case modules, beside the built-in ones.")
    model: str | None = Field(
        None, description="The model to serve: NAME:VERSION or NAME@ALIAS; by default the champion of the use case."
    )
    now: AwareDatetime | None = Field(
        None, description="Fixes the data's clock (RFC 3339, with a zone); journals keep the real time."
    )
    events_url: str | None = Field(
        None, description="Event store; by default file://HOME/USECASE (Parquet, read with DuckDB)."
    )
    online_url: str | None = Field(None, description="Online store; by default sqlite://HOME/USECASE/online.sqlite.")
    online_read: Literal["materialized", "on-read"] = Field(
        "materialized",
        description="How serving reads aggregates: the materialized row, or computed from the events on each request.",
    )
    online_down: Literal["refuse", "cold-start"] = Field(
        "refuse",
        description="What serving answers while the online store is out of reach: 503, or as for an unknown key and "
        "flagged `degraded`.",
    )
    online_timeout_ms: int = Field(
        500,
        ge=10,
        description="Milliseconds a read may wait for a connection to the online store, and then for its answer.",
    )
    online_pool: int = Field(8, ge=1, description="Most connections of one process to the online store's server.")
    gate: Literal["enforce", "warn"] = Field(
        "enforce",
        description="What a refused model does: `enforce` keeps /readyz at 503; `warn` is for debugging only.",
    )
    registry_url: str | None = Field(
        None,
        description="Where aliases and the journal are: postgresql://..., for several machines; by default a file in "
        "BENTOML_HOME/holdfast.",
    )
    user: str | None = Field(None, description="Whose name journal entries carry; by default the user of the process.")
    image: str = Field("", description="Digest of the image that serves, for the journal of deployments.")
    track: Literal["stable", "canary"] = Field(
        "stable", description="Which of two versions side by side this server is; a label of its metrics."
    )
    api_keys: SecretStr | None = Field(
        None,
        description="Who may ask: NAME=KEY on a line each, or separated by commas; KEY may be sha256:HEX. By default "
        "everybody.",
    )
    tls_cert: Path | None = Field(
        None, description="Certificate, and those behind it, as PEM: HTTP and gRPC then speak TLS. Needs the key."
    )
    tls_key: Path | None = Field(None, description="File of the certificate's private key, as PEM.")
    cors_origins: Annotated[tuple[Origin, ...], BeforeValidator(_listed)] = Field(
        (), description="Origins whose pages browsers let ask, separated by commas, or `*`; by default none."
    )
    host: str = Field("0.0.0.0", description="Address that gRPC and the metrics port listen on.")  # noqa: S104
    grpc_port: int = Field(3001, ge=0, le=65_535, description="Port of gRPC; 0: none.")
    metrics_port: int = Field(
        3002, ge=0, le=65_535, description="Port of /metrics alone, for Prometheus; 0: only on HTTP's port."
    )
    max_connection_age_s: int = Field(
        300, ge=1, description="Seconds after which a gRPC connection is told to connect again, so that load spreads."
    )
    max_batch_size: int = Field(1_024, ge=1, description="Most rows that are scored in one go.")
    max_queue_rows: int = Field(20_000, ge=1, description="Most rows that wait to be scored; more are 429.")
    max_latency_ms: int = Field(
        2_000, ge=1, description="A request's deadline, in milliseconds: later it is not answered but 503."
    )
    drain_s: float = Field(
        1.0,
        ge=0,
        description="Seconds from the signal to end until connections are closed: /readyz and gRPC's health say so at "
        "once, and each HTTP answer closes its connection, so that clients go elsewhere by themselves.",
    )
    archive_url: str | None = Field(
        None, description="Where models are pushed to and pulled from: a directory, s3://BUCKET/PREFIX, gs://..."
    )
    models: Path | None = Field(
        None,
        description="Directory of models that are there beforehand, as an image carries them; one that the model store "
        "lacks comes from here, or else from HOLDFAST_ARCHIVE_URL.",
    )
    predictions_url: str | None = Field(
        None,
        description="Where every answer is recorded: file://DIRECTORY, postgresql://..., or none:; by default "
        "file://HOME/USECASE/predictions.",
    )
    predictions_spool_mb: int = Field(
        256, ge=1, description="Most MB of records that wait for PostgreSQL; beyond it they are dropped and counted."
    )
    predictions_sample: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the customers whose answers are recorded; who is in stays in, by a hash of the key.",
    )
    monitor_url: str | None = Field(
        None,
        description="Where monitoring keeps windows and verdicts: file://DIRECTORY or postgresql://...; by default "
        "file://HOME/USECASE/monitor.",
    )
    id_hmac_key: SecretStr | None = Field(
        None,
        min_length=16,
        description="Secret with which the prediction log hashes customers' keys (HMAC-SHA256); by default they are "
        "plain.",
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="Form of the server's log: `auto` is text on a terminal and JSON elsewhere."
    )
    access_log: Literal["off", "problems", "all"] = Field(
        "problems", description="Which requests get a line in the log: none, those not answered with 2xx, all."
    )
    max_body_bytes: int = Field(1_000_000, ge=1_024, description="Largest request body, in bytes; a larger one is 413.")
    max_body_ms: int = Field(
        10_000, ge=100, description="Milliseconds in which a request's whole body must be there; later it is 408."
    )
    max_head_ms: int = Field(
        10_000,
        ge=1,
        description="Milliseconds that an HTTP connection has to send a request's headers, to the second; later it is "
        "closed.",
    )
    keep_alive_s: int = Field(
        75,
        ge=1,
        description="Seconds that an HTTP connection may idle between two requests; longer than what stands before the "
        "servers keeps its own (60 is usual), or that may ask over one that is just being closed.",
    )
    max_connections: int = Field(
        800, ge=1, description="Most open HTTP connections; one more, and the one that idles longest is closed."
    )
    max_rows: int = Field(10_000, ge=1, description="Most rows in one bulk request; more are 413.")
    max_explained_rows: int = Field(
        100, ge=1, description="Most rows of one request that asks for explanations; more are 413."
    )
    _files: dict[str, Path] = PrivateAttr(default_factory=dict)

    def file(self, name: str) -> Path | None:
        """The file that the setting was read from; None where it was given as it is."""
        return self._files.get(name)


SECRETS = frozenset(name for name, field in Settings.model_fields.items() if field.annotation == SecretStr | None)
"""Settings that nothing shows, not even a message about them."""


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from `environ`; an empty one counts as unset, but for a file: `<VARIABLE>_FILE` names one that
    holds the value.

    Raises:
        SettingsError: naming every variable whose value cannot be used, or its file not be read.
    """
    given, files = {}, {}
    for name in Settings.model_fields:
        variable = PREFIX + name.upper()
        value, path = environ.get(variable), environ.get(f"{variable}_FILE")
        if value and _LINK.match(value) and name.endswith("_port"):
            value = None  # Kubernetes' word about a Service called holdfast-grpc, not a user's
        if value and path:
            raise SettingsError(f"{variable} and {variable}_FILE are both set; which one is meant?")
        if path:
            try:
                value = Path(path).read_text().strip()
            except OSError as error:
                raise SettingsError(f"{variable}_FILE={path!r} cannot be read: {error.strerror}") from None
            except UnicodeDecodeError:
                raise SettingsError(f"{variable}_FILE={path!r} cannot be read: it is not UTF-8") from None
            if not value:  # to go on without a secret that was asked for would be to go on without its protection
                raise SettingsError(f"{variable}_FILE={path!r} is empty")
            files[name] = Path(path).absolute()
        if value:
            given[name] = value
    try:
        loaded = Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsError("; ".join(map(_told, error.errors()))) from None
    loaded._files.update(files)
    return loaded


def _told(problem: Any) -> str:
    name = str(problem["loc"][0])
    shown = "***" if name in SECRETS else repr(problem["input"])
    return f"{PREFIX}{name.upper()}={shown}: {problem['msg']}"


def redacted(url: str) -> str:
    """A store's address as messages and logs may show it: without the password, be it escaped as it should or not."""
    return re.sub(r"(password=)[^&\s]*", r"\1***", re.sub(r"(//[^:@/?]*):.*@", r"\1:***@", url))


def miswritten(url: str) -> bool:
    """Whether there is a password with characters that are not escaped: a driver would take it apart, and tell parts of
    it as host, port or option (RFC 3986, section 3.2.1)."""
    password = re.match(r"\w+://[^:@/?#]*:(.*)@", url, re.DOTALL)
    return password is not None and not re.fullmatch(r"([\w.~!$&'()*+,;=:-]|%(?!00)[0-9A-Fa-f]{2})*", password[1])


def pin_environment(environ: dict[str, str] | os._Environ[str] = os.environ) -> None:
    """Set what is `PINNED`."""
    for name, value in PINNED.items():
        environ.setdefault(name, value)
