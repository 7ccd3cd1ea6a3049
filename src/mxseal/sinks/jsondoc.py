"""Makes docs/json-log.md out of the event types: `python -m mxseal.sinks.jsondoc > docs/json-log.md`.

Every kind of event needs a docstring and every field a text, its own or one of `WORDS`: a kind without
either is an error, so that an undocumented field can't be shipped.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import types
from itertools import pairwise
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from mxseal.events import EVENT_TYPES, directory, scanning, upkeep
from mxseal.events import types as facts
from mxseal.sinks.jsonlog import encode
from mxseal.tls.facts import ClientOffer, Diagnosis, Observation, StageTimes, TlsFacts, TlsFault
from mxseal.tls.identity import NameVerdict
from mxseal.tls.verification import ClientCheck, Link, Verification

VALUES: tuple[type[msgspec.Struct], ...] = (
    TlsFacts,
    TlsFault,
    ClientOffer,
    Diagnosis,
    Observation,
    StageTimes,
    Verification,
    ClientCheck,
    Link,
    NameVerdict,
)

WORDS = {
    "at": "When it happened: seconds since 1970-01-01T00:00:00Z.",
    "icid": "Number of the incoming connection.",
    "mid": "Number of the message.",
    "rid": "Number of a recipient in its message, from 0.",
    "rids": "Numbers of recipients in their message, from 0.",
    "dcid": "Number of the delivery connection.",
    "sender": "Envelope sender, without angle brackets; empty: the null sender.",
    "recipient": "Envelope recipient, without angle brackets.",
    "listener": "Name of the listener.",
    "local_ip": "The gateway's own address of the connection.",
    "remote_ip": "The peer's address.",
    "remote_port": "The peer's port.",
    "port": "Port of the next hop, directory or analysis server.",
    "verdict": "What the mail flow policy does with the connection.",
    "sender_group": "Name of the sender group; null: none matched.",
    "policy": "Name of the mail flow policy.",
    "reason": "Why, in words.",
    "size": "Bytes of the message as received.",
    "message_id": "The Message-ID header; null: the message has none.",
    "subject": "The Subject header, decoded; null: none, or subjects are not logged.",
    "direction": "Whether it came in for us or goes out from us.",
    "about": "Number of the message that the notification is about.",
    "kind": "What sort it is.",
    "domain": "Recipient domain of the delivery.",
    "host": "Name of the next hop, directory or analysis server.",
    "facts": "The TLS connection.",
    "fault": "How TLS failed.",
    "diagnosis": "Why, and what to do about it; null: not known.",
    "required": "Whether TLS was required for this destination.",
    "status": "Enhanced status code, RFC 3463.",
    "code": "The reply's code; 000: there was no SMTP reply.",
    "lines": "The reply's text, line by line, or what is known instead.",
    "next_attempt": "When the next attempt is due: seconds since the epoch.",
    "version": "Version of the gateway.",
    "revision": "Number of the configuration document in force.",
    "pid": "Process number.",
    "user": "Who did it.",
    "comment": "Comment of the commit.",
    "role": "Role of the administrator.",
    "face": "The way by which the command came.",
    "remote": "Where the administrator is, as the face knows it.",
    "words": "The command's words; secrets are left out.",
    "method": "How they showed who they are: password or publickey.",
    "seconds": "How long.",
    "outcome": "How it ended.",
    "certificate": "Name of the certificate profile.",
    "sha256": "SHA-256 fingerprint of the certificate on the wire.",
    "what": "The part of the storage.",
    "error": "What the system said.",
    "peer_certificates": "DER, leaf first, as the peer sent them.",
    "verified": "Whether the peer's chain ends in a trusted authority and is in date.",
    "resumed": "Whether an earlier session was resumed.",
    "during": "Whether the handshake or the transfer behind it failed.",
    "ciphers": "Cipher suites that the client offers.",
    "groups": "Key exchange groups that the client offers.",
    "signature_algorithms": "Signature algorithms that the client offers.",
    "server_name": "Server name (SNI) that the client asks for.",
    "side": "Who has to act.",
    "alert_class": "Class of the alert.",
    "severity": "How severe it is: critical, warning or information.",
    "title": "The alert in one line.",
    "to": "Who is told: a mail address, or `webhook` and its name.",
    "webhook": "Name of the webhook.",
    "worker": "Number of the process that moves mail, from 0.",
    "revocation": "What the lists of revoked certificates say.",
    "issuer": "Issuer, RFC 4514.",
    "not_before": "Begin of its validity: seconds since the epoch.",
    "not_after": "End of its validity: seconds since the epoch.",
    "matched": "Whether a name was found.",
    "source": "Where in the certificate the name stands: subject alternative name or common name.",
    "times": "Seconds that each stage took; null: not told.",
    "profile": "Name of the LDAP profile.",
    "security": "TLS of the LDAP profile (none, starttls, ldaps) or analysis server (none, tls).",
    "query": "Name of the LDAP query.",
    "filter": "The LDAP filter, with the address put in.",
    "level": "The TLS level in force.",
    "name": "Name of the file, as the message says.",
    "media_type": "Type of the file: what its first bytes tell, else what the message says.",
    "server": "Name of the analysis server; empty: none.",
    "disposition": "What the server makes of it.",
    "score": "0 (harmless) to 100; null: the server gives none.",
    "threat": "Name of what was found; empty: none.",
    "reference": "The server's own name of the sample; empty: none.",
    "action": "What becomes of it.",
    "word": "What is known of the file that decided.",
    "verification": "What the next hop's certificate is worth; null: it showed none, or nobody looked.",
}
"""Meaning of fields that mean the same wherever they stand; a field's own docstring comes first."""

