"""kill -9 of a gateway with mail about which a directory is still to be asked, and of one that asks."""

from __future__ import annotations

from lab.ca import Authority
from lab.client import send
from lab.gateway import Gateway
from lab.place import free_port, free_ports
from lab.sink import Sink
from lab.slapd import Security, Slapd
from tests.conftest import Starter
from tests.directory.estate import people, profile, trust
from tests.e2e.estate import at, document, envelope, hop


def test_mail_that_waits_for_a_directory_survives_kill_9_and_is_asked_about_before_it_goes_anywhere(
    running: Starter, authority: Authority, sink: Sink
) -> None:
    port, (clear, tls) = free_port(), free_ports(2)
    query = {"name": "accept", "kind": "accept", "profile": "LDAP", "filter": "(mail={a})"}
    listener = {"name": "IncomingMail", "port": port, "ldap_accept": {"query": "accept", "at": "work-queue"}}
    text = document(
        port,
        listeners=[listener],
        recipient_access={"domains": ["example.com"]},
        destinations=[{"domain": "default", "tls": "preferred"}],
        smtp_routes={"all": [hop(sink)]},
        trust=trust(authority),
        ldap_profiles=[profile(tls)],
        ldap_queries=[query],
    )
    with Gateway(text) as gateway:
        for _ in range(3):
            send(at(port), envelope("waits", "anna@example.com", "no@example.com", sender="from@lab.test"))
        gateway.wait_log(r"LDAP: unable to process, MID 3 requeued: ")
        gateway.kill9()
        gateway.start()
        assert "directories" in gateway.text("showmessage", "1").lower()
        assert not sink.messages()
        running(
            lambda: Slapd(people(), Security(certificate=authority.issue("127.0.0.1")), ports=(clear, tls))
        )
        gateway.text("delivernow", "all")
        gateway.wait_log(r"(?s)(MID \d+ RID \[0\] Response.*){6}")
    found = sorted(each.recipients for each in sink.messages())
    assert found == [("anna@example.com",)] * 3 + [("from@lab.test",)] * 3
