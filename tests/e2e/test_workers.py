"""Several workers are one gateway: they share ports, limits, numbers, log and queue; each may die."""

from __future__ import annotations

import os
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from lab.ca import Authority
from lab.client import ANY, Client, send
from lab.gateway import Gateway
from lab.place import free_port
from lab.process import until
from lab.sink import Sink
from tests.e2e.estate import at, document, envelope, events, hop


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink(certificate=Authority().issue("sink.lab.test")) as running:
        yield running


def workers(gateway: Gateway) -> list[int]:
    """Process ids of the gateway's workers."""
    found = [pid for pid in below(gateway.pid) if called(pid).startswith("mxseal-worker")]
    return sorted(found, key=called)


def below(pid: int) -> list[int]:
    """All processes that a process has started, and those that they have."""
    try:
        children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*children, *(deeper for child in children for deeper in below(child))]


def called(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""  # it has ended


def settings(port: int, sink: Sink, count: int = 2, **parts: object) -> str:
    return document(port, workers=count, smtp_routes={"all": [hop(sink)]}, **parts)


def start(port: int, sink: Sink, count: int = 2, **parts: object) -> Gateway:
    """A gateway that has started with this number of workers: it takes effect at a start."""
    gateway = Gateway(settings(port, sink, count, **parts)).start()
    gateway.stop()
    return gateway.start()


def split(gateway: Gateway, connections: list[Client]) -> set[int]:
    """Which workers serve these connections: the sockets that their processes hold tell."""
    held: set[int] = set()
    for pid in workers(gateway):
        inodes = {link.stat().st_ino for link in Path(f"/proc/{pid}/fd").iterdir() if _is_socket(link)}
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        ports = {int(f[2].rpartition(":")[2], 16) for f in map(str.split, lines) if int(f[9]) in inodes}
        if any(client.sock is not None and client.sock.getsockname()[1] in ports for client in connections):
            held.add(pid)
    return held


def _is_socket(link: Path) -> bool:
    with suppress(OSError):
        return str(link.readlink()).startswith("socket:")
    return False


def test_two_workers_serve_one_port_and_count_their_connections_together(sink: Sink) -> None:
    port = free_port()
    listener = {
        "name": "IncomingMail",
        "port": port,
        "reverse_dns": False,
        "limits": {"connections": 12, "connections_per_host": 12},
    }
    gateway = start(port, sink, listeners=[listener])
    with ExitStack() as stack:
        stack.callback(gateway.close)
        assert len(workers(gateway)) == 2
        clients = [stack.enter_context(Client(at(port))) for _ in range(12)]
        assert len(split(gateway, clients)) == 2
        with pytest.raises(smtplib.SMTPConnectError, match="Too many connections to this listener"):
            Client(at(port))
        assert gateway.command("status")["connections"]["incoming"] == 12


def test_a_session_that_one_worker_began_is_resumed_by_the_others(sink: Sink) -> None:
    port = free_port()
    gateway = start(port, sink, listeners=[{"name": "IncomingMail", "port": port, "reverse_dns": False}])
    context = ANY.context()
    with ExitStack() as stack:
        stack.callback(gateway.close)

        def secured(session: ssl.SSLSession | None) -> tuple[Client, ssl.SSLSocket]:
            client = stack.enter_context(Client(at(port)))
            client.ehlo()
            assert client.docmd("STARTTLS")[0] == 220
            assert client.sock is not None
            client.sock = sock = context.wrap_socket(client.sock, session=session)
            client.file = None
            client.ehlo()  # the ticket comes with the first answer at the latest
            return client, sock

        _, first = secured(None)
        later = [secured(first.session) for _ in range(12)]
        assert len(split(gateway, [client for client, _ in later])) == 2
        assert [sock.session_reused for _, sock in later] == [True] * 12


def test_what_one_worker_has_counted_outlives_it(sink: Sink) -> None:
    port = free_port()
    gateway = start(port, sink)
    with ExitStack() as stack:
        stack.callback(gateway.close)
        for number in range(6):
            send(at(port), envelope(f"before-{number}"))
        until(lambda: delivered_recipients(gateway) == 6, gateway.output)
        first = workers(gateway)
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        gateway.wait_log(r"Worker 0, PID \d+, ended unexpectedly")
        gateway.wait_log(r"Worker 1, PID \d+, ended unexpectedly")
        until(lambda: len(workers(gateway)) == 2 and not set(workers(gateway)) & set(first), gateway.output)
        send(at(port), envelope("after"))
        until(lambda: delivered_recipients(gateway) == 7, gateway.output)


def delivered_recipients(gateway: Gateway) -> int:
    found: int = gateway.command("status")["delivery"]["recipients_delivered"]
    return found


def test_workers_are_replaced_also_when_the_process_that_forks_them_is_killed(sink: Sink) -> None:
    port = free_port()
    gateway = start(port, sink)
    with ExitStack() as stack:
        stack.callback(gateway.close)
        (nursery,) = [pid for pid in below(gateway.pid) if called(pid) == "mxseal-nursery"]
        before = workers(gateway)
        os.kill(nursery, signal.SIGKILL)
        until(lambda: len(workers(gateway)) == 2 and not set(workers(gateway)) & set(before), gateway.output)
        send(at(port), envelope("after"))
        sink.wait(1)


def gone(gateway: Gateway, pid: int) -> bool:
    return pid not in workers(gateway)


def started(gateway: Gateway, times: int) -> bool:
    return len(events(gateway, "GatewayStarted")) >= times


def test_a_worker_that_is_killed_refuses_nobody_and_loses_nothing(sink: Sink) -> None:
    port = free_port()
    gateway = start(port, sink)
    with ExitStack() as stack:
        stack.callback(gateway.close)
        load = stack.enter_context(Steady(port))
        for _ in range(3):
            load.wait(len(load.promised) + 20)
            victim = workers(gateway)[0]
            os.kill(victim, signal.SIGKILL)
            until(partial(gone, gateway, victim), gateway.output)
            until(lambda: len(workers(gateway)) == 2, gateway.output)
        load.wait(len(load.promised) + 20)
        load.stop()
        assert load.refused == []
        until(lambda: load.promised <= {message.subject for message in sink.messages()}, sink.log)


def test_a_restart_refuses_no_connection_and_loses_no_message(sink: Sink) -> None:
    port = free_port()
    gateway = start(port, sink)
    with ExitStack() as stack:
        stack.callback(gateway.close)
        load = stack.enter_context(Steady(port))
        for life in range(2, 4):
            load.wait(len(load.promised) + 20)
            leader, before = gateway.pid, workers(gateway)
            gateway.text("restart")
            load.wait(len(load.promised) + 20)
            until(partial(started, gateway, life + 1), gateway.output)
            assert gateway.pid == leader
            assert not set(workers(gateway)) & set(before)
        load.stop()
        assert load.refused == []
        assert load.broken == []
        until(lambda: load.promised <= {message.subject for message in sink.messages()}, sink.log)


def test_sockets_that_systemd_opened_are_used(sink: Sink) -> None:
    port = free_port()
    gateway = Gateway(settings(port, sink)).start()
    with ExitStack() as stack:
        stack.callback(gateway.close)
        gateway.stop()
        listening = stack.enter_context(socket.create_server(at(port)))
        waiting = stack.enter_context(socket.create_connection(at(port)))  # before there is a gateway
        activate = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True);"
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1');"
            "os.execv(sys.executable, [sys.executable, '-m', 'mxseal', 'serve', '--home', sys.argv[2]])"
        )
        words = [sys.executable, "-c", activate, str(listening.fileno()), str(gateway.home)]
        child = subprocess.Popen(words, pass_fds=[listening.fileno()], stderr=subprocess.DEVNULL)
        try:
            waiting.settimeout(30)
            assert waiting.recv(100).startswith(b"220 mx.lab.test ESMTP")
        finally:
            child.terminate()
            assert child.wait(30) == 0