INTRODUCTION = """\
<!-- Made by `python -m mxseal.sinks.jsondoc`; change the event types, not this file. -->
# The JSON log

Beside the text of `mail_logs` the gateway writes the same facts as JSON, unless `[logs] json_log` is false:
`<home>/logs/json_logs/json.@<stamp>.current`, and `.s` for files that are complete. Rotation and retention
are those of `[logs]`. It has all events, whatever the level of the text log.

* One line is one event: a JSON object in UTF-8. `event` names its kind, `at` is its time in seconds since
  the epoch.
* `icid`, `mid`, `rid` and `dcid` are the numbers that the text log prints, so the two can be read side by
  side.
* Byte strings are base64. A byte of a peer that is no UTF-8 stands as `\\udc` and two hexadecimal digits in
  the text.
* Fields may be added to an event, and kinds of events may be added; a reader ignores what it does not know.
  Fields are not renamed or removed without a line in the change log.
* The last line before a crash may be cut. It is ended at the next start and no JSON: skip it.

```json
{example}
```
"""


class Undocumented(LookupError):
    """A kind of event or a field that nothing describes."""


def document() -> str:
    """The whole page. Raises Undocumented, which names all that lacks a text."""
    missing: list[str] = []
    parts = [INTRODUCTION.replace("{example}", _example())]
    sections = _sections()
    for kind in EVENT_TYPES:
        if kind.__name__ in sections:
            parts.append(f"## {sections[kind.__name__]}\n")
        parts.append(_described(kind, missing))
    parts.append("## Values inside events\n")
    parts += [_described(kind, missing) for kind in VALUES]
    if missing:
        raise Undocumented(f"Without a text for docs/json-log.md: {', '.join(missing)}.")
    return "\n".join(parts)


def _example() -> str:
    fault = TlsFault(kind="local-error", library="SSL routines", reason="no shared cipher")
    return encode(facts.InboundTlsFailed(at=1_771_096_828.25, icid=111396456, fault=fault)).decode().strip()


def _described(kind: type[msgspec.Struct], missing: list[str]) -> str:
    text = kind.__dict__.get("__doc__") or ""
    if not text:
        missing.append(kind.__name__)
    rows = ["| field | type | meaning |", "|---|---|---|"]
    own = _field_texts(kind)
    for field, hint in get_type_hints(kind).items():
        meaning = own.get(field) or WORDS.get(field) or ""
        if not meaning:
            missing.append(f"{kind.__name__}.{field}")
        rows.append(f"| `{field}` | {_type_name(hint)} | {_cell(meaning)} |")
    return "\n".join([f"### {kind.__name__}\n", " ".join(text.split()) + "\n", *rows, ""])


def _cell(text: str) -> str:
    return re.sub(r"\bNone\b", "null", " ".join(text.split())).replace("|", "\\|")


def _type_name(hint: Any) -> str:
    names = {
        float: "number",
        int: "integer",
        str: "string",
        bool: "true or false",
        bytes: "base64",
        type(None): "null",
    }
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{value}`" if value else "empty" for value in arguments)
    if origin is dict:
        return f"object of {_type_name(arguments[1])}"
    if origin is tuple:
        return f"list of {_type_name(arguments[0])}"
    if origin in (Union, types.UnionType):
        return " or ".join(_type_name(argument) for argument in arguments)
    if hint in names:
        return names[hint]
    return f"[{hint.__name__}](#{hint.__name__.lower()})"


def _field_texts(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Docstrings below the fields, which exist in the source only."""
    source = inspect.getsource(sys.modules[kind.__module__])
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    body = next(node.body for node in classes if node.name == kind.__name__)
    texts: dict[str, str] = {}
    for field, following in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            constant = following.value if isinstance(following, ast.Expr) else None
            if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                texts[field.target.id] = constant.value
    return texts


def _sections() -> dict[str, str]:
    """Name of the first kind below each heading of the module -> the heading."""
    found: dict[str, str] = {}
    heading = ""
    for line in "".join(map(inspect.getsource, (facts, upkeep, directory, scanning))).splitlines():
        if line.startswith("# --- "):
            heading = line.strip("#- ")
        elif line.startswith("class ") and heading:
            found[line.removeprefix("class ").split("(")[0]] = heading[0].upper() + heading[1:]
            heading = ""
    return found


def main() -> int:
    """Print the page."""
    sys.stdout.write(document())
    return 0


if __name__ == "__main__":
    sys.exit(main())
