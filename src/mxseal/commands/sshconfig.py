"""Administration over SSH itself: where it listens, and the keys by which the gateway is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ValidationError

from mxseal.certs.sshkeys import host_public_keys
from mxseal.commands.configuration import change
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Field, Record, Result
from mxseal.config.model import Ssh

GROUPS = {"sshconfig": "Administration over SSH"}
_OFF = "off"


@command("sshconfig", "show", role="read-only", summary="Show where SSH listens, and the gateway's keys")
def sshconfig_show(ctx: Context) -> Result:
    """With your uncommitted changes. Compare the fingerprints with what your client shows at first."""
    ssh = ctx.services.history.candidate(ctx.owner).ssh
    keys = tuple(
        Field(key.kind, key.fingerprint, key.kind, "Keys of this gateway")
        for key in host_public_keys(ctx.services.secrets)
    )
    return Record((
        Field("Listens on", _OFF if ssh.address is None else f"{ssh.address} port {ssh.port}", "listens_on"),
        Field("Passwords", ssh.passwords),
        Field("Idle time (s)", ssh.idle_time, "idle_time"),
        Field("Sessions at most", ssh.max_sessions, "max_sessions"),
        *keys,
    ))  # fmt: skip


def _present(ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    ssh = ctx.services.history.candidate(ctx.owner).ssh
    return {
        "address": ssh.address or _OFF,
        "port": ssh.port,
        "passwords": "yes" if ssh.passwords else "no",
        "idle_time": ssh.idle_time,
    }


@command(
    "sshconfig",
    "setup",
    role="administrator",
    summary="Say where SSH listens, and who may come in how",
    present=_present,
)
def sshconfig_setup(
    ctx: Context,
    address: Annotated[
        str,
        Argument(
            "Address, 0.0.0.0 for all of IPv4, :: for all of IPv6; or off",
            ask="Enter the address to listen on, or off:",
        ),
    ],
    *,
    port: Annotated[int | None, Option("Port", least=1, most=65535)] = None,
    passwords: Annotated[
        Literal["yes", "no"] | None, Option("Whether passwords are taken, beside keys")
    ] = None,
    idle_time: Annotated[float | None, Option("Seconds until an unused session ends")] = None,
) -> Result:
    """What is left out stays as it is. Sessions that are open stay, whatever is committed."""
    document = ctx.services.history.candidate(ctx.owner)
    values = document.ssh.model_dump() | {"address": None if address.lower() == _OFF else address}
    for name, value in (
        ("port", port),
        ("passwords", None if passwords is None else passwords == "yes"),
        ("idle_time", idle_time),
    ):
        if value is not None:
            values[name] = value
    try:
        ssh = Ssh.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        said = first.get("ctx", {}).get("error") or first["msg"]
        raise CommandFailed(f"ssh.{'.'.join(map(str, first['loc']))}: {said}") from None
    told = "SSH will be off." if ssh.address is None else f"SSH will listen on {ssh.address} port {ssh.port}."
    return change(ctx, document.model_copy(update={"ssh": ssh}), told)
