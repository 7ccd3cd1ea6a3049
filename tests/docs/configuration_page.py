"""Makes docs/configuration.md: `python -m tests.docs.configuration_page > docs/configuration.md`.

Types and defaults come from `mxseal.config.model`; so do the meanings, from the docstrings below the keys,
where there are any. The rest is here. A key without a meaning is an error.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from itertools import pairwise
from textwrap import fill
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mxseal.config import model
from tests.docs.configuration_words import INTRODUCTION, SECTIONS, WORDS, Section

TYPES = {
    "str": "text",
    "bool": "`true` or `false`",
    "Name": "name",
    "Domain": "domain name",
    "DomainPattern": "domain, `.domain` or `all`",
    "DestinationDomain": "domain, `.domain`, `all` or `default`",
    "HostPort": "`host:port`",
    "LdapAttribute": "name of an attribute",
    "SandboxName": "letters, digits, `._ -`",
    "IcapService": "letters, digits, `/?&=._~-`",
    "Host": "host name or IP address",
    "Member": "address, network, domain, `.domain` or `ALL`",
    "IpAddress": "IP address",
    "Port": "1 to 65535",
    "Seconds": "seconds",
    "Count": "whole number from 1",
    "ReceivingLevel": "`off`, `preferred`, `required`, `preferred-verify`, `required-verify`",
    "DeliveryLevel": "`off`, `preferred`, `required`, `preferred-verify`, `required-verify`, "
    "`required-verify-hosted`",
    "SenderPattern": "address, domain, `.domain` or `all`",
    "Fingerprint": "64 hexadecimal digits",
    "CertificateIdentity": "`sha256:` and 64 hexadecimal digits, or a DNS name",
    "Protocol": "`TLSv1`, `TLSv1.1`, `TLSv1.2`, `TLSv1.3`",
    "Severity": "`critical`, `warning`, `information`",
    "AlertClass": "`system`, `delivery`, `certificates`, `storage`, `security`",
    "Kind": "`accept`, `routing`, `masquerade`, `group`",
    "Action": "`accept`, `relay`, `reject`, `refuse`",
}
_SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_TIMES = ((86_400, "day"), (3600, "hour"), (60, "minute"))
_BYTES = re.compile(r"(_size|_bytes)$")


class Undocumented(LookupError):
    """A key that nothing describes, or a description of a key that is gone."""


def document() -> str:
    """The whole page. Raises Undocumented, which names all that lacks a text."""
    missing: list[str] = []
    parts = [INTRODUCTION, *(_section(section, missing) for section in SECTIONS)]
    known = {section.table.__name__ for section in SECTIONS}
    tables = {
        name
        for name, value in vars(model).items()
        if inspect.isclass(value) and issubclass(value, model.Table) and value is not model.Table
    }
    missing += [f"the table {name}" for name in sorted(tables ^ known)]
    missing += [f"{path}, which is described and no key" for path in sorted(_unused())]
    if missing:
        raise Undocumented(f"For docs/configuration.md: without a text: {', '.join(missing)}.")
    return "\n".join(parts)


def _unused() -> set[str]:
    keys = {f"{section.table.__name__}.{key}" for section in SECTIONS for key in section.table.model_fields}
    return set(WORDS) - keys


def _section(section: Section, missing: list[str]) -> str:
    source = _source(section.table)
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, info in section.table.model_fields.items():
        annotation, own = source[key]
        # What another section is about needs no row of its own.
        if key in section.elsewhere:
            continue
        meaning = WORDS.get(f"{section.table.__name__}.{key}") or own
        if not meaning:
            missing.append(f"{section.table.__name__}.{key}")
        rows.append(
            f"| `{key}` | {_type_name(annotation)} | {_default(key, annotation, info)} | {_cell(meaning)} |"
        )
    example = f"```toml\n{section.example}```\n" if section.example else ""
    text = f"{fill(section.text, 116)}\n" if section.text else ""
    return (
        "\n".join(part for part in (f"## {section.title}\n", text, example, *rows, "\n") if part).rstrip()
        + "\n"
    )


def _cell(text: str) -> str:
    text = re.sub(r"\s*\((?:the )?reference §[\d.]+[^)]*\)", "", " ".join(text.split()))
    return re.sub(r"\bNone: ", "left out: ", text).replace("|", "\\|")


def _source(table: type[BaseModel]) -> dict[str, tuple[ast.expr, str]]:
    """Key to its annotation as written, and the docstring below it, which exist in the source only."""
    classes = [
        node
        for node in ast.parse(inspect.getsource(sys.modules[table.__module__])).body
        if isinstance(node, ast.ClassDef)
    ]
    body = next(node.body for node in classes if node.name == table.__name__)
    found: dict[str, tuple[ast.expr, str]] = {}
    for base in table.__bases__:
        if issubclass(base, model.Table) and base is not model.Table:
            found |= _source(base)
    for field, following in pairwise([*body, ast.Pass()]):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            constant = following.value if isinstance(following, ast.Expr) else None
            text = constant.value if isinstance(constant, ast.Constant) else ""
            found[field.target.id] = field.annotation, text if isinstance(text, str) else ""
    return found


# --- types and defaults in words --------------------------------------------------------------------------


def _type_name(node: ast.expr) -> str:
    if isinstance(node, ast.BinOp):
        return _type_name(node.left)  # X | None: the default column says that it may be left out
    if isinstance(node, ast.Name):
        return TYPES.get(node.id, "table")
    assert isinstance(node, ast.Subscript)
    assert isinstance(node.value, ast.Name)
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    match node.value.id:
        case "Literal":
            return ", ".join(f"`{ast.literal_eval(part)}`" for part in parts)
        case "tuple":
            return f"list of: {_type_name(parts[0])}"
        case "Annotated":
            return _bounded(parts[1])
        case "dict":
            return f"{_type_name(parts[0])} = {_type_name(parts[1])}"
        case other:
            raise Undocumented(f"docs/configuration.md has no word for the type {other}")


def _bounded(field: ast.expr) -> str:
    assert isinstance(field, ast.Call)
    bounds = {word.arg: int(eval(ast.unparse(word.value))) for word in field.keywords}
    if "max_length" in bounds:
        return f"text of at most {bounds['max_length']} characters"
    return f"{bounds['ge']} to {bounds['le']}" if "le" in bounds else f"whole number from {bounds['ge']}"


def _default(key: str, annotation: ast.expr, info: FieldInfo) -> str:
    if info.is_required():
        return "needed"
    value: Any = info.get_default(call_default_factory=True)
    if value is None:
        return "left out"
    if isinstance(value, BaseModel):
        return "its defaults"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | dict):
        return "none" if not value else f"`{value}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    return _number(key, annotation, value)


def _number(key: str, annotation: ast.expr, value: float) -> str:
    plain = f"`{int(value) if value == int(value) else value}`"
    if ast.unparse(annotation).startswith("Seconds"):
        units, plural = _TIMES, "s"
    elif _BYTES.search(key):
        units, plural = _SIZES, ""
    else:
        return plain
    for size, word in units:
        if value >= size and value % size == 0:
            count = int(value) // size
            return f"{plain} ({count} {word}{plural if count != 1 else ''})"
    return plain


def main() -> int:
    """Print the page."""
    sys.stdout.write(document())
    return 0


if __name__ == "__main__":
    sys.exit(main())
