"""Keys are kept by their public half and never come back as another one."""

from __future__ import annotations

import logging

import pytest

from mxseal.certs.facts import spki_sha256
from mxseal.certs.keys import KeyDamaged, KeyStore
from mxseal.storage.ports import Secrets
from tests.certs.authority import MemorySecrets, ec_key, path3, rsa_key


def test_a_key_comes_back_under_the_digest_of_its_public_half() -> None:
    secrets = MemorySecrets()
    port: Secrets = secrets
    store = KeyStore(port)
    for key in (ec_key("leaf"), rsa_key("leaf")):
        spki = store.put(key)
        assert spki == spki_sha256(key)
        assert f"key/{spki}" in secrets.kept
        again = store.load(spki)
        assert again is not None
        assert again.private_numbers() == key.private_numbers()  # type: ignore[union-attr]


def test_storing_twice_is_no_error_and_deleting_twice_neither() -> None:
    store = KeyStore(MemorySecrets())
    spki = store.put(ec_key("leaf"))
    assert store.put(ec_key("leaf")) == spki
    assert store.names() == [spki]
    store.delete(spki)
    store.delete(spki)
    assert store.load(spki) is None


def test_other_secrets_are_none_of_its_business() -> None:
    secrets = MemorySecrets()
    secrets.put("password/admin", b"x")
    assert KeyStore(secrets).names() == []


def test_it_knows_whether_a_certificate_has_its_key_here() -> None:
    store = KeyStore(MemorySecrets())
    leaf = path3().leaf
    assert not store.fits(leaf.certificate)
    assert store.key_of(leaf.certificate) is None
    store.put(leaf.key)
    assert store.fits(leaf.certificate)
    assert store.key_of(leaf.certificate) is not None
    assert not store.fits(path3().near.certificate)


def test_a_key_that_was_damaged_or_exchanged_is_refused() -> None:
    secrets = MemorySecrets()
    store = KeyStore(secrets)
    leaf, other = store.put(ec_key("leaf")), store.put(ec_key("other"))
    secrets.kept[f"key/{leaf}"] = secrets.kept[f"key/{other}"]
    with pytest.raises(KeyDamaged, match="another key"):
        store.load(leaf)
    secrets.kept[f"key/{leaf}"] = b"garbage"
    with pytest.raises(KeyDamaged, match="can't be read") as caught:
        store.load(leaf)
    assert caught.value.__cause__ is None


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    store = KeyStore(MemorySecrets())
    store.load(store.put(ec_key("leaf")))
    assert caplog.records == []