def test_a_share_of_a_worker_that_is_no_longer_wanted_is_delivered(sink: Sink) -> None:
    port = free_port()
    gateway = start(port, sink, 3)
    with ExitStack() as stack:
        stack.callback(gateway.close)
        gateway.text("suspenddel")
        for number in range(12):
            send(at(port), envelope(f"kept-{number}"))
        assert len(gateway.command("showrecipients")) == 12
        gateway.load(settings(port, sink, 1))
        gateway.stop()
        gateway.start()
        assert len(workers(gateway)) == 3  # two of them only empty their shares
        sink.wait(12)
        until(lambda: gateway.command("status")["queue"]["messages"] == 0, gateway.output)
        gateway.stop()
        gateway.start()
        assert len(workers(gateway)) == 1


def test_a_destination_that_allows_one_connection_gets_one_from_all_workers() -> None:
    port = free_port()
    with ExitStack() as stack:
        sink = stack.enter_context(Sink(certificate=Authority().issue("sink.lab.test")))
        controls = [{"domain": "default", "tls": "required", "concurrency": 1, "messages_per_connection": 3}]
        gateway = start(port, sink, destinations=controls)
        stack.callback(gateway.close)
        gateway.text("suspenddel")
        with ExitStack() as several:
            clients = [several.enter_context(Client(at(port))) for _ in range(8)]
            assert len(split(gateway, clients)) == 2
            for number, client in enumerate(clients):
                client.ehlo()
                client.sendmail(
                    "a@sender.test", "b@example.test", f"Subject: turn-{number}\r\n\r\nHello.\r\n"
                )
        gateway.text("resumedel")
        sink.wait(8)
        until(lambda: len(events(gateway, "DeliveryClosed")) >= 3, gateway.output)
        until(lambda: gateway.command("status")["connections"]["outgoing"] == 0, gateway.output)
        closed = {event["dcid"]: event["at"] for event in events(gateway, "DeliveryClosed")}
        spans = sorted((event["at"], closed[event["dcid"]]) for event in events(gateway, "DeliveryOpened"))
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


