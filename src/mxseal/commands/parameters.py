"""From a function's signature to parameters: their types, their place on the command line, their questions.

Positional parameters are arguments, keyword-only ones are options. The type says the rest: str, int, float,
bool (a flag), Literal (choices), list of these (several), `X | None`, and the four types
of the caller's side: FileText, FileBytes, OutputFile, Secret. A keyword-only parameter whose type is a struct
stands for the options that the struct's fields describe in the same way.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import click
import msgspec
from click.shell_completion import CompletionItem

from mxseal.commands.context import Context

MISSING: Any = inspect.Parameter.empty
FILE_LIMIT = 4 << 20
"""Bytes of the largest file that a command takes."""
SECRET_LIMIT = 64 << 10
"""Bytes of a file whose first line is a passphrase; no other file is read with this limit."""


class FileText(msgspec.Struct, frozen=True):
    """A text file of the caller, read on the caller's side; '-' is its standard input."""

    path: str
    text: str


class FileBytes(msgspec.Struct, frozen=True):
    """The same for binary content."""

    path: str
    content: bytes


class OutputFile(msgspec.Struct, frozen=True):
    """A path on the caller's side, to be written by giving back a `File` result."""

    path: str


class Secret(msgspec.Struct, frozen=True):
    """A passphrase. On the command line it is pass:TEXT, env:NAME, file:PATH or stdin, as with OpenSSL."""

    text: str

    def __repr__(self) -> str:
        return "Secret(***)"


Completer = Callable[[Context], Iterable[str]]
"""Names that a parameter may have, such as those of the certificates in the candidate."""


class Argument(msgspec.Struct, frozen=True):
    """Of one parameter, beside its type: `Annotated[str, Argument("name of the profile", complete=names)]`.

    With `ask` somebody at a terminal is asked that question when the parameter is missing; one with a default
    is asked only in a dialogue (`asking.Asker`). A Secret is typed unseen (`repeat`: twice); a FileText whose
    question begins with 'Paste' is pasted.
    """

    help: str
    metavar: str = ""
    complete: Completer | None = None
    ask: str = ""
    least: float | None = None
    most: float | None = None
    short: str = ""
    """One letter with its dash, for options; a further spelling behind a space: "-C -c"."""
    repeat: bool = False
    quiet: bool = False
    """Not asked in a dialogue, though those of configuration commands are."""
    free: bool = False
    """What `complete` gives are not all values that it may have: a new name, for instance."""
    note: Callable[[Context], str] | None = None
    """A sentence ahead of the question; '' for none."""
    check: Callable[[Context, Any], object] | None = None
    """Looks at an answer at once, before further questions. Raises CommandFailed. The command looks again."""
    flag: str = ""
    """How an option is spelled that is not called like its parameter."""


Option = Argument
"""The same for keyword-only parameters."""


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of a command, ready for parsing and describing."""

    name: str
    marker: Argument
    kind: Any
    """The plain type: str, FileText, a Literal…; for several, that of one."""
    several: bool
    positional: bool
    default: Any
    """MISSING when it is needed."""
    parser: click.Parameter
    group: tuple[str, type[msgspec.Struct]] | None = None
    """The function's parameter, and its type, that this one is a field of."""

    @property
    def needed(self) -> bool:
        return self.default is MISSING

    @property
    def flags(self) -> list[str]:
        return [] if self.positional else [*self.parser.opts, *self.parser.secondary_opts]

    def describe(self) -> dict[str, Any]:
        """For programs: an OpenAPI document, a form."""
        plain: dict[str, Any] = {
            "name": self.name,
            "place": "argument" if self.positional else "option",
            "type": _type_name(self.kind),
            "several": self.several,
            "needed": self.needed,
            "help": self.marker.help,
        }
        if get_origin(self.kind) is Literal:
            plain["choices"] = list(get_args(self.kind))
        if not self.needed and isinstance(self.default, str | int | float | bool | None):
            plain["default"] = self.default
        if not self.positional:
            plain["flags"] = self.flags
        return plain


def parameters_of(function: Callable[..., Any]) -> list[Parameter]:
    """All but the first parameter, which is the Context. Raises TypeError for a type that has no words."""
    hints = get_type_hints(function, include_extras=True)
    found = list(inspect.signature(function).parameters.values())[1:]
    parameters: list[Parameter] = []
    for entry in found:
        hint = hints[entry.name]
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            parameters += _fields(function.__name__, entry.name, hint)
        else:
            parameters.append(_parameter(function.__name__, entry, hint))
    return parameters


