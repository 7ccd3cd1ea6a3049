"""Forms made from commands: fields from the parameters' types, checks beside the field, typed values out.

FORM = Form("userconfig new", order=("name", "full_name", "role", "password"), labels={...})

view = FORM.blank(visit)                      # for ui.form(view, ...)
view, answer = await FORM.submit(visit)       # answer is None where a field is wrong
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

import msgspec

from mxseal.commands.parameters import FileBytes, FileText, Parameter, Secret
from mxseal.commands.registry import Command, Registry
from mxseal.commands.values import public
from mxseal.faces.web.calling import Answer, command_of
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

Kind = Literal[
    "text",
    "number",
    "choice",
    "tick",
    "file",
    "secret",
    "lines",
    "level",
    "own",
    "receiving",
    "name",
    "names",
]
"""`level`: of deliveries; `own`: the same without another entry to follow; `receiving`: of senders; `name`,
`names`: one, or several, out of those that the command knows (`Form.chosen`)."""
# What `commands.values` says of a value, so that translators see it.
N_("this is needed"), N_("this has to be a number"), N_("this has to be a whole number")
N_("this is not text (UTF-8)"), N_("this is larger than 4 MiB")


class FieldView(msgspec.Struct, frozen=True):
    """One field, as the template shows it. Texts are English: the template translates them."""

    name: str
    label: str
    help: str
    kind: Kind
    needed: bool
    value: str = ""
    choices: tuple[str, ...] = ()
    error: str = ""
    """In the reader's language."""
    least: float | None = None
    most: float | None = None


class FormView(msgspec.Struct, frozen=True):
    """A form with what was typed, and what is wrong with it."""

    fields: tuple[FieldView, ...]
    answer: Answer | None = None
    """Of the command, when it refused what was sent."""

    @property
    def wrong(self) -> list[FieldView]:
        return [field for field in self.fields if field.error]

    @property
    def with_file(self) -> bool:
        return any(field.kind == "file" for field in self.fields)