class Polite(Client):
    """421 may be the answer to any command: the server says goodbye (RFC 5321 §3.8)."""

    def getreply(self) -> tuple[int, bytes]:
        code, text = super().getreply()
        if code == 421:
            self.close()
            raise smtplib.SMTPResponseException(code, text)
        return code, text


class Steady:
    """Clients that send one message after the other, each on a connection of its own, until told to stop."""

    def __init__(self, port: int, threads: int = 4) -> None:
        self.promised: set[str] = set()
        self.refused: list[OSError] = []
        """Connections that could not be made."""
        self.broken: list[Exception] = []
        """Connections that broke before their message had its answer."""
        self._port = port
        self._changed = threading.Condition()
        self._stopping = False
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(threads)]

    def __enter__(self) -> Steady:  # noqa: PYI034 - not made to be inherited from
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopping = True
        for thread in self._threads:
            thread.join()

    def wait(self, count: int) -> None:
        """Until so many messages had their 250."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.promised) >= count, 60)

    def _work(self, thread: int) -> None:
        number = 0
        while not self._stopping:
            number += 1
            subject = f"steady-{thread}-{number}"
            try:
                with Polite(at(self._port)) as client:
                    client.secure()
                    client.sendmail(
                        "a@sender.test", "b@example.test", f"Subject: {subject}\r\n\r\nHello.\r\n"
                    )
            except ConnectionRefusedError as error:
                self.refused.append(error)
            except (OSError, smtplib.SMTPException) as error:
                if getattr(error, "smtp_code", 0) != 421:  # the gateway says goodbye: come again
                    self.broken.append(error)
            else:
                with self._changed:
                    self.promised.add(subject)
                    self._changed.notify_all()
