"""The commands in the chart's objects: parsed as `holdfast` would parse them, and not run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from typer.core import TyperGroup
from typer.main import get_command

from cli.main import COMMANDS, application
from tests.deploy.helm.chart import Object
from tests.deploy.helm.kubernetes import pods


def containers(objects: Sequence[Object], image: str = "holdfast-jobs") -> Iterator[tuple[Object, dict[str, Any]]]:
    """Containers of the image with the `holdfast` command, with the objects they are in."""
    for pod in pods(objects):
        yield from ((pod.owner, container) for container in pod.containers if f"/{image}@" in container["image"])


def parsed(args: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The command that these are, and its parameters by name.

    Raises:
        Exception: with the words with which `holdfast` would end with 2.
    """
    command = get_command(application(*COMMANDS))
    context = command.make_context("holdfast", list(args))
    path: list[str] = []
    while isinstance(command, TyperGroup):
        name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None, name
        path.append(str(name))
        command, context = found, found.make_context(name, rest, parent=context)
    return " ".join(path), context.params
