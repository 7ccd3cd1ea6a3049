"""Certificate import: PEM and PKCS#12 from an administrator who was sent them by somebody.

Marks such as `@leaf@` in an input stand for what is made at run time, so that no key lies in the corpus.
Certificates are also taken apart and put together again with a fault in one field, as no mutation of base64
would do it.
"""

from __future__ import annotations

import base64
import functools
import re
import warnings
from collections.abc import Iterator

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12
from hypothesis import strategies as st

from mxseal.certs.chain import check_chain, repair, wire_pem
from mxseal.certs.facts import Problem, fingerprint
from mxseal.certs.judge import describe, judge, judge_for_delivery
from mxseal.certs.profiles import parse, profile_of
from mxseal.certs.x509 import CERTIFICATE_LIMIT, Bundle, read_pem, read_pkcs12
from tests.certs.authority import NOW, cert_pem, ec_key, key_pem, path3
from tests.fuzz.target import HOSTILE, Target, joined

PASSPHRASE = b"horse"
_LONGEST_PROBLEM = 2000
_MARK = re.compile(rb"@([a-z0-9]+)@")


@functools.cache
def made() -> dict[bytes, bytes]:
    """What the marks stand for."""
    chain = path3()
    leaf, near = chain.leaf.certificate, chain.near.certificate
    key = ec_key("leaf")
    store = pkcs12.serialize_key_and_certificates(
        b"mx", key, leaf, [near], BestAvailableEncryption(PASSPHRASE)
    )
    return {
        b"leaf": cert_pem(leaf),
        b"near": cert_pem(near),
        b"far": cert_pem(chain.far.certificate),
        b"root": cert_pem(chain.root.certificate),
        b"key": key_pem(key),
        b"locked": key_pem(key, PASSPHRASE),
        b"stranger": key_pem(ec_key("stranger")),
        b"der": leaf.public_bytes(Encoding.DER),
        b"p12": store,
    }


def run(data: bytes) -> None:
    with warnings.catch_warnings():
        # The library warns of faults in certificates that it takes all the same.
        warnings.simplefilter("ignore")
        _imported(data)


