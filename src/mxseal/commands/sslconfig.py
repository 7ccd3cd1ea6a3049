"""Protocol versions and cipher lists of GUI, inbound and outbound TLS (reference §6.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from mxseal.commands.configuration import change
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import Present, command
from mxseal.commands.results import Column, Done, Field, Problems, Record, Result, Table
from mxseal.config.check_tls import RULES, settings
from mxseal.config.model import Document, TlsSettings
from mxseal.tls.ciphers import TLS13_SUITES, available, select, unknown_words
from mxseal.tls.contexts import ContextProblem, Version
from mxseal.tls.profiles import OLD_VERSIONS, PROFILES, VERSIONS, Chosen, Use, chosen

GROUPS = {"sslconfig": "TLS versions and ciphers of the GUI, of receiving and of deliveries"}

ProfileWord = Annotated[
    Literal["modern", "intermediate", "old"] | None,
    Option("Named values; 'sslconfig profiles' says what each refuses"),
]
ProtocolsWord = Annotated[
    str | None,
    Option("Versions, such as 1.2-1.3 or 1.2,1.3; 'default': the profile's", metavar="VERSIONS"),
]
CiphersWord = Annotated[
    str | None,
    Option("OpenSSL cipher string for TLS 1.2 and older; 'default': the profile's", metavar="CIPHERSTRING"),
]
_DEFAULT = "default"
_NUMBERS: dict[Version, str] = {"TLSv1": "1.0", "TLSv1.1": "1.1", "TLSv1.2": "1.2", "TLSv1.3": "1.3"}
_NAMES: dict[Use, str] = {"gui": "GUI", "inbound": "Inbound SMTP", "outbound": "Outbound SMTP"}


def _present(use: Use) -> Present:
    """The values of a use, as they would be typed."""

    def present(ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
        values: TlsSettings = getattr(_candidate(ctx).ssl, use)
        own = ",".join(_NUMBERS[version] for version in values.protocols or ())
        return {
            "profile": values.profile,
            "protocols": own or _DEFAULT,
            "ciphers": values.ciphers or _DEFAULT,
        }

    return present


@command("sslconfig", "show", role="read-only", summary="Show versions and ciphers, use by use")
def sslconfig_show(ctx: Context) -> Result:
    """With your uncommitted changes. Renegotiation and compression are off always, and TLS 1.3 has its three
    suites always."""
    columns = (
        Column("Use"),
        Column("Profile"),
        Column("Versions"),
        Column("Suites"),
        Column("Own values"),
        Column("Ciphers", cut=24),
    )
    rows = tuple(
        (_NAMES[use], values.profile, _span(found), _count(found), _own(values), found.ciphers)
        for use, values in settings(_candidate(ctx))
        for found in (_chosen(use, values),)
    )
    note = "Suites: for TLS 1.2 and older. Renegotiation and compression are off always."
    return Table(columns, rows, title="TLS settings", note=note)


@command(
    "sslconfig",
    "inbound",
    role="operator",
    summary="Change versions or ciphers for incoming mail",
    present=_present("inbound"),
)
def sslconfig_inbound(
    ctx: Context,
    *,
    profile: ProfileWord = None,
    protocols: ProtocolsWord = None,
    ciphers: CiphersWord = None,
) -> Result:
    """For all listeners. Connections that are open keep what they have."""
    return _change(ctx, "inbound", profile, protocols, ciphers)


@command(
    "sslconfig",
    "outbound",
    role="operator",
    summary="Change versions or ciphers for deliveries",
    present=_present("outbound"),
)
def sslconfig_outbound(
    ctx: Context,
    *,
    profile: ProfileWord = None,
    protocols: ProtocolsWord = None,
    ciphers: CiphersWord = None,
) -> Result:
    """For all destinations."""
    return _change(ctx, "outbound", profile, protocols, ciphers)


@command(
    "sslconfig",
    "gui",
    role="operator",
    summary="Change versions or ciphers of the web interface",
    present=_present("gui"),
)
def sslconfig_gui(
    ctx: Context,
    *,
    profile: ProfileWord = None,
    protocols: ProtocolsWord = None,
    ciphers: CiphersWord = None,
) -> Result:
    """For browsers and programs that speak HTTPS to this gateway."""
    return _change(ctx, "gui", profile, protocols, ciphers)


@command("sslconfig", "profiles", role="read-only", summary="Say what each profile allows and refuses")
def sslconfig_profiles(_ctx: Context) -> Result:
    """The old versions need OpenSSL's security level 0. A version that the TLS library at hand can't speak
    any more is named."""
    fields: list[Field] = []
    for name, profile in PROFILES.items():
        gone = [version for version in profile.versions if not available(version)]
        versions = ", ".join(reversed(profile.versions))
        fields += [
            Field("Is", profile.summary, section=name),
            Field("Versions", versions, section=name),
            Field("Inbound and GUI", profile.server, "server_ciphers", section=name),
            Field("Outbound", profile.client, "client_ciphers", section=name),
            Field("Refuses", profile.refuses, section=name),
        ]
        if gone:
            text = f"{' and '.join(gone)}: the TLS library of this gateway can't speak it any more"
            fields.append(Field("Gone", text, section=name))
    return Record(tuple(fields), title="Profiles of TLS settings")


@command("sslconfig", "verify", role="read-only", summary="List the suites that a cipher string selects")
def sslconfig_verify(
    _ctx: Context,
    ciphers: Annotated[
        str, Argument("OpenSSL cipher string", metavar="CIPHERSTRING", ask="Enter the ssl cipher string:")
    ],
) -> Result:
    """In the order of preference. Suites without encryption or authentication, and those with keys that only
    two know (PSK, SRP), are never used, whatever the string says."""
    try:
        suites = select(ciphers)
    except ContextProblem as problem:
        raise CommandFailed(
            f"{str(problem).rstrip('.')}. A string is made of words such as ECDHE+AESGCM with ':' between "
            "them, and '!' before what is excluded"
        ) from None
    columns = (
        Column("Suite"),
        Column("Key exchange"),
        Column("Certificate"),
        Column("Encryption"),
        Column("From"),
    )
    rows = tuple(
        (suite.name, suite.exchange, suite.authentication, suite.encryption, suite.since) for suite in suites
    )
    unknown = unknown_words(ciphers)
    note = f"With TLS 1.3 always: {', '.join(TLS13_SUITES)}."
    if unknown:
        note = f"Selects nothing: {', '.join(unknown)}. {note}"
    return Table(columns, rows, title="Suites for TLS 1.2 and older", note=note)


# --- what is in force for a use ---------------------------------------------------------------------------


def _candidate(ctx: Context) -> Document:
    return ctx.services.history.candidate(ctx.owner)


def _chosen(use: Use, values: TlsSettings) -> Chosen:
    return chosen(use, values.profile, values.protocols, values.ciphers)


def _span(found: Chosen) -> str:
    """'1.2-1.3', as it is typed."""
    numbers = [_NUMBERS[version] for version in (found.lowest, found.highest)]
    return "-".join(dict.fromkeys(numbers))


def _count(found: Chosen) -> int | None:
    """None: TLS 1.3 alone, or a string that selects nothing, which `commit` will tell."""
    if found.lowest == "TLSv1.3":
        return None
    try:
        return len(select(found.ciphers, found.lowest))
    except ContextProblem:
        return None


def _own(values: TlsSettings) -> str | None:
    own = [name for name in ("protocols", "ciphers") if getattr(values, name) is not None]
    return ", ".join(own) or None


# --- changes ----------------------------------------------------------------------------------------------


def _change(
    ctx: Context, use: Use, profile: str | None, protocols: str | None, ciphers: str | None
) -> Result:
    if profile is None and protocols is None and ciphers is None:
        raise CommandFailed("Say what to change: --profile, --protocols or --ciphers", 2)
    document = _candidate(ctx)
    before: TlsSettings = getattr(document.ssl, use)
    update: dict[str, object] = {}
    if profile is not None:
        update["profile"] = profile
    if protocols is not None:
        update["protocols"] = _read_versions(protocols)
    if ciphers is not None:
        update["ciphers"] = None if ciphers.lower() == _DEFAULT else ciphers.strip()
    after = before.model_copy(update=update)
    document = document.model_copy(update={"ssl": document.ssl.model_copy(update={use: after})})
    place = f"ssl.{use}."
    broken = [problem for rule in RULES for problem in rule(document) if problem.path.startswith(place)]
    if broken:
        return Problems("Nothing was changed", tuple(broken))
    found = _chosen(use, after)
    done = change(ctx, document, f"{_NAMES[use]}: TLS {_span(found)}, profile {after.profile}.")
    warnings = _warnings(use, before, after)
    facts = {
        "use": use,
        "profile": after.profile,
        "protocols": list(found.versions),
        "ciphers": found.ciphers,
        "warnings": warnings,
    }
    return Done("\n".join([done.message, *warnings]), {**done.facts, **facts})


def _warnings(use: Use, before: TlsSettings, after: TlsSettings) -> list[str]:
    """What is different now for peers."""
    told: list[str] = []
    was, now = _chosen(use, before), _chosen(use, after)
    lost = [version for version in was.versions if version not in now.versions]
    own = _own(after)
    if after.profile != before.profile and own is not None:
        told.append(f"Beside the profile your own {own} count; 'default' brings the profile's back.")
    if after.profile != before.profile and after.protocols is None:
        told.append(f"Refused: {PROFILES[after.profile].refuses}")
    elif lost:
        told.append(f"Refused: peers that know no other version than {' or '.join(lost)}.")
    if OLD_VERSIONS.intersection(now.versions) and not OLD_VERSIONS.intersection(was.versions):
        told.append(
            "Warning: TLS 1.0 and 1.1 are deprecated (RFC 8996), and OpenSSL's security level becomes 0 for "
            "them. Switch them off again as soon as the last peer is renewed."
        )
    return told


def _read_versions(text: str) -> tuple[Version, ...] | None:
    """'1.2', '1.2-1.3', 'TLSv1.2,TLSv1.3'; None for 'default'. Raises CommandFailed."""
    if text.lower() == _DEFAULT:
        return None
    found: list[Version] = []
    for part in filter(None, re.split(r"[, ]+", text.strip())):
        ends = [_read_version(end) for end in part.split("-")]
        if len(ends) > 2:
            raise CommandFailed(f"{part} is no range of versions. Write one such as 1.2-1.3", 2)
        found += _range(ends)
    return tuple(sorted(set(found), key=VERSIONS.index))


def _range(ends: Sequence[Version]) -> Sequence[Version]:
    low, high = sorted((VERSIONS.index(ends[0]), VERSIONS.index(ends[-1])))
    return VERSIONS[low : high + 1]


def _read_version(text: str) -> Version:
    number = re.sub(r"^tls ?v?", "", text.strip().lower())
    for version in VERSIONS:
        if number in {_NUMBERS[version], version[4:]}:
            return version
    raise CommandFailed(f"{text} is no TLS version. There are: 1.0, 1.1, 1.2, 1.3", 2)
