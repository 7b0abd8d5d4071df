"""The `holdfast` command: every command of Holdfast, and how errors are told."""

from __future__ import annotations

import settings as holdfast_settings

holdfast_settings.pin_environment()  # numpy must find it

import signal
import sys
from importlib import import_module
from typing import Annotated

import typer

from cli.console import Json, Out, table
from settings import PREFIX, VERSION, HoldfastError, Settings, redacted

COMMANDS = {
    "data": "cli.data:data",
    "quarantine": "cli.data:quarantine",
    "contract": "cli.contract:contract",
    "features": "cli.features:features",
    "models": "cli.models:models",
    "predictions": "cli.predictions:predictions",
    "outcomes": "cli.outcomes:outcomes",
    "ingest": "cli.data:ingest",
    "migrate": "cli.data:migrate",
    "materialize": "cli.data:materialize",
    "train": "cli.modelling:train",
    "retrain": "cli.retraining:retrain",
    "evaluate": "cli.modelling:evaluate",
    "parity": "cli.modelling:parity",
    "run": "cli.modelling:run",
    "score": "cli.batch:score",
    "replay": "cli.replay:replay",
    "explain": "cli.explain:explain",
    "monitor": "cli.monitor:monitor",
    "release": "cli.release:release",
    "rollout": "cli.rollout:rollout",
    "demo-skew": "cli.modelling:demo_skew",
    "demo-drift": "cli.modelling:demo_drift",
}
"""Where each command, or group of commands, is: a command imports what it needs, as all of it takes seconds."""


def application(*names: str) -> typer.Typer:
    """The command line with these of the `COMMANDS`."""
    app = typer.Typer(name="holdfast", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    for name in names:
        module, _, attribute = COMMANDS[name].partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    app.callback(invoke_without_command=True)(version_option)
    app.command("settings")(settings_command)
    return app


def __getattr__(name: str) -> typer.Typer:
    """`app` is all of it."""
    if name != "app":
        raise AttributeError(name)
    return application(*COMMANDS)


def version_option(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Tabular models trained, versioned, served and rolled back from one definition of every feature."""
    if version:
        sys.stdout.write(f"holdfast {VERSION}\n")
        raise typer.Exit


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
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        application(*([asked] if asked in COMMANDS else COMMANDS))()
    except HoldfastError as error:
        sys.stderr.write(f"holdfast: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
