"""`sslconfig` and `hostaccess`: versions, ciphers, levels."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mxseal.commands import configuration, hostaccess, sslconfig
from mxseal.commands.context import Role
from mxseal.commands.registry import Registry
from mxseal.commands.results import Result
from mxseal.commands.running import Runner
from mxseal.config.model import Document, MailFlowPolicy, SenderGroup, Ssl
from mxseal.faces.render import Style, as_json, as_text
from tests.commands.gateway import FakeClient, FakeServices, context

COMMANDS = Registry((sslconfig, hostaccess, configuration))


class Desk:
    """One caller at a gateway with a first document."""

    def __init__(self, role: Role = "operator") -> None:
        self.services = FakeServices()
        self.context = context(self.services, FakeClient(), COMMANDS, role)
        self.text = ""
        self.json: Any = None

    async def run(self, *words: str) -> str:
        """How it ended; `text` and `json` are what was shown."""

        async def keep(result: Result) -> None:
            self.text = " ".join(as_text(result, Style(width=200)).split())
            self.json = msgspec.json.decode(as_json(result.to_json()))

        self.text, self.json = "", None
        ended = await Runner(COMMANDS, lambda _record: None).run(words, self.context, keep)
        self.text = self.text or ended.message
        return ended.outcome

    @property
    def document(self) -> Document:
        return self.services.history.candidate(self.context.owner)

    @property
    def ssl(self) -> Ssl:
        return self.document.ssl


async def test_the_table_shows_each_use_with_its_versions_and_suites() -> None:
    desk = Desk("read-only")
    assert await desk.run("sslconfig", "show") == "ok"
    assert [(row["use"], row["profile"], row["versions"], row["suites"]) for row in desk.json] == [
        ("GUI", "intermediate", "1.2-1.3", 14),
        ("Inbound SMTP", "intermediate", "1.2-1.3", 14),
        ("Outbound SMTP", "intermediate", "1.2-1.3", 27),
    ]
    assert "Renegotiation and compression are off always" in desk.text


async def test_a_profile_is_chosen_committed_and_said_to_refuse() -> None:
    desk = Desk()
    assert await desk.run("sslconfig", "inbound", "--profile", "modern") == "ok"
    assert "Inbound SMTP: TLS 1.3, profile modern. It takes effect with 'commit'." in desk.text
    assert "Refused: Peers without TLS 1.3" in desk.text
    assert desk.json["protocols"] == ["TLSv1.3"]
    assert (desk.ssl.inbound.profile, desk.ssl.outbound.profile) == ("modern", "intermediate")
    assert await desk.run("commit", "modern") == "ok"
    assert desk.services.history.current().document.ssl.inbound.profile == "modern"
    assert await desk.run("sslconfig", "show") == "ok"
    assert [row["versions"] for row in desk.json] == ["1.2-1.3", "1.3", "1.2-1.3"]


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("1.2", ("TLSv1.2",)),
        ("1.2-1.3", ("TLSv1.2", "TLSv1.3")),
        ("1.3,1.2", ("TLSv1.2", "TLSv1.3")),
        ("1.3-1.0", ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")),
        ("TLSv1.2, TLSv1.3", ("TLSv1.2", "TLSv1.3")),
        ("tls v1.1 - ", None),
        ("tlsv1,1.1", ("TLSv1", "TLSv1.1")),
        ("default", None),
    ],
)
async def test_versions_are_typed_as_numbers_ranges_or_lists(
    typed: str, kept: tuple[str, ...] | None
) -> None:
    desk = Desk()
    outcome = await desk.run("sslconfig", "outbound", "--protocols", typed)
    assert (outcome == "ok") is (kept is not None or typed == "default"), desk.text
    assert desk.ssl.outbound.protocols == kept


async def test_old_versions_come_with_a_warning_and_their_loss_is_told() -> None:
    desk = Desk()
    await desk.run("sslconfig", "inbound", "--protocols", "1.0-1.3")
    assert "deprecated (RFC 8996)" in desk.text
    await desk.run("sslconfig", "inbound", "--protocols", "1.3")
    assert "Refused: peers that know no other version than TLSv1.2 or TLSv1.1 or TLSv1." in desk.text
    assert "deprecated" not in desk.text


async def test_own_values_stay_beside_a_new_profile_and_default_takes_them_back() -> None:
    desk = Desk()
    await desk.run("sslconfig", "gui", "--ciphers", "ECDHE+AESGCM")
    await desk.run("sslconfig", "gui", "--profile", "old")
    assert "none of these suites exists in TLSv1.1 or TLSv1" in desk.text
    await desk.run("sslconfig", "gui", "--profile", "old", "--ciphers", "ECDHE+AES")
    assert "Beside the profile your own ciphers count" in desk.text
    await desk.run("sslconfig", "show")
    assert (desk.json[0]["own_values"], desk.json[0]["ciphers"]) == ("ciphers", "ECDHE+AES")
    await desk.run("sslconfig", "gui", "--ciphers", "default", "--profile", "intermediate")
    assert desk.ssl == Ssl()
    assert "Nothing is left to commit" in desk.text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("inbound", "--ciphers", "NONSENSE"), "ssl.inbound.ciphers: The cipher string 'NONSENSE'"),
        (("outbound", "--protocols", "1.0,1.2"), "ssl.outbound.protocols: TLSv1.1 is missing"),
        (("gui", "--profile", "old", "--ciphers", "ECDHE+AESGCM"), "ssl.gui.ciphers: none of these suites"),
        (("inbound", "--protocols", "1.4"), "1.4 is no TLS version"),
        (("inbound", "--protocols", "1.0-1.2-1.3"), "is no range of versions"),
        (("inbound", "--protocols", ""), "no version is listed"),
        (("inbound",), "--profile, --protocols or --ciphers"),
        (("inbound", "--profile", "brave"), "brave"),
    ],
)
async def test_what_could_not_work_is_refused_at_once_and_changes_nothing(
    words: tuple[str, ...], told: str
) -> None:
    desk = Desk()
    assert await desk.run("sslconfig", *words) in {"failed", "usage"}
    assert told in desk.text
    assert desk.ssl == Ssl()


async def test_a_bad_string_that_came_in_another_way_stops_the_commit_with_place_and_remedy() -> None:
    desk = Desk()
    broken = Ssl.model_validate({"outbound": {"ciphers": "NONSENSE"}})
    desk.services.edit(desk.context.owner, ssl=broken)
    assert await desk.run("commit") == "failed"
    assert "ssl.outbound.ciphers: The cipher string 'NONSENSE' names no cipher" in desk.text
    assert "sslconfig verify" in desk.text
    assert await desk.run("sslconfig", "show") == "ok"
    assert desk.json[2]["suites"] is None


async def test_verify_lists_the_suites_of_a_string_and_the_words_that_select_none() -> None:
    desk = Desk("read-only")
    assert await desk.run("sslconfig", "verify", "ECDHE-RSA-AES256-GCM-SHA384:AES128-SHA:RC4") == "ok"
    assert desk.json == [
        {
            "suite": "ECDHE-RSA-AES256-GCM-SHA384",
            "key_exchange": "ECDHE",
            "certificate": "RSA",
            "encryption": "AES-256 GCM",
            "from": "TLSv1.2",
        },
        {
            "suite": "AES128-SHA",
            "key_exchange": "RSA",
            "certificate": "RSA",
            "encryption": "AES-128 CBC",
            "from": "TLSv1",
        },
    ]
    assert "Selects nothing: RC4." in desk.text
    assert await desk.run("sslconfig", "verify", "NONSENSE") == "failed"
    assert "names no cipher" in desk.text


async def test_profiles_say_what_each_would_refuse() -> None:
    desk = Desk("read-only")
    assert await desk.run("sslconfig", "profiles") == "ok"
    assert set(desk.json) == {"modern", "intermediate", "old"}
    assert "Windows Server 2019" in desk.json["modern"]["refuses"]
    assert desk.json["old"]["versions"] == "TLSv1.3, TLSv1.2, TLSv1.1, TLSv1"


async def test_who_may_only_read_changes_nothing() -> None:
    desk = Desk("read-only")
    assert await desk.run("sslconfig", "inbound", "--profile", "old") == "refused"
    assert desk.ssl == Ssl()


# --- the host access table --------------------------------------------------------------------------------


def _with_levels(desk: Desk) -> None:
    levels = ("off", "preferred", "required", "preferred-verify", "required-verify")
    policies = [MailFlowPolicy.model_validate({"name": f"P{n}", "tls": tls}) for n, tls in enumerate(levels)]
    groups = [SenderGroup(name=f"G{n}", members=(f"192.0.2.{n}",), policy=f"P{n}") for n in range(5)]
    groups[4] = groups[4].model_copy(update={"certificates": ("relay.partner.example",)})
    groups[0] = groups[0].model_copy(update={"listeners": ("Elsewhere",)})
    desk.services.edit(
        desk.context.owner,
        mail_flow_policies=(*desk.document.mail_flow_policies, *policies),
        sender_groups=tuple(groups),
    )


async def test_the_table_of_hosts_names_the_levels_as_the_reference_does() -> None:
    desk = Desk("read-only")
    _with_levels(desk)
    assert await desk.run("hostaccess") == "ok"
    assert [(row["sender_group"], row["access"], row["tls"]) for row in desk.json] == [
        ("G0", "ACCEPT", "No"),
        ("G1", "ACCEPT", "Preferred"),
        ("G2", "ACCEPT", "Required"),
        ("G3", "ACCEPT", "Preferred - Verify"),
        ("G4", "ACCEPT", "Required - Verify"),
        (None, "ACCEPT", "Preferred"),
    ]
    assert desk.json[4]["members"] == "192.0.2.4, relay.partner.example"


async def test_the_table_of_hosts_can_be_that_of_one_listener() -> None:
    desk = Desk("read-only")
    _with_levels(desk)
    name = desk.document.listeners[0].name
    assert await desk.run("hostaccess", "--listener", name.lower()) == "ok"
    assert [row["sender_group"] for row in desk.json] == ["G1", "G2", "G3", "G4", None]
    assert await desk.run("hostaccess", "--listener", "None") == "failed"
    assert "There is no listener called None" in desk.text
