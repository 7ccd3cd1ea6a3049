"""A private rsyslogd (with OpenSSL): where logs are sent. Runs without root, on loopback."""

from __future__ import annotations

import shutil
import signal
from dataclasses import dataclass
from typing import Literal, Self

from lab import Trouble
from lab.ca import Issued
from lab.debs import unpacked
from lab.place import LOOPBACK, free_port, new_folder
from lab.process import Child, Program, answers, until

Transport = Literal["tls", "tcp", "udp"]


@dataclass(frozen=True)
class Received:
    """One message, as rsyslog has read it."""

    priority: str
    """facility.severity."""
    hostname: str
    program: str
    message_id: str
    text: str


class Rsyslog:
    """`with Rsyslog("tls", issued) as server:` or start(), kill9(), start() again: what it has is kept."""

    def __init__(
        self, transport: Transport, issued: Issued | None = None, *, clients: bytes | None = None
    ) -> None:
        """`issued`: its certificate, with TLS. `clients`: PEM of an authority whose certificates clients must
        show; without it they need none."""
        self.transport = transport
        self.port = free_port()
        self.folder = new_folder("rsyslog")
        self._clients = clients
        self._issued = issued
        self._tree = unpacked("rsyslog")
        self._tls = unpacked("rsyslog-openssl") if transport == "tls" else None
        self._child: Child | None = None

    def start(self) -> Self:
        """Start rsyslogd, return when it listens. Raises Trouble with what it wrote."""
        configuration = self.folder / "rsyslog.conf"
        configuration.write_text(self._configuration())
        trees = [tree for tree in (self._tree, self._tls) if tree is not None]
        modules = [str(folder) for tree in trees for folder in tree.root.glob("usr/lib/*/rsyslog")]
        words = [str(self._tree.path("usr/sbin/rsyslogd")), "-n", "-f", str(configuration)]
        words += ["-i", str(self.folder / "pid"), "-M", ":".join(modules)]
        environment = {"LD_LIBRARY_PATH": ":".join(tree.libraries() for tree in trees)}
        program = Program(
            name="rsyslogd", words=words, output=self.folder / "output", environment=environment
        )
        self._child = child = Child(program)

        def ready() -> bool:
            if not child.running:
                raise Trouble(f"rsyslogd ended with status {child.status}. {child.tail()}")
            return (self.folder / "pid").exists() if self.transport == "udp" else answers(self.port)

        until(ready, lambda: f"rsyslogd does not listen. {child.tail()}")
        return self

    def freeze(self) -> None:
        """SIGSTOP: the system takes what comes for it, and it reads nothing. `kill9` ends it."""
        assert self._child is not None
        self._child.signal(signal.SIGSTOP)

    def kill9(self) -> None:
        """SIGKILL; `start` begins again with the same port and file."""
        assert self._child is not None
        self._child.kill()
        self._child = None
        (self.folder / "pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """SIGTERM; what it has received is still there."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what came ------------------------------------------------------------------------------------------

    def raw(self) -> list[str]:
        """Messages as they came, without their framing."""
        path = self.folder / "raw"
        return path.read_text(errors="replace").splitlines() if path.exists() else []

    def received(self) -> list[Received]:
        path = self.folder / "parsed"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return [Received(*line.split("|", 4)) for line in lines]

    def wait_for(self, text: str) -> None:
        """Return once a message with `text` has come."""
        until(
            lambda: any(text in line for line in self.raw()),
            lambda: f"no message has {text!r}. The last: {self.raw()[-5:]}",
        )

    def _configuration(self) -> str:
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        head = f'global(workDirectory="{work}" maxMessageSize="64k"'
        if self._issued is not None:
            files = self._issued.write(self.folder)
            authority = self.folder / "clients.pem"
            authority.write_bytes(self._clients or self._issued.root_pem)
            head += f' defaultNetstreamDriverCAFile="{authority}"'
            head += f' defaultNetstreamDriverCertFile="{files.chain}"'
            head += f' defaultNetstreamDriverKeyFile="{files.key}"'
        lines = [head + ")"]
        if self.transport == "udp":
            lines.append('module(load="imudp")')
            lines.append(f'input(type="imudp" address="{LOOPBACK}" port="{self.port}")')
        else:
            mode = "x509/certvalid" if self._clients else "anon"
            tls = f' streamDriver.Name="ossl" streamDriver.Mode="1" streamDriver.AuthMode="{mode}"'
            lines.append(f'module(load="imtcp"{tls if self.transport == "tls" else ""})')
            lines.append(f'input(type="imtcp" address="{LOOPBACK}" port="{self.port}")')
        fields = ("syslogfacility-text%.%syslogseverity-text", "hostname", "programname", "msgid", "msg")
        parsed = "|".join(f"%{field}%" for field in fields)
        lines += [
            r'template(name="raw" type="string" string="%rawmsg%\n")',
            rf'template(name="parsed" type="string" string="{parsed}\n")',
            f'action(type="omfile" file="{self.folder}/raw" template="raw")',
            f'action(type="omfile" file="{self.folder}/parsed" template="parsed")',
        ]
        return "\n".join(lines) + "\n"
