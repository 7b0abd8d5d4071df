"""A monitor with a history, its page served, and a browser that looks at it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn

from cli.monitor.timer import Timer
from cli.monitor.web import application
from monitoring.page import Watched
from serving.keys import Keys
from settings import Settings
from tests.browsing.browser import Browser, browser
from tests.monitoring.page import stage


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """24 windows of one model, drifted from the 18th on, and another model without a window."""
    return stage.staged(tmp_path_factory.mktemp("staged"))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A browser; where there is none, tests fail and say how to get one."""
    with browser() as running:
        yield running


@contextmanager
def served(about: Watched) -> Iterator[str]:
    """The address of its page."""
    timer = Timer(lambda: None, 3600)
    timer.start()
    config = uvicorn.Config(application(about, timer, Keys(Settings())), port=0, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            thread.join(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        timer.stop()


@pytest.fixture(scope="session")
def url(watched: Watched) -> Iterator[str]:
    """Where the page of that monitor is."""
    with served(watched) as found:
        yield found


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page of a monitor is that has read nothing yet."""
    with served(stage.nothing(tmp_path_factory.mktemp("empty"))) as found:
        yield found
