"""Postfix and Exim really run: they take mail over STARTTLS and relay it to each other."""

from __future__ import annotations

import smtplib
from collections.abc import Callable

import pytest

from lab import exim as exim_server
from lab import postfix as postfix_server
from lab.ca import Authority, Issued
from lab.client import Client, Envelope, Trust, s_client, send
from lab.exim import Exim
from lab.postfix import Postfix
from lab.sink import Sink

Issue = Callable[..., Issued]
StartPostfix = Callable[[postfix_server.Settings], Postfix]
StartExim = Callable[[exim_server.Settings], Exim]
MESSAGE = b"Subject: from end to end\r\n\r\nHello.\r\n"


def test_postfix_takes_a_message_over_starttls_and_shows_it(
    postfix: StartPostfix, issue: Issue, authority: Authority
) -> None:
    server = postfix(postfix_server.Settings(certificate=issue("postfix.lab.test")))
    envelope = Envelope(sender="a@sender.test", recipients=["b@example.test"], content=MESSAGE)
    sent = send(server.address, envelope, Trust(roots=authority.pem, name="postfix.lab.test"))
    (message,) = server.wait()
    assert sent.protocol == "TLSv1.3"
    assert (message.sender, message.recipients) == ("a@sender.test", ("b@example.test",))
    assert message.subject == "from end to end"
    assert "TLSv1.3" in message.received[0]
    assert "TLS connection established from" in server.log()


def test_postfix_that_insists_on_tls_refuses_mail_outside_it(postfix: StartPostfix, issue: Issue) -> None:
    server = postfix(postfix_server.Settings(certificate=issue("postfix.lab.test"), tls="encrypt"))
    with pytest.raises(smtplib.SMTPSenderRefused, match="STARTTLS"):
        send(server.address, Envelope(), None)


def test_exim_takes_a_message_over_starttls_and_shows_it(
    exim: StartExim, issue: Issue, authority: Authority
) -> None:
    server = exim(exim_server.Settings(certificate=issue("exim.lab.test", kind="rsa2048")))
    envelope = Envelope(sender="a@sender.test", recipients=["b@example.test"], content=MESSAGE)
    sent = send(server.address, envelope, Trust(roots=authority.pem, name="exim.lab.test"))
    (message,) = server.wait()
    assert sent.protocol == "TLSv1.3"
    assert (message.sender, message.recipients) == ("a@sender.test", ("b@example.test",))
    assert message.subject == "from end to end"
    assert "with esmtps" in message.received[0]


def test_exim_that_insists_on_tls_refuses_mail_outside_it(exim: StartExim, issue: Issue) -> None:
    server = exim(exim_server.Settings(certificate=issue("exim.lab.test"), tls="encrypt"))
    with pytest.raises(smtplib.SMTPSenderRefused, match="STARTTLS"):
        send(server.address, Envelope(), None)


def test_postfix_relays_to_exim_over_verified_tls(
    postfix: StartPostfix, exim: StartExim, issue: Issue, authority: Authority
) -> None:
    target = exim(exim_server.Settings(certificate=issue("exim.lab.test")))
    sender = postfix(
        postfix_server.Settings(
            domains=["sender.test"],
            relay=target.address,
            relay_tls="secure",
            relay_names=["exim.lab.test"],
            trust=authority.pem,
        )
    )
    sender.submit("a@sender.test", ["b@example.test"], MESSAGE)
    (message,) = target.wait()
    assert "with esmtps" in message.received[0]
    sender.wait_log(r"Verified TLS connection established to 127\.0\.0\.1")
    sender.wait_log(r"to=<b@example\.test>.*status=sent")


def test_exim_relays_to_postfix_over_verified_tls(
    postfix: StartPostfix, exim: StartExim, issue: Issue, authority: Authority
) -> None:
    target = postfix(postfix_server.Settings(certificate=issue("postfix.lab.test")))
    sender = exim(
        exim_server.Settings(
            domains=["sender.test"],
            relay=target.address,
            relay_tls="secure",
            relay_names=["postfix.lab.test"],
            trust=authority.pem,
        )
    )
    sender.submit("a@sender.test", ["b@example.test"], MESSAGE)
    (message,) = target.wait()
    assert "TLSv1.3" in message.received[0]
    sender.wait_log(r"=> b@example\.test .*X=TLS1\.3.* CV=yes")


def test_postfix_does_not_relay_to_a_certificate_of_another_name(
    postfix: StartPostfix, authority: Authority, sink: Sink
) -> None:
    settings = postfix_server.Settings(
        relay=sink.address, relay_tls="secure", relay_names=["other.test"], trust=authority.pem
    )
    sender = postfix(settings)
    sender.submit("a@sender.test", ["b@elsewhere.test"], MESSAGE)
    sender.wait_log("status=deferred .Server certificate not verified")
    assert sink.messages() == ()


def test_exim_does_not_relay_to_a_certificate_of_another_name(
    exim: StartExim, authority: Authority, sink: Sink
) -> None:
    settings = exim_server.Settings(
        relay=sink.address, relay_tls="secure", relay_names=["other.test"], trust=authority.pem
    )
    sender = exim(settings)
    sender.submit("a@sender.test", ["b@elsewhere.test"], MESSAGE)
    sender.wait_log("certificate")
    assert sink.messages() == ()


def test_the_openssl_command_tells_what_a_server_serves(
    postfix: StartPostfix, issue: Issue, authority: Authority
) -> None:
    issued = issue("postfix.lab.test")
    server = postfix(postfix_server.Settings(certificate=issued))
    roots = str(issued.write(server.folder / "client").root)
    seen = s_client(server.address, "-CAfile", roots, "-tls1_2", "-servername", "postfix.lab.test")
    assert (seen.protocol, seen.verify_code, seen.verify_text) == ("TLSv1.2", 0, "ok")
    assert seen.cipher.startswith("ECDHE-ECDSA")
    assert b"".join(entry.strip() + b"\n" for entry in seen.chain) == issued.chain_pem
    assert seen.group == "X25519"


def test_the_openssl_command_tells_that_a_version_is_refused(postfix: StartPostfix, issue: Issue) -> None:
    options = {"smtpd_tls_protocols": ">=TLSv1.2"}
    server = postfix(postfix_server.Settings(certificate=issue("postfix.lab.test"), options=options))
    seen = s_client(server.address, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert (seen.protocol, seen.cipher) == ("", "")
    assert seen.status != 0


def test_a_message_may_have_some_recipients_refused(postfix: StartPostfix, issue: Issue) -> None:
    rule = "check_recipient_access inline:{{no@example.test = REJECT}}, permit"
    options = {"smtpd_recipient_restrictions": rule}
    server = postfix(postfix_server.Settings(certificate=issue("postfix.lab.test"), options=options))
    sent = send(server.address, Envelope(recipients=["yes@example.test", "no@example.test"]))
    assert {name: code for name, (code, _) in sent.refused.items()} == {"no@example.test": 554}
    (message,) = server.wait()
    assert message.recipients == ("yes@example.test",)


def test_nothing_runs_behind_the_end(postfix: StartPostfix, issue: Issue) -> None:
    server = postfix(postfix_server.Settings(certificate=issue("postfix.lab.test")))
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        Client(server.address)
    assert not server.folder.exists()
