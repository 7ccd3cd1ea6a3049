"""What a client's certificate changes: its group and policy, or the end of its connection. PURE."""

from __future__ import annotations

import msgspec

from mxseal.certs.sent import read_sent
from mxseal.relay.access import Judgement
from mxseal.relay.intake import Reception
from mxseal.smtp import replies
from mxseal.smtp.wire import Reply
from mxseal.tls.client_identity import ClientIdentity, client_identity
from mxseal.tls.diagnosis import OurSettings, diagnose_certificate, diagnose_inbound
from mxseal.tls.facts import Diagnosis, StageTimes, TlsFacts, TlsFault
from mxseal.tls.receiving import met, outcome
from mxseal.tls.verification import ClientCheck, Revocation, links

NO_CERTIFICATE = "no certificate from client"
_KEPT = 10
"""Certificates that are looked at more closely and told: a stranger may send hundreds."""


class Examined(msgspec.Struct, frozen=True):
    """After the handshake of a client that was asked for its certificate."""

    judgement: Judgement
    """Its group and policy, now that its certificate is known."""
    certificate: ClientIdentity | None
    """What the certificate says, verified or not; None: none was shown."""
    identity: str | None
    """The certificate in one line; None: none that was verified."""
    fault: TlsFault | None = None
    """Set when the policy does not take the client."""
    reply: Reply = replies.CLIENT_CERTIFICATE_NEEDED
    """What it is told then."""
    check: ClientCheck | None = None
    """What its certificate was held against."""


def examine(
    reception: Reception, address: str, name: str | None, facts: TlsFacts, revocation: Revocation
) -> Examined:
    """`name` as in `HostAccessTable.judge`. An unverified certificate is nobody's: it changes no group."""
    check = ClientCheck(trust=reception.trust, revocation=revocation, chain=links(facts.peer_certificates))
    certificate = client_identity(facts.peer_certificates[0]) if facts.peer_certificates else None
    verified = certificate if facts.verified else None
    judgement = reception.access.judge(address, name, verified)
    identity = verified.label if verified is not None else None
    column = met(shown=certificate is not None, verified=facts.verified)
    if outcome(judgement.policy.tls, column) != "turn-away":
        return Examined(judgement, certificate, identity, check=check)
    fault = _fault(facts)
    if certificate is None:
        return Examined(judgement, certificate, identity, fault, check=check)
    reply = replies.client_certificate_refused(facts.verify_error or "not verified")
    return Examined(judgement, certificate, identity, fault, reply, check)


def explain(
    fault: TlsFault,
    ours: OurSettings,
    now: float,
    times: StageTimes | None = None,
    check: ClientCheck | None = None,
) -> Diagnosis:
    """Why a client's TLS failed, with a close look at the certificates that it showed."""
    chain = read_sent(fault.peer_certificates, now, "client") if fault.peer_certificates else None
    trust = ", ".join(check.trust) if check is not None else ""
    return diagnose_inbound(fault, ours, chain=chain, times=times, trust=trust)


def why_unverified(facts: TlsFacts, check: ClientCheck | None, now: float) -> Diagnosis | None:
    """What keeps the certificate of a client that is taken all the same from being verified; None: nothing,
    or it showed none."""
    if check is None or facts.verified or not facts.peer_certificates:
        return None
    return diagnose_certificate(
        "client",
        "",
        verify_error=facts.verify_error or "",
        chain=read_sent(facts.peer_certificates, now, "client"),
        trust=", ".join(check.trust),
    )


def _fault(facts: TlsFacts) -> TlsFault:
    """As OpenSSL would have told it, had the handshake been the place to refuse. It is not: a reply can say
    why, an alert can't."""
    shown = bool(facts.peer_certificates)
    return TlsFault(
        kind="local-error",
        library="SSL routines",
        reason="certificate verify failed" if shown else "peer did not return a certificate",
        verify_error=facts.verify_error if shown else NO_CERTIFICATE,
        peer_certificates=facts.peer_certificates[:_KEPT],
    )
