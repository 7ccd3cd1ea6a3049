"""All numbers in the format that Prometheus reads, and who may read them over the network."""

from __future__ import annotations

from typing import Annotated

from pydantic import ValidationError

from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Argument
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Done, Result, Table, Text
from mxseal.commands.staging import stage
from mxseal.config.model import MetricsAccess

GROUPS = {"metricsconfig": "Who reads GET /metrics of the HTTPS ports without a token"}


@command("metrics", role="read-only", summary="Show all numbers, in Prometheus' text format")
async def metrics(ctx: Context) -> Result:
    """The same as GET /metrics of an HTTPS port. Counters begin at 0 with each start of the gateway."""
    return Text(await ctx.services.metrics())


def allowed(ctx: Context) -> list[str]:
    return list(_allowed(ctx))


def _allowed(ctx: Context) -> tuple[str, ...]:
    return ctx.services.history.candidate(ctx.owner).metrics.allowed


def _changed(ctx: Context, networks: tuple[str, ...], message: str) -> Done:
    document = ctx.services.history.candidate(ctx.owner)
    access = MetricsAccess(allowed=networks)
    return stage(ctx, document.model_copy(update={"metrics": access}), message)


def _network(text: str) -> str:
    try:
        return MetricsAccess.model_validate({"allowed": [text]}).allowed[0]
    except ValidationError as error:
        raise CommandFailed(str(error.errors()[0].get("ctx", {}).get("error"))) from None


@command("metricsconfig", "show", role="read-only", summary="Show who reads the metrics without a token")
def metricsconfig_show(ctx: Context) -> Result:
    """With your uncommitted changes. A token of the API, of any role, reads them from everywhere."""
    rows = tuple((network,) for network in _allowed(ctx))
    return Table((Column("Address or network", "network"),), rows, empty="Nobody without a token.")


@command("metricsconfig", "allow", role="administrator", summary="Let an address read the metrics")
def metricsconfig_allow(
    ctx: Context,
    network: Annotated[str, Argument("Address or network", ask="Enter the address of your Prometheus:")],
) -> Result:
    """They hold no address and no text of mail, but how much mail there is, and what fails."""
    found = _network(network)
    if found in _allowed(ctx):
        raise CommandFailed(f"{found} may read the metrics already")
    return _changed(ctx, (*_allowed(ctx), found), f"{found} may read the metrics.")


@command("metricsconfig", "remove", role="administrator", summary="Let it no more")
def metricsconfig_remove(
    ctx: Context,
    network: Annotated[str, Argument("Address or network", complete=allowed, ask="Which one:")],
) -> Result:
    found = _network(network)
    if found not in _allowed(ctx):
        known = ", ".join(_allowed(ctx)) or "nobody"
        raise CommandFailed(f"{found} is not among those that may read the metrics: {known}")
    kept = tuple(each for each in _allowed(ctx) if each != found)
    return _changed(ctx, kept, f"{found} may not read the metrics any more.")