def _fields(function: str, name: str, kind: type[msgspec.Struct]) -> list[Parameter]:
    """The fields of a struct, which must be keyword-only, as options."""
    hints = get_type_hints(kind, include_extras=True)
    fields = inspect.signature(kind).parameters.values()
    found = [_parameter(f"{function}, {name}", entry, hints[entry.name]) for entry in fields]
    return [msgspec.structs.replace(entry, group=(name, kind)) for entry in found]


def _parameter(function: str, entry: inspect.Parameter, hint: Any) -> Parameter:
    marker = next((extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Argument)), None)
    if marker is None:
        raise TypeError(f"{function}: parameter {entry.name} needs Annotated[type, Argument(help)]")
    kind, several = _plain(get_args(hint)[0])
    positional = entry.kind is not inspect.Parameter.KEYWORD_ONLY
    place = _argument if positional else _option
    parser = place(entry.name, marker, kind, several, entry.default)
    return Parameter(entry.name, marker, kind, several, positional, entry.default, parser)


def _plain(hint: Any) -> tuple[Any, bool]:
    """(type of one value, whether there may be several) of a hint such as `list[str] | None`."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (list, tuple):
        return get_args(hint)[0], True
    return hint, False


def _argument(name: str, marker: Argument, kind: Any, several: bool, default: Any) -> click.Parameter:
    return click.Argument(
        [name],
        type=_click_type(kind, marker),
        nargs=-1 if several else 1,
        required=default is MISSING and not marker.ask,
        metavar=marker.metavar or None,
        help=marker.help,
        shell_complete=_completer(marker),
    )


def _option(name: str, marker: Argument, kind: Any, several: bool, default: Any) -> click.Parameter:
    flag = marker.flag or "--" + name.rstrip("_").replace("_", "-")
    names = marker.short.split()
    shared: dict[str, Any] = {"help": marker.help, "shell_complete": _completer(marker)}
    if kind is bool:
        spelled = f"{flag}/--no-{flag[2:]}" if default is True else flag
        return click.Option([*names, spelled, name], is_flag=True, default=bool(default), **shared)
    plain_default = default if isinstance(default, str | int | float) and default != "" else None
    return click.Option(
        [*names, flag, name],
        type=_click_type(kind, marker),
        multiple=several,
        required=default is MISSING and not marker.ask,
        default=plain_default,
        show_default=plain_default is not None,
        metavar=marker.metavar or None,
        **shared,
    )


class _PathType(click.ParamType[str]):
    """A path of the caller's side, which the caller's side completes."""

    name = "file"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's interface
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem[str]]:
        return [CompletionItem(incomplete, type="file")]


class _SecretType(click.ParamType[str]):
    name = "secret"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if text != "stdin" and not text.startswith(("pass:", "env:", "file:")):
            self.fail("write pass:TEXT, env:NAME, file:PATH or stdin", param, ctx)
        return text


def _click_type(kind: Any, marker: Argument) -> Any:
    if get_origin(kind) is Literal:
        return click.Choice([str(choice) for choice in get_args(kind)], case_sensitive=False)
    if kind in (FileText, FileBytes, OutputFile):
        return _PathType()
    if kind is Secret:
        return _SecretType()
    bounded = marker.least is not None or marker.most is not None
    if kind is int:
        return click.IntRange(_whole(marker.least), _whole(marker.most)) if bounded else click.INT
    if kind is float:
        return click.FloatRange(marker.least, marker.most) if bounded else click.FLOAT
    if kind in (str, bool):
        return click.STRING
    raise TypeError(f"a command's parameter can't be {kind!r}")


def _whole(bound: float | None) -> int | None:
    return None if bound is None else int(bound)


def _type_name(kind: Any) -> str:
    return "choice" if get_origin(kind) is Literal else str(kind.__name__)


def _completer(marker: Argument) -> Any:
    names = marker.complete
    if names is None:
        return None

    def complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        found = names(ctx.obj) if isinstance(ctx.obj, Context) else ()
        return [CompletionItem(name) for name in found if name.lower().startswith(incomplete.lower())]

    return complete
