"""One server through the stages of reference §11.1, up to MAIL FROM and no further.

A stage fails where the server was heard to fail; where it only put us off (4xx, greylisting) the stage is
untested, and so is what would have come after it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from cryptography import x509
from OpenSSL import SSL

from mxseal.clock import Clock
from mxseal.examine.certificates import Shown, judge_shown
from mxseal.examine.report import (
    CLEAR_STAGES,
    STAGES,
    CertificateReport,
    HostReport,
    Stage,
    StageName,
    State,
    Verdict,
)
from mxseal.examine.score import forward_secret
from mxseal.examine.talk import Diary, Manners, Place, Talk
from mxseal.relay.channel import Broken
from mxseal.smtp.client import RSET, STARTTLS, Capabilities, hello
from mxseal.smtp.grammar import render_path
from mxseal.smtp.wire import Reply
from mxseal.tls.diagnosis import diagnose_outbound
from mxseal.tls.facts import TlsFacts, TlsFault

_MASKED = re.compile(r"X{4,}A?$")
"""What an inspecting firewall makes of a line of EHLO that it does not like (reference §12)."""
_DEMANDS_TLS = re.compile(r"\bTLS\b|STARTTLS|encrypt|secure (?:connection|channel|session)", re.IGNORECASE)


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """What chains are held against."""

    context: SSL.Context
    """A client context that verifies against `roots` and offers every version that it can."""
    roots: Sequence[x509.Certificate] | None
    """The same list, for saying what is missing; None where it can't be read."""


