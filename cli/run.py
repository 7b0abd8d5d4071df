"""`holdfast run`, behind `make run`: from nothing to an answered request, each step once."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable

import httpx

from cli.console import Out
from cli.parity import requests
from cli.promotion import PromotionRefused, promote, told
from cli.server import ServerError, in_use, serve
from cli.workspace import Workspace
from features import clock
from features.store.base import Spine, StoreError
from training.dataset import frame


def run(workspace: Workspace, out: Out, port: int, *, stay: bool = True) -> dict[str, object]:
    """Prepare, train, promote, materialize, serve, and show a request with its answer; then serve until Ctrl-C.

    Raises:
        ServerError: if the port is taken, or the server does not come up.
    """
    for own, what in ((port, "HTTP"), (port + 1, "gRPC"), (port + 2, "metrics")):
        if in_use(own):
            said = (
                f"port {own} ({what}) is taken: stop what listens there, or choose three others (`make run PORT=3005`)"
            )
            raise ServerError(said)
    name, seconds = workspace.usecase.name, {}
    asked = workspace.settings.model
    if asked is not None and asked.replace("@", ":").split(":")[0] != name:
        raise ServerError(f"HOLDFAST_MODEL={asked} is no model of the use case {name}: unset it, or HOLDFAST_USECASE")

    def timed(what: str, step: Callable[[], str]) -> None:
        started = time.monotonic()
        line = step()
        seconds[what] = round(time.monotonic() - started, 2)
        out.proved(what, f"{line} ({seconds[what]:.1f} s)")

    timed("data", lambda: "; ".join(line for _, line in workspace.prepare(sample=True)))
    if not len(workspace.events.keys(workspace.as_of)):
        raise StoreError(f"{name} has no customer that is known at {clock.rfc3339(workspace.as_of)}: nothing to serve")
    timed("model", lambda: _model(workspace, out))
    timed("rows", lambda: _rows(workspace))
    environ = {"HOLDFAST_USECASE": name, "HOLDFAST_HOME": str(workspace.settings.home.absolute())}
    if workspace.usecase.sample and workspace.usecase.sample.now:
        environ["HOLDFAST_NOW"] = clock.rfc3339(workspace.now)
    log = workspace.home / "serve.log"
    started = time.monotonic()
    # verified by nobody: a certificate names the host that clients ask for, and the server is our own child
    with serve(environ, port=port, log=log) as server, httpx.Client(base_url=server.url, verify=False) as client:  # noqa: S501
        ready = client.get("/readyz").json()
        seconds["serve"] = round(time.monotonic() - started, 2)
        out.proved("serve", f"{server.url} is ready with {ready['model']} ({seconds['serve']:.1f} s); its log is {log}")
        body = json.dumps(_example(workspace))
        url = server.url.replace("127.0.0.1", "localhost")
        key = "" if workspace.settings.api_keys is None else ' -H "authorization: Bearer $KEY"'
        out.say(f"\ncurl -s {url}/v1/predict{key} -H 'content-type: application/json' \\\n  -d {shlex.quote(body)}\n")
        answer = None
        if key:  # only its digest may be known here
            out.say("not asked here: KEY is yours to give, one of HOLDFAST_API_KEYS")
        else:
            answered = client.post("/v1/predict", content=body, headers={"content-type": "application/json"})
            answer = answered.json()
            out.say(json.dumps(answer, indent=2))
            if answered.status_code != 200:
                raise ServerError(f"the request above was answered with {answered.status_code}; the log is {log}")
        if stay:
            try:
                out.say(
                    f"\nServing {name} at {url} (pages: /, OpenAPI: /docs.json), gRPC on {port + 1}, "
                    f"metrics on {port + 2}. Ctrl-C stops it."
                )
                sys.stdout.flush()
                code = server.process.wait()
                raise ServerError(f"the server ended by itself with {code}; its log is {log}")
            except KeyboardInterrupt:
                out.say("\nstopping")
    if stay:
        out.say("stopped")
    return {"model": ready["model"], "answer": answer, "seconds": seconds}


def _model(workspace: Workspace, out: Out) -> str:
    champion = workspace.champion()
    if champion is not None:
        return f"{champion} is the champion, already there; the gate let it pass"
    with out.progress() as progress:
        tag, proof = workspace.model(progress)
    for line in proof:
        out.proved("train", line)
    promotion = promote(workspace, tag, why="first model")
    if promotion.outcome == "refused":
        raise PromotionRefused(told(promotion))
    return told(promotion)


def _rows(workspace: Workspace) -> str:
    outcome = workspace.materialize()
    if workspace.usecase.features.events is None:
        return "nothing to materialize: every input is in the request"
    done = "written and read back" if outcome.computed else "already there"
    return f"{outcome.now.rows:,} online rows as of {clock.rfc3339(outcome.now.as_of)}, {done}"


def _example(workspace: Workspace) -> dict[str, object]:
    """A request for the first customer there is."""
    keys = workspace.events.keys(workspace.now)[:1]
    return next(
        requests(workspace.usecase, keys, frame(workspace.usecase, workspace.events, Spine.at(keys, workspace.now)))
    )
