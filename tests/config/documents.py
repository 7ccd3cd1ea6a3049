"""Documents for tests: a valid one, and hypothesis strategies for any."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mxseal.config.history import initial
from mxseal.config.model import (
    Certificate,
    Delivery,
    Destination,
    Document,
    Interface,
    Listener,
    ListenerLimits,
    Logs,
    MailFlowPolicy,
    RecipientAccess,
    SenderGroup,
)

PEM = "-----BEGIN CERTIFICATE-----\nTVhTZWFs\n-----END CERTIFICATE-----\n"


def document(**changes: Any) -> Document:
    """The first document of a home, with a certificate, and `changes` made to it."""
    first = initial("mx.example.com", demo=Certificate(name="Demo", certificate=PEM))
    plain = {name: getattr(first, name) for name in Document.model_fields} | changes
    return Document(**plain)


names = st.text("abcXYZ019 ._-", min_size=1, max_size=8).map(lambda text: "N" + text)
domains = st.lists(st.text("abz019", min_size=1, max_size=5), min_size=1, max_size=3).map(".".join)
texts = st.text(st.characters(codec="utf-8"), max_size=40)
hops = st.builds(lambda host, port: f"{host}:{port}", domains, st.integers(1, 65535))
levels = st.sampled_from(["off", "preferred", "required"])

documents = st.builds(
    Document,
    hostname=domains,
    postmaster=st.none() | texts,
    listeners=st.lists(
        st.builds(
            Listener,
            name=names,
            type=st.sampled_from(["public", "private"]),
            address=st.ip_addresses().map(str),
            port=st.integers(1, 65535),
            second_certificate=st.none() | names,
            sni_certificates=st.lists(names, max_size=2).map(tuple),
            limits=st.builds(ListenerLimits, connections=st.integers(1, 9), idle_time=st.floats(0.5, 1000)),
        ),
        max_size=3,
    ).map(tuple),
    interfaces=st.lists(
        st.builds(
            Interface,
            name=names,
            address=st.ip_addresses().map(str),
            hostname=st.none() | domains,
            https_port=st.integers(1, 65535),
            http=st.booleans(),
        ),
        max_size=2,
    ).map(tuple),
    sender_groups=st.lists(
        st.builds(
            SenderGroup,
            name=names,
            policy=names,
            members=st.lists(st.sampled_from(["ALL", "192.0.2.1", "2001:db8::/32", ".example.com"])).map(
                tuple
            ),
        ),
        max_size=3,
    ).map(tuple),
    mail_flow_policies=st.lists(st.builds(MailFlowPolicy, name=names, tls=levels), max_size=3).map(tuple),
    recipient_access=st.builds(RecipientAccess, domains=st.lists(domains, max_size=3).map(tuple)),
    smtp_routes=st.dictionaries(domains, st.lists(hops, max_size=2).map(tuple), max_size=3),
    destinations=st.lists(
        st.builds(Destination, domain=domains | st.just("default"), tls=st.none() | levels), max_size=3
    ).map(tuple),
    delivery=st.builds(Delivery, certificate=st.none() | names, first_retry=st.floats(0.25, 2e6)),
    certificates=st.lists(
        st.builds(
            Certificate, name=names, certificate=texts, intermediates=st.lists(texts, max_size=2).map(tuple)
        ),
        max_size=2,
    ).map(tuple),
    logs=st.builds(Logs, level=st.sampled_from(["Info", "Trace"]), headers=st.booleans()),
)
