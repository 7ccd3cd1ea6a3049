"""The tables of the document about directories (LDAP)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mxseal.config.table import Table
from mxseal.config.values import HostPort, LdapAttribute, Name, Seconds
from mxseal.ldap.values import Kind

MasqueradeHeader = Literal["from", "sender", "reply-to", "to", "cc"]
Undecided = Literal["defer", "member", "no-member"]
"""What somebody is taken for about whom no directory answers."""


class LdapUse(Table):
    """What a listener asks a directory, and what happens where the directory can't be asked."""

    query: Name
    """A query of the right kind, or a chain of them."""
    at: Literal["conversation", "work-queue"] = "conversation"
    """conversation: the client is told at each recipient; work-queue: the directory is asked once the message
    is in the queue, and no client learns which addresses there are."""
    no_match: Literal["bounce", "drop"] = "bounce"
    """In the work queue, of a recipient that the directory does not know: tell the sender, or nobody."""
    unavailable: Literal["defer", "accept"] = "defer"
    """Where no server answers. defer: in the conversation 4xx to the client, who comes again, in the work
    queue the message waits; accept: as if the recipient were known."""


class LdapRewrite(Table):
    """What a listener lets a directory change of a message, once its content has come."""

    query: Name
    at: Literal["conversation", "work-queue"] = "work-queue"
    """conversation: before the message is acknowledged; work-queue: behind it."""
    unavailable: Literal["defer", "accept"] = "defer"
    """Where no server answers. defer: in the conversation 4xx to the client, who comes again, in the work
    queue the message waits; accept: nothing is changed."""


class LdapMasquerade(LdapRewrite):
    """What a listener lets a directory make of addresses of this organisation."""

    headers: tuple[MasqueradeHeader, ...] = ()
    """Header fields whose addresses are looked up beside the envelope sender; in the work queue."""


class LdapGroup(Table):
    """`[[ldap_groups]]`: a group of a directory, by which policies know people."""

    name: Name
    query: Name
    """A group query, or a chain of them."""
    group: Annotated[str, Field(min_length=1, max_length=1024)]
    """Its DN: what {g} stands for in the query."""


class Ldap(Table):
    """`[ldap]`: what all LDAP profiles share."""

    certificate: Name | None = "Demo"
    """Client certificate for directory servers, None: none is offered."""


class LdapProfile(Table):
    """`[[ldap_profiles]]`: the servers of one directory. Seconds, counts."""

    name: Name
    hosts: tuple[HostPort, ...]
    """Without a port: 3269 or 3268 for Active Directory, else 636 or 389, with and without LDAPS."""
    type: Literal["active-directory", "openldap", "other"] = "other"
    security: Literal["ldaps", "starttls", "none"] = "ldaps"
    verify: bool = True
    """Whether the server's certificate must be verified, by the lists of [trust] and the host's name. With
    false everybody between here and there can answer in the directory's place, and sees the password."""
    bind: Literal["none", "password", "external"] = "none"
    """none: anonymous; password: as bind_name; external: as whom the client certificate says (SASL
    EXTERNAL)."""
    bind_name: Annotated[str, Field(max_length=1024)] = ""
    """DN, or what the server takes in its place."""
    password: Name | None = None
    """Which sealed secret is the password; `ldapconfig` sets it."""
    base: Annotated[str, Field(max_length=1024)] = ""
    """DN below which is searched."""
    strategy: Literal["failover", "balance"] = "failover"
    """failover: the first host that answers is asked; balance: all are."""
    connections: Annotated[int, Field(ge=1, le=100)] = 10
    """To each host, in each worker; most of the time one is enough."""
    connect_time: Seconds = 10.0
    """For name, connection, TLS and bind together."""
    search_time: Seconds = 10.0
    rest_time: Seconds = 30.0
    """For which a host that failed is not asked, as long as another answers."""
    cache_entries: Annotated[int, Field(ge=0, le=1_000_000)] = 10_000
    """Answers that are kept in each worker; 0: none."""
    cache_time: Annotated[float, Field(ge=0, le=7 * 86_400)] = 900.0
    negative_time: Annotated[float, Field(ge=0, le=7 * 86_400)] = 60.0
    """For answers that say that nothing was found."""


class LdapQuery(Table):
    """`[[ldap_queries]]`: one question to a directory."""

    name: Name
    kind: Kind
    profile: Name
    filter: Annotated[str, Field(max_length=4096)]
    """An LDAP filter (RFC 4515) with {a} the address, {u} its user, {d} its domain, {f} the envelope sender
    (accept), {g} the group (group). What is put in is escaped."""
    base: Annotated[str, Field(max_length=1024)] | None = None
    """None: the profile's."""
    host_attribute: LdapAttribute = "mailHost"
    """Of routing queries: where the next hop stands, a host with or without a port."""
    nested: bool = False
    """Of group queries: the filter finds whom the address belongs to, and membership is followed upwards,
    group by group, through the attribute memberOf."""
    address_attribute: LdapAttribute | None = None
    """Where the address stands that another becomes; None: mailRoutingAddress for routing, mail for
    masquerade."""


class LdapChain(Table):
    """`[[ldap_chains]]`: queries of one kind, asked in this order until one finds something."""

    name: Name
    kind: Kind
    queries: tuple[Name, ...]
    """In the order in which they are asked."""
