"""The composition root: makes a home, builds the gateway of one, runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import signal
import socket
import sys
import warnings
from pathlib import Path

import msgspec
import uvloop
from argon2 import PasswordHasher
from cryptography.utils import CryptographyDeprecationWarning

from mxseal.certs.keys import KeyStore
from mxseal.certs.make import demo_certificate
from mxseal.clock import Clock, SystemClock
from mxseal.commands.catalogue import registry
from mxseal.commands.running import Runner
from mxseal.config.history import BuildFailed, History, initial
from mxseal.crew.hiring import IndexerProcesses, Processes
from mxseal.crew.nursery import Nursery
from mxseal.crew.succession import inherited_sockets, succeed
from mxseal.faces.http import HttpFace
from mxseal.faces.local import LocalFace
from mxseal.faces.ssh import SshFace
from mxseal.gateway import Gateway
from mxseal.relay.descriptors import raise_limit
from mxseal.storage.home import Home, HomeInUse, HomeRefused
from mxseal.storage.sealing import SealBroken

_ALPHABET = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without letters and digits that look alike: it is read off a screen once."""
EX_USAGE, EX_CANTCREAT, EX_CONFIG, EX_TEMPFAIL = 64, 73, 78, 75
"""Exit statuses of sysexits.h."""


class InitReport(msgspec.Struct, frozen=True):
    """What `init` made, to be told once."""

    home: Path
    user: str
    password: str
    hostname: str
    smtp_port: int
    https_port: int


class AppFault(Exception):
    """The home can't be made or served; the text is a sentence with the remedy."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def initialise(
    root: Path,
    *,
    hostname: str,
    smtp_port: int | None = None,
    https_port: int | None = None,
    clock: Clock | None = None,
) -> InitReport:
    """Make a home with revision 1, a demonstration certificate of its own and an administrator.

    AppFault when there is one already, or the folder holds anything else: nothing of it is touched.
    """
    now = (clock or SystemClock()).now()
    os.umask(0o077)
    home = Home(root)
    if home.exists or home.key_file.exists():
        raise AppFault(
            f"There is a home in {root} already: use it, or choose another folder with --home.", EX_CANTCREAT
        )
    try:
        if root.exists() and any(root.iterdir()):
            raise AppFault(
                f"The folder {root} is not empty, and all of a home is closed to other users: choose a new "
                "or an empty folder with --home.",
                EX_CANTCREAT,
            )
        home.make()
    except OSError as error:
        raise AppFault(f"The home {root} can't be made: {error.strerror}.", EX_CANTCREAT) from None
    state = home.open_state()
    port, web_port = smtp_port or 2525, https_port or 8443
    password = "".join(secrets.choice(_ALPHABET) for _ in range(20))
    try:
        made = demo_certificate(hostname, now)
        KeyStore(state.secrets).put(made.key)
        state.put_user("admin", PasswordHasher().hash(password), "administrator")
        first = initial(hostname, smtp_port=port, https_port=web_port, demo=made.certificate)
        History(state).begin(first, "init", now)
    finally:
        state.close()
    return InitReport(root, "admin", password, hostname, port, web_port)


def serve(root: Path, nursery: Nursery) -> int:
    """Run the gateway of a home in the foreground, with workers from `nursery`, which ends with it. Gives the
    exit status; AppFault when it can't begin."""
    os.umask(0o077)
    raise_limit()
    # A peer's odd certificate is told in the log, where it belongs, not on standard error.
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    home = Home(root)
    try:
        if not home.exists:
            remedy = f"make one with 'mxseal init --home {root}'"
            raise AppFault(f"There is no home in {root}: {remedy}.", EX_CONFIG)
        home.lock()
        for sentence in home.upgrade():
            print(sentence, file=sys.stderr)
        return uvloop.run(_run(home, SystemClock(), nursery))
    except HomeInUse as held:
        raise AppFault(str(held), EX_TEMPFAIL) from None
    except (HomeRefused, SealBroken, PermissionError) as error:
        raise AppFault(str(error), EX_CONFIG) from None
    finally:
        nursery.close()
        home.unlock()


async def _run(home: Home, clock: Clock, nursery: Nursery) -> int:
    gateway = Gateway(
        home, clock, Processes(home.root, nursery), inherited_sockets(), IndexerProcesses(nursery)
    )
    gateway.restart = lambda: signal.raise_signal(signal.SIGUSR2)
    runner = Runner(registry(), gateway.audit)
    face = LocalFace(home.root, runner, gateway)
    ssh = SshFace(runner, gateway)
    web = HttpFace(runner, gateway, ssh.login)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    restarting = False

    def restart() -> None:
        nonlocal restarting
        restarting = True
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGUSR2, restart)
    try:
        await gateway.start()
    except BuildFailed as failed:
        for problem in failed.problems:
            print(problem, file=sys.stderr)
        await gateway.stop()
        raise _not_started(failed) from None
    reloading: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(gateway.reload_and_tell())
        reloading.add(task)
        task.add_done_callback(reloading.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    await face.start()
    for outside in (ssh, web):
        for problem in await outside.start():
            print(problem, file=sys.stderr)  # mail does not depend on it; it is tried again
        gateway.faces.append(outside)
    notify("READY=1")
    print(f"MXSeal {gateway.version} is running, home {home.root}", file=sys.stderr)
    await stopping.wait()
    await _end(gateway, (web, ssh, face), nursery if restarting else None)
    return 0


_Faces = tuple[HttpFace | SshFace | LocalFace, ...]


async def _end(gateway: Gateway, faces: _Faces, restarting: Nursery | None) -> None:
    """Stop; or finish what is in flight and give way to the program that is installed now."""
    notify("RELOADING=1" if restarting else "STOPPING=1")
    for face in faces:
        await face.stop()
    if restarting is None:
        await gateway.stop()
        return
    await gateway.give_way()
    restarting.close()
    try:
        succeed(gateway.ports.sockets.values())
    except OSError as error:
        raise AppFault(f"The gateway can't start again: {error}.", EX_TEMPFAIL) from None


_PLACE = re.compile(r"listeners\..+\.(?:address|port)")


def _not_started(failed: BuildFailed) -> AppFault:
    """A port that is taken, or an address that the host does not have yet, may be there on the next attempt;
    any other problem stays until somebody changes something."""
    if failed.problems and all(_PLACE.fullmatch(problem.path) for problem in failed.problems):
        return AppFault("The gateway can't open its ports: see the problems above.", EX_TEMPFAIL)
    return AppFault("The gateway can't start with its configuration: see the problems above.", EX_CONFIG)


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)); nothing happens outside of it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.sendto(state.encode(), address)  # nobody listening is no reason to stop mail
