"""The document as text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mxseal.config.check import Problem
from mxseal.config.model import Authority, Delivery, Document, Trust
from mxseal.config.toml import LARGEST, examine, parse, render
from tests.config.documents import document, documents


def _problems(text: str) -> dict[str, Problem]:
    found = parse(text)
    assert isinstance(found, list)
    return {problem.path: problem for problem in found}


@given(documents)
def test_what_is_rendered_is_read_back_as_the_same_document(original: Document) -> None:
    assert parse(render(original)) == original


@given(st.text(max_size=200))
def test_any_text_gives_a_document_or_problems_and_never_an_exception(text: str) -> None:
    assert isinstance(parse(text), Document | list)


def test_the_first_document_reads_as_a_person_would_write_it() -> None:
    text = render(document())
    assert text.startswith(
        'hostname = "mx.example.com"\n\n'
        '[[listeners]]\nname = "IncomingMail"\nport = 2525\n\n[[sender_groups]]\n'
    )
    assert '\n[[certificates]]\nname = "Demo"\ncertificate = """\n-----BEGIN CERTIFICATE-----\n' in text


def test_lists_of_tables_inside_of_a_table_are_written_with_their_whole_path() -> None:
    authority = Authority(name="Partner", certificate="-----BEGIN CERTIFICATE-----\nAA==\n")
    original = document(trust=Trust(custom=True, authorities=(authority, authority)))
    text = render(original)
    assert text.count("\n[[trust.authorities]]\nname = ") == 2
    assert parse(text) == original


def test_all_errors_come_at_once_each_with_the_path_of_its_key() -> None:
    found = _problems(
        """
        hostnme = "x"
        [[listeners]]
        name = "IncomingMail"
        port = "25"
        limits.conections = 3
        [[listeners]]
        port = 99999
        type = "open"
        [delivery]
        expiry = nan
        idle_time = 2024-01-01
        [smtp_routes]
        "exa mple.com" = ["mail:25"]
        """
    )
    assert found.keys() == {
        "hostnme",
        "listeners.IncomingMail.port",
        "listeners.IncomingMail.limits.conections",
        "listeners[1].name",
        "listeners[1].port",
        "listeners[1].type",
        "delivery.expiry",
        "delivery.idle_time",
        'smtp_routes."exa mple.com"',
    }


def test_a_misspelt_key_is_answered_with_the_key_that_was_meant() -> None:
    assert _problems('hostnme = "x"')["hostnme"].remedy == "Did you mean 'hostname'?"
    found = _problems('[[listeners]]\nname = "A"\nlimits.conections = 3')
    assert found["listeners.A.limits.conections"].remedy == "Did you mean 'connections'?"


def test_a_key_of_another_table_is_sent_to_its_place() -> None:
    found = _problems('[[listeners]]\nname = "A"\ntls = "off"')
    assert found["listeners.A.tls"].remedy == "It belongs to mail_flow_policies"


def test_wrong_types_are_told_with_what_was_given_and_what_is_wanted() -> None:
    found = _problems('[[listeners]]\nname = "A"\nport = "25"\nreverse_dns = 1\nsni_certificates = "x"')
    assert str(found["listeners.A.port"]) == (
        'listeners.A.port: "25" is not a whole number. Write a number without quotes'
    )
    assert found["listeners.A.reverse_dns"].text == "1 is not true or false"
    assert found["listeners.A.sni_certificates"].text == '"x" is not a list'


def test_names_with_spaces_and_dots_are_quoted_in_a_path() -> None:
    assert 'listeners."Incoming Mail".port' in _problems('[[listeners]]\nname = "Incoming Mail"\nport = 0')


def test_a_route_that_is_written_twice_is_told() -> None:
    found = _problems('[smtp_routes]\n"Example.com" = ["a:25"]\n"example.com" = ["b:25"]')
    assert found['smtp_routes."example.com"'].text == "this is the route for 'Example.com' again"


def test_broken_toml_is_told_with_its_line() -> None:
    assert "line 2" in _problems('hostname = "a"\nport = = 3')[""].text


def test_nesting_without_end_and_documents_without_end_are_refused() -> None:
    assert "nested too deeply" in _problems("a = " + "[" * 100_000)[""].text
    assert "larger than 4 MiB" in _problems("#" * (LARGEST + 1))[""].text


def test_no_client_certificate_can_be_written_and_read() -> None:
    original = document(delivery=Delivery(certificate=None))
    assert 'certificate = ""' in render(original)
    assert parse(render(original)) == original


def test_wrong_types_unknown_keys_and_dangling_names_are_told_all_at_once() -> None:
    text = """
default_policy = "NOBODY"
colour = "blue"

[[mail_flow_policies]]
name = "ACCEPTED"

[[listeners]]
name = "In"
port = "25"
certificate = "Missing"

[[sender_groups]]
members = ["192.0.2.1"]
policy = "GONE"

[[sender_groups]]
name = "G"
policy = "LOST"
"""
    problems = examine(text, lambda document: document)
    assert isinstance(problems, list)
    assert {problem.path for problem in problems} == {
        "colour",
        "listeners.In.port",
        "sender_groups[0].name",
        "default_policy",
        "listeners.In.certificate",
        "sender_groups.G.policy",
        "delivery.certificate",
    }


def test_what_only_follows_from_another_mistake_is_not_told() -> None:
    text = '[[mail_flow_policies]]\nname = "P"\naction = 7\n[[mail_flow_policies]]\nname = "ACCEPTED"\n'
    text += '[[sender_groups]]\nname = "G"\npolicy = "P"\n[delivery]\ncertificate = ""\n'
    problems = examine(text, lambda document: document)
    assert isinstance(problems, list)
    assert [problem.path for problem in problems] == ["mail_flow_policies.P.action"]


def test_a_route_whose_hops_are_all_wrong_is_not_told_to_be_empty_as_well() -> None:
    text = """
[smtp_routes]
"Example.com" = ["mail:99999", "", "a b:25"]
"example.net" = []
"""
    problems = examine(text, lambda document: document)
    assert isinstance(problems, list)
    assert [problem.path for problem in problems if "routes" in problem.path] == [
        'smtp_routes."Example.com"[0]',
        'smtp_routes."Example.com"[1]',
        'smtp_routes."Example.com"[2]',
        'smtp_routes."example.net"',
    ]


def test_members_that_are_no_network_are_told_with_what_to_write() -> None:
    members = '["10.0.0.1/8", "10.0.0.0/33", "2001:db8::/129", "10.0.0.300", "2001:db8::/32"]'
    problems = parse(f'[[sender_groups]]\nname = "A"\npolicy = "B"\nmembers = {members}\n')
    assert isinstance(problems, list)
    assert [problem.text for problem in problems] == [
        "'10.0.0.1/8' has an address inside the network: write 10.0.0.0/8, or 10.0.0.1 for this host alone",
        "'10.0.0.0/33' is not a network, write address/bits with 0 to 32 bits, such as 192.0.2.0/24",
        "'2001:db8::/129' is not a network, write address/bits with 0 to 128 bits, such as 2001:db8::/32",
        "'10.0.0.300' is not an IP address, write one such as 192.0.2.1 or 2001:db8::1",
    ]
