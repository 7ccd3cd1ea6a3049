"""A private directory server (OpenLDAP's slapd) with the entries that a test needs. Runs without root.

Beside OpenLDAP's own schemas it knows the attributes by which Active Directory tells mail addresses and
groups (`proxyAddresses`, `memberOf`), under the object class `adPerson`.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from lab import Trouble
from lab.ca import Issued
from lab.debs import Tree, unpacked
from lab.place import LOOPBACK, free_ports, new_folder
from lab.process import Child, Program, plain_environment, wait_for_port

BASE = "dc=lab,dc=test"
ADMINISTRATOR = f"cn=gateway,{BASE}"
PASSWORD = "a password of the laboratory"
_SCHEMAS = ("core", "cosine", "inetorgperson", "misc", "dyngroup")
_ACTIVE_DIRECTORY = """\
attributetype ( 1.2.840.113556.1.2.210 NAME 'proxyAddresses'
  EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.2.840.113556.1.2.102 NAME 'memberOf'
  EQUALITY distinguishedNameMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 )
attributetype ( 1.2.840.113556.1.4.221 NAME 'sAMAccountName'
  EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.54392.5.1 NAME 'adPerson' SUP top AUXILIARY
  MAY ( proxyAddresses $ memberOf $ sAMAccountName ) )
