"""Logins with a client certificate, over real TLS: whose certificate opens what, and what closes it again."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, cast

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from lab.ca import Authority, Issued, Validity, pem
from mxseal.commands.context import Context
from mxseal.config.check import check
from mxseal.config.model import Authority as TrustedAuthority
from mxseal.config.model import CrlSource, Document, Trust
from mxseal.events.types import LoginFailed, LoginSucceeded, SecondFactorChanged
from mxseal.faces.web.calling import BrowserSide
from mxseal.faces.web.sessions import COOKIE
from tests.commands.gateway import NOW
from tests.web.serving import PASSWORD, PATIENCE, WebServing, web_serving

Mode = Literal["off", "login", "second-factor"]


async def _read(_result: object) -> None:
    """Nobody reads what commands say."""


class Door:
    """A site whose interface asks for certificates of `people`."""

    def __init__(self, web: WebServing, people: Authority, servers: Authority, root: Path) -> None:
        self.web, self.people, self._servers, self._root = web, people, servers, root
        self.stack = ExitStack()
        web.advance(time.time() - NOW)
        self.configure("login")

    def configure(self, mode: Mode, **trust: Any) -> None:
        before = self.web.services.history.current().document
        entry = TrustedAuthority(name="people", certificate=self.people.pem.decode())
        interface = before.interfaces[0].model_copy(
            update={"client_certificates": mode, "client_authorities": ("people",)}
        )
        document = before.model_copy(
            update={"trust": Trust(authorities=(entry,), **trust), "interfaces": (interface,)}
        )
        assert [each for each in check(document) if each.path.startswith("interfaces")] == []

        self.put(document)

    def put(self, document: Document) -> None:
        """In force, as behind a commit."""

        def apply() -> Any:
            self.web.put(document)
            return self.web.face.configure(document)

        assert self.web.do(apply) == []

    def run(self, words: str, *values: str) -> None:
        """A command of an administrator's."""
        services = self.web.services
        context = Context(
            user="anna", role="administrator", face="cli", remote="local", owner="user:anna",
            services=cast("Any", services), client=BrowserSide(), catalogue=self.web.runner.commands,
        )  # fmt: skip
        run = self.web.runner.run
        ended = self.web.do(lambda: run([*words.split(), *values], context, _read))
        assert ended.status == 0, ended

    def client(self, issued: Issued | None = None, **headers: str) -> httpx2.Client:
        trust = ssl.create_default_context(cadata=self._servers.root.pem.decode())
        if issued is not None:
            files = issued.write(self._root, issued.sha256[:12])
            trust.load_cert_chain(files.chain, files.key)
        sent = {"Origin": self.web.address, "Sec-Fetch-Site": "same-origin"} | headers
        made = httpx2.Client(base_url=self.web.address, verify=trust, headers=sent, timeout=PATIENCE)
        return self.stack.enter_context(made)

    def enter(self, issued: Issued | None) -> httpx2.Response:
        return self.client(issued).post("/login/certificate", data={})

    def failures(self) -> list[tuple[str, str]]:
        events = self.web.services.events
        return [(each.method, each.reason) for each in events if isinstance(each, LoginFailed)]


@pytest.fixture
def door(tmp_path: Path, authority: Authority) -> Iterator[Door]:
    with web_serving(tmp_path / "site", authority) as web:
        found = Door(web, Authority("People CA"), authority, tmp_path / "keys")
        with found.stack:
            yield found


def inside(answer: httpx2.Response) -> bool:
    return answer.status_code == 303 and COOKIE in answer.headers.get("set-cookie", "")


def test_a_bound_certificate_is_a_login_of_its_own_and_stands_in_log_and_session(door: Door) -> None:
    mine = door.people.intermediate("People Issuing").issue("anna@example.com")
    door.run("userconfig certificate add anna", f"sha256:{mine.sha256.upper()}")
    client = door.client(mine)
    assert "anna@example.com" in client.get("/login").text
    assert inside(client.post("/login/certificate", data={"next": "/queue"}))
    assert client.get("/queue").status_code == 200
    events = door.web.services.events
    assert [e.method for e in events if isinstance(e, LoginSucceeded)] == ["certificate"]
    assert [e.what[:15] for e in events if isinstance(e, SecondFactorChanged)] == ["the certificate"]
    door.run("userconfig certificate delete anna", f"sha256:{mine.sha256}")
    assert client.get("/queue").headers["location"].startswith("/login")


def test_without_a_certificate_passwords_work_as_ever(door: Door) -> None:
    client = door.client()
    assert "Log in with a certificate" in client.get("/login").text
    assert client.post("/login/certificate").status_code == 403
    assert inside(client.post("/login", data={"name": "anna", "password": PASSWORD}))


def test_an_address_or_a_name_counts_from_the_authority_that_it_was_bound_to(door: Door) -> None:
    door.run("userconfig certificate add anna", "email:Anna@example.com", "--authority", "people")
    door.run("userconfig certificate add otto", "name:Otto Ode", "--authority", "people")
    for names, user in ((("Anna", "anna@EXAMPLE.com"), "anna"), (("Otto Ode", "x@example.com"), "otto")):
        client = door.client(door.people.issue(*names))
        assert inside(client.post("/login/certificate"))
        assert client.get("/account").text.count(f"{user}") > 0
    # the same name of another authority, which the interface takes too: it is not the one that was bound
    other = Authority("Other CA")
    before = door.web.services.history.current().document
    people = TrustedAuthority(name="people", certificate=pem(other.certificate).decode())
    document = before.model_copy(update={"trust": Trust(authorities=(people,))})
    door.put(document)
    assert door.enter(other.issue("Anna", "anna@example.com")).status_code == 403


