"""Fixtures that many tests share: a certificate authority, and the laboratory's servers made on request.

A server that can't run here (no root, no packages) skips the test with the sentence that says why. Where
MXSEAL_LAB=required it fails instead: a machine that is meant to run everything does not skip in silence.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Protocol, TypeVar

import pytest
from hypothesis import settings

from lab import Unavailable
from lab.ca import Authority, Issued
from lab.exim import Exim
from lab.exim import Settings as EximSettings
from lab.gateway import Gateway
from lab.hostile import Hostile
from lab.knot import Knot
from lab.place import folder_for
from lab.postfix import Postfix
from lab.postfix import Settings as PostfixSettings
from lab.script import Behaviour
from lab.sink import Sink

Server = TypeVar("Server")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it puts into the background with Ctrl-C ignored, and programs inherit that: those on
    # a pseudo terminal would then be deaf to the Ctrl-C that is typed there.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is slow, not wrong. The same inputs each time, so that a run can be repeated; `make fuzz`
# looks further.
settings.register_profile("quiet", deadline=None, derandomize=True)
settings.load_profile("quiet")


class Starter(Protocol):
    """Starts a server and ends it when the test is over."""

    def __call__(self, make: Callable[[], AbstractContextManager[Server]]) -> Server: ...


@pytest.fixture
def running() -> Iterator[Starter]:
    """`running(lambda: Sink(...))`: the server, started; stopped in reverse order behind the test."""
    with ExitStack() as stack:

        def start(make: Callable[[], AbstractContextManager[Server]]) -> Server:
            try:
                return stack.enter_context(make())
            except Unavailable as reason:
                if os.environ.get("MXSEAL_LAB") == "required":
                    raise
                pytest.skip(str(reason))

        yield start


@pytest.fixture(scope="session")
def authority() -> Authority:
    """A root that the tests of this process share."""
    return Authority()


@pytest.fixture(scope="session")
def intermediate(authority: Authority) -> Authority:
    """An intermediate under `authority`."""
    return authority.intermediate()


@pytest.fixture
def issue(intermediate: Authority) -> Callable[..., Issued]:
    """`issue("mx.test", kind="rsa2048")`: a certificate below the intermediate."""
    return intermediate.issue


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that servers without root can pass through too, unlike pytest's tmp_path."""
    with folder_for("test") as folder:
        yield folder


@pytest.fixture
def sink(running: Starter, issue: Callable[..., Issued]) -> Sink:
    """A polite stand-in with STARTTLS, certificate for sink.lab.test."""
    return running(lambda: Sink(certificate=issue("sink.lab.test")))


@pytest.fixture
def postfix(running: Starter) -> Callable[[PostfixSettings], Postfix]:
    """Starts a Postfix with the settings given."""
    return lambda settings: running(lambda: Postfix(settings))


@pytest.fixture
def exim(running: Starter) -> Callable[[EximSettings], Exim]:
    """Starts an Exim with the settings given."""
    return lambda settings: running(lambda: Exim(settings))


@pytest.fixture
def knot(running: Starter) -> Callable[..., Knot]:
    """Starts a Knot with zones: knot({"example.test": "@ MX 10 mx"}, signed=True)."""
    return lambda zones, **options: running(lambda: Knot(zones, **options))


@pytest.fixture
def hostile(running: Starter) -> Callable[..., Hostile]:
    """Starts a hostile next hop: hostile("tls-resets"), hostile(Behaviour(...), certificate=...)."""

    def start(behaviour: Behaviour | str, certificate: Issued | None = None) -> Hostile:
        return running(lambda: Hostile(behaviour, certificate=certificate))

    return start


@pytest.fixture
def gateway(running: Starter) -> Callable[..., Gateway]:
    """Starts a gateway with a TOML document: gateway(document, prepare=[...])."""
    return lambda document=None, **options: running(lambda: Gateway(document, **options))


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """The gateway sets its own; servers of the laboratory that follow need files that others can read."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)
