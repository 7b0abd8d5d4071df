"""The ports beside HTTP's: whether they can be had."""

from __future__ import annotations

import socket

from settings import Settings, SettingsError


def taken(name: str, settings: Settings) -> str | None:
    """Why the port of that setting cannot be listened on; None if it can, or none is wanted."""
    port = int(getattr(settings, name))
    if port == 0:
        return None
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was closed just now is free
            probe.bind((settings.host, port))
    except OSError as error:
        return (
            f"HOLDFAST_{name.upper()}={port} on {settings.host}: {error.strerror}; choose another port, or 0 for none"
        )
    return None


def check(settings: Settings) -> None:
    """Whether the ports that were asked for can be had.

    Raises:
        SettingsError: naming each that cannot. A default port that is taken is told in the log, and done without.
    """
    asked = [name for name in ("grpc_port", "metrics_port") if name in settings.model_fields_set]
    told = [said for name in asked if (said := taken(name, settings))]
    if told:
        raise SettingsError("; ".join(told))