@pytest.mark.parametrize("what", ["nobodys", "several", "expired", "server"])
def test_a_certificate_that_is_not_good_enough_is_told_why(door: Door, what: str) -> None:
    made = {
        "nobodys": lambda: door.people.issue("Nora"),
        "several": lambda: door.people.issue("Anna", "otto@example.com"),
        "expired": lambda: door.people.issue("Anna", validity=Validity(expired=True)),
        "server": lambda: door.people.issue("Anna", usages=("server",)),
    }[what]()
    door.run("userconfig certificate add anna", "name:Anna", "--authority", "people")
    door.run("userconfig certificate add otto", "email:otto@example.com", "--authority", "people")
    told = {"nobodys": "bound to no user", "several": "bound to several users", "expired": "has expired"}
    if what == "server":  # not a client's: the handshake ends
        with pytest.raises(httpx2.TransportError):
            door.enter(made)
    else:
        answer = door.enter(made)
        assert answer.status_code == 403
        assert told[what] in answer.text
    assert [method for method, _ in door.failures()] == ["certificate"]


def test_a_certificate_of_a_stranger_ends_the_handshake_and_fills_no_log(door: Door) -> None:
    door.run("userconfig certificate add anna", "name:Anna", "--authority", "people")
    forged = Authority("People CA").issue("Anna")
    for _ in range(8):
        with pytest.raises(httpx2.TransportError):
            door.enter(forged)
    assert [method for method, _ in door.failures()] == ["certificate"] * 5
    assert inside(door.client().post("/login", data={"name": "anna", "password": PASSWORD}))


def test_as_second_factor_a_certificate_is_needed_behind_the_password_and_no_login_alone(door: Door) -> None:
    mine, hers = door.people.issue("Anna"), door.people.issue("Rhea")
    door.run("userconfig certificate add anna", f"sha256:{mine.sha256}")
    door.run("userconfig certificate add rhea", f"sha256:{hers.sha256}")
    door.configure("second-factor")
    assert door.enter(mine).status_code == 403
    known = {"name": "anna", "password": PASSWORD}
    for other in (None, hers):
        client = door.client(other)
        assert client.post("/login", data=known).headers["location"].startswith("/login/factor")
        assert client.get("/queue").headers["location"].startswith("/login/factor")
    client = door.client(mine)
    assert client.post("/login", data=known).headers["location"] == "/"
    assert client.get("/queue").status_code == 200
    assert client.post("/login", data=known | {"password": "wrong"}).status_code == 403
    assert inside(door.client().post("/login", data={"name": "otto", "password": PASSWORD}))


def test_a_revoked_certificate_lets_nobody_in_where_lists_are_looked_at(door: Door) -> None:
    mine = door.people.issue("Anna")
    door.run("userconfig certificate add anna", f"sha256:{mine.sha256}")
    now = mine.certificate.not_valid_before_utc
    revoked = (
        x509.RevokedCertificateBuilder()
        .serial_number(mine.certificate.serial_number)
        .revocation_date(now)
        .build()
    )
    listed = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(door.people.certificate.subject)
        .last_update(now)
        .next_update(mine.certificate.not_valid_after_utc)
        .add_revoked_certificate(revoked)
        .sign(door.people.key, hashes.SHA256())
    )
    path = door.web.services.crls.path("people")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(listed.public_bytes(Encoding.DER))
    source = CrlSource(name="people", url="http://127.0.0.1:9/x", schedule="never")
    door.configure("login", crl_sources=(source,))
    assert inside(door.enter(mine))
    door.configure("login", crl_sources=(source,), crl_inbound=True)
    answer = door.enter(mine)
    assert answer.status_code == 403
    assert "was revoked" in answer.text


def test_where_it_is_off_nobody_is_asked_and_the_login_does_not_exist(door: Door) -> None:
    mine = door.people.issue("Anna")
    door.run("userconfig certificate add anna", f"sha256:{mine.sha256}")
    open_since_before = door.client(mine)
    assert open_since_before.get("/login").status_code == 200
    door.configure("off")
    for client in (open_since_before, door.client(mine), door.client(Authority("Any").issue("Anna"))):
        assert "with a certificate" not in client.get("/login").text
        assert client.post("/login/certificate").status_code == 403


def test_what_a_certificate_calls_its_owner_stays_text(door: Door) -> None:
    strange = door.people.issue("<script>alert(1)</script>", '"><img src=x>@example.com')
    page = door.client(strange).get("/login").text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "<img" not in page
    door.enter(strange)
    assert [method for method, _ in door.failures()] == ["certificate"]


def test_another_site_can_not_log_anybody_in(door: Door) -> None:
    mine = door.people.issue("Anna")
    door.run("userconfig certificate add anna", f"sha256:{mine.sha256}")
    client = door.client(mine, Origin="https://evil.example")
    assert not inside(client.post("/login/certificate"))


def test_who_is_deleted_leaves_no_certificate_to_the_next_of_that_name(door: Door) -> None:
    door.run("userconfig certificate add otto", "name:Otto", "--authority", "people")
    services = door.web.services
    door.web.do(lambda: services.users.delete("otto"))
    assert door.web.do(services.web.certificates.all) == []