class Run:
    """The test of one server. `whole` or `clear` is called once."""

    def __init__(self, place: Place, manners: Manners, trust: Trust, clock: Clock) -> None:
        self._place = place
        self._manners = manners
        self._trust = trust
        self._clock = clock
        self.diary = Diary(clock)
        self._until = clock.monotonic() + manners.whole_seconds
        self._talk = Talk(manners, clock, self.diary)
        self._stages: list[Stage] = []
        self._began = clock.monotonic()
        self._report = HostReport(host=place.host, port=place.port, preference=place.preference)
        self._offered = Capabilities()
        self._masked = False
        self._connections = 0
        self.banner = ""

    async def whole(self) -> HostReport:
        """Through all stages of a sender that uses TLS."""
        verdict = await self._through(
            (self._answer, self._connect, self._hello, self._starttls, self._secure, self._sender)
        )
        return self._ended(STAGES, verdict or self._encrypted())

    async def clear(self, recipient: str) -> HostReport:
        """Through the stages of a sender that ignores TLS; `recipient` is asked for and never written to."""

        async def refused() -> Verdict | None:
            return await self._refused(recipient)

        await self._through((self._answer, self._connect, self._hello, refused))
        return self._ended(CLEAR_STAGES, "untested")

    async def _through(self, steps: Sequence[Callable[[], Awaitable[Verdict | None]]]) -> Verdict | None:
        try:
            for step in steps:
                self._began = self._clock.monotonic()
                verdict = await step()
                if verdict is not None:
                    return verdict
        finally:
            await self._talk.leave()
        return None

    def _ended(self, names: Sequence[StageName], verdict: Verdict) -> HostReport:
        seen = {stage.name: stage for stage in self._stages}
        stages = tuple(seen.get(name) or Stage(name=name, state="untested") for name in names)
        return msgspec.structs.replace(
            self._report,
            stages=stages,
            verdict=verdict,
            dialogue=self.diary.said,
            connections=self._connections,
        )

    def _encrypted(self) -> Verdict:
        found = self._report.certificate
        return "secure" if found is not None and found.good else "encrypted"

    def _note(self, name: StageName, state: State, why: str = "", remedy: str = "") -> None:
        now = self._clock.monotonic()
        self._stages.append(Stage(name=name, state=state, seconds=now - self._began, why=why, remedy=remedy))
        self._began = now
        if why:
            self.diary.note(why)

    def _declined(self, name: StageName, reply: Reply, what: str, remedy: str = "") -> None:
        """A refusal: for good, or for now, after which nothing is known."""
        text = f"{what} was answered {reply.code} {reply.text}"[:300]
        if reply.code < 500:
            self._note(
                name, "untested", f"{text}: the server does not want to talk now.", "Test again later."
            )
        else:
            self._note(name, "fail", f"{text}.", remedy)

    # --- stages -------------------------------------------------------------------------------------------

    async def _answer(self) -> Verdict | None:
        place = self._place
        if not place.addresses:
            self._note("Answer", "fail", place.problem or f"{place.host} has no address.")
            return "unreachable"
        why = ""
        for address in place.addresses:
            talk = self._talk = Talk(self._manners, self._clock, self.diary)
            talk.line.until = self._until
            self._connections += 1
            self.diary.note(f"Trying {address} port {place.port}")
            try:
                await talk.connect(address, place.port)
            except Broken as broken:
                why = f"{place.host} [{address}] does not answer on port {place.port}: {plain(broken)}."
                self.diary.note(why)
                continue
            self._report = msgspec.structs.replace(
                self._report, address=address, local_address=talk.line.local_ip
            )
            self.diary.note("Server answered")
            self._note("Answer", "ok")
            return None
        self._note(
            "Answer", "fail", why, "Look whether it runs, and whether a firewall lets this port through."
        )
        return "unreachable"

    async def _connect(self) -> Verdict | None:
        try:
            greeting = await self._talk.reply()
        except Broken as broken:
            self._note("Connect", "fail", f"It took the connection and gave no greeting: {plain(broken)}.")
            return "untested"
        if greeting.code != 220:
            self._declined(
                "Connect", greeting, "The connection",
                "Look whether this gateway's address is on a block list that the server uses.",
            )  # fmt: skip
            return "untested"
        self.banner = greeting.lines[0]
        self.diary.note("We are allowed to connect")
        self._note("Connect", "ok")
        return None

    async def _hello(self) -> Verdict | None:
        try:
            reply = await self._talk.say(hello(self._manners.hello))
            if reply.code >= 500:
                return await self._plain_hello(reply)
        except Broken as broken:
            self._note("HELO", "fail", f"It broke off on EHLO: {plain(broken)}.")
            return "untested"
        if reply.code != 250:
            self._declined("HELO", reply, "EHLO")
            return "untested"
        self._offered = Capabilities.parse(reply)
        self._masked = any(_MASKED.match(line.strip()) for line in reply.lines[1:])
        self.diary.note("We can use this server")
        self._note("HELO", "ok")
        return None

    async def _plain_hello(self, refusal: Reply) -> Verdict | None:
        """HELO is all that it knows: then it was heard to have no TLS."""
        reply = await self._talk.say(hello(self._manners.hello, extended=False))
        self._declined(
            "HELO", refusal, "EHLO",
            "Without EHLO there is no TLS: the server is very old, or a firewall with SMTP inspection stands "
            "before it.",
        )  # fmt: skip
        return "no-tls" if reply.code == 250 else "untested"

    async def _starttls(self) -> Verdict | None:
        if not self._offered.starttls:
            remedy = "Switch TLS on there."
            if self._masked:
                remedy = (
                    "A firewall with SMTP inspection masks it: switch the inspection off for this server."
                )
            self._note(
                "TLS", "fail", "TLS is not an option on this server: EHLO does not list STARTTLS.", remedy
            )
            return "no-tls"
        self.diary.note("TLS is an option on this server")
        try:
            reply = await self._talk.say(STARTTLS)
        except Broken as broken:
            self._note("TLS", "fail", f"It broke off on STARTTLS: {plain(broken)}.")
            return "tls-broken"
        if reply.code != 220:
            self._declined(
                "TLS", reply, "STARTTLS", "Its TLS is not set up: mostly a certificate or key is missing."
            )
            return "untested" if reply.code < 500 else "tls-broken"
        self.diary.note("STARTTLS command works on this server")
        self._note("TLS", "ok")
        return None

    async def _secure(self) -> Verdict | None:
        limit = min(self._manners.handshake_seconds, max(0.0, self._until - self._clock.monotonic()))
        result = await self._talk.start_tls(self._trust.context, self._place.host, limit)
        if isinstance(result, TlsFault):
            why, remedy = explained(result, self._place.host)
            self._note("Secure", "fail", why, remedy)
            return "tls-broken"
        spent = self._clock.monotonic() - self._began
        self._began += spent
        self._certificate(result)
        self._began -= spent
        try:
            reply = await self._talk.say(hello(self._manners.hello))
        except Broken as broken:
            self._note("Secure", "fail", f"It broke off behind the handshake: {plain(broken)}.")
            return "tls-broken"
        if reply.code != 250:
            self._declined("Secure", reply, "EHLO under TLS")
            return self._encrypted()
        self.diary.note("TLS successfully started on this server")
        self._note("Secure", "ok")
        return None

    def _certificate(self, facts: TlsFacts) -> None:
        shown = Shown(certificates=facts.peer_certificates, verify_error=facts.verify_error)
        found = judge_shown(shown, self._place.host, self._clock.now(), self._trust.roots)
        self._report = msgspec.structs.replace(
            self._report,
            protocol=facts.protocol,
            cipher=facts.cipher,
            group=facts.group or "",
            certificate=found,
        )
        note = self.diary.note
        note("Connection converted to SSL")
        note(f"SSLVersion in use: {facts.protocol.replace('.', '_')}")
        note(f"Cipher in use: {facts.cipher}")
        note(f"Perfect Forward Secrecy: {'yes' if forward_secret(facts.protocol, facts.cipher) else 'no'}")
        if facts.group:
            note(f"Key exchange group: {facts.group}")
        for line in certificate_lines(found):
            note(line)
        if found.good:
            self._note("Cert", "ok")
        else:
            first = next((each for each in found.problems if each.severity == "error"), None)
            first = first or next(iter(found.problems), None)
            self._note("Cert", "fail", first.text if first else found.reason, first.remedy if first else "")

    async def _sender(self) -> Verdict | None:
        try:
            reply = await self._talk.say(_mail(self._manners.sender))
            if reply.code == 250:
                self.diary.note("Sender is OK")
                self._note("From", "ok")
                await self._talk.say(RSET)
            else:
                self._declined("From", reply, "MAIL FROM", "It may check senders: look at its words.")
        except Broken as broken:
            if not any(stage.name == "From" for stage in self._stages):
                self._note("From", "fail", f"It broke off on MAIL FROM: {plain(broken)}.")
        return None

    async def _refused(self, recipient: str) -> Verdict | None:
        """Whether clear text is refused; some servers say so at MAIL, others at RCPT."""
        remedy = "Set the TLS level of the listener's policy to required."
        try:
            reply = await self._talk.say(_mail(self._manners.sender))
            if reply.code == 250:
                self._note("From", "ok")
                reply = await self._talk.say(b"RCPT TO:" + render_path(recipient).encode() + b"\r\n")
                what = "RCPT TO in clear text"
            else:
                what = "MAIL FROM in clear text"
        except Broken as broken:
            self._note("Refused", "untested", f"It broke off in clear text: {plain(broken)}.")
            return "untested"
        said = f"{what} was answered {reply.code} {reply.text}"[:300]
        if reply.code < 300:
            self._note("Refused", "fail", f"{said}: mail is taken in clear text.", remedy)
        elif demands_tls(reply):
            self.diary.note("Clear text is refused")
            if what.startswith("MAIL"):
                self._stages.append(Stage(name="From", state="ok", seconds=0.0))
            self._note("Refused", "ok")
        else:
            self._note("Refused", "untested", f"{said}, which says nothing about TLS.")
        return None


