"""`certconfig certauthority`: the custom list and the system's, on the candidate."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxseal.commands import certauthority, configuration, destconfig
from mxseal.commands.context import Role
from mxseal.commands.registry import Registry
from mxseal.config.model import Destination
from tests.certs.authority import NOW, authority, cert_pem, path3
from tests.commands.desk import Desk
from tests.commands.gateway import FakeServices

COMMANDS = Registry((certauthority, destconfig, configuration))
TREE = path3()
WHOLE = cert_pem(TREE.far.certificate, TREE.root.certificate)
AUTHORITY = ("certconfig", "certauthority")
CUSTOM = (*AUTHORITY, "custom")
SYSTEM = (*AUTHORITY, "system")


class Services(FakeServices):
    def now(self) -> float:
        return NOW


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """What stands for the system's list."""
    path = tmp_path / "system.pem"
    path.write_bytes(b"".join(cert_pem(authority(f"System {n}", None).certificate) for n in (2, 1)))
    return path


def desk(system: Path, role: Role = "certificate-officer") -> Desk:
    files = {"whole.pem": WHOLE, "far.pem": cert_pem(TREE.far.certificate)}
    made = Desk(COMMANDS, role, services=Services(), files=files)
    delivery = made.document.delivery.model_copy(update={"ca_file": str(system)})
    made.services.edit(made.context.owner, delivery=delivery)
    return made


def names(made: Desk) -> list[str]:
    return [entry.name for entry in made.document.trust.authorities]


async def test_the_summary_says_which_lists_are_on_and_how_many_they_hold(system: Path) -> None:
    made = desk(system)
    await made.ok(*CUSTOM, "import", "whole.pem")
    shown = await made.ok(*AUTHORITY, "show")
    assert shown == {
        "custom_list": "Disabled", "system_list": "Enabled", "custom_authorities": 2, "system_authorities": 2,
    }  # fmt: skip
    await made.ok(*CUSTOM, "enable")
    await made.ok(*SYSTEM, "disable")
    shown = await made.ok(*AUTHORITY, "show")
    assert (shown["custom_list"], shown["system_list"]) == ("Enabled", "Disabled")


async def test_authorities_of_a_file_are_imported_and_wait_for_their_list_to_be_enabled(system: Path) -> None:
    made = desk(system)
    told = await made.ok(*CUSTOM, "import", "whole.pem")
    assert told["imported"] == names(made) == ["Test Far", "Test Root"]
    assert "the custom list is not enabled" in made.text
    await made.ok(*CUSTOM, "enable")
    assert made.document.trust.custom
    assert "The custom list is enabled. It takes effect with 'commit'." in made.text


async def test_a_name_can_be_given_and_must_be_free(system: Path) -> None:
    made = desk(system)
    made.client.files["root.pem"] = cert_pem(TREE.root.certificate)
    await made.ok(*CUSTOM, "import", "root.pem", "--name", "Ours")
    assert names(made) == ["Ours"]
    assert "called ours already" in await made.refused(*CUSTOM, "import", "far.pem", "--name", "ours")
    assert "can't be a name" in await made.refused(*CUSTOM, "import", "far.pem", "--name", "a/b")


async def test_an_import_with_problems_changes_nothing_and_tells_all_of_them(system: Path) -> None:
    made = desk(system)
    made.client.files["bad.pem"] = cert_pem(TREE.leaf.certificate, TREE.near.certificate)
    told = await made.refused(*CUSTOM, "import", "bad.pem")
    assert "Nothing was imported from bad.pem" in told
    assert [problem["code"] for problem in made.json["problems"]] == [
        "not-an-authority", "root-missing", "root-missing",
    ]  # fmt: skip
    assert names(made) == []


async def test_the_systems_list_has_a_root_for_an_intermediate_only_while_it_is_on(system: Path) -> None:
    made = desk(system)
    with system.open("ab") as file:
        file.write(cert_pem(TREE.root.certificate))
    await made.ok(*CUSTOM, "import", "far.pem")
    await made.ok(*CUSTOM, "delete", "Test Far")
    await made.ok(*SYSTEM, "disable")
    assert "is in no list that is on" in await made.refused(*CUSTOM, "import", "far.pem")


async def test_names_that_are_no_host_names_are_refused_when_that_is_asked_for(system: Path) -> None:
    assert "no full host names" in await desk(system).refused(*CUSTOM, "import", "whole.pem", "--fqdn")


