"""Makes docs/cli.md out of the registry: `python -m tests.docs.cli_page > docs/cli.md`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from textwrap import fill

from mxseal.__main__ import OPTIONS, OWN_COMMANDS
from mxseal.commands.catalogue import registry
from mxseal.commands.parameters import Parameter, Secret
from mxseal.commands.registry import Command

INTRODUCTION = """\
<!-- Made by `python -m tests.docs.cli_page`; change the commands, not this file. -->
# Commands

```text
mxseal [--home DIR] [--json] COMMAND [WORD]…
```

Most commands are orders to the running gateway: `mxseal` hands them over through a socket in the home that
only the home's owner can reach. Four do their work here and need no gateway:

{own}

Options stand before the command:

{options}

`mxseal help COMMAND`, `mxseal COMMAND --help` and a `?` behind the words say how a command is used; `mxseal
completion bash` prints what makes your shell complete commands and names. At a terminal a command asks for
what is missing, and a configuration command that is typed alone opens its [menu](dialogues.md); in scripts
all answers can be arguments, and nothing is asked.

The exit status is 0 when it was done, 1 when it failed or found something wrong, 2 when the words were not
understood, 69 when no gateway runs in the home, 77 when your role may not run it, 130 after Ctrl-C.

Commands that change the configuration change your candidate; `commit` puts it in force. *Role* says who may
run a command beside administrators; whoever owns the home is one. A passphrase is given as `pass:TEXT`,
`env:NAME`, `file:PATH` or `stdin`.
"""


def document() -> str:
    """The whole page."""
    own = "\n".join(f"* `mxseal {name}`: {text}" for name, text in OWN_COMMANDS.items())
    options = "\n".join(f"* `{name}`: {_option_text(text)}" for name, text in OPTIONS.items())
    parts = [INTRODUCTION.format(own=own, options=options)]
    group = ""
    for entry in sorted(registry().commands, key=lambda entry: entry.words):
        if len(entry.words) > 1 and entry.words[0] != group:
            group = entry.words[0]
            summary = dict(registry().summaries())[group]
            parts.append(f"## {group}\n\n{summary}.\n")
        parts.append(_described(entry))
    return "\n".join(parts)


def _option_text(text: str) -> str:
    return text.format(home="/var/lib/mxseal for root, ~/.local/share/mxseal for others")


def _described(entry: Command) -> str:
    words = " ".join(entry.words)
    level = "###" if len(entry.words) > 1 else "##"
    text = f"{entry.summary}. {_text(entry)}".strip()
    lines = [f"{level} {words}\n", f"```text\n{usage(entry)}\n```\n", fill(text, 116), ""]
    if entry.parameters:
        lines += [f"* `{_written(each)}`: {each.marker.help}{_details(each)}" for each in entry.parameters]
        lines.append("")
    if entry.roles != ("read-only",):
        lines += [f"Role: {' or '.join(entry.roles)}.", ""]
    return "\n".join(lines)


def _text(entry: Command) -> str:
    """Its description in one line; \\b is click's mark of lines that stay as they are."""
    return " ".join((inspect.getdoc(entry.function) or "").replace("\b", " ").split())


def usage(entry: Command) -> str:
    """How the command is written: 'certconfig replace NAME FILES… [--any-names]'."""
    positional = [each for each in entry.parameters if each.positional]
    options = [each for each in entry.parameters if not each.positional]
    return " ".join([*entry.words, *map(_place, positional), *map(_place, options)])


def _place(each: Parameter) -> str:
    word = each.marker.metavar or (each.name.upper() if each.positional else _written(each))
    if each.several and "…" not in word:
        word += "…"
    return word if each.needed or word.startswith("[") else f"[{word}]"


def _written(each: Parameter) -> str:
    if each.positional:
        return each.marker.metavar.strip("[]") or each.name.upper()
    flag = each.flags[0]
    return flag if each.kind is bool else f"{flag} {_value(each)}"


def _value(each: Parameter) -> str:
    if each.kind is Secret:
        return "SECRET"
    choices: Sequence[str] = each.describe().get("choices", ())
    if choices:
        return "|".join(choices)
    return "NUMBER" if each.kind is int else "FILE" if each.kind.__name__ == "OutputFile" else "TEXT"


def _details(each: Parameter) -> str:
    described = each.describe()
    default = described.get("default")
    choices = described.get("choices") if each.positional else None
    told = f": {', '.join(f'`{choice}`' for choice in choices)}" if choices else ""
    if default not in (None, "", False):
        told += f" (default: {default})"
    return told


def main() -> int:
    """Print the page."""
    sys.stdout.write(document())
    return 0


if __name__ == "__main__":
    sys.exit(main())
