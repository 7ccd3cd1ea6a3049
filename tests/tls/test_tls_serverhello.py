"""Reading a server's answer to a hello of our own: each shape of it, and never an exception."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.tls import clienthello
from mxseal.tls.contexts import ServerTls, server_context
from mxseal.tls.engine import Engine
from mxseal.tls.offer import RANDOM, VERSIONS, Offer, Version, client_hello, grade, suite_name, suites
from mxseal.tls.serverhello import ALERTS, LARGEST_FLIGHT, ServerAnswer, parse
from tests.tls.pairs import Pki

CHANCE = bytes(range(RANDOM))
ECDHE_RSA, DHE_RSA, STATIC_RSA, ECDHE_RSA_CBC, ECDH_ANON = 0xC02F, 0x009E, 0x009C, 0xC013, 0xC018


def u16(number: int) -> bytes:
    return number.to_bytes(2, "big")


def block(size: int, content: bytes) -> bytes:
    return len(content).to_bytes(size, "big") + content


def record(kind: int, content: bytes) -> bytes:
    return bytes([kind, 3, 3]) + block(2, content)


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + block(3, body)


def server_hello(
    version: int = 0x0303, cipher: int = STATIC_RSA, extensions: bytes | None = b"", session: bytes = b""
) -> bytes:
    body = u16(version) + CHANCE + block(1, session) + u16(cipher) + b"\0"
    return message(2, body if extensions is None else body + block(2, extensions))


def extension(kind: int, content: bytes) -> bytes:
    return u16(kind) + block(2, content)


def answer_of(pki: Pki, offer: Offer, values: ServerTls) -> bytes:
    """What OpenSSL says to our hello."""
    engine = Engine(server_context(values), server_side=True)
    engine.receive(client_hello(offer, "mx.test", CHANCE))
    return engine.output()


def serving(pki: Pki, **values: object) -> ServerTls:
    return ServerTls(certificates=(pki.rsa.files,), **values)  # type: ignore[arg-type]


def test_a_tls_13_server_names_its_suite_and_group_in_a_retry_request(pki: Pki) -> None:
    found = parse(answer_of(pki, Offer(version="TLSv1.3", ciphers=(0x1303, 0x1301)), serving(pki)))
    assert found is not None
    assert (found.kind, found.version, suite_name(found.cipher)) == (
        "retry", "TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256",
    )  # fmt: skip
    assert found.group in ("X25519MLKEM768", "x25519")


def test_a_tls_12_server_names_its_suite_and_signs_its_curve_in_clear(pki: Pki) -> None:
    offer = Offer(version="TLSv1.2", ciphers=(ECDHE_RSA,))
    found = parse(answer_of(pki, offer, serving(pki, groups=("P-384",))))
    assert found == ServerAnswer(
        kind="hello", version="TLSv1.2", cipher=ECDHE_RSA, group="secp384r1", renegotiation=True
    )


def test_a_server_that_takes_less_than_the_version_offered_says_which(pki: Pki) -> None:
    old = serving(pki, min_version="TLSv1", max_version="TLSv1.1")
    found = parse(answer_of(pki, Offer(version="TLSv1.2", ciphers=(ECDHE_RSA_CBC,)), old))
    assert found is not None
    assert (found.kind, found.version) == ("hello", "TLSv1.1")


@pytest.mark.parametrize(
    ("offer", "alert"),
    [
        (Offer(version="TLSv1.1", ciphers=(ECDHE_RSA_CBC,)), "protocol version"),
        (Offer(version="TLSv1.2", ciphers=(0x0005,)), "handshake failure"),
    ],
)
def test_what_openssl_refuses_is_an_alert_by_name(pki: Pki, offer: Offer, alert: str) -> None:
    found = parse(answer_of(pki, offer, serving(pki)))
    assert found == ServerAnswer(kind="alert", text=alert)
    assert found.refused


def test_the_bits_of_a_diffie_hellman_prime_are_counted() -> None:
    prime = (1 << 1023 | 1).to_bytes(128, "big")
    exchange = message(12, block(2, prime) + block(2, b"\2") + block(2, b"\7"))
    flight = server_hello(cipher=DHE_RSA) + message(11, b"\0\0\0") + exchange + message(14, b"")
    found = parse(record(22, flight))
    assert found is not None
    assert (found.cipher, found.dh_bits, found.group) == (DHE_RSA, 1024, None)


def test_an_anonymous_exchange_shows_its_curve_too() -> None:
    flight = server_hello(cipher=ECDH_ANON) + message(12, b"\3" + u16(23) + block(1, b"\4"))
    found = parse(record(22, flight))
    assert found is not None
    assert found.group == "secp256r1"


def test_explicit_curves_have_no_name() -> None:
    flight = server_hello(cipher=ECDHE_RSA) + message(12, b"\1\0\0")
    assert parse(record(22, flight)) == ServerAnswer(kind="hello", version="TLSv1.2", cipher=ECDHE_RSA)


def test_without_a_key_exchange_to_come_the_hello_alone_is_enough() -> None:
    found = parse(record(22, server_hello(cipher=STATIC_RSA)))
    assert found == ServerAnswer(kind="hello", version="TLSv1.2", cipher=STATIC_RSA)


def test_a_hello_without_extensions_is_one_of_an_old_server() -> None:
    found = parse(record(22, server_hello(version=0x0300, cipher=0x000A, extensions=None)))
    assert found == ServerAnswer(kind="hello", version="SSLv3", cipher=0x000A)


def test_a_version_that_nobody_knows_is_shown_by_its_number() -> None:
    hello = server_hello(cipher=0x1301, extensions=extension(43, u16(0x7F1C)))
    found = parse(record(22, hello))
    assert found is not None
    assert found.version == "0x7F1C"


def test_more_is_asked_for_until_the_key_exchange_has_come_and_no_longer() -> None:
    whole = record(22, server_hello(cipher=ECDHE_RSA)) + record(
        22, message(11, b"\0\0\0") + message(12, b"\3" + u16(29) + b"\0")
    )
    assert [parse(whole[:at]) for at in range(len(whole))] == [None] * len(whole)
    assert parse(whole) is not None


def test_a_server_that_falls_silent_behind_its_hello_has_chosen_all_the_same() -> None:
    found = parse(record(22, server_hello(cipher=ECDHE_RSA)), ended=True)
    assert found == ServerAnswer(kind="hello", version="TLSv1.2", cipher=ECDHE_RSA)


def test_messages_may_be_cut_into_records_anywhere() -> None:
    flight = server_hello(cipher=ECDHE_RSA) + message(12, b"\3" + u16(29) + b"\0")
    cut = b"".join(record(22, flight[at : at + 1]) for at in range(len(flight)))
    assert parse(cut) == parse(record(22, flight))


def test_an_endless_flight_is_read_to_its_bound() -> None:
    endless = record(22, server_hello(cipher=ECDHE_RSA)) + record(22, b"\x0b\xff\xff\xff") * 30_000
    assert parse(endless[: LARGEST_FLIGHT - 1]) is None
    found = parse(endless[:LARGEST_FLIGHT])
    assert found is not None
    assert found.chose


def test_the_warning_that_a_name_is_not_known_does_not_end_a_handshake() -> None:
    warned = record(21, b"\1\x70") + record(22, server_hello())
    found = parse(warned)
    assert found is not None
    assert found.chose


def test_other_warnings_end_it() -> None:
    assert parse(record(21, b"\1\0")) == ServerAnswer(kind="alert", text="close notify")


def test_an_alert_without_a_name_is_told_by_number() -> None:
    assert parse(record(21, b"\2\xc8")) == ServerAnswer(kind="alert", text="number 200")


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        (b"500 5.5.1 what?\r\n", "clear-text", "500 5.5.1 what?"),
        (b"\x16\x04\x03\0\1x", "clear-text", "????"),
        (record(22, message(1, b"")), "malformed", "the answer is not a ServerHello"),
        (record(22, message(2, b"\3\3")), "malformed", "the answer is not a ServerHello"),
        (record(21, b"\2"), "malformed", "the answer is not a ServerHello"),
        (b"\x16\3\3\xff\xff" + bytes(9), "malformed", "the answer is not a ServerHello"),
    ],
)
def test_what_is_no_answer_is_told_as_what_it_is(said: bytes, kind: str, text: str) -> None:
    found = parse(said, ended=True)
    assert found is not None
    assert found.kind == kind
    assert found.text.startswith(text[:4])


def test_a_server_that_hangs_up_without_a_byte_has_refused() -> None:
    assert parse(b"") is None
    found = parse(b"", ended=True)
    assert found == ServerAnswer(kind="closed")
    assert found.refused


def test_an_answer_that_breaks_off_is_no_refusal() -> None:
    found = parse(record(22, server_hello())[:20], ended=True)
    assert found is not None
    assert (found.kind, found.refused, found.chose) == ("malformed", False, False)


_PIECES = st.one_of(
    st.binary(max_size=80),
    st.builds(record, st.integers(18, 26), st.binary(max_size=80)),
    st.builds(
        lambda kind, body: record(22, message(kind, body)), st.integers(0, 20), st.binary(max_size=120)
    ),
    st.builds(
        lambda version, cipher, extra: record(22, server_hello(version, cipher, extra)),
        st.integers(0, 0xFFFF),
        st.sampled_from((STATIC_RSA, ECDHE_RSA, DHE_RSA, 0x1301, 0xFFFF)),
        st.one_of(
            st.binary(max_size=40),
            st.builds(extension, st.sampled_from((0, 43, 51, 0xFF01)), st.binary(max_size=8)),
        ),
    ),
)


@given(st.lists(_PIECES, max_size=6).map(b"".join), st.booleans())
def test_no_bytes_whatever_raise_and_an_ended_answer_is_always_one(data: bytes, ended: bool) -> None:
    found = parse(data, ended=ended)
    assert found is not None or not ended
    if found is not None:
        assert found.text.isprintable()
        assert len(found.text) <= 80
        # What was understood does not change with what comes behind it.
        if found.chose and found.version in VERSIONS and not ended:
            assert parse(data + b"\x17\3\3\0\0") == found


# --- the hello itself -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_hello_says_what_was_to_be_offered(version: Version) -> None:
    hello = client_hello(Offer(version=version, ciphers=suites(version)), "mx.example.com", CHANCE)
    read = clienthello.parse(hello)
    assert read is not None
    assert read.versions == (version,)
    assert read.ciphers[:100] == tuple(map(suite_name, suites(version)))[: len(read.ciphers[:100])][:100]
    assert read.server_name == (None if version == "SSLv3" else "mx.example.com")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("count", range(1, len(suites("TLSv1.2")), 7))
def test_no_hello_has_a_length_on_which_load_balancers_hang(count: int, version: Version) -> None:
    chosen = suites("TLSv1.2")[:count]
    hello = client_hello(Offer(version=version, ciphers=chosen), "mx.example.com", CHANCE)
    assert not 256 <= len(hello) - 5 < 512 or version == "SSLv3"


def test_old_versions_are_not_offered_suites_that_they_can_not_have() -> None:
    old = set(map(suite_name, suites("TLSv1.1")))
    assert "TLS_RSA_WITH_3DES_EDE_CBC_SHA" in old
    assert not any("GCM" in name or name.endswith(("SHA256", "SHA384")) for name in old)
    assert all(name.startswith(("TLS_AES", "TLS_CHACHA")) for name in map(suite_name, suites("TLSv1.3")))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "good"),
        ("TLS_AES_128_GCM_SHA256", "good"),
        ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "old"),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8", "old"),
        ("TLS_RSA_WITH_AES_128_GCM_SHA256", "no forward secrecy"),
        ("TLS_RSA_WITH_3DES_EDE_CBC_SHA", "broken"),
        ("TLS_ECDHE_RSA_WITH_RC4_128_SHA", "broken"),
        ("TLS_ECDH_anon_WITH_AES_256_CBC_SHA", "anonymous"),
        ("TLS_DH_anon_WITH_RC4_128_MD5", "broken"),
        ("TLS_RSA_WITH_NULL_SHA256", "broken"),
        ("TLS_RSA_EXPORT_WITH_RC4_40_MD5", "broken"),
    ],
)
def test_suites_are_graded_as_rfc_9325_has_them(name: str, expected: str) -> None:
    number = next(code for code, known in clienthello.CIPHER_NAMES.items() if known == name)
    assert grade(number) == expected


def test_the_names_of_alerts_are_those_that_openssl_uses() -> None:
    assert ALERTS[40] == "handshake failure"
    assert all(name == name.lower() for name in ALERTS.values())