async def test_what_was_imported_is_exported_whole_or_one_by_one(system: Path) -> None:
    made = desk(system, "administrator")
    assert "is empty" in await made.refused(*CUSTOM, "export", "out.pem")
    await made.ok(*CUSTOM, "import", "whole.pem")
    await made.ok(*CUSTOM, "export", "out.pem")
    assert made.client.files["out.pem"] == WHOLE
    await made.ok(*CUSTOM, "export", "one.pem", "--authority", "test root")
    assert made.client.files["one.pem"] == cert_pem(TREE.root.certificate)
    assert "Did you mean Test Root?" in await made.refused(
        *CUSTOM, "export", "x.pem", "--authority", "Test Rot"
    )


async def test_print_shows_the_list_or_one_with_its_certificate(system: Path) -> None:
    made = desk(system)
    await made.ok(*CUSTOM, "print")
    assert "The custom list is empty" in made.text
    await made.ok(*CUSTOM, "import", "whole.pem")
    rows = await made.ok(*CUSTOM, "print")
    assert [(row["name"], row["kind"], row["issuer"], row["expired"]) for row in rows] == [
        ("Test Far", "intermediate", "Test Root", False),
        ("Test Root", "root", "Test Root", False),
    ]
    assert "Custom List: Disabled" in made.text
    shown = await made.ok(*CUSTOM, "print", "Test Root")
    assert shown["certificate"].encode() == cert_pem(TREE.root.certificate)
    assert "BEGIN CERTIFICATE" in made.text


async def test_deleting_warns_of_intermediates_that_lose_their_root(system: Path) -> None:
    made = desk(system)
    await made.ok(*CUSTOM, "import", "whole.pem")
    await made.ok(*CUSTOM, "delete", "test root")
    assert names(made) == ["Test Far"]
    assert "without their root these intermediates count for nothing: Test Far." in made.text
    assert "There is no custom authority called Test Root" in await made.refused(
        *CUSTOM, "delete", "Test Root"
    )


async def test_a_destinations_trust_anchor_is_not_deleted(system: Path) -> None:
    made = desk(system)
    await made.ok(*CUSTOM, "import", "whole.pem")
    bank = Destination(domain="bank.example", tls="required-verify", trust_anchors=("Test Root",))
    made.services.edit(made.context.owner, destinations=(bank,))
    assert "destination bank.example" in await made.refused(*CUSTOM, "delete", "Test Root")


async def test_the_systems_list_is_shown_searched_and_exported(system: Path) -> None:
    made = desk(system)
    rows = await made.ok(*SYSTEM, "print")
    assert [row["name"] for row in rows] == ["System 1", "System 2"]
    assert len(await made.ok(*SYSTEM, "print", "tem 2")) == 1
    await made.ok(*SYSTEM, "export", "out.pem")
    assert made.client.files["out.pem"] == system.read_bytes()


async def test_both_lists_off_while_a_level_verifies_is_refused_by_commit_and_told_before(
    system: Path,
) -> None:
    made = desk(system)
    verifying = Destination(domain="default", tls="required-verify")
    made.services.edit(made.context.owner, destinations=(verifying,))
    await made.ok(*SYSTEM, "disable")
    assert "commit will refuse this: destinations.default.tls" in made.text
    assert await made.run("commit", "x") == "failed"
    assert "no list of authorities is enabled" in made.text
    await made.ok(*CUSTOM, "import", "whole.pem")
    await made.ok(*CUSTOM, "enable")
    await made.ok("commit", "ours alone")


async def test_saying_it_twice_changes_nothing(system: Path) -> None:
    made = desk(system)
    await made.ok(*SYSTEM, "enable")
    assert "was enabled already" in made.text


async def test_roles_that_may_not_change_certificates_change_no_list(system: Path) -> None:
    made = desk(system, "operator")
    await made.ok(*CUSTOM, "print")
    for words in (("enable",), ("disable",), ("import", "whole.pem"), ("delete", "x")):
        assert "needs the role" in await made.refused(*CUSTOM, *words)


async def test_completion_knows_the_authorities(system: Path) -> None:
    made = desk(system)
    await made.ok(*CUSTOM, "import", "whole.pem")
    offered = COMMANDS.complete([*CUSTOM, "delete"], "test r", made.context)
    assert [each.value for each in offered] == ["Test Root"]
