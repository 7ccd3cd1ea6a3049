"""Every page with an example of its address: the tests of all pages go through this table."""

from __future__ import annotations

from mxseal.faces.web.pages import Page, pages_of
from mxseal.faces.web.site import SUBJECTS

EXAMPLES: dict[str, str | None] = {
    "/login": "/login",
    "/": "/",
    "/find": "/find?q=nothing",
    "/login/factor": None,
    "/login/enrol": None,
    "/account": "/account",
    "/account/app": "/account/app",
    "/account/codes": "/account/codes",
    "/account/password": "/account/password",
    "/system": "/system",
    "/system/users": "/system/users",
    "/system/users/new": "/system/users/new",
    "/system/users/{name}": "/system/users/otto",
    "/changes": "/changes",
    "/changes/{revision}": "/changes/3",
    "/queue": "/queue",
    "/queue/{mid}": "/queue/101",
    "/queue/host/{domain}": "/queue/host/example.org",
    "/system/logs": "/system/logs",
    "/system/logs/{log}": "/system/logs/mail_logs?q=MID",
    "/system/logs/{log}/stream": None,
    "/system/alerts": "/system/alerts",
    "/system/checks": "/system/checks",
    "/system/checks/{job}": None,
    "/explain/{what}/{number}": None,
    "/system/listeners": "/system/listeners",
    "/system/listeners/new": "/system/listeners/new",
    "/system/listeners/{name}/edit": "/system/listeners/IncomingMail/edit",
    "/system/interfaces": "/system/interfaces",
    "/system/interfaces/new": "/system/interfaces/new",
    "/system/interfaces/{name}/edit": "/system/interfaces/Management/edit",
    "/messages": "/messages",
    "/messages/export": None,
    "/messages/{mid}": "/messages/901",
    "/partners": "/partners",
    "/partners/{domain}": "/partners/bank.example",
    "/policies": "/policies",
    "/policies/destinations": "/policies/destinations",
    "/policies/destinations/new": "/policies/destinations/new",
    "/policies/destinations/{name}/edit": "/policies/destinations/plain.example/edit",
    "/policies/flow": "/policies/flow",
    "/policies/flow/new": "/policies/flow/new",
    "/policies/flow/{name}/edit": "/policies/flow/ACCEPTED/edit",
    "/policies/groups": "/policies/groups",
    "/policies/groups/new": "/policies/groups/new",
    "/policies/groups/{name}/edit": "/policies/groups/RELAYLIST/edit",
    "/policies/routes": "/policies/routes",
    "/policies/routes/new": "/policies/routes/new",
    "/policies/routes/{name}/edit": "/policies/routes/example.com/edit",
    "/policies/tls": "/policies/tls",
    "/policies/tls/gui": "/policies/tls/gui",
    "/policies/tls/inbound": "/policies/tls/inbound",
    "/policies/tls/outbound": "/policies/tls/outbound",
    "/policies/domains": "/policies/domains",
    "/policies/overrides": "/policies/overrides",
    "/policies/overrides/new": "/policies/overrides/new",
    "/policies/order": "/policies/order",
    "/policies/default-destination": "/policies/default-destination",
    "/policies/default-policy": "/policies/default-policy",
    "/trust": "/trust",
    "/trust/system": "/trust/system?match=root",
    "/trust/import": "/trust/import",
    "/trust/custom/{name}": "/trust/custom/partner",
    "/revocation": "/revocation",
    "/revocation/new": "/revocation/new",
    "/revocation/setup": "/revocation/setup",
    "/revocation/{name}/edit": "/revocation/partner/edit",
    "/revocation/{name}/list": "/revocation/partner/list",
    "/certificates": "/certificates",
    "/certificates/new": "/certificates/new",
    "/certificates/import": "/certificates/import",
    "/certificates/{name}": "/certificates/mx",
    "/certificates/{name}/served": "/certificates/mx/served",
    "/certificates/{name}/replace": "/certificates/mx/replace",
    "/certificates/{name}/intermediates": "/certificates/mx/intermediates",
    "/certificates/{name}/export": "/certificates/mx/export",
}
"""Path of a page -> an address that shows something with `WebServing`'s data; None: a test of its own."""
BESIDE = (
    "/queue?match=nobody",
    "/nowhere",
    "/certificates/Demo",
    "/certificates/none",
    "/messages?to=nobody@nowhere.example",
    "/messages?since=yesterday",
    "/messages?refused=any",
    "/messages/902?log=yes",
    "/messages/905",
    "/partners?level=required&side=out",
    "/partners?level=preferred&side=in",
    "/partners/mended.example",
    "/partners/masked.example",
    "/partners/nowhere.example",
    "/?span=day",
    "/policies/destinations/new?domain=bank.example",
    "/messages/7",
    "/system/logs/mail_logs",
)
"""Further addresses that are looked at like pages: empty states, errors."""


def pages() -> list[Page]:
    """All that are shown by GET."""
    return [page for page in pages_of(SUBJECTS) if page.method == "GET"]


def addresses() -> list[str]:
    """Of all examples."""
    return [*(address for address in EXAMPLES.values() if address), *BESIDE]
