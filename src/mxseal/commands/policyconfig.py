"""Mail flow policies and recipient domains: what senders may do, and for whom mail is taken (reference §3.1).

`policyconfig group` (sendergroups.py) says which hosts get which policy; `hostaccess` shows both together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from mxseal.commands.certificates import Listing, candidate
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.listenerconfig import amount, check_amount
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Problems, Result, Table
from mxseal.commands.staging import stage
from mxseal.commands.words import nearest
from mxseal.config.check import Problem
from mxseal.config.model import Document, MailFlowPolicy, ReceivingLevel
from mxseal.config.toml import from_plain
from mxseal.tls.receiving import LEVELS, WORDS

GROUPS = {
    "policyconfig": "What senders may do, over which TLS, and for which domains mail is taken",
    "policyconfig policy": "Mail flow policies: access, TLS level and limits of senders",
    "policyconfig domains": "The domains that mail is taken for",
}
_NONE = "none"
_DEFAULT = "default"
_LIMITS = {
    "messages": "messages_per_connection",
    "recipients": "recipients_per_message",
    "size": "message_size",
}
_MENU = "\n".join(
    ["Do you want to use TLS support?", *(f"{at}. {label}" for at, label in enumerate(WORDS.values(), 1))]
)


# --- values -----------------------------------------------------------------------------------------------


def policy_names(ctx: Context) -> list[str]:
    return [policy.name for policy in candidate(ctx).mail_flow_policies]


def level_words(_ctx: Context) -> Sequence[str]:
    return LEVELS


def _check_level(_ctx: Context, text: str) -> None:
    read_level(text)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy says; None: as it is, and as in the document's defaults for a new one."""

    action: Annotated[
        Literal["accept", "relay", "reject", "refuse"] | None,
        Option(
            "accept: mail for your domains; relay: for any; reject: 554 to all; refuse: close at once",
            ask="Access:",
        ),
    ] = None
    tls: Annotated[
        str | None,
        Option("TLS level, by its name or number", complete=level_words, ask=_MENU, check=_check_level),
    ] = None
    tls_sender: Annotated[
        tuple[str, ...],
        Option("A sender whose mail is taken over TLS only; several may be named; 'none'", metavar="PATTERN"),
    ] = ()
    messages: Annotated[
        str | None,
        Option("Messages on one connection; 'default': the listener's", metavar="NUMBER", check=check_amount),
    ] = None
    recipients: Annotated[
        str | None,
        Option("Recipients of one message; 'default': the listener's", metavar="NUMBER", check=check_amount),
    ] = None
    size: Annotated[
        str | None,
        Option(
            "Bytes of a message, such as 20M; 'default': the listener's", metavar="SIZE", check=check_amount
        ),
    ] = None

    @property
    def empty(self) -> bool:
        return all(not value for value in msgspec.structs.astuple(self))


def read_level(text: str) -> ReceivingLevel:
    """The level of '5', 'required-verify', 'Required - Verify'. Raises CommandFailed."""
    word = " ".join(text.lower().split())
    known: dict[str, ReceivingLevel] = {level: level for level in LEVELS}
    known |= {str(at): level for at, level in enumerate(LEVELS, 1)}
    known |= {label.lower(): level for level, label in WORDS.items()}
    if word in known:
        return known[word]
    near = nearest(word, LEVELS)
    meant = f"Did you mean {near}?" if near else f"There are: {', '.join(LEVELS)}."
    raise CommandFailed(f"There is no TLS level {text!r} for receiving. {meant}", 2)


