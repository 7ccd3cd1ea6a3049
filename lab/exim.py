"""A private Exim (with GnuTLS, another TLS library than the gateway's): next hop and sender.

It runs without root: started by root it becomes `nobody`, else it stays who it is. Debian's Exim insists on
an account `Debian-exim`; nss_wrapper shows it one in a file of its own, so that none has to be made.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from lab import Trouble
from lab.ca import Issued
from lab.debs import Tree, unpacked
from lab.mailbox import Message, read_maildir, wait_for_log, wait_for_messages
from lab.place import LOOPBACK, free_port, new_folder
from lab.process import PATIENCE, Child, Program, plain_environment, wait_for_port

_RELAY_NAME = "relay.lab.test"
_KEPT = "LD_LIBRARY_PATH : LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP : NSS_WRAPPER_HOSTS"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an Exim of the laboratory is to be; the same words as for Postfix."""

    hostname: str = "exim.lab.test"
    domains: Sequence[str] = ("example.test",)
    """Domains whose mail is put into the mailbox."""
    certificate: Issued | None = None
    """For STARTTLS; None: not offered."""
    tls: str = "may"
    """may, or encrypt: MAIL is refused outside TLS."""
    relay: tuple[str, int] | None = None
    """Address (an IP address) and port to which all other mail goes."""
    relay_tls: str = "may"
    """none, may, encrypt, secure (chain and name verified)."""
    relay_names: Sequence[str] = ()
    """The name that the relay's certificate must have, for secure: the first is used."""
    trust: bytes = b""
    """PEM roots that sending trusts."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Further main options; these win."""
    transport_options: Mapping[str, str] = field(default_factory=dict)
    """Further options of the sending transport, e.g. tls_require_ciphers."""