class Form:
    """A form for one command. `order`: the parameters that it has; `labels`: theirs, where the name is not
    enough; `fixed`: parameters that the page gives itself."""

    def __init__(
        self,
        command: str,
        order: tuple[str, ...],
        labels: Mapping[str, str] | None = None,
        kinds: Mapping[str, Kind] | None = None,
        *,
        helps: Mapping[str, str] | None = None,
        chosen: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        """`kinds`: another kind of field than the type has: "lines" for a text that is long or pasted.
        `helps`: other words than the parameter's, where those speak of a command line. `chosen`: parameters
        whose values are chosen out of those that the command knows, with words that stand ahead of them."""
        self.command = command
        self._order = order
        self.labels = dict(labels or {})
        self._kinds = dict(kinds or {})
        self.helps = dict(helps or {})
        self._chosen = dict(chosen or {})

    def parameters(self, commands: Registry) -> list[Parameter]:
        """Those that the form shows, in its order. LookupError for one that the command has not."""
        entry: Command = command_of(commands, tuple(self.command.split()))
        known = {parameter.name: parameter for parameter in entry.parameters}
        return [known[name] for name in self._order]

    def label(self, parameter: Parameter) -> str:
        plain = parameter.name.strip("_").replace("_", " ")
        return self.labels.get(parameter.name) or plain[:1].upper() + plain[1:]

    def help(self, parameter: Parameter) -> str:
        """Nothing where it would say the label once more."""
        told = self.helps.get(parameter.name, parameter.marker.help)
        return "" if told.lower() == self.label(parameter).lower() else told

    def blank(self, visit: Visit, values: Mapping[str, Any] | None = None) -> FormView:
        """The form as it is first seen, with `values` in it."""
        found = values or {}
        fields = [
            self._view(visit, parameter, _shown(parameter, found.get(parameter.name, parameter.default)))
            for parameter in self.parameters(visit.site.runner.commands)
        ]
        return FormView(tuple(fields))

    async def submit(
        self, visit: Visit, /, stays: Mapping[str, Any] | None = None, **fixed: Any
    ) -> tuple[FormView, Answer]:
        """Run the command with what was sent, and with `fixed`. What is wrong with single fields is in the
        view, beside them: nothing was done then. `stays`: present values, of which only those are given to
        the command that were changed."""
        parameters = self.parameters(visit.site.runner.commands)
        values: dict[str, Any] = dict(fixed)
        for parameter in parameters:
            value = await _value(visit, parameter, self._kind(parameter))
            before = (stays or {}).get(parameter.name)
            if before is None or value is None or _shown(parameter, before) != _shown(parameter, value):
                values[public(parameter)] = value
        answer = await visit.run(self.command, **values)
        wrong = {problem.path.partition("[")[0]: problem.text for problem in answer.ended.problems}
        views = []
        for parameter in parameters:
            text = "" if parameter.kind is Secret else " ".join(visit.fields(parameter.name))
            error = wrong.pop(public(parameter), "")
            view = self._view(visit, parameter, text)
            views.append(msgspec.structs.replace(view, error=_sentence(visit, error)))
        beside = any(view.error for view in views) and not wrong
        return FormView(tuple(views), None if answer.ok or beside else answer), answer

    def _view(self, visit: Visit, parameter: Parameter, value: str) -> FieldView:
        kind = self._kind(parameter)
        return FieldView(
            parameter.name,
            self.label(parameter),
            self.help(parameter),
            kind,
            parameter.needed and kind != "tick",
            value,
            self._choices(visit, parameter, kind, value),
            "",
            parameter.marker.least,
            parameter.marker.most,
        )

    def _choices(self, visit: Visit, parameter: Parameter, kind: Kind, value: str) -> tuple[str, ...]:
        """What may be chosen. A present value is there even when the command knows it no more."""
        if kind == "choice":
            return tuple(str(choice) for choice in get_args(parameter.kind))
        if kind not in ("name", "names"):
            return ()
        known = parameter.marker.complete(visit.context()) if parameter.marker.complete else ()
        here = value.split() if kind == "names" else [value] if value else []
        return tuple(dict.fromkeys((*self._chosen[parameter.name], *known, *here)))

    def _kind(self, parameter: Parameter) -> Kind:
        if parameter.name in self._chosen:
            return "names" if parameter.several else "name"
        return self._kinds.get(parameter.name) or _kind(parameter)


def _kind(parameter: Parameter) -> Kind:
    if get_origin(parameter.kind) is Literal:
        return "choice"
    kinds: dict[Any, Kind] = {
        bool: "tick", int: "number", float: "number", Secret: "secret", FileText: "file", FileBytes: "file",
    }  # fmt: skip
    return kinds.get(parameter.kind, "text")


def _shown(parameter: Parameter, value: Any) -> str:
    """A value as it stands in the field."""
    if value is None or (value is parameter.default and parameter.needed) or isinstance(value, Secret):
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return f"{value:.10g}" if isinstance(value, float) else str(value)


async def _value(visit: Visit, parameter: Parameter, kind: Kind) -> Any:
    """What was sent, as the command takes it; None: the parameter's default."""
    if kind == "tick":
        return bool(visit.field(parameter.name))
    if parameter.kind in (FileText, FileBytes):
        return await _file(visit, parameter)
    if kind == "names":
        return visit.fields(parameter.name) or None
    text = visit.secret(parameter.name) if kind == "secret" else visit.field(parameter.name)
    if not text:
        return None
    if parameter.several:
        return text.split("\n") if kind == "lines" else text.replace(",", " ").split()
    return _number(text) if kind == "number" else text


def _number(text: str) -> int | float | str:
    """What is no number stays a text, and the command says so."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


async def _file(visit: Visit, parameter: Parameter) -> FileBytes | None:
    """The file that was chosen, or the text that was pasted in its place."""
    found = await visit.upload(parameter.name)
    pasted = visit.field(f"{parameter.name}-text") or visit.field(parameter.name)
    if found is None and pasted:
        found = visit.say("what was pasted"), pasted.encode()
    return FileBytes(found[0][:255], found[1]) if found is not None else None


def _sentence(visit: Visit, text: str) -> str:
    told = visit.say(text) if text else ""
    return f"{told[:1].upper()}{told[1:]}." if told else ""