def demands_tls(reply: Reply) -> bool:
    """Whether a refusal is about the missing encryption (RFC 3207 §4: 530; RFC 5248: X.7.10)."""
    return (
        reply.code == 530 or (reply.enhanced or "").endswith(".7.10") or bool(_DEMANDS_TLS.search(reply.text))
    )


def certificate_lines(found: CertificateReport) -> list[str]:
    """The lines of the dialogue about the chain and its name."""
    count = len(found.links)
    lines = []
    for number, link in enumerate(found.links, 1):
        reason = link.problem or (found.reason if number == 1 else "")
        verdict = "Cert VALIDATED: ok" if not reason else f"Cert NOT VALIDATED: {reason}"
        lines.append(f"Certificate {number} of {count} in chain: {verdict}")
        lines.append(f"subject= {link.subject}, issuer= {link.issuer}, {link.key}")
    if found.matched is not None:
        lines.append(f"Cert Hostname VERIFIED (mx = {found.wanted}, cert = {found.matched})")
    else:
        lines.append(
            f"Cert Hostname DOES NOT VERIFY (mx = {found.wanted}, cert = {', '.join(found.names[:5])})"
        )
    return lines


def explained(fault: TlsFault, host: str) -> tuple[str, str]:
    """Why a handshake failed, and what to do, each in a sentence."""
    found = diagnose_outbound(fault, host=host)
    return found.summary, found.remedy


def _mail(sender: str) -> bytes:
    return b"MAIL FROM:" + render_path(sender).encode() + b"\r\n"


def plain(broken: Broken) -> str:
    """The log's words without their error numbers."""
    if broken.reason == "connection timed out":
        return "no answer in time"
    text = re.sub(r"^\[Errno \d+\] ", "", broken.details)
    return "the connection was closed" if text == "Error" else text[:1].lower() + text[1:]
