"""Which texts the pages have: found in templates and in code, as translators' tools find them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args, get_origin

from jinja2 import Environment, nodes

from mxseal.commands.catalogue import registry
from mxseal.commands.registry import Registry
from mxseal.faces.web import forms
from mxseal.faces.web.entries import Entries
from mxseal.faces.web.files import Transfer
from mxseal.faces.web.settings import Setting
from mxseal.faces.web.site import SUBJECTS

WEB = Path(forms.__file__).parent
TEMPLATES = WEB / "templates"
ROOT = WEB.parents[1]
_READ = ("title", "aria-label", "placeholder", "alt")
"""Attributes that people read or hear."""


def template_texts() -> Iterator[tuple[str, str]]:
    """(file, text) of each _("…") and plural("…", "…") in the templates."""
    environment = Environment()
    for path in sorted(TEMPLATES.rglob("*.html")):
        tree = environment.parse(path.read_text())
        for call in tree.find_all(nodes.Call):
            name = call.node.name if isinstance(call.node, nodes.Name) else ""
            count = {"_": 1, "plural": 2}.get(name, 0)
            for argument in call.args[:count]:
                for constant in _constants(argument):
                    yield str(path.relative_to(TEMPLATES)), constant


def _constants(node: nodes.Node) -> Iterator[str]:
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        yield node.value
    if isinstance(node, nodes.CondExpr):
        for branch in (node.expr1, node.expr2):
            if branch is not None:
                yield from _constants(branch)


def code_texts() -> Iterator[tuple[str, str]]:
    """(file, text) of each N_("…") and say("…") in the web face's code."""
    for path in sorted(WEB.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            first = node.args[0]
            if name in {"N_", "say", "speak"} and isinstance(first, ast.Constant):
                yield path.name, str(first.value)


def form_texts() -> Iterator[tuple[str, str]]:
    """(module, text) of the fields of all forms: labels, help, choices."""
    commands = registry()
    for module in SUBJECTS:
        for form in _forms(module, commands):
            for parameter in form.parameters(commands):
                yield module.__name__, form.label(parameter)
                if form.help(parameter):
                    yield module.__name__, form.help(parameter)
                for choice in get_args(parameter.kind) if get_origin(parameter.kind) is Literal else ():
                    if str(choice).replace("-", "").isalpha():  # others are names: rsa-2048
                        yield module.__name__, str(choice)


def _forms(module: ModuleType, commands: Registry) -> Iterator[forms.Form]:
    """All forms of a module: its own, and those of its lists and settings."""
    named = [each for name, each in vars(module).items() if name != "SUBJECTS"]
    for value in [inner for each in named for inner in (each if isinstance(each, tuple) else (each,))]:
        match value:
            case forms.Form():
                yield value
            case Setting():
                yield value.form(commands)
            case Entries():
                yield from (
                    value.form_of(commands, verb)
                    for verb in ("new", "edit")
                    if verb == "edit" or not value.fixed
                )
            case Transfer():
                yield value.form


def untranslatable() -> Iterator[str]:
    """'file: words' for words in a template that no translation can reach."""
    for path in sorted(TEMPLATES.rglob("*.html")):
        attributes = re.compile(r"\{% set \w+ %\}.*?\{% endset %\}", re.DOTALL)
        whole = attributes.sub("", path.read_text())
        whole = re.sub(r"\{#.*?#\}|\{%.*?%\}", "", whole, flags=re.DOTALL)
        whole = re.sub(r"\{\{.*?\}\}", "\0", whole, flags=re.DOTALL)
        for name in _READ:
            for value in re.findall(rf'\b{name}="([^"]*)"', whole):
                if re.search(r"[A-Za-z]{2}", value):
                    yield f"{path.name}: {name}={value}"
        for word in re.findall(r"[A-Za-z]{2,}", re.sub(r"<[^>]*>", " ", re.sub(r"&\w+;", "", whole))):
            if word != "MXSeal":
                yield f"{path.name}: {word}"


def strings() -> set[str]:
    """Every text that stands anywhere in the product's code or templates."""
    found = {text for _, text in template_texts()}
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found
