"""Cross-field rules of the configuration: a document in, problems out. Types and ranges are the model's."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from mxseal.config import (
    check_interfaces,
    check_ldap,
    check_levels,
    check_logs,
    check_scanning,
    check_screening,
    check_tls,
    check_trust,
)
from mxseal.config.model import Document, Listener, PolicyLimits, SenderGroup
from mxseal.config.problem import Problem, Rule, key_path
from mxseal.config.values import split_host_port

__all__ = ["NARROWEST_RELAY", "Problem", "advice", "check", "key_path"]

NARROWEST_RELAY = {4: 8, 6: 16}
"""Networks with a shorter prefix hold too many strangers to relay for: IPv4 /8, IPv6 /16."""


def check(document: Document) -> list[Problem]:
    """Every rule that the document breaks, all at once; an empty list when it can be committed."""
    return [problem for rule in _RULES for problem in rule(document)]


def advice(document: Document) -> list[Problem]:
    """What is allowed and probably not meant; shown at commit, never a reason to refuse it."""
    return [problem for rule in _ADVICE for problem in rule(document)]


# --- names ------------------------------------------------------------------------------------------------


def _repeated(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    again: list[str] = []
    for name in names:
        if name.lower() in seen and name not in again:
            again.append(name)
        seen.add(name.lower())
    return again


def _duplicates(document: Document) -> Iterator[Problem]:
    lists: dict[str, list[str]] = {
        "listeners": [entry.name for entry in document.listeners],
        "interfaces": [entry.name for entry in document.interfaces],
        "sender_groups": [entry.name for entry in document.sender_groups],
        "mail_flow_policies": [entry.name for entry in document.mail_flow_policies],
        "certificates": [entry.name for entry in document.certificates],
        "trust.authorities": [entry.name for entry in document.trust.authorities],
        "log_subscriptions": [entry.name for entry in document.log_subscriptions],
        "alerts.recipients": [entry.address for entry in document.alerts.recipients],
        "alerts.webhooks": [entry.name for entry in document.alerts.webhooks],
    }
    for field, names in lists.items():
        for name in _repeated(names):
            yield Problem(
                key_path(*field.split("."), name),
                "this name is used twice",
                "Give each entry a name of its own",
            )
    for domain in _repeated(entry.domain for entry in document.destinations):
        yield Problem(
            key_path("destinations", domain), "this destination has two entries", "Merge them into one"
        )


def _known(names: Iterable[str]) -> str:
    listed = ", ".join(sorted(names))
    return f"Known are: {listed}" if listed else "There are none yet"


def _certificate_names(document: Document) -> Iterator[Problem]:
    known = {entry.name for entry in document.certificates}
    used = [
        (key_path("listeners", listener.name, field), name)
        for listener in document.listeners
        for field, names in (
            ("certificate", (listener.certificate,)),
            ("second_certificate", (listener.second_certificate,)),
            ("sni_certificates", listener.sni_certificates),
        )
        for name in names
    ]
    used += [
        (key_path("interfaces", interface.name, "certificate"), interface.certificate)
        for interface in document.interfaces
    ]
    used.append(("delivery.certificate", document.delivery.certificate))
    used += [
        (key_path("log_subscriptions", entry.name, "push", "certificate"), entry.push.certificate)
        for entry in document.log_subscriptions
        if entry.push is not None
    ]
    for path, name in used:
        if name is not None and name not in known:
            yield Problem(path, f"there is no certificate called {name!r}", _known(known))


def _policy_names(document: Document) -> Iterator[Problem]:
    known = {entry.name for entry in document.mail_flow_policies}
    used = [
        (key_path("sender_groups", group.name, "policy"), group.policy) for group in document.sender_groups
    ]
    for path, name in [("default_policy", document.default_policy), *used]:
        if name not in known:
            yield Problem(path, f"there is no mail flow policy called {name!r}", _known(known))


def _listener_names(document: Document) -> Iterator[Problem]:
    known = {entry.name for entry in document.listeners}
    for group in document.sender_groups:
        for name in group.listeners:
            if name not in known:
                path = key_path("sender_groups", group.name, "listeners")
                yield Problem(path, f"there is no listener called {name!r}", _known(known))


# --- listeners --------------------------------------------------------------------------------------------


def _same_port(one: Listener, other: Listener) -> bool:
    if one.port != other.port:
        return False
    first, second = ipaddress.ip_address(one.address), ipaddress.ip_address(other.address)
    if first.version != second.version:
        return False
    return first == second or first.is_unspecified or second.is_unspecified


def _ports(document: Document) -> Iterator[Problem]:
    for index, listener in enumerate(document.listeners):
        for other in document.listeners[:index]:
            if _same_port(listener, other):
                yield Problem(
                    key_path("listeners", listener.name, "port"),
                    f"{listener.address} port {listener.port} is already taken by listener {other.name!r} "
                    f"({other.address} port {other.port})",
                    "Choose another address or port",
                )


def _ssh_port(document: Document) -> Iterator[Problem]:
    if document.ssh.address is None:
        return
    ssh = Listener(name="ssh", address=document.ssh.address, port=document.ssh.port)
    for listener in document.listeners:
        if _same_port(ssh, listener):
            yield Problem(
                "ssh.port",
                f"{ssh.address} port {ssh.port} is already taken by listener {listener.name!r} "
                f"({listener.address} port {listener.port})",
                "Choose another address or port",
            )


def _listener_certificates(document: Document) -> Iterator[Problem]:
    for listener in document.listeners:
        if listener.second_certificate == listener.certificate:
            yield Problem(
                key_path("listeners", listener.name, "second_certificate"),
                f"this is {listener.certificate!r} again",
                "Name a certificate of the other key type (RSA beside ECDSA), or leave the key out",
            )
        for name in _repeated(listener.sni_certificates):
            path = key_path("listeners", listener.name, "sni_certificates")
            yield Problem(path, f"{name!r} is listed twice", "Name each certificate once")


def _listener_limits(document: Document) -> Iterator[Problem]:
    for listener in document.listeners:
        limits = listener.limits
        pairs: tuple[tuple[str, float, str, float], ...] = (
            ("connections_per_host", limits.connections_per_host, "connections", limits.connections),
            ("header_size", limits.header_size, "message_size", limits.message_size),
            ("handshake_time", limits.handshake_time, "connection_time", limits.connection_time),
            ("idle_time", limits.idle_time, "connection_time", limits.connection_time),
        )
        for small_name, small, large_name, large in pairs:
            if small > large:
                yield Problem(
                    key_path("listeners", listener.name, "limits", small_name),
                    f"{small:.10g} is more than {large_name} allows ({large:.10g})",
                    f"Lower it or raise {large_name}",
                )


def _policy_limits(document: Document) -> Iterator[Problem]:
    if not document.listeners:
        return
    for policy in document.mail_flow_policies:
        for name in PolicyLimits.model_fields:
            limit = getattr(policy.limits, name)
            most = max(getattr(listener.limits, name) for listener in document.listeners)
            if limit is not None and limit > most:
                yield Problem(
                    key_path("mail_flow_policies", policy.name, "limits", name),
                    f"{limit} is more than any listener allows ({most})",
                    "Lower it, or raise the listener's own limit first",
                )


# --- who may relay ----------------------------------------------------------------------------------------


def _too_wide(member: str) -> bool:
    """Whether relaying for this member is relaying for strangers."""
    if member == "ALL":
        return True
    if "/" in member:
        network = ipaddress.ip_network(member)
        return network.prefixlen < NARROWEST_RELAY[network.version]
    try:
        ipaddress.ip_address(member)
    except ValueError:
        return "." not in member.strip(".")  # a whole top-level domain
    return False


def _relaying(document: Document) -> set[str]:
    return {policy.name for policy in document.mail_flow_policies if policy.action == "relay"}


def _open_relay_groups(document: Document) -> Iterator[Problem]:
    relaying = _relaying(document)
    for group in document.sender_groups:
        if group.policy not in relaying:
            continue
        for member in filter(_too_wide, group.members):
            who = "anyone" if member == "ALL" else f"anyone in {member}"
            yield Problem(
                key_path("sender_groups", group.name, "members"),
                f"with member {member} and policy {group.policy!r} the gateway would relay for {who} "
                "(an open relay)",
                "List the addresses of your own mail servers instead",
            )


def _reachable_by_strangers(listener: Listener) -> bool:
    address = ipaddress.ip_address(listener.address)
    return listener.type == "public" or address.is_unspecified or not address.is_private


def _open_relay_default(document: Document) -> Iterator[Problem]:
    if document.default_policy not in _relaying(document):
        return
    for listener in filter(_reachable_by_strangers, document.listeners):
        yield Problem(
            "default_policy",
            f"{document.default_policy!r} relays, and strangers can reach listener {listener.name!r}: the "
            "gateway would relay for anyone (an open relay)",
            "Choose a policy with action accept, reject or refuse, and put your own servers into a sender "
            "group with the relay policy",
        )


# --- delivery ---------------------------------------------------------------------------------------------


def _retries(document: Document) -> Iterator[Problem]:
    delivery = document.delivery
    if delivery.first_retry > delivery.longest_retry:
        yield Problem(
            "delivery.first_retry",
            f"{delivery.first_retry:.10g} s is longer than longest_retry ({delivery.longest_retry:.10g} s)",
            "Retries grow from first_retry to longest_retry: exchange them",
        )
    if delivery.longest_retry > delivery.expiry:
        yield Problem(
            "delivery.longest_retry",
            f"{delivery.longest_retry:.10g} s is longer than expiry ({delivery.expiry:.10g} s): mail bounces "
            "before its retry",
            "Lower longest_retry or raise expiry",
        )
    if delivery.delay_warning is not None and delivery.delay_warning >= delivery.expiry:
        yield Problem(
            "delivery.delay_warning",
            f"{delivery.delay_warning:.10g} s is not before expiry ({delivery.expiry:.10g} s)",
            "Lower it, or leave it out to send no delay notices",
        )


def _routes(document: Document) -> Iterator[Problem]:
    own = {(listener.address, listener.port): listener.name for listener in document.listeners}
    for domain, hops in document.smtp_routes.items():
        path = key_path("smtp_routes", domain)
        if not hops:
            yield Problem(
                path, "the route has no next hop", 'Write at least one, such as ["mail.example.com:25"]'
            )
        for hop in hops:
            name = own.get(split_host_port(hop))
            if name is not None:
                yield Problem(
                    path, f"{hop} is the gateway's own listener {name!r}: mail would go round in circles",
                    "Name the next mail server",
                )  # fmt: skip


# --- advice -----------------------------------------------------------------------------------------------


def _nothing_accepted(document: Document) -> Iterator[Problem]:
    if document.recipient_access.domains:
        return
    for listener in document.listeners:
        if listener.type == "public":
            yield Problem(
                "recipient_access.domains",
                f"listener {listener.name!r} accepts no mail from strangers, as no domain is listed",
                "List your own mail domains",
            )


def _never_reached(document: Document) -> Iterator[Problem]:
    def covers(earlier: SenderGroup, later: SenderGroup) -> bool:
        if "ALL" not in earlier.members:
            return False
        return not earlier.listeners or (
            bool(later.listeners) and set(later.listeners) <= set(earlier.listeners)
        )

    for index, group in enumerate(document.sender_groups):
        for earlier in document.sender_groups[:index]:
            if covers(earlier, group):
                yield Problem(
                    key_path("sender_groups", group.name),
                    f"this group is never used: {earlier.name!r} comes first and has the member ALL",
                    f"Move it before {earlier.name!r}",
                )


def _no_name(document: Document) -> Iterator[Problem]:
    if "." not in document.hostname:
        yield Problem(
            "hostname",
            f"{document.hostname!r} is not a full name: many servers refuse mail from such a host",
            "Write the name that the world knows this host by, such as mx.example.com",
        )


def _alerts_for_nobody(document: Document) -> Iterator[Problem]:
    if document.alerts.recipients or document.alerts.webhooks:
        return
    asking = [entry.domain for entry in document.destinations if entry.alert]
    paths = [key_path("destinations", domain, "alert") for domain in asking]
    if document.delivery.alert_on_tls_failure:
        paths.insert(0, "delivery.alert_on_tls_failure")
    for path in paths:
        yield Problem(
            path,
            "nobody gets the alerts that this asks for; they are shown by 'displayalerts' only",
            "Add an address with 'alertconfig new'",
        )


_RULES: tuple[Rule, ...] = (
    _duplicates, _certificate_names, _policy_names, _listener_names, _ports, _ssh_port,
    _listener_certificates, _listener_limits, _policy_limits, _open_relay_groups, _open_relay_default,
    _retries, _routes,
    *check_interfaces.RULES,
    *check_levels.RULES,
    *check_logs.RULES,
    *check_tls.RULES,
    *check_trust.RULES,
    *check_ldap.RULES,
    *check_scanning.RULES,
    *check_screening.RULES,
)  # fmt: skip
_ADVICE: tuple[Rule, ...] = (
    _nothing_accepted, _never_reached, _no_name, _alerts_for_nobody,
    *check_interfaces.ADVICE,
    *check_levels.ADVICE,
    *check_logs.ADVICE,
    *check_tls.ADVICE,
    *check_trust.ADVICE,
    *check_ldap.ADVICE,
    *check_scanning.ADVICE,
)  # fmt: skip
