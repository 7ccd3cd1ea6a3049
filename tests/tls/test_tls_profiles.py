"""Profiles, ranges of versions, cipher strings."""

from __future__ import annotations

import pytest
from OpenSSL import SSL

from mxseal.tls.ciphers import Suite, available, select, unknown_words
from mxseal.tls.contexts import ContextProblem, Version
from mxseal.tls.profiles import OLD_VERSIONS, PROFILES, USES, VERSIONS, Use, chosen, gap
from tests.tls.pairs import Pair, Pki, raw_client

RANGE = {
    "modern": ("TLSv1.3", "TLSv1.3"),
    "intermediate": ("TLSv1.2", "TLSv1.3"),
    "old": ("TLSv1", "TLSv1.3"),
}
WIRE = {
    "TLSv1": SSL.TLS1_VERSION,
    "TLSv1.1": SSL.TLS1_1_VERSION,
    "TLSv1.2": SSL.TLS1_2_VERSION,
    "TLSv1.3": SSL.TLS1_3_VERSION,
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_is_a_range_of_versions_and_a_list_with_suites_for_each(profile: str, use: Use) -> None:
    found = chosen(use, profile)
    assert (found.lowest, found.highest) == RANGE[profile]
    suites = select(found.ciphers, found.lowest)
    assert suites
    assert any(suite.since == "TLSv1" for suite in suites) or not OLD_VERSIONS.intersection(found.versions)
    assert PROFILES[profile].refuses.endswith(".")


def test_own_values_take_the_place_of_the_profiles() -> None:
    found = chosen("inbound", "modern", ("TLSv1.2", "TLSv1.1"), "ECDHE+AES")
    assert found.versions == ("TLSv1.2", "TLSv1.1")
    assert found.ciphers == "ECDHE+AES"


@pytest.mark.parametrize(
    ("protocols", "missing"),
    [
        (("TLSv1", "TLSv1.2"), "TLSv1.1"),
        (("TLSv1.3", "TLSv1.1"), "TLSv1.2"),
        (("TLSv1.2",), None),
        (("TLSv1.3", "TLSv1.2"), None),
        (VERSIONS, None),
    ],
)
def test_a_range_without_a_version_in_the_middle_is_noticed(
    protocols: tuple[Version, ...], missing: str | None
) -> None:
    assert gap(protocols) == missing


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_speaks_the_versions_of_its_profile_and_no_other(
    pki: Pki, profile: str, version: Version
) -> None:
    found = chosen("inbound", profile)
    server = pki.server(min_version=found.lowest, max_version=found.highest, ciphers=found.ciphers)
    client = raw_client(lowest=WIRE[version], highest=WIRE[version], ciphers=b"ALL:@SECLEVEL=0")
    pair = Pair(server, client).handshake()
    assert pair.server.established is (version in found.versions)
    if pair.server.established:
        assert pair.server.facts().protocol == version


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_delivery_speaks_the_versions_of_its_profile_and_no_other(
    pki: Pki, profile: str, version: Version
) -> None:
    found = chosen("outbound", profile)
    client = pki.client(min_version=found.lowest, max_version=found.highest, ciphers=found.ciphers)
    server = pki.server(min_version=version, max_version=version)
    assert Pair(server, client).handshake().client.established is (version in found.versions)


def test_renegotiation_is_refused_in_every_version_that_has_it(pki: Pki) -> None:
    for version in ("TLSv1", "TLSv1.1", "TLSv1.2"):
        server = pki.server(min_version="TLSv1", ciphers=chosen("inbound", "old").ciphers)
        client = raw_client(lowest=WIRE["TLSv1"], highest=WIRE[version], ciphers=b"ALL:@SECLEVEL=0")
        pair = Pair(server, client).handshake()
        assert pair.server.facts().protocol == version
        connection = pair.client._connection
        connection.renegotiate()
        with pytest.raises(SSL.WantReadError):
            connection.do_handshake()
        pair.server.receive(pair.client.output())
        assert pair.server.output()[0] == 21, version
        assert pair.server.fault is None


# --- cipher strings ---------------------------------------------------------------------------------------


def test_a_string_selects_suites_in_its_order() -> None:
    found = select("AES128-SHA:ECDHE+CHACHA20:DHE-RSA-AES256-CCM8")
    assert found == (
        Suite(
            name="AES128-SHA", since="TLSv1", exchange="RSA", authentication="RSA", encryption="AES-128 CBC"
        ),
        Suite(
            name="ECDHE-ECDSA-CHACHA20-POLY1305",
            since="TLSv1.2",
            exchange="ECDHE",
            authentication="ECDSA",
            encryption="ChaCha20-Poly1305",
        ),
        Suite(
            name="ECDHE-RSA-CHACHA20-POLY1305",
            since="TLSv1.2",
            exchange="ECDHE",
            authentication="RSA",
            encryption="ChaCha20-Poly1305",
        ),
        Suite(
            name="DHE-RSA-AES256-CCM8",
            since="TLSv1.2",
            exchange="DHE",
            authentication="RSA",
            encryption="AES-256 CCM",
        ),
    )
    assert [suite.forward_secret for suite in found] == [False, True, True, True]


def test_every_suite_of_the_library_can_be_described() -> None:
    for suite in select("ALL:COMPLEMENTOFALL", "TLSv1"):
        assert suite.encryption not in {"none", "unknown"}, suite.name
        assert suite.exchange in {"ECDHE", "DHE", "RSA"}, suite.name


def test_the_references_own_default_string_is_understood() -> None:
    found = select("MEDIUM:HIGH:-SSLv2:-aNULL:!RC4:@STRENGTH:-EXPORT")
    assert found[0].name == "ECDHE-ECDSA-AES256-GCM-SHA384"


@pytest.mark.parametrize("text", ["ALL:eNULL:aNULL:PSK:SRP", "ALL:eNULL:@SECLEVEL=0", "COMPLEMENTOFALL:ALL"])
def test_suites_without_encryption_or_authentication_are_never_selected(text: str) -> None:
    names = [suite.name for suite in select(text)]
    assert names
    assert not [
        name for name in names if any(mark in name for mark in ("NULL", "ADH", "AECDH", "PSK", "SRP"))
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NONSENSE", "names no cipher"),
        ("aNULL", "names no cipher"),
        ("TLS_AES_128_GCM_SHA256", "names no cipher"),
        ("HIGH:@SECLEVEL=9", "@ command"),
        ("", "a character that none may have"),
        ("HIGH\0:X", "a character that none may have"),
        ("HIGH\n", "a character that none may have"),
        ("größe", "a character that none may have"),
    ],
)
def test_a_string_without_suites_is_a_sentence(text: str, reason: str) -> None:
    with pytest.raises(ContextProblem, match=reason):
        select(text)


def test_words_that_select_nothing_are_found() -> None:
    assert unknown_words("ECDHE+AESGCM:RC4:!MD5:-EXPORT,AES128-SAH @STRENGTH") == ("RC4", "AES128-SAH")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_bundled_library_can_still_speak_what_the_old_profile_has(version: Version) -> None:
    assert available(version)
