"""Logins with a client certificate: what the browser showed, whose it is, and what the interface makes of it.

The handshake has found that the certificate comes from an authority that the interface names; everything is
looked at once more here, against the document in force: a connection may be older.
"""

from __future__ import annotations

import asyncio
from typing import Literal

import msgspec

from mxseal.certs.authorities import read
from mxseal.certs.browsers import Person, distrusted, person
from mxseal.certs.facts import fingerprint
from mxseal.certs.revoked import read_lists
from mxseal.certs.sent import read_sent
from mxseal.certs.webtls import client_authorities
from mxseal.config.model import Authority, Document, Interface
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit
from mxseal.storage.bindings import Binding
from mxseal.storage.users import User

Mode = Literal["off", "login", "second-factor"]
NOBODYS = N_("This certificate is bound to no user. An administrator can bind it ('userconfig certificate').")
SEVERAL = N_("This certificate is bound to several users. An administrator has to say whose it is.")
REVOKED = N_("This certificate was revoked by the authority that issued it.")
DISTRUSTED = N_("This certificate is not accepted: {why}.")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a browser's certificate is worth."""

    person: Person | None = None
    """None: it showed none, or is not asked here."""
    user: User | None = None
    """Whose it is; None: nobody's, and `told` says why."""
    told: str = ""
    why: str = ""


def interface_of(visit: Visit) -> Interface | None:
    """The interface that the visitor came by, as the document in force has it."""
    name = visit.request.scope.get("state", {}).get("interface")
    interfaces = visit.site.services.history.current().document.interfaces
    return next((each for each in interfaces if each.name == name), None)


def mode(visit: Visit) -> Mode:
    """What certificates are good for where the visitor came in."""
    interface = interface_of(visit)
    return interface.client_certificates if interface is not None else "off"


def shown(visit: Visit) -> Person | None:
    """Whom the browser's certificate names, before anything is looked at."""
    chain = visit.request.scope.get("state", {}).get("client_chain") or ()
    return person(chain[0]) if chain and mode(visit) != "off" else None


async def judged(visit: Visit) -> Found:
    """Whose the certificate is. Takes its time where lists of revoked ones are read."""
    interface, who = interface_of(visit), shown(visit)
    if interface is None or who is None:
        return Found()
    services = visit.site.services
    chain: tuple[bytes, ...] = visit.request.scope["state"]["client_chain"]
    document, now = services.history.current().document, services.now()
    held = {pem: distrusted(chain, pem, now) for pem in client_authorities(document, interface)}
    vouching = [pem for pem, reason in held.items() if reason is None]
    if not vouching:
        why = next((each for each in held.values() if each), "no authority is believed")
        return Found(person=who, told=visit.say(DISTRUSTED, why=why), why=why)
    if await _revoked(visit, document, chain):
        return Found(person=who, told=visit.say(REVOKED), why="the certificate was revoked")
    owners = {each.user for each in services.web.certificates.all() if _is(each, who, vouching)}
    users = [user for name in sorted(owners) if (user := visit.site.login.user(name)) is not None]
    if len(users) != 1:
        why = "the certificate is bound to several users" if users else "the certificate is bound to no user"
        return Found(person=who, told=visit.say(SEVERAL if users else NOBODYS), why=why)
    return Found(person=who, user=users[0])


def _is(binding: Binding, who: Person, vouching: list[str]) -> bool:
    if binding.kind == "fingerprint":
        return binding.value == who.sha256
    if binding.authority not in {_mark(pem) for pem in vouching}:
        return False
    return binding.value in who.emails if binding.kind == "email" else binding.value == who.name


def _mark(pem: str) -> str:
    certificate = read(Authority(name="x", certificate=pem))
    return fingerprint(certificate) if certificate is not None else ""


async def _revoked(visit: Visit, document: Document, chain: tuple[bytes, ...]) -> bool:
    """As for clients that bring mail: one without a list in date is not refused."""
    services = visit.site.services
    if not document.trust.crl_inbound:
        return False
    now = services.now()
    path = tuple(chain[at] for at in read_sent(chain, now, "client").path)
    lists = await asyncio.to_thread(read_lists, services.crls.folder, document, now)
    return lists.check(path) == "revoked"


def refused(visit: Visit, found: Found, name: str = "") -> None:
    """Tell that a certificate let nobody in."""
    who = found.person.label if found.person is not None else ""
    visit.site.login.no_certificate_fitted(name, visit.caller.remote, "web", f"{found.why}: {who}"[:300])