"""


@dataclass(frozen=True, kw_only=True)
class Security:
    """TLS of the server: its certificate; `clients` is the root whose client certificates it demands."""

    certificate: Issued
    clients: Issued | None = None


def person(name: str, *further: str, number: int = 0) -> str:
    """An entry (LDIF) `cn=NAME,ou=people`; `further` are its lines, such as "mail: a@example.com"."""
    classes = ["inetOrgPerson", "inetLocalMailRecipient", "adPerson"]
    lines = [f"dn: cn={name},ou=people,{BASE}", *(f"objectClass: {each}" for each in classes)]
    return "\n".join([*lines, f"cn: {name}", f"sn: {name} {number}", *further]) + "\n"


def group(name: str, *member_of: str) -> str:
    """A group below `ou=groups`, which may be a member of others, named in the same way."""
    lines = [f"dn: {group_name(name)}", "objectClass: organizationalRole", "objectClass: adPerson"]
    return "\n".join([*lines, f"cn: {name}", *(f"memberOf: {group_name(each)}" for each in member_of)]) + "\n"


def group_of(name: str, *members: str) -> str:
    """A group that names its members, by their DN."""
    lines = [f"dn: {group_name(name)}", "objectClass: groupOfNames", f"cn: {name}"]
    return "\n".join([*lines, *(f"member: {each}" for each in members)]) + "\n"


def slow(seconds: int) -> dict[str, Sequence[str]]:
    """For `overlays`: each answer takes so long."""
    return {"retcode": (f"retcode-parent ou=slow,{BASE}", f"retcode-sleep {seconds}")}


def active_directory() -> dict[str, Sequence[str]]:
    """For `overlays`: `memberOf` is computed from the members of groups, and of groups in groups, as Active
    Directory does it with its own matching rule."""
    return {"dynlist": ("dynlist-attrset groupOfURLs memberURL member+memberOf@groupOfNames*",)}


def group_name(name: str) -> str:
    """The DN of a group."""
    return f"cn={name},ou=groups,{BASE}"


class Slapd:
    """`with Slapd([person("anna", "mail: anna@example.com")], Security(…)) as slapd:`, or start(), stop()."""

    def __init__(
        self,
        entries: Sequence[str] = (),
        security: Security | None = None,
        *,
        anonymous: bool = True,
        ports: tuple[int, int] | None = None,
        settings: Sequence[str] = (),
        overlays: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """`anonymous`: everybody may read; else only who is logged in. `ports`: clear and TLS. `settings` are
        further lines of slapd.conf; `overlays` modules on top of the data, each with its lines."""
        self.tree: Tree = unpacked("slapd")
        self.entries = list(entries)
        self.security = security
        self.anonymous = anonymous
        self.settings = list(settings)
        self.overlays = dict(overlays or {})
        self.port, self.tls_port = ports or free_ports(2)
        self.folder = new_folder("slapd")
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None, "it has not been started"
        return self._child.pid

    def start(self) -> Self:
        """Load the entries at the first start, start slapd, return when it listens. Trouble with its word."""
        if not (self.folder / "db").exists():
            (self.folder / "db").mkdir()
            (self.folder / "slapd.conf").write_text(self._configuration())
            self._load()
        urls = [f"ldap://{LOOPBACK}:{self.port}"]
        if self.security is not None:
            urls.append(f"ldaps://{LOOPBACK}:{self.tls_port}")
        program = Program(
            name="slapd",
            words=[
                self._program("slapd"),
                "-f",
                str(self.folder / "slapd.conf"),
                "-h",
                " ".join(urls),
                "-d0",
            ],
            output=self.folder / "output",
            environment=self.tree.environment(),
        )
        self._child = child = Child(program)
        wait_for_port(child, self.port)
        return self

    def freeze(self) -> None:
        """It stops answering; the kernel still takes connections for it."""
        assert self._child is not None
        self._child.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        assert self._child is not None
        self._child.signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL; `start` serves the same entries again."""
        assert self._child is not None
        self._child.kill()
        self._child = None

    def stop(self) -> None:
        """End it; its folder goes."""
        if self._child is not None:
            self.thaw()
            self._child.stop()
            self._child = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _program(self, name: str) -> str:
        return str(self.tree.path(f"usr/sbin/{name}"))

    def _load(self) -> None:
        top = f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: lab\ndc: lab\n"
        places = [f"dn: ou={ou},{BASE}\nobjectClass: organizationalUnit\nou: {ou}\n" for ou in _PLACES]
        (self.folder / "entries.ldif").write_text("\n".join([top, *places, *self.entries]))
        words = [self._program("slapadd"), "-q", "-f", str(self.folder / "slapd.conf")]
        done = subprocess.run(
            [*words, "-l", str(self.folder / "entries.ldif")],
            env=plain_environment() | self.tree.environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise Trouble(f"slapadd ended with status {done.returncode}: {done.stderr[-2000:]}")

    def _configuration(self) -> str:
        lines = [f"include {self.tree.path(f'etc/ldap/schema/{name}.schema')}" for name in _SCHEMAS]
        readers = "* read" if self.anonymous else "users read by anonymous auth"
        lines += [
            _ACTIVE_DIRECTORY,
            f"pidfile {self.folder}/pid",
            f"modulepath {self.tree.path('usr/lib/ldap')}",
            "moduleload back_mdb",
            *(f"moduleload {name}" for name in self.overlays),
            *self._tls(),
            # Who comes with a certificate is cn=NAME,ou=clients (SASL EXTERNAL).
            f'authz-regexp "^cn=([^,]+),.*$" "cn=$1,ou=clients,{BASE}"',
            "threads 4",
            *self.settings,
            "database mdb",
            "maxsize 268435456",
            f'suffix "{BASE}"',
            f'rootdn "{ADMINISTRATOR}"',
            f'rootpw "{PASSWORD}"',
            f"directory {self.folder}/db",
            "dbnosync",
            "index objectClass,mail,proxyAddresses,mailLocalAddress,cn eq",
            f"access to * by {readers}",
        ]
        for name, wanted in self.overlays.items():
            lines += [f"overlay {name}", *wanted]
        return "\n".join(lines) + "\n"

    def _tls(self) -> list[str]:
        if self.security is None:
            return []
        files = self.security.certificate.write(self.folder / "tls", "server")
        lines = [f"TLSCertificateFile {files.chain}", f"TLSCertificateKeyFile {files.key}"]
        if self.security.clients is not None:
            root = self.security.clients.write(self.folder / "tls", "clients").root
            lines += [f"TLSCACertificateFile {root}", "TLSVerifyClient demand"]
        return lines


_PLACES = ("people", "groups", "clients")
