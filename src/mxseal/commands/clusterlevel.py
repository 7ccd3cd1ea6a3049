"""The level of the cluster at which somebody works: the prompt that shows it, commands that have only one."""

from __future__ import annotations

from mxseal.cluster import restricted
from mxseal.cluster.levels import Kind, Level
from mxseal.commands.context import Context
from mxseal.commands.services import Services


def prompt(services: Services, owner: str) -> str:
    """`(Cluster americas)> ` in a cluster, else `mx1.example.com> `."""
    history = services.cluster.history
    if history is None:
        return f"{services.history.current().document.hostname}> "
    return f"({history.level(owner)})> "


def misplaced(command: str, context: Context) -> Kind | None:
    """The level to switch to before a command (its first word) can be run; None: it can be run now. A command
    that works on one machine works on that on which it is typed."""
    cluster = context.services.cluster
    if cluster.history is None or cluster.membership is None:
        return None
    level = cluster.history.level(context.owner)
    wanted = restricted.misplaced(command, level)
    if (
        wanted is None
        and restricted.level_of(command) == "machine"
        and level.name != cluster.membership.machine
    ):
        return "machine"
    return wanted


def target(wanted: Kind, context: Context) -> Level:
    """The level of that kind that is meant: the cluster, or the machine on which somebody is."""
    cluster = context.services.cluster
    assert cluster.history is not None
    assert cluster.membership is not None
    if wanted == "machine":
        return Level("machine", cluster.membership.machine)
    return cluster.history.agreed.top


def question(wanted: Kind) -> str:
    """Reference §8.2."""
    return f'This command is restricted to "{wanted}" mode. Would you like to switch to "{wanted}" mode?'


def switch(context: Context, wanted: Kind) -> None:
    history = context.services.cluster.history
    assert history is not None
    history.choose(context.owner, target(wanted, context))


def refusal(command: str, wanted: Kind, context: Context) -> str:
    """For who does not want to."""
    level = target(wanted, context)
    return (
        f"'{command}' is restricted to {wanted} mode: 'clustermode {level.words}' switches to {level}, "
        "'clustermode' says at which level you are"
    )
