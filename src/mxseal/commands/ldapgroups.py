"""Groups of directories, by which policies know people (reference §7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from mxseal.commands.certificates import Listing, candidate
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.ldapconfig import unknown
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.policyconfig import PolicyName, facts_of, find_policy
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Problems, Result
from mxseal.commands.staging import stage
from mxseal.config.check_ldap import group_uses, kinds
from mxseal.config.model import Document, LdapGroup
from mxseal.config.toml import from_plain

GROUPS = {"ldapconfig groups": "Groups of directories, by which policies know people"}
_NONE = "none"


def group_names(ctx: Context) -> list[str]:
    return [group.name for group in candidate(ctx).ldap_groups]


def _group_queries(ctx: Context) -> list[str]:
    return [name for name, kind in kinds(candidate(ctx)).items() if kind == "group"]


Name = Annotated[str, Argument("What policies call it", complete=group_names, ask="Which directory group:")]


@command("ldapconfig", "groups", "list", role="read-only", summary="List the directory groups")
def groups_list(ctx: Context) -> Result:
    """With your uncommitted changes, and with the policies that use them."""
    document = candidate(ctx)
    rows: list[tuple[str | None, ...]] = []
    facts: list[dict[str, Any]] = []
    for group in document.ldap_groups:
        used = _users(document, group.name)
        rows.append((group.name, group.query, group.group, ", ".join(used) or None))
        facts.append(group.model_dump(mode="json") | {"used_by": used})
    columns = (Column("Name"), Column("Query"), Column("Group"), Column("Used by"))
    empty = "There is no directory group. 'ldapconfig groups new' makes one."
    return Listing(columns, tuple(rows), title="Directory groups", empty=empty, facts=tuple(facts))


@command("ldapconfig", "groups", "new", role="operator", summary="Add a directory group, or change one")
def groups_new(
    ctx: Context,
    name: Annotated[str, Argument("What policies call it", ask="Enter a name for the group:")],
    query: Annotated[
        str, Argument("A group query or chain", complete=_group_queries, ask="Which LDAP query:")
    ],
    group: Annotated[str, Argument("Its DN: what {g} stands for", metavar="DN", ask="DN of the group:")],
) -> Result:
    """One with that name is replaced. 'destconfig override add --recipient-group' gives its members' mail a
    TLS level, 'policyconfig policy tlsgroups' takes their mail over TLS only. Try it with
    'ldaptest QUERY ADDRESS --group NAME'.

    Example: ldapconfig groups new lawyers LDAP.ldapgroup CN=Lawyers,OU=Groups,DC=example,DC=com
    """
    document = candidate(ctx)
    known = _group_queries(ctx)
    found_query = next((each for each in known if each.lower() == query.lower()), None)
    if found_query is None:
        raise CommandFailed(unknown("group query", query, known))
    found = from_plain({"ldap_groups": [{"name": name, "query": found_query, "group": group}]})
    if isinstance(found, list):
        return Problems("Nothing was changed", tuple(found))
    made = found.ldap_groups[0]
    others = [each for each in document.ldap_groups if each.name.lower() != made.name.lower()]
    verb = "added" if len(others) == len(document.ldap_groups) else "changed"
    fresh = document.model_copy(update={"ldap_groups": (*others, made)})
    return stage(ctx, fresh, f"The directory group {made.name} was {verb}.", made.model_dump(mode="json"))


@command("ldapconfig", "groups", "delete", role="operator", summary="Remove a directory group")
def groups_delete(ctx: Context, name: Name) -> Result:
    """Refused while a policy or an override uses it. The group in the directory is not touched."""
    document = candidate(ctx)
    group = known_group(document, name)
    if using := _users(document, group.name):
        raise CommandFailed(f"{group.name} is used by {', '.join(using)}")
    kept = tuple(each for each in document.ldap_groups if each is not group)
    fresh = document.model_copy(update={"ldap_groups": kept})
    return stage(ctx, fresh, f"The directory group {group.name} was deleted.", {"name": group.name})


# --- policies ---------------------------------------------------------------------------------------------


def _present(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    policy = find_policy(candidate(ctx), given["name"])
    return {
        "sender_group": list(policy.tls_sender_groups) or [_NONE],
        "recipient_group": list(policy.tls_recipient_groups) or [_NONE],
        "unavailable": policy.tls_groups_unavailable,
    }


@command(
    "policyconfig",
    "policy",
    "tlsgroups",
    role="operator",
    summary="Demand TLS of the members of directory groups",
    present=_present,
)
def policy_tlsgroups(
    ctx: Context,
    name: PolicyName,
    *,
    sender_group: Annotated[
        tuple[str, ...],
        Option(
            "A group whose members send over TLS only; several may be named; 'none'",
            metavar="NAME",
            complete=group_names,
        ),
    ] = (),
    recipient_group: Annotated[
        tuple[str, ...],
        Option("One whose members get mail over TLS only", metavar="NAME", complete=group_names),
    ] = (),
    unavailable: Annotated[
        Literal["defer", "member", "no-member"] | None,
        Option("Without the directory: 4xx to clients without TLS, TLS for all, or for none of them"),
    ] = None,
) -> Result:
    """A client without TLS is told 530 at MAIL or RCPT where a member is concerned. Over TLS nobody is asked.
    What is left out stays. A client can find out in this way who belongs to a group of recipients."""
    document = candidate(ctx)
    policy = find_policy(document, name)
    update: dict[str, Any] = {}
    for key, names in (("tls_sender_groups", sender_group), ("tls_recipient_groups", recipient_group)):
        if names:
            found = () if list(names) == [_NONE] else tuple(known_group(document, n).name for n in names)
            update[key] = found
    if unavailable is not None:
        update["tls_groups_unavailable"] = unavailable
    if not update:
        raise CommandFailed("Say what changes; 'help policyconfig policy tlsgroups' shows the options", 2)
    made = policy.model_copy(update=update)
    policies = tuple(made if each is policy else each for each in document.mail_flow_policies)
    fresh = document.model_copy(update={"mail_flow_policies": policies})
    told = f"The directory groups of policy {made.name} were changed."
    return stage(ctx, fresh, told, facts_of(fresh, made))


# --- small steps ------------------------------------------------------------------------------------------


def known_group(document: Document, name: str) -> LdapGroup:
    """A group by its name, upper or lower case. Raises CommandFailed."""
    for group in document.ldap_groups:
        if group.name.lower() == name.lower():
            return group
    raise CommandFailed(unknown("directory group", name, [each.name for each in document.ldap_groups]))


def _users(document: Document, name: str) -> list[str]:
    """Keys of the document that name a group."""
    return [path for path, used in group_uses(document) if used == name]
