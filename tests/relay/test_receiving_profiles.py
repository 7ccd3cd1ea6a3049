"""Versions and ciphers of `[ssl.inbound]`, tried out with `openssl s_client`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lab.place import free_port
from mxseal.events.types import ConnectionClosed, InboundTlsFailed, InboundTlsSucceeded
from tests.relay.harness import listening, running

OPTIONS = {"TLSv1": "-tls1", "TLSv1.1": "-tls1_1", "TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}
LOWEST = ("-cipher", "ALL:@SECLEVEL=0")


async def s_client(port: int, *options: str, said: str = "QUIT\n") -> str:
    """All that openssl prints."""
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-starttls", "smtp", "-crlf", "-ign_eof"]
    process = await asyncio.create_subprocess_exec(
        *words,
        *options,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(30):
        output, _ = await process.communicate(said.encode())
    return output.decode("utf-8", "replace")


def with_ssl(port: int, **inbound: Any) -> dict[str, Any]:
    return listening(port) | {"ssl": {"inbound": inbound}}


@pytest.mark.parametrize(
    ("settings", "served"),
    [
        ({}, {"TLSv1.2", "TLSv1.3"}),
        ({"profile": "modern"}, {"TLSv1.3"}),
        ({"profile": "intermediate"}, {"TLSv1.2", "TLSv1.3"}),
        ({"profile": "old"}, {"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"}),
        ({"profile": "modern", "protocols": ["TLSv1.2"]}, {"TLSv1.2"}),
        ({"protocols": ["TLSv1.1", "TLSv1.2"]}, {"TLSv1.1", "TLSv1.2"}),
    ],
    ids=["default", "modern", "intermediate", "old", "own", "own-old"],
)
async def test_a_version_is_served_where_the_settings_have_it_and_refused_elsewhere(
    settings: dict[str, Any], served: set[str], tmp_path: Path
) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, with_ssl(port, **settings)) as relay:
        for version, option in OPTIONS.items():
            relay.told.events.clear()
            await s_client(port, option, *(LOWEST if version < "TLSv1.2" else ()))
            await relay.told.until(ConnectionClosed)
            found = [told.facts.protocol for told in relay.told.of(InboundTlsSucceeded)]
            assert found == ([version] if version in served else []), version
            for failed in relay.told.of(InboundTlsFailed):
                assert failed.diagnosis is not None
                assert failed.diagnosis.cause in {"client-too-old", "no-common-version"}


@pytest.mark.parametrize(
    ("settings", "offered", "chosen"),
    [
        ({}, "AES128-GCM-SHA256", None),
        ({"profile": "old"}, "AES128-GCM-SHA256", "AES128-GCM-SHA256"),
        ({}, "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES128-SHA"),
        ({"profile": "modern", "protocols": ["TLSv1.2"]}, "ECDHE-RSA-AES128-SHA", None),
        ({"ciphers": "ECDHE+AES256"}, "ECDHE-RSA-AES128-GCM-SHA256", None),
        ({"ciphers": "AES256-SHA256:ECDHE+AES256"}, "AES256-SHA256", "AES256-SHA256"),
        # What no string brings back.
        ({"ciphers": "ALL:eNULL:@SECLEVEL=0"}, "aNULL:eNULL:@SECLEVEL=0", None),
    ],
)
async def test_a_suite_is_served_where_the_settings_have_it(
    settings: dict[str, Any], offered: str, chosen: str | None, tmp_path: Path
) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, with_ssl(port, **settings)) as relay:
        await s_client(port, "-tls1_2", "-cipher", offered)
        await relay.told.until(ConnectionClosed)
        found = [told.facts.cipher for told in relay.told.of(InboundTlsSucceeded)]
        assert found == ([chosen] if chosen else [])


@pytest.mark.parametrize("profile", ["modern", "intermediate", "old"])
async def test_compression_is_off_in_every_profile(profile: str, tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, with_ssl(port, profile=profile, protocols=["TLSv1.2"])):
        assert "Compression: NONE" in await s_client(port, "-tls1_2", "-comp")


@pytest.mark.parametrize("protocols", [["TLSv1"], ["TLSv1.2"], ["TLSv1.3"]])
async def test_a_commit_changes_the_versions_and_looks_whether_the_certificate_is_still_shown(
    protocols: list[str], tmp_path: Path
) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, with_ssl(port)) as relay:
        (told,) = await relay.commit(ssl={"inbound": {"protocols": protocols}})
        assert "serves the certificate Demo" in told
        (seen,) = await relay.gateway.probe()
        assert [seen.protocol] == protocols


async def test_a_client_that_is_too_old_for_the_profile_is_told_with_the_versions_that_are_allowed(
    tmp_path: Path,
) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, with_ssl(port, profile="modern")) as relay:
        await s_client(port, "-tls1_2")
        (failed,) = await relay.told.until(InboundTlsFailed)
        assert failed.diagnosis is not None
        assert failed.diagnosis.cause == "no-common-version"
        assert "This gateway allows TLSv1.3." in failed.diagnosis.sentence()
