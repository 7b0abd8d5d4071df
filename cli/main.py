"""The `holdfast` command: every command of Holdfast, and how errors are told."""

from __future__ import annotations

import settings as holdfast_settings

holdfast_settings.pin_environment()  # numpy must find it

import signal
import sys
from importlib import metadata
from typing import Annotated

import typer

from cli import batch, contract, data, explain, features, modelling, predictions, replay, retraining
from cli.console import Json, Out, table
from cli.models import models
from settings import PREFIX, HoldfastError, Settings, redacted

app = typer.Typer(
    name="holdfast",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data.data, name="data")
app.add_typer(data.quarantine, name="quarantine")
app.add_typer(contract.contract, name="contract")
app.add_typer(features.features, name="features")
app.add_typer(models, name="models")
app.add_typer(predictions.predictions, name="predictions")
for command in (
    data.ingest,
    data.migrate,
    data.materialize,
    modelling.train,
    retraining.retrain,
    modelling.evaluate,
    modelling.parity,
    modelling.run,
    batch.score,
    replay.replay,
    explain.explain,
):
    app.command(command.__name__)(command)
app.command("demo-skew")(modelling.demo_skew)


@app.callback(invoke_without_command=True)
def version_option(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Tabular models trained, versioned, served and rolled back from one definition of every feature."""
    if version:
        sys.stdout.write(f"holdfast {metadata.version('holdfast')}\n")
        raise typer.Exit


@app.command("settings")
def settings_command(as_json: Annotated[bool, Json] = False) -> None:
    """Every setting, its value and what it does; passwords in addresses are not shown."""
    out, stored = Out(as_json), holdfast_settings.load().model_dump(mode="json")
    values = {name: redacted(value) if isinstance(value, str) else value for name, value in stored.items()}
    rows = [
        [PREFIX + name.upper(), "" if values[name] is None else str(values[name]), field.description or ""]
        for name, field in Settings.model_fields.items()
    ]
    out.say(table(rows, ["setting", "value", "what it does"]))
    out.result(values)


def main() -> None:
    """Run the command; an error that a user can mend is one line on stderr and exit code 1.

    SIGTERM ends a command as Ctrl-C does: what it started is stopped with it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        app()
    except HoldfastError as error:
        sys.stderr.write(f"holdfast: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