class Exim:
    """`with Exim(Settings(...)) as exim:` or start() and stop(). Raises Unavailable where it can't run."""

    def __init__(self, settings: Settings | None = None, folder: Path | None = None) -> None:
        """`folder` (any user must be able to pass through it) is kept; without it one is made and removed."""
        self.settings = settings or Settings()
        self.tree: Tree = unpacked("exim4-daemon-light")
        self._wrapper = unpacked("libnss-wrapper")
        self.port = free_port()
        self._own = folder is None
        self.folder = folder or new_folder("exim")
        self._child: Child | None = None
        nobody = pwd.getpwnam("nobody")
        root = os.getuid() == 0
        self._account = (nobody.pw_uid, nobody.pw_gid) if root else (os.getuid(), os.getgid())

    @property
    def address(self) -> tuple[str, int]:
        """Host and port on which it takes mail."""
        return LOOPBACK, self.port

    @property
    def _program(self) -> str:
        return str(self.tree.path("usr/sbin/exim4"))

    @property
    def _config(self) -> Path:
        return self.folder / "etc" / "exim.conf"

    def start(self) -> Self:
        """Make the folders, start the daemon, return when it answers. Raises Trouble with the log's end."""
        self._lay_folders()
        self._config.write_text(self._configuration())
        self._config.chmod(0o644)
        program = Program(
            name="Exim",
            words=[self._program, "-C", str(self._config), "-bdf", "-q5s"],
            output=self.folder / "output",
            environment=self._environment(),
            account=self._account if os.getuid() == 0 else None,
            folder=self.folder,
        )
        self._child = Child(program)
        wait_for_port(self._child, self.port)
        return self

    def stop(self) -> None:
        """End the daemon and its children; remove the folder unless it was given."""
        if self._child is not None:
            self._child.stop()
            self._child = None
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def messages(self) -> tuple[Message, ...]:
        """What it has delivered, oldest first."""
        return read_maildir(self.folder / "mail" / "inbox")

    def wait(self, count: int = 1, seconds: float = PATIENCE) -> tuple[Message, ...]:
        """`messages()` once there are `count`."""
        return wait_for_messages(self.messages, count, self.log, seconds)

    def log(self) -> str:
        """All that it has logged: main, reject and panic log."""
        files = [self.folder / "log" / f"{name}log" for name in ("main", "reject", "panic")]
        return "".join(path.read_text(errors="replace") for path in files if path.exists())

    def wait_log(self, pattern: str, seconds: float = PATIENCE) -> str:
        """The first match of a regular expression in the log."""
        return wait_for_log(self.log, pattern, seconds)

    def submit(self, sender: str, recipients: Sequence[str], content: bytes) -> None:
        """Put a message into its queue with its own command line. Raises Trouble when it refuses."""
        self.run("-oi", "-f", sender, "--", *recipients, stdin=content)

    def queue(self) -> str:
        """What `exim -bp` says."""
        return self.run("-bp")

    def run(self, *words: str, stdin: bytes = b"") -> str:
        """Output of the exim command with this instance's configuration."""
        root = os.getuid() == 0
        done = subprocess.run(
            [self._program, "-C", str(self._config), *words],
            input=stdin,
            env=plain_environment() | self._environment(),
            capture_output=True,
            timeout=60,
            check=False,
            cwd=self.folder,
            user=self._account[0] if root else None,
            group=self._account[1] if root else None,
            extra_groups=[] if root else None,
        )
        if done.returncode:
            text = (done.stderr + done.stdout).decode(errors="replace")
            raise Trouble(f"exim {' '.join(words)} ended with status {done.returncode}: {text}")
        return done.stdout.decode(errors="replace")

    def _environment(self) -> dict[str, str]:
        etc = self._config.parent
        (library,) = self._wrapper.root.glob("usr/lib/*/libnss_wrapper.so")
        return self.tree.environment() | {
            "LD_PRELOAD": str(library),
            "NSS_WRAPPER_PASSWD": str(etc / "passwd"),
            "NSS_WRAPPER_GROUP": str(etc / "group"),
            "NSS_WRAPPER_HOSTS": str(etc / "hosts"),
        }

    def _lay_folders(self) -> None:
        uid, gid = self._account
        for name in ("etc", "spool", "log", "mail"):
            path = self.folder / name
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o755)  # whatever the umask here is
            if os.getuid() == 0:
                os.chown(path, uid, gid)
        etc = self._config.parent
        entries = [f"Debian-exim:x:{uid}:{gid}:Exim:{self.folder}:/usr/sbin/nologin"]
        entries.append("root:x:0:0:root:/root:/bin/sh")
        (etc / "passwd").write_text("\n".join(entries) + "\n")
        (etc / "group").write_text(f"Debian-exim:x:{gid}:\nroot:x:0:\n")
        relay, name = self._relay_host()
        (etc / "hosts").write_text(f"{LOOPBACK} {self.settings.hostname}\n{relay} {name}\n")
        for file in etc.iterdir():
            file.chmod(0o644)  # read by the unprivileged Exim, whatever the umask here is

    def _relay_host(self) -> tuple[str, str]:
        names = self.settings.relay_names
        address = self.settings.relay[0] if self.settings.relay else LOOPBACK
        return address, names[0] if names else _RELAY_NAME

    def _configuration(self) -> str:
        main = self._main() | self._receiving() | dict(self.settings.options)
        return (
            "".join(f"{name} = {value}\n" for name, value in main.items())
            + self._acl()
            + self._routers()
            + self._transports()
            + "begin retry\n* * F,1h,2s\n"
        )

    def _main(self) -> dict[str, str]:
        return {
            "exim_path": self._program,
            "spool_directory": str(self.folder / "spool"),
            "log_file_path": f"{self.folder}/log/%slog",
            "keep_environment": _KEPT,
            "primary_hostname": self.settings.hostname,
            "local_interfaces": LOOPBACK,
            "daemon_smtp_ports": str(self.port),
            "domainlist local_domains": " : ".join(self.settings.domains),
            "deliver_drop_privilege": "true",
            "never_users": "",
            "smtp_accept_max": "200",
            "host_lookup": "",
            "rfc1413_query_timeout": "0s",
            "log_selector": "+tls_sni +tls_certificate_verified +smtp_confirmation +received_recipients",
            "acl_smtp_mail": "check_mail",
            "acl_smtp_rcpt": "check_rcpt",
        }

    def _receiving(self) -> dict[str, str]:
        if self.settings.certificate is None:
            return {"tls_advertise_hosts": ""}
        files = self.settings.certificate.write(self._config.parent, "server")
        if os.getuid() == 0:
            os.chown(files.key, *self._account)
        return {
            "tls_advertise_hosts": "*",
            "tls_certificate": str(files.chain),
            "tls_privatekey": str(files.key),
        }

    def _acl(self) -> str:
        deny = ""
        if self.settings.tls == "encrypt":
            deny = "  deny !encrypted = *\n    message = Must issue a STARTTLS command first\n"
        return f"begin acl\ncheck_mail:\n{deny}  accept\ncheck_rcpt:\n  accept\n"

    def _routers(self) -> str:
        inbox = "inbox:\n  driver = accept\n  domains = +local_domains\n  transport = inbox\n"
        relay = "relay:\n  driver = manualroute\n  transport = relay\n  self = send\n"
        relay += f"  route_list = * {self._relay_host()[1]} byname\n"
        return f"begin routers\n{inbox}{relay if self.settings.relay else ''}"

    def _transports(self) -> str:
        inbox = (
            f"inbox:\n  driver = appendfile\n  directory = {self.folder}/mail/inbox\n  maildir_format\n"
            "  create_directory\n  return_path_add\n  envelope_to_add\n  delivery_date_add\n  batch_max = 1\n"
        )
        relay = "".join(f"  {name} = {value}\n" for name, value in self._sending().items())
        return f"begin transports\n{inbox}relay:\n  driver = smtp\n{relay}"

    def _sending(self) -> dict[str, str]:
        settings = self.settings
        values = {"port": str(settings.relay[1] if settings.relay else 25), "tls_verify_hosts": ""}
        values |= {"tls_try_verify_hosts": "", "tls_sni": self._relay_host()[1], "hosts_try_chunking": ""}
        if settings.relay_tls == "none":
            values["hosts_avoid_tls"] = "*"
        elif settings.relay_tls != "may":
            values["hosts_require_tls"] = "*"
        if settings.trust:
            roots = self._config.parent / "roots.pem"
            roots.write_bytes(settings.trust)
            values["tls_verify_certificates"] = str(roots)
        if settings.relay_tls == "secure":
            values |= {"tls_verify_hosts": "*", "tls_verify_cert_hostnames": "*"}
        return values | dict(settings.transport_options)
