"""A report as text, in the shape of the test that administrators know (reference §11.1). PURE."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mxseal.examine.report import (
    CLEAR_STAGES,
    STAGES,
    DomainReport,
    HostReport,
    NameRow,
    Stage,
)
from mxseal.examine.score import SECURE
from mxseal.tls.survey import CipherSeen, Survey

_WORDS = {
    "secure": "encrypted, and the certificate verified",
    "encrypted": "encrypted, the certificate not verified",
    "tls-broken": "TLS is offered and does not work",
    "no-tls": "no TLS",
    "unreachable": "not reachable",
    "untested": "untested",
}


def as_text(report: DomainReport, *, dialogue: bool) -> str:
    """The whole report, ending with a newline."""
    parts = [_head(report), _matrix(report), _arithmetic(report), _findings(report)]
    parts += [_survey(host.host, host.survey) for host in report.hosts if host.survey is not None]
    parts.append(_own(report.own))
    if dialogue:
        parts += [_dialogue(host) for host in report.hosts]
    count = report.connections
    parts.append(f"{count} connection{'' if count == 1 else 's'} opened; no message was sent.\n")
    return "\n".join(filter(None, parts))


def as_data(report: DomainReport, *, dialogue: bool) -> dict[str, object]:
    """The same for programs."""
    if not dialogue:
        hosts = tuple(msgspec.structs.replace(host, dialogue=()) for host in report.hosts)
        report = msgspec.structs.replace(report, hosts=hosts)
    plain: dict[str, object] = msgspec.to_builtins(report)
    return plain | {"connections": report.connections}


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table: head, a line of dashes, rows; columns two spaces apart."""
    wide = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    dashes = ["-" * width for width in wide]
    lines = ["  ".join(map(str.ljust, row, wide)).rstrip() for row in (rows[0], dashes, *rows[1:])]
    return "\n".join(lines) + "\n"


def _head(report: DomainReport) -> str:
    score = report.score
    if report.kind == "assure":
        words = {None: "untested", 0: "fails", 100: "passes"}
        why = score.terms[0].why if score.terms else ""
        return f"\n{report.subject} {words[score.value]}: {why}.\n"
    if score.value is None:
        return f"\nScore of {report.subject}: untested.\n"
    left = sum(host.score.value is None for host in report.hosts)
    more = f" Of its {len(report.hosts)} servers {left} could not be tested." if left else ""
    return f"\nScore of {report.subject}: {score.value} of 100 ({SECURE} and more count as secure).{more}\n"


def _matrix(report: DomainReport) -> str:
    names = CLEAR_STAGES if report.kind == "assure" else STAGES
    scored = report.kind == "receiver"
    rows = [("MX Server", "Pref", *names, *(("Score",) if scored else ()))]
    for host in report.hosts:
        cells = [cell(stage) for stage in host.stages]
        shown = host.host if host.port == 25 else f"{host.host}:{host.port}"
        preference = "-" if host.preference is None else str(host.preference)
        rows.append((shown, preference, *cells, *((_points(host.score.value),) if scored else ())))
    averages = [_average([host.stages[index] for host in report.hosts]) for index in range(len(names))]
    rows.append(("Average", "", *averages, *((_points(report.score.value),) if scored else ())))
    return aligned(rows)


def cell(stage: Stage) -> str:
    """'OK (123ms)', 'FAIL', 'not tested'."""
    if stage.state == "ok":
        return f"OK ({(stage.seconds or 0.0) * 1000:.0f}ms)"
    return "FAIL" if stage.state == "fail" else "not tested"


def _average(stages: Sequence[Stage]) -> str:
    times = [stage.seconds or 0.0 for stage in stages if stage.state == "ok"]
    share = f"{len(times) / len(stages):.0%}" if stages else ""
    return f"{share} ({sum(times) / len(times) * 1000:.0f}ms)" if times else share


def _points(value: int | None) -> str:
    return "-" if value is None else str(value)


def _arithmetic(report: DomainReport) -> str:
    if report.kind == "assure":
        return ""
    lines = [f"{host.host}: {host.score.arithmetic()}\n" for host in report.hosts]
    values = [host.score.value for host in report.hosts if host.score.value is not None]
    if len(values) > 1:
        total = " + ".join(map(str, values))
        lines.append(f"{report.subject}: ({total}) / {len(values)} = {report.score.value}\n")
    return "How the score comes about:\n" + "".join(lines)


def _findings(report: DomainReport) -> str:
    return "\n".join(text for host in report.hosts if (text := _finding(host)))


def _finding(host: HostReport) -> str:
    address = f" [{host.address}]" if host.address else ""
    verdict = "" if host.stage("Refused") else f": {_WORDS[host.verdict]}"
    lines = [f"{host.host}{address}{verdict}"]
    if host.protocol:
        group = f", {host.group}" if host.group else ""
        lines.append(f"  {host.protocol}, {host.cipher}{group}")
    found = host.certificate
    if found is not None and found.links:
        leaf = found.links[0]
        lines.append(
            f"  Certificate: {', '.join(leaf.names[:8]) or leaf.subject}; {leaf.key}, by {leaf.issuer}"
        )
    sentences = [(stage.why, stage.remedy) for stage in host.stages if stage.why and stage.name != "Cert"]
    if found is not None:
        sentences += [(problem.text, problem.remedy) for problem in found.problems]
    if host.survey is not None:
        sentences += [(text, "") for text in host.survey.odd]
    lines += [f"  - {text} {remedy}".rstrip() for text, remedy in sentences]
    return "\n".join(lines) + "\n"


def _survey(host: str, survey: Survey) -> str:
    lines = [f"Versions and ciphers of {host}:"]
    for version in survey.versions:
        how = f" ({version.how})" if version.how else ""
        lines.append(f"  {version.name:8} {version.state}{how}")
        found = [cipher for cipher in survey.ciphers if cipher.version == version.name]
        lines += [f"           {_cipher(each)}" for each in found]
        if found and version.name not in survey.listed:
            lines.append("           (others were not asked for)")
    if survey.order != "unknown":
        lines.append(f"  The {survey.order}'s order decides on the cipher.")
    if survey.renegotiation is False:
        lines.append("  Secure renegotiation (RFC 5746) is not supported.")
    return "\n".join(lines) + "\n"


def _cipher(seen: CipherSeen) -> str:
    marks: list[str] = [seen.grade] if seen.grade != "good" else []
    if seen.group:
        marks.append(seen.group)
    if seen.dh_bits is not None:
        marks.append(f"DH {seen.dh_bits} bits")
    more = ", ".join(marks)
    return f"{seen.name} ({more})" if marks else seen.name


def _own(rows: Sequence[NameRow]) -> str:
    if not rows:
        return ""
    table = [("Certificate", "Interface", "MX record", "Agree")]
    table += [
        (
            ", ".join(row.certificate[:3]) + (" …" if len(row.certificate) > 3 else "") or "(none seen)",
            row.interface or "(none seen)",
            row.mx,
            "yes" if row.agree else "NO",
        )
        for row in rows
    ]
    changes = [f"- {row.mx}: {row.change}.\n" for row in rows if row.change]
    text = "Three names that must agree, as this is a domain of this gateway:\n" + aligned(table)
    return text + ("\nWhat to change:\n" + "".join(changes) if changes else "")


def _dialogue(host: HostReport) -> str:
    lines = [f"Dialogue with {host.host}, in seconds:"]
    lines += [
        f"[{said.at:07.3f}] {f'{said.mark} ' if said.mark else ''}{said.text}" for said in host.dialogue
    ]
    return "\n".join(lines) + "\n"
