"""A private ICAP server with a virus scanner: Debian's c-icap in front of Debian's ClamAV. Runs without root.

ClamAV has a database of one signature, which finds the EICAR test file, so that both start in a moment. The
TLS is c-icap's own (its TlsPort), which is OpenSSL's.
"""

from __future__ import annotations

import getpass
import grp
import os
import shutil
import signal
from typing import Self

from lab.ca import Issued
from lab.debs import Tree, unpacked
from lab.place import LOOPBACK, free_ports, new_folder
from lab.process import Child, Program, until, wait_for_port
from mxseal.analysis.samples import eicar

THREAT = "Lab.EICAR.UNOFFICIAL"
"""What the scanner calls the test file; ClamAV adds the last word to names of its own users."""
SERVICE = "avscan"


class Cicap:
    """`with Cicap(certificate) as cicap:` or start() and stop(). `port` is without TLS."""

    def __init__(self, certificate: Issued, clients: Issued | None = None) -> None:
        """`clients`: the root whose client certificates are demanded."""
        self.types = "TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE"
        """Kinds of files that are scanned."""
        self.icap: Tree = unpacked("c-icap")
        self.module: Tree = unpacked("libc-icap-mod-virus-scan")
        self.clamav: Tree = unpacked("clamav-daemon")
        self.certificate = certificate
        self.clients = clients
        self.port, self.tls_port = free_ports(2)
        self.folder = new_folder("cicap")
        self._children: list[Child] = []

    def start(self) -> Self:
        """Start ClamAV, then c-icap; return when both listen. Trouble with what they wrote."""
        (self.folder / "database").mkdir(exist_ok=True)
        (self.folder / "services").mkdir(exist_ok=True)
        signature = f"Lab.EICAR:0:*:{eicar().content.hex()}\n"
        (self.folder / "database" / "lab.ndb").write_text(signature)
        for tree in (self.icap, self.module):  # c-icap looks for all its modules in one folder
            for found in tree.root.glob("usr/lib/*/c_icap/*.so"):
                link = self.folder / "services" / found.name
                if not link.exists():
                    link.symlink_to(found)
        scanner = self._scanner()
        self._children.append(scanner)
        until((self.folder / "clamd").is_socket, lambda: f"clamd does not listen. {scanner.tail()}")
        server = self._server()
        self._children.append(server)
        wait_for_port(server, self.tls_port)
        return self

    def freeze(self) -> None:
        """The server and the scanner stop answering; the kernel still takes connections."""
        for child in self._children:
            os.killpg(child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """They go on."""
        for child in self._children:
            if child.running:
                os.killpg(child.pid, signal.SIGCONT)

    def kill_engine(self) -> None:
        """The scanner is gone; the server stays."""
        self._children[0].kill()

    def stop(self) -> None:
        """End both; their folder goes."""
        if self._children:
            self.thaw()
        for child in reversed(self._children):
            child.stop()
        self._children = []
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _scanner(self) -> Child:
        lines = (
            f"LocalSocket {self.folder}/clamd",
            f"DatabaseDirectory {self.folder}/database",
            f"TemporaryDirectory {self.folder}",
            "Foreground yes",
            "MaxThreads 4",
            "Bytecode no",
        )
        (self.folder / "clamd.conf").write_text("\n".join(lines) + "\n")
        words = [str(self.clamav.path("usr/sbin/clamd")), "-c", str(self.folder / "clamd.conf")]
        return Child(
            Program(
                name="clamd",
                words=words,
                output=self.folder / "clamd.output",
                environment=self.clamav.environment(),
            )
        )

    def _server(self) -> Child:
        (self.folder / "c-icap.conf").write_text(self._configuration())
        words = [str(self.icap.path("usr/bin/c-icap")), "-N", "-f", str(self.folder / "c-icap.conf")]
        libraries = f"{self.icap.libraries()}:{self.module.libraries()}"
        return Child(
            Program(
                name="c-icap",
                words=words,
                output=self.folder / "c-icap.output",
                environment={"LD_LIBRARY_PATH": libraries},
            )
        )

    def _configuration(self) -> str:
        files = self.certificate.write(self.folder / "tls", "server")
        tls = f"TlsPort {LOOPBACK}:{self.tls_port} cert={files.chain} key={files.key}"
        if self.clients is not None:
            root = self.clients.write(self.folder / "tls", "clients").root
            tls = f"{tls} client_ca={root} cafile={root}"
        lines = (
            f"PidFile {self.folder}/pid",
            f"CommandsSocket {self.folder}/control",
            f"User {getpass.getuser()}",
            f"Group {grp.getgrgid(os.getgid()).gr_name}",
            f"Port {LOOPBACK}:{self.port}",
            tls,
            "StartServers 1",
            "MaxServers 1",
            "ThreadsPerChild 10",
            "MinSpareThreads 1",
            "MaxSpareThreads 20",
            "MaxKeepAliveRequests 100",
            "KeepAliveTimeout 60",
            "Timeout 60",
            "ServerName icap.lab.test",
            "ServerAdmin postmaster@lab.test",
            f"TmpDir {self.folder}",
            f"ModulesDir {self.folder}/services",
            f"ServicesDir {self.folder}/services",
            f"TemplateDir {self.module.path('usr/share/c_icap/templates')}/",
            f"LoadMagicFile {self.icap.path('etc/c-icap/c-icap.magic')}",
            f"ServerLog {self.folder}/server.log",
            f"AccessLog {self.folder}/access.log",
            "Module common clamd_mod.so",
            f"clamd_mod.ClamdSocket {self.folder}/clamd",
            "Service echo srv_echo.so",
            "Service antivirus_module virus_scan.so",
            f"ServiceAlias {SERVICE} virus_scan?allow204=on&sizelimit=off&mode=simple",
            f"virus_scan.ScanFileTypes {self.types}",
            "virus_scan.SendPercentData 0",
            "virus_scan.MaxObjectSize 50M",
        )
        return "\n".join(lines) + "\n"
