"""A private Postfix: a real next hop and a real sender, on loopback, beside an installed mail system.

It needs root (Postfix drops to other accounts by design) but makes no account: it uses those that every
Debian system has. Queue, configuration, log and mailbox lie in a folder of its own.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from lab import Trouble, Unavailable
from lab.ca import Issued
from lab.debs import Tree, unpacked
from lab.mailbox import Message, read_maildir, wait_for_log, wait_for_messages
from lab.place import LOOPBACK, free_port, new_folder
from lab.process import PATIENCE, Child, Program, plain_environment, wait_for_port

# Postfix insists on three different accounts that own nothing else: these exist on every Debian system.
MAIL_OWNER, SETGID_GROUP, DEFAULT_OWNER = "daemon", "operator", "nobody"
_PRIVATE = (
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "incoming",
    "private",
    "saved",
    "trace",
)
_SERVICES = """\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a Postfix of the laboratory is to be. `smtpd_*` names are Postfix's own."""

    hostname: str = "postfix.lab.test"
    domains: Sequence[str] = ("example.test",)
    """Domains whose mail is put into the mailbox."""
    certificate: Issued | None = None
    """For STARTTLS; None: not offered."""
    tls: str = "may"
    """smtpd_tls_security_level: may, encrypt."""
    relay: tuple[str, int] | None = None
    """Host and port to which all other mail goes."""
    relay_tls: str = "may"
    """smtp_tls_security_level: none, may, encrypt, verify, secure."""
    relay_names: Sequence[str] = ()
    """Names that the relay's certificate may have, for verify and secure; empty: the host's."""
    trust: bytes = b""
    """PEM roots that sending trusts."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Further main.cf parameters; these win."""


