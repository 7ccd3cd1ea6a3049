"""Where the gateway is reached: listeners for mail, interfaces for people and programs."""

from __future__ import annotations

from mxseal.faces.web.entries import Entries, Words
from mxseal.faces.web.texts import N_

_PLACE = "system"
LISTENERS = Entries(
    path="/system/listeners",
    place=_PLACE,
    command="listenerconfig",
    key="name",
    fields=("address", "port", "type_", "hostname", "implicit_tls", "bare_newlines", "reverse_dns"),
    labels={
        "name": N_("Name"),
        "address": N_("Address"),
        "port": N_("Port"),
        "type_": N_("Type"),
        "hostname": N_("Host name in banner and replies"),
        "implicit_tls": N_("TLS from the first byte"),
        "bare_newlines": N_("Lone CR or LF in a message"),
        "reverse_dns": N_("Look up the names of clients"),
    },
    of_one=((N_("Limits"), "/system/listeners/{name}/limits", "listenerconfig limits"),),
    words=Words(
        title=N_("Listeners"),
        lead=N_("The ports on which mail is received. Name, certificate and MX record must agree."),
        summary=N_("The ports on which mail is received."),
        new=N_("Add a listener"),
        edit=N_("Listener {name}"),
        save=N_("Change the listener"),
        delete=N_("Delete the listener {name}?"),
        deleted=N_("Its port is closed by the commit; open connections end in their own time."),
    ),
)
INTERFACES = Entries(
    path="/system/interfaces",
    place=_PLACE,
    command="interfaceconfig",
    key="name",
    fields=("address", "hostname", "https", "https_port", "http", "http_port", "redirect"),
    labels={
        "name": N_("Name"),
        "address": N_("Address"),
        "hostname": N_("Host name"),
        "https": N_("HTTPS"),
        "https_port": N_("Port of HTTPS"),
        "http": N_("HTTP"),
        "http_port": N_("Port of HTTP"),
        "redirect": N_("Send browsers on to HTTPS"),
    },
    words=Words(
        title=N_("Interfaces"),
        lead=N_("Where these pages and the API are served. Certificates are assigned on their own pages."),
        summary=N_("Where these pages and the API are served."),
        new=N_("Add an interface"),
        edit=N_("Interface {name}"),
        save=N_("Change the interface"),
        delete=N_("Delete the interface {name}?"),
        deleted=N_("Its ports are closed by the commit. Take care not to close the door behind you."),
    ),
)
PAGES = (*LISTENERS.pages(), *INTERFACES.pages())
