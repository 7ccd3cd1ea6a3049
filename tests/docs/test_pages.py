"""The documentation is true: generated pages are current, links, commands and TOML are real."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from mxseal.__main__ import OWN_COMMANDS, Invocation
from mxseal.commands.catalogue import registry
from mxseal.commands.registry import Parser
from mxseal.config.check import check
from mxseal.config.model import Certificate, Document
from mxseal.config.toml import parse
from tests.docs import cli_page, configuration_page
from tests.docs.configuration_words import SECTIONS, WORDS
from tests.docs.pages import PAGES, ROOT, Block, anchors, blocks, links

DOCS = ROOT / "docs"
REGISTRY = registry()
"""Made once: it takes a tenth of a second, and pages name hundreds of commands."""


def test_the_configuration_page_is_what_the_model_says() -> None:
    made = configuration_page.document()
    assert (DOCS / "configuration.md").read_text() == made, (
        "run: python -m tests.docs.configuration_page > docs/configuration.md"
    )


def test_every_key_of_the_configuration_is_on_its_page() -> None:
    page = (DOCS / "configuration.md").read_text()
    for section in SECTIONS:
        for key in section.table.model_fields:
            if key not in section.elsewhere:
                assert f"| `{key}` |" in page, f"{section.table.__name__}.{key}"


def test_a_key_without_a_meaning_can_not_be_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(WORDS, "Listener.port")
    with pytest.raises(configuration_page.Undocumented, match=r"Listener\.port"):
        configuration_page.document()


def test_the_page_of_commands_is_what_the_registry_says() -> None:
    made = cli_page.document()
    assert (DOCS / "cli.md").read_text() == made, "run: python -m tests.docs.cli_page > docs/cli.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {link}"


def test_every_page_is_in_the_index() -> None:
    listed = {link.partition("#")[0] for link in links(DOCS / "index.md")}
    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} <= listed


# --- commands ---------------------------------------------------------------------------------------------


def _typed() -> Iterator[tuple[Block, list[str]]]:
    for block in blocks("console"):
        for line in block.text.splitlines():
            found = re.match(r"(?:\$ )?(?:runuser .*-- )?mxseal +(.+)", line)
            # What follows a pipe or a comment sign is the shell's.
            if found:
                yield block, shlex.split(found[1], comments=True)


def _named() -> Iterator[tuple[Path, list[str]]]:
    """Commands in running text: `mxseal certconfig check NAME`."""
    for page in PAGES:
        for words in re.findall(r"`mxseal ([^`\n]+)`", page.read_text()):
            yield page, shlex.split(words)


def test_every_command_that_is_typed_on_a_page_exists_and_takes_these_words() -> None:
    for block, arguments in _typed():
        words = Invocation(arguments).words
        if not words or words[0] in OWN_COMMANDS:
            continue
        found = REGISTRY.find(words)
        assert isinstance(found.node, Parser), f"{block.page.name}: mxseal {' '.join(arguments)}"
        known = {flag for each in found.node.entry.parameters for flag in each.flags}
        flags = {word.partition("=")[0] for word in found.rest if re.match(r"--?[a-zA-Z]", word)}
        assert flags <= known, f"{block.page.name}: {sorted(flags - known)} of {' '.join(arguments)}"


def test_every_command_that_a_text_names_exists() -> None:
    for page, arguments in _named():
        words = Invocation(arguments).words
        if words and words[0] not in OWN_COMMANDS and words[0] not in ("help", "COMMAND"):
            found = REGISTRY.find(words[:1])
            assert found.path, page.name
            if not isinstance(found.node, Parser) and len(words) > 1:
                assert REGISTRY.find(words[:2]), page.name


# --- TOML -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", list(blocks("toml")), ids=lambda block: block.page.name)
def test_every_piece_of_a_document_on_a_page_has_known_keys_and_right_types(block: Block) -> None:
    assert isinstance(parse(block.text), Document), parse(block.text)


def test_the_whole_document_of_the_configuration_page_can_be_put_in_force() -> None:
    page = DOCS / "configuration.md"
    text = next(block.text for block in blocks("toml") if block.page == page)
    document = parse(text)
    assert isinstance(document, Document)
    demo = Certificate(name="Demo", certificate="-")
    assert check(document.model_copy(update={"certificates": (demo,)})) == []


# --- other pages ------------------------------------------------------------------------------------------


def test_the_page_of_dependencies_names_those_of_the_project_and_no_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"], *chain(*extras)]
    names = {re.split(r"[<>=!~\[; ]", entry)[0] for entry in wanted}
    listed = set(re.findall(r"^\| `([^`]+)` \|", (DOCS / "dependencies.md").read_text(), re.MULTILINE))
    assert listed == names


def test_each_module_of_the_standards_page_speaks_of_its_standard() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \| .* \| (`.+`) \|$", (DOCS / "standards.md").read_text(), re.MULTILINE)
    assert rows
    for numbers, modules in rows:
        sources = [(ROOT / "src" / "mxseal" / name).read_text() for name in re.findall(r"`([^`]+)`", modules)]
        for number in numbers.split(", "):
            assert any(f"RFC {number}" in source for source in sources), number
        for name, source in zip(re.findall(r"`([^`]+)`", modules), sources, strict=True):
            assert any(f"RFC {number}" in source for number in numbers.split(", ")), f"{name}: {numbers}"


def test_each_code_of_certconfig_check_on_the_troubleshooting_page_is_one() -> None:
    source = "".join(path.read_text() for path in (ROOT / "src" / "mxseal").rglob("cert*/*.py"))
    source += "".join(path.read_text() for path in (ROOT / "src" / "mxseal" / "commands").glob("cert*.py"))
    text = (DOCS / "troubleshooting.md").read_text().split("## Certificates and chains")[1].split("\n## ")[0]
    rows = re.findall(r"^\| [^|]+ \| (`[^|]+`) \|", text, re.MULTILINE)
    codes = re.findall(r"`([a-z-]+)`", " ".join(rows))
    assert len(codes) > 20
    assert [code for code in codes if f'"{code}"' not in source] == []


def test_the_default_limits_of_the_security_page_are_those_of_the_model() -> None:
    text = (DOCS / "security.md").read_text()
    limits = Document.model_validate({"listeners": ({"name": "A"},)}).listeners[0].limits
    times = limits.handshake_time, limits.idle_time / 60, limits.connection_time / 3600
    for row in (
        f"| {limits.connections}, {limits.connections_per_host} |",
        "| {:.0f} s, {:.0f} min, {:.0f} h |".format(*times),
        f"| {limits.message_size >> 20} MiB, {limits.header_size >> 10} KiB |",
        f"| {limits.recipients_per_message}, {limits.messages_per_connection} |",
        f"| {limits.commands_per_connection:,}, {limits.errors_per_connection} |",
        f"| {limits.refused_recipients} |",
        f"| {limits.hops} |",
    ):
        assert row in text, row
