"""The host access table: sender groups in order, with the policy and TLS level of each (reference §3.1)."""

from __future__ import annotations

from typing import Annotated

from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.menus import Layout
from mxseal.commands.parameters import Option
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Result, Table
from mxseal.config.model import Document, MailFlowPolicy
from mxseal.relay.access import VERDICTS
from mxseal.tls.receiving import WORDS

MENUS = (
    Layout(
        "hostaccess",
        "Who may send mail, and over which TLS",
        {
            "new": "policyconfig group new",
            "edit": "policyconfig group edit",
            "delete": "policyconfig group delete",
            "move": "policyconfig group move",
            "default": "policyconfig policy default",
            "policy": "policyconfig policy",
        },
        state="hostaccess",
    ),
)
"""At a terminal; the table alone is 'hostaccess' with --listener, or without a terminal."""


def listener_names(ctx: Context) -> list[str]:
    return [listener.name for listener in ctx.services.history.candidate(ctx.owner).listeners]


@command("hostaccess", role="read-only", summary="Show who may send mail, and over which TLS (HAT)")
def hostaccess(
    ctx: Context,
    *,
    listener: Annotated[str | None, Option("Only what holds on it", complete=listener_names)] = None,
) -> Result:
    """With your uncommitted changes. The first group that matches decides; the last line is for everybody
    else. A group's certificates count once a client has shown one and it was verified."""
    document = ctx.services.history.candidate(ctx.owner)
    if listener is not None:
        listener = _known(document, listener)
    columns = (
        Column("Sender group", "sender_group"),
        Column("Members", cut=30),
        Column("Policy"),
        Column("Access"),
        Column("TLS"),
        Column("Senders over TLS only", "tls_senders", cut=20),
    )
    policies = {policy.name: policy for policy in document.mail_flow_policies}
    rows = [
        _row(group.name, (*group.members, *group.certificates), policies.get(group.policy), group.policy)
        for group in document.sender_groups
        if listener is None or not group.listeners or listener in group.listeners
    ]
    rows.append(_row(None, ("ALL",), policies.get(document.default_policy), document.default_policy))
    return Table(columns, tuple(rows), title="Host access table")


def _known(document: Document, name: str) -> str:
    for entry in document.listeners:
        if entry.name.lower() == name.lower():
            return entry.name
    known = ", ".join(entry.name for entry in document.listeners) or "none"
    raise CommandFailed(f"There is no listener called {name}. There are: {known}")


def _row(
    group: str | None, members: tuple[str, ...], policy: MailFlowPolicy | None, name: str
) -> tuple[str | None, ...]:
    """A policy that is not there yet is told by its name alone: the commit will say so."""
    access = VERDICTS[policy.action] if policy is not None else None
    tls = WORDS[policy.tls] if policy is not None else None
    senders = ", ".join(policy.tls_senders) or None if policy is not None else None
    return group, ", ".join(members), name, access, tls, senders
