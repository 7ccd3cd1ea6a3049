"""Which commands work at one level only, whatever level is being edited (reference §8.2)."""

from __future__ import annotations

from mxseal.cluster.levels import Kind, Level

_CLUSTER = frozenset({"clusterconfig", "sshconfig", "userconfig"})
_MACHINE = frozenset(
    {
        "bouncerecipients", "deleterecipients", "delivernow", "hostrate", "hoststatus", "interfaceconfig",
        "ldapflush", "ldaptest", "packetcapture", "resume", "resumedel", "resumelistener", "rollovernow",
        "sethostname", "suspend", "suspenddel", "suspendlistener", "tophosts", "topin", "trace",
    }
)  # fmt: skip


def level_of(command: str) -> Kind | None:
    """The level that a command (its first word) is restricted to; None: any."""
    word = command.lower()
    if word in _CLUSTER:
        return "cluster"
    return "machine" if word in _MACHINE else None


def misplaced(command: str, level: Level) -> Kind | None:
    """The level to switch to before the command can be run; None: it can be run at this one."""
    wanted = level_of(command)
    return wanted if wanted is not None and wanted != level.kind else None