def _changed(plain: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The keys of a policy with what the options change. Raises CommandFailed."""
    values = dict(plain)
    if settings.action is not None:
        values["action"] = settings.action
    if settings.tls is not None:
        values["tls"] = read_level(settings.tls)
    if settings.tls_sender:
        values["tls_senders"] = [] if list(settings.tls_sender) == [_NONE] else list(settings.tls_sender)
    limits = dict(values.get("limits", {}))
    for option, key in _LIMITS.items():
        text: str | None = getattr(settings, option)
        if text is not None:
            limits.pop(key, None)
            if text.lower() != _DEFAULT:
                limits[key] = amount(text)
    return {**values, "limits": limits}


def _made(plain: dict[str, Any]) -> MailFlowPolicy | list[Problem]:
    """The policy that these values make, or all that is wrong with them."""
    found = from_plain({"mail_flow_policies": [plain]})
    return found if isinstance(found, list) else found.mail_flow_policies[0]


def _present(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a policy, as it would be typed."""
    return _typed(find_policy(candidate(ctx), given["name"]))


def _present_new(_ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a policy about which nothing was said."""
    return _typed(MailFlowPolicy(name="NEW"))


def _typed(policy: MailFlowPolicy) -> dict[str, Any]:
    limits = {option: getattr(policy.limits, key) or _DEFAULT for option, key in _LIMITS.items()}
    senders = list(policy.tls_senders) or [_NONE]
    level = str(LEVELS.index(policy.tls) + 1)
    return {"action": policy.action, "tls": level, "tls_sender": senders, **limits}


def find_policy(document: Document, name: str) -> MailFlowPolicy:
    """The policy, upper or lower case. Raises CommandFailed with the names that there are."""
    known = {policy.name.lower(): policy for policy in document.mail_flow_policies}
    if name.lower() in known:
        return known[name.lower()]
    near = nearest(name, known)
    names = ", ".join(policy.name for policy in document.mail_flow_policies) or _NONE
    hint = f"Did you mean {known[near].name}?" if near else f"There are: {names}."
    raise CommandFailed(f"There is no mail flow policy called {name}. {hint}")


def _with(document: Document, policies: Sequence[MailFlowPolicy]) -> Document:
    return document.model_copy(update={"mail_flow_policies": tuple(policies)})


def _users(document: Document, policy: str) -> list[str]:
    """Who gets the policy, as people say it."""
    used = [f"sender group {group.name}" for group in document.sender_groups if group.policy == policy]
    if document.default_policy == policy:
        used.append("hosts that no group matches")
    return used


# --- policies ---------------------------------------------------------------------------------------------


def facts_of(document: Document, policy: MailFlowPolicy) -> dict[str, Any]:
    """All that a policy says, for programs, and whether it is the default one."""
    return {**policy.model_dump(mode="json"), "default": document.default_policy == policy.name}


def _over_tls_only(policy: MailFlowPolicy) -> list[str]:
    groups = [f"group {name}" for name in policy.tls_sender_groups]
    return [*policy.tls_senders, *groups, *(f"to group {name}" for name in policy.tls_recipient_groups)]


@command("policyconfig", "policy", "list", role="read-only", summary="List the mail flow policies")
def policy_list(ctx: Context) -> Result:
    """With your uncommitted changes. A limit that is not shown is the listener's."""
    document = candidate(ctx)
    columns = (
        Column("Policy", cut=24),
        Column("Access"),
        Column("TLS"),
        Column("Senders over TLS only", cut=24),
        Column("Messages"),
        Column("Recipients"),
        Column("Size"),
        Column("Used by", cut=30),
    )
    rows = tuple(
        (
            policy.name,
            policy.action,
            policy.tls,
            ", ".join(_over_tls_only(policy)) or None,
            policy.limits.messages_per_connection,
            policy.limits.recipients_per_message,
            policy.limits.message_size,
            ", ".join(_users(document, policy.name)) or None,
        )
        for policy in document.mail_flow_policies
    )
    facts = tuple(facts_of(document, policy) for policy in document.mail_flow_policies)
    return Listing(columns, rows, title="Mail flow policies", empty="There is no policy.", facts=facts)


@command(
    "policyconfig", "policy", "new", role="operator", summary="Add a mail flow policy", present=_present_new
)
def policy_new(
    ctx: Context,
    name: Annotated[str, Argument("Its name", ask="Enter a name for this policy:")],
    *,
    settings: Settings,
) -> Result:
    """Left out: accept, no TLS, the listener's limits. The TLS levels, also by their numbers 1 to 5:

    \b
    off: TLS is not offered;
    preferred: TLS is offered, and clear text is taken too;
    required: mail is taken over TLS only;
    preferred-verify: as preferred, and a client that shows a bad certificate is turned away;
    required-verify: TLS with a client certificate that can be verified, or nothing.
    """
    document = candidate(ctx)
    made = _made(_changed({"name": name.strip()}, settings))
    if isinstance(made, list):
        return Problems(f"No policy {name} was made", tuple(made))
    if any(policy.name.lower() == made.name.lower() for policy in document.mail_flow_policies):
        raise CommandFailed(
            f"There is a policy called {made.name} already. 'policyconfig policy edit {made.name}' changes it"
        )
    document = _with(document, [*document.mail_flow_policies, made])
    note = f"Nobody has it yet: 'policyconfig group' gives it to hosts. {_told(made)}"
    return stage(ctx, document, f"Policy {made.name} was added.", facts_of(document, made), note)


def _told(policy: MailFlowPolicy) -> str:
    return f"Access: {policy.action}. TLS: {WORDS[policy.tls]}."


PolicyName = Annotated[
    str, Argument("Name of the policy", complete=policy_names, ask="Which mail flow policy:")
]


@command(
    "policyconfig",
    "policy",
    "edit",
    role="operator",
    summary="Change a mail flow policy",
    present=_present,
)
def policy_edit(ctx: Context, name: PolicyName, *, settings: Settings) -> Result:
    """What is left out stays; 'none' and 'default' take a value of the policy's own away. 'help policyconfig
    policy new' explains the levels."""
    policy = find_policy(candidate(ctx), name)
    if settings.empty:
        raise CommandFailed("Say what changes; 'help policyconfig policy edit' shows the options", 2)
    document = candidate(ctx)
    made = _made(_changed(policy.model_dump(exclude_defaults=True), settings))
    if isinstance(made, list):
        return Problems(f"Policy {policy.name} is as it was", tuple(made))
    fresh = [made if each.name == policy.name else each for each in document.mail_flow_policies]
    document = _with(document, fresh)
    return stage(ctx, document, f"Policy {made.name} was changed.", facts_of(document, made), _told(made))


@command("policyconfig", "policy", "delete", role="operator", summary="Remove a mail flow policy")
def policy_delete(ctx: Context, name: PolicyName) -> Result:
    """One that hosts have stays until they have another."""
    document = candidate(ctx)
    policy = find_policy(document, name)
    used = _users(document, policy.name)
    if used:
        raise CommandFailed(
            f"{policy.name} is the policy of {', '.join(used)}. Give them another one first, with "
            "'policyconfig group edit' or 'policyconfig policy default'"
        )
    left = [each for each in document.mail_flow_policies if each.name != policy.name]
    return stage(ctx, _with(document, left), f"Policy {policy.name} was deleted.", {"name": policy.name})


def _present_default(ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"name": candidate(ctx).default_policy}


@command(
    "policyconfig",
    "policy",
    "default",
    role="operator",
    summary="Choose the policy of all other hosts",
    present=_present_default,
)
def policy_default(ctx: Context, name: PolicyName) -> Result:
    """Of hosts that no sender group matches."""
    document = candidate(ctx)
    policy = find_policy(document, name)
    document = document.model_copy(update={"default_policy": policy.name})
    message = f"Hosts that no sender group matches now have the policy {policy.name}."
    return stage(ctx, document, message, facts_of(document, policy), _told(policy))


# --- domains that mail is taken for -----------------------------------------------------------------------


def _domain_names(ctx: Context) -> Sequence[str]:
    return candidate(ctx).recipient_access.domains


def _domains(names: Sequence[str]) -> tuple[str, ...] | list[Problem]:
    """Canonical forms, each once, or all that is wrong with them."""
    found = from_plain({"recipient_access": {"domains": list(names)}})
    return found if isinstance(found, list) else tuple(dict.fromkeys(found.recipient_access.domains))


def _stage_domains(ctx: Context, domains: Sequence[str], message: str) -> Result:
    document = candidate(ctx)
    access = document.recipient_access.model_copy(update={"domains": tuple(domains)})
    document = document.model_copy(update={"recipient_access": access})
    return stage(ctx, document, message, {"domains": list(domains)})


@command("policyconfig", "domains", "list", role="read-only", summary="List the domains mail is taken for")
def domains_list(ctx: Context) -> Result:
    """With your uncommitted changes. '.domain' is for all below a domain. Mail for others is taken only from
    hosts whose policy relays."""
    rows = tuple((domain,) for domain in _domain_names(ctx))
    empty = "There is none: mail is taken only from hosts whose policy relays."
    return Table((Column("Domain"),), rows, title="Domains that mail is taken for", empty=empty)


@command("policyconfig", "domains", "add", role="operator", summary="Take mail for further domains")
def domains_add(
    ctx: Context,
    domains: Annotated[
        list[str],
        Argument("A domain, or '.domain' for its sub-domains; several may be named", metavar="DOMAIN",
                 ask="For which domains:"),
    ],
) -> Result:  # fmt: skip
    """'smtproutes' says where their mail goes."""
    before = _domain_names(ctx)
    found = _domains(domains)
    if isinstance(found, list):
        return Problems("No domain was added", tuple(found))
    fresh = [domain for domain in found if domain not in before]
    if not fresh:
        raise CommandFailed(f"Mail is taken for {', '.join(found)} already")
    return _stage_domains(ctx, (*before, *fresh), f"Mail is now taken for {', '.join(fresh)}.")


@command("policyconfig", "domains", "delete", role="operator", summary="Take no more mail for domains")
def domains_delete(
    ctx: Context,
    domains: Annotated[
        list[str],
        Argument("A domain as it is listed; several may be named", metavar="DOMAIN", complete=_domain_names,
                 ask="Which domains:"),
    ],
) -> Result:  # fmt: skip
    """Mail for them is then answered 550, except from hosts whose policy relays."""
    before = _domain_names(ctx)
    found = _domains(domains)
    if isinstance(found, list):
        return Problems("No domain was deleted", tuple(found))
    missing = [domain for domain in found if domain not in before]
    if missing:
        near = nearest(missing[0], before)
        hint = f" Did you mean {near}?" if near else " 'policyconfig domains list' shows them."
        raise CommandFailed(f"Not among the domains that mail is taken for: {', '.join(missing)}.{hint}")
    left = [domain for domain in before if domain not in found]
    return _stage_domains(ctx, left, f"Mail is no more taken for {', '.join(found)}.")