def _imported(data: bytes) -> None:
    given = _MARK.sub(lambda found: made().get(found[1], found[0]), data)
    for passphrase in (None, PASSPHRASE):
        _examined(read_pem(given, passphrase))
        if given.startswith(b"\x30"):
            _examined(read_pkcs12(given, passphrase))
    if given.startswith(b"\x30"):
        _examined(read_pem(_block("CERTIFICATE", given)))
    _examined(read_pem([given, given[len(given) // 2 :]]))


def _examined(found: Bundle | list[Problem]) -> None:
    """All that a command does with what was imported."""
    if isinstance(found, list):
        _told(found)
        assert found, "neither a certificate nor a word about what is wrong"
        return
    leaf, others = found.leaf, found.intermediates
    assert len(others) < CERTIFICATE_LIMIT
    for at in (NOW, 0.0, 1e11):
        _told(judge(found, at))
        _told(check_chain(leaf, others, at, [path3().root.certificate]))
    _told(judge_for_delivery(leaf))
    path = repair(leaf, others, NOW)
    assert len({fingerprint(certificate) for certificate in (leaf, *path)}) == 1 + len(path)
    for certificate in (leaf, *others):
        info = describe(certificate, NOW)
        assert info.remaining(NOW)
        assert info.key
    again = parse(profile_of("Mail", found))
    assert isinstance(again, Bundle), "what was stored can't be read again"
    assert again.leaf == leaf
    assert again.intermediates == others
    assert wire_pem(leaf, path).count("-----BEGIN CERTIFICATE-----") == 1 + len(path)


def _told(problems: list[Problem]) -> None:
    for problem in problems:
        assert problem.severity in {"error", "warning"}
        assert problem.code
        assert problem.remedy
        assert 0 < len(problem.sentence()) < _LONGEST_PROBLEM


def _block(label: str, der: bytes) -> bytes:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN {label}-----\n{body}-----END {label}-----\n".encode()


# --- certificates with a fault in them --------------------------------------------------------------------


def _elements(der: bytes, at: int = 0, stop: int | None = None) -> Iterator[tuple[int, int, int]]:
    """(start, begin of the content, end) of each element of a DER value, outer ones first."""
    stop = len(der) if stop is None else stop
    while at + 2 <= stop:
        size, begin = der[at + 1], at + 2
        if size & 0x80:
            begin += size & 0x7F
            size = int.from_bytes(der[at + 2 : begin], "big")
        if begin + size > stop:
            return
        yield at, begin, begin + size
        # Constructed ones, and octet and bit strings that hold a sequence, as extensions and keys do.
        inner = begin + (der[at] == 3)
        if der[at] & 0x20 or (der[at] in {3, 4} and der[inner : inner + 1] == b"\x30"):
            yield from _elements(der, inner, begin + size)
        at = begin + size


def _sized(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def _replaced(der: bytes, target: tuple[int, int, int], new: bytes) -> bytes:
    """`der` with another element in the place of `target`, and all lengths around it made right."""
    out = der[: target[0]] + new + der[target[2] :]
    around = [e for e in _elements(der) if e[0] < target[0] and e[2] >= target[2]]
    for start, begin, end in reversed(around):
        content = out[begin : end + len(out) - len(der)]
        out = out[:start] + _sized(der[start], content) + out[end + len(out) - len(der) :]
    return out


@st.composite
def _faulty_certificates(draw: st.DrawFn) -> bytes:
    """The leaf with one to three elements changed: another tag, content, length, doubled or taken away."""
    der = made()[b"der"]
    for _ in range(draw(st.integers(1, 3))):
        elements = list(_elements(der))
        if not elements:
            break
        start, begin, end = target = draw(st.sampled_from(elements))
        tag, content = der[start], der[begin:end]
        new = draw(
            st.one_of(
                st.just(b""),
                st.just(der[start:end] * 2),
                st.sampled_from([2, 3, 4, 5, 12, 19, 22, 23, 24, 30, 48, 49, 0x81, 0x82, 0x86, 0x87]).map(
                    lambda other, content=content: _sized(other, content)  # type: ignore[misc]
                ),
                (HOSTILE | st.binary(max_size=20) | st.just(b"\x00" * 40) | st.just(b"99991231235959Z")).map(
                    lambda other, tag=tag: _sized(tag, other)  # type: ignore[misc]
                ),
                st.integers(0, max(0, len(content) - 1)).map(
                    lambda at, tag=tag, content=content: (
                        _sized(  # type: ignore[misc]
                            tag, content[:at] + bytes([(content[at] + 1) % 256]) + content[at + 1 :]
                        )
                        if content
                        else b"\5\0"
                    )
                ),
            )
        )
        der = _replaced(der, target, new)
    return der


_ENDS = st.sampled_from([b"@key@", b"", b"@near@", b"@key@@near@@far@", b"@stranger@"])
_FAULTY = st.builds(lambda der, tail: _block("CERTIFICATE", der) + tail, _faulty_certificates(), _ENDS)
_LABELS = st.sampled_from(
    ["CERTIFICATE", "PRIVATE KEY", "EC PRIVATE KEY", "PKCS7", "CMS", "X509 CRL", "", "\u0141"]
)
_MIXED = joined(
    st.sampled_from([b"@leaf@", b"@near@", b"@far@", b"@root@", b"@key@", b"@locked@", b"@stranger@"])
    | st.builds(_block, _LABELS, st.binary(max_size=30) | st.just(b"0\x82\xff\xff"))
    | st.sampled_from(
        [b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----", b"-----", b"\xff\xfe", b"\xfe\xff"]
    )
    | HOSTILE,
    6,
)


@st.composite
def _broken_stores(draw: st.DrawFn) -> bytes:
    store = bytearray(made()[b"p12"])
    # The head says how the rest is to be opened; the middle is encrypted.
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(store) - 1) | st.integers(0, 60))
        store[at] = draw(st.integers(0, 255))
    return bytes(store[: draw(st.integers(0, len(store)) | st.just(len(store)))])


def seeds() -> list[bytes]:
    """Real ones, which the mutator changes byte by byte."""
    pieces = made()
    return [
        pieces[b"leaf"] + pieces[b"key"] + pieces[b"near"],
        pieces[b"locked"] + pieces[b"leaf"],
        pieces[b"der"],
        pieces[b"p12"],
    ]


TARGET = Target(
    name="certificates",
    run=run,
    inputs=st.deferred(lambda: _FAULTY | _FAULTY | _MIXED | _broken_stores()),
    words=(
        b"@leaf@",
        b"@key@",
        b"@near@",
        b"@locked@",
        b"-----BEGIN CERTIFICATE-----\n",
        b"-----END CERTIFICATE-----\n",
    ),
    seeds=seeds,
)