class Postfix:
    """`with Postfix(Settings(...)) as postfix:` or start() and stop(). Unavailable where it can't run."""

    def __init__(self, settings: Settings | None = None, folder: Path | None = None) -> None:
        """`folder` (any user must be able to pass through it) is kept; without it one is made and removed."""
        if os.getuid() != 0:
            raise Unavailable(
                "A private Postfix needs root, because Postfix changes accounts: run this as root."
            )
        self.settings = settings or Settings()
        self.tree: Tree = unpacked("postfix")
        self.port = free_port()
        self._own = folder is None
        self.folder = folder or new_folder("postfix")
        self._child: Child | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port on which it takes mail."""
        return LOOPBACK, self.port

    @property
    def _config(self) -> Path:
        return self.folder / "etc"

    @property
    def _log(self) -> Path:
        return self.folder / "mail.log"

    def start(self) -> Self:
        """Make the folders, start master, return when it answers. Raises Trouble with the log's end."""
        self._lay_folders()
        self._configure("main.cf", self._main_cf())
        self._configure("master.cf", f"{LOOPBACK}:{self.port} inet n - n - - smtpd\n{_SERVICES}")
        master = self.tree.path("usr/lib/postfix/sbin/master")
        program = Program(
            name="Postfix",
            words=[str(master), "-d", "-c", str(self._config)],
            output=self._log,
            environment=self.tree.environment(),
        )
        self._child = Child(program)
        wait_for_port(self._child, self.port)
        return self

    def stop(self) -> None:
        """End master and its children; remove the folder unless it was given."""
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
        """What it has delivered, oldest first, one per recipient."""
        return read_maildir(self.folder / "mail" / "inbox")

    def wait(self, count: int = 1, seconds: float = PATIENCE) -> tuple[Message, ...]:
        """`messages()` once there are `count`."""
        return wait_for_messages(self.messages, count, self.log, seconds)

    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def wait_log(self, pattern: str, seconds: float = PATIENCE) -> str:
        """The first match of a regular expression in the log."""
        return wait_for_log(self.log, pattern, seconds)

    def submit(self, sender: str, recipients: Sequence[str], content: bytes) -> None:
        """Put a message into its queue with its own sendmail command. Raises Trouble when it refuses."""
        self.run(
            "usr/sbin/sendmail", "-C", str(self._config), "-i", "-f", sender, "--", *recipients, stdin=content
        )

    def queue(self) -> str:
        """What `postqueue -p` says."""
        return self.run("usr/sbin/postqueue", "-c", str(self._config), "-p")

    def flush(self) -> None:
        """Try all queued mail again now."""
        self.run("usr/sbin/postqueue", "-c", str(self._config), "-f")

    def run(self, inside: str, *words: str, stdin: bytes = b"") -> str:
        """Output of one of the package's programs (posttls-finger, smtp-source, postconf ...)."""
        environment = plain_environment() | self.tree.environment() | {"MAIL_CONFIG": str(self._config)}
        command = [str(self.tree.path(inside)), *words]
        done = subprocess.run(
            command, input=stdin, env=environment, capture_output=True, timeout=60, check=False
        )
        if done.returncode:
            raise Trouble(
                f"{inside} ended with status {done.returncode}: {done.stderr.decode(errors='replace')}"
            )
        return done.stdout.decode(errors="replace")

    def _configure(self, name: str, text: str) -> None:
        path = self._config / name
        path.write_text(text)
        # Postfix waits until a file that was written a moment ago has aged, as its writer may not be done.
        os.utime(path, (0, 0))

    def _lay_folders(self) -> None:
        owner, group = pwd.getpwnam(MAIL_OWNER).pw_uid, grp.getgrnam(SETGID_GROUP).gr_gid
        reader = pwd.getpwnam(DEFAULT_OWNER)
        queue = self.folder / "queue"
        plan = [(queue, 0, 0, 0o755), (self._config, 0, 0, 0o755), (queue / "pid", 0, 0, 0o755)]
        plan += [(queue / name, owner, 0, 0o700) for name in _PRIVATE]
        plan += [(queue / "public", owner, group, 0o2710), (queue / "maildrop", owner, group, 0o1730)]
        plan += [(self.folder / "data", owner, 0, 0o700)]
        plan += [(self.folder / "mail", reader.pw_uid, reader.pw_gid, 0o755)]
        for path, uid, gid, mode in plan:
            path.mkdir(parents=True, exist_ok=True)
            os.chown(path, uid, gid)
            path.chmod(mode)
        self._log.touch()
        os.chown(self._log, owner, -1)

    def _main_cf(self) -> str:
        values = self._basics() | self._receiving() | self._sending() | dict(self.settings.options)
        return "".join(f"{name} = {value}\n" for name, value in values.items())

    def _basics(self) -> dict[str, str]:
        inside = self.tree.path
        return {
            "compatibility_level": "3.6",
            "queue_directory": str(self.folder / "queue"),
            "data_directory": str(self.folder / "data"),
            "daemon_directory": str(inside("usr/lib/postfix/sbin")),
            "command_directory": str(inside("usr/sbin")),
            "shlib_directory": str(inside("usr/lib/postfix")),
            "meta_directory": str(self._config),
            "mail_owner": MAIL_OWNER,
            "setgid_group": SETGID_GROUP,
            "default_privs": DEFAULT_OWNER,
            # Postfix empties its environment but for these names.
            "import_environment": "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C LD_LIBRARY_PATH",
            "export_environment": "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH",
            "maillog_file": str(self._log),
            "maillog_file_prefixes": str(self.folder),
            "myhostname": self.settings.hostname,
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "inet_interfaces": LOOPBACK,
            "inet_protocols": "ipv4",
            "alias_maps": "",
            "alias_database": "",
            "biff": "no",
            "smtp_host_lookup": "native",
            "smtpd_peername_lookup": "no",
        }

    def _receiving(self) -> dict[str, str]:
        account = pwd.getpwnam(DEFAULT_OWNER)
        values = {
            "virtual_mailbox_domains": ", ".join(self.settings.domains),
            "virtual_mailbox_base": str(self.folder / "mail"),
            "virtual_mailbox_maps": "static:inbox/",
            "virtual_uid_maps": f"static:{account.pw_uid}",
            "virtual_gid_maps": f"static:{account.pw_gid}",
            "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
            "smtpd_tls_security_level": "none",
            "smtpd_tls_loglevel": "1",
            "smtpd_tls_received_header": "yes",
            "smtpd_client_connection_count_limit": "0",
        }
        if self.settings.certificate is not None:
            files = self.settings.certificate.write(self._config, "server")
            values["smtpd_tls_security_level"] = self.settings.tls
            values["smtpd_tls_chain_files"] = f"{files.key}, {files.chain}"
        return values

    def _sending(self) -> dict[str, str]:
        settings = self.settings
        values = {
            "smtp_tls_security_level": settings.relay_tls,
            "smtp_tls_loglevel": "1",
            "smtp_tls_CApath": "",
            "minimal_backoff_time": "5s",
            "maximal_backoff_time": "10s",
            "queue_run_delay": "5s",
        }
        if settings.relay is not None:
            values["relayhost"] = f"[{settings.relay[0]}]:{settings.relay[1]}"
        if settings.relay_names:
            values["smtp_tls_verify_cert_match"] = values["smtp_tls_secure_cert_match"] = ", ".join(
                settings.relay_names
            )
        if settings.trust:
            roots = self._config / "roots.pem"
            roots.write_bytes(settings.trust)
            values["smtp_tls_CAfile"] = str(roots)
        return values
