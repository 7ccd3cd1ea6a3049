"""`mxseal`: words that the running gateway answers, and init, serve, shell and completion, which are here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mxseal import __version__
from mxseal.faces.client import UNAVAILABLE, Call, NotRunning, Terminal, ask_gateway

if TYPE_CHECKING:
    from mxseal import app

USAGE = 2
OPTIONS = {
    "--home DIR": "Home of the gateway (default: $MXSEAL_HOME, else {home})",
    "--json": "Results as JSON",
    "--session NAME": "Keep uncommitted changes apart from those of your other sessions",
    "--version": "Show the version of this program",
    "--help": "Show this text",
}
OWN_COMMANDS = {
    "init": "Make a home: first configuration, demonstration certificate, administrator",
    "serve": "Run the gateway in the foreground",
    "shell": "Type commands with history and completion",
    "completion": "Print completion for your shell: bash, zsh or fish",
}


class Wrong(Exception):
    """The arguments can't be understood; the text says why."""


class Invocation:
    """The options in front of the words, and the words."""

    def __init__(self, arguments: list[str]) -> None:
        self.home = default_home()
        self.json = False
        self.session = ""
        self.wanted = ""
        """help or version, when an option asks for them."""
        self.words = self._options(list(arguments))

    def _options(self, rest: list[str]) -> list[str]:
        while rest and rest[0].startswith("-"):
            name, equals, value = rest.pop(0).partition("=")
            if name == "--":
                break
            if name in ("--home", "--session"):
                if not equals and not rest:
                    raise Wrong(f"{name} needs a value")
                self._set(name, value if equals else rest.pop(0))
            elif name == "--json":
                self.json = True
            elif name in ("--help", "-h", "--version"):
                self.wanted = self.wanted or ("version" if name == "--version" else "help")
            else:
                raise Wrong(f"there is no option {name}")
        return rest

    def _set(self, name: str, value: str) -> None:
        if not value:
            raise Wrong(f"{name} needs a value")
        if name == "--home":
            self.home = Path(value).expanduser().absolute()
        else:
            self.session = value


def default_home() -> Path:
    """$MXSEAL_HOME, else the system's place for root, else one of the user's own."""
    named = os.environ.get("MXSEAL_HOME")
    if named:
        return Path(named).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/mxseal")
    return Path("~/.local/share/mxseal").expanduser()


def main(arguments: list[str] | None = None) -> int:
    """Run `mxseal` with the program's arguments; gives the exit status."""
    try:
        called = Invocation(sys.argv[1:] if arguments is None else arguments)
        return _dispatch(called)
    except Wrong as wrong:
        sys.stderr.write(f"mxseal: {wrong}. 'mxseal --help' lists what there is.\n")
        return USAGE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _dispatch(called: Invocation) -> int:
    words = called.words
    if called.wanted == "version":
        sys.stdout.write(f"mxseal {__version__}\n")
        return 0
    if called.wanted == "help" or not words:
        sys.stdout.write(_help())
        return 0 if called.wanted else USAGE
    own = {"init": _init, "serve": _serve, "shell": _shell, "completion": _completion, "_complete": _complete}
    if words[0] in own and "--help" in words[1:]:
        sys.stdout.write(_own_help(words[0]))
        return 0
    if words[0] in own:
        return own[words[0]](called)
    return _forward(called)


def _forward(called: Invocation) -> int:
    request = Terminal(wants_json=called.json, session=called.session).request(called.words)
    try:
        return Call(called.home, request).run().status
    except NotRunning as error:
        if _is_help(called.words):
            return _offline_help(called.words)
        unknown = _unknown(called.words)
        sys.stderr.write(f"{unknown or error}\n")
        return USAGE if unknown else UNAVAILABLE


def _is_help(words: list[str]) -> bool:
    return words[0] == "help" or words[-1] in ("--help", "?")


def _unknown(words: list[str]) -> str:
    """Why no gateway would know these words, or nothing: starting one would not help somebody's typo."""
    from mxseal.commands.catalogue import registry  # noqa: PLC0415 - keeps the start quick
    from mxseal.commands.registry import UsageFault  # noqa: PLC0415

    try:
        registry().find(words)
    except UsageFault as fault:
        return str(fault)
    return ""


def _offline_help(words: list[str]) -> int:
    """Help needs no gateway: the commands are part of this program."""
    from mxseal.commands.catalogue import registry  # noqa: PLC0415 - keeps the start quick
    from mxseal.commands.registry import UsageFault  # noqa: PLC0415

    asked = [word for word in words if word not in ("help", "--help", "?")]
    try:
        sys.stdout.write(registry().help(asked))
    except UsageFault as fault:
        sys.stderr.write(f"{fault}\n")
        return USAGE
    return 0


# --- without a gateway ------------------------------------------------------------------------------------


def _init(called: Invocation) -> int:
    from mxseal import app  # noqa: PLC0415 - the whole product, which other commands do not need

    given = _values(called.words[1:], {"--home", "--hostname", "--smtp-port", "--https-port"})
    home = Path(given["--home"]).expanduser().absolute() if "--home" in given else called.home
    smtp, https = _port(given, "--smtp-port"), _port(given, "--https-port")
    hostname = _hostname(given.get("--hostname"))
    try:
        report = app.initialise(home, hostname=hostname, smtp_port=smtp, https_port=https)
    except app.AppFault as fault:
        return _told(fault)
    where = "" if home == default_home() else f" --home {home}"
    sys.stdout.write(
        f"A new home is in {home}.\n\n"
        f"  Hostname:  {report.hostname}\n  SMTP:      127.0.0.1 port {report.smtp_port}\n"
        f"  Web:       https://127.0.0.1:{report.https_port}/\n"
        f"  User:      {report.user}\n  Password:  {report.password}\n\n"
        f"The password is shown only now. Start the gateway with: mxseal{where} serve\n"
    )
    return 0


def _port(given: dict[str, str], option: str) -> int | None:
    """The port that was given. Raises Wrong."""
    port = given.get(option)
    if port is not None and not (port.isdecimal() and 0 < int(port) < 65536):
        raise Wrong(f"{option} {port} is not a port, write one of 1 to 65535")
    return int(port) if port else None


def _hostname(given: str | None) -> str:
    """The name that was given, else this machine's where it is one. Raises Wrong."""
    import socket  # noqa: PLC0415

    from mxseal.config.values import domain_name  # noqa: PLC0415

    try:
        return domain_name(given or socket.gethostname())
    except ValueError as error:
        if given:
            raise Wrong(f"--hostname {error}") from None
        return "localhost"


def _serve(called: Invocation) -> int:
    from mxseal.crew.nursery import Nursery  # noqa: PLC0415 - what workers need, and no more

    nursery = Nursery()  # before anything is open, and before the faces take their memory
    from mxseal import app  # noqa: PLC0415

    given = _values(called.words[1:], {"--home"})
    home = Path(given["--home"]).expanduser().absolute() if "--home" in given else called.home
    try:
        return app.serve(home, nursery)
    except app.AppFault as fault:
        return _told(fault)


def _told(fault: app.AppFault) -> int:
    sys.stderr.write(f"{fault}\n")
    return fault.status


def _shell(called: Invocation) -> int:
    from mxseal.faces.shell import shell  # noqa: PLC0415

    given = _values(called.words[1:], {"--home", "--session"})
    home = Path(given["--home"]).expanduser().absolute() if "--home" in given else called.home
    return shell(home, given.get("--session", called.session))


def _values(arguments: list[str], known: set[str]) -> dict[str, str]:
    """'--name value' and '--name=value'. Raises Wrong."""
    given: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name not in known:
            raise Wrong(f"'{name}' can't stand here, only {', '.join(sorted(known))}")
        if not equals:
            if not rest:
                raise Wrong(f"{name} needs a value")
            value = rest.pop(0)
        given[name] = value
    return given


def _completion(called: Invocation) -> int:
    from mxseal.faces.completion import SCRIPTS  # noqa: PLC0415

    wanted = called.words[1:]
    if len(wanted) != 1 or wanted[0] not in SCRIPTS:
        raise Wrong(f"name one shell: mxseal completion {'|'.join(SCRIPTS)}")
    sys.stdout.write(SCRIPTS[wanted[0]])
    return 0


def _complete(called: Invocation) -> int:
    """For the completion scripts: 'kind TAB word TAB help' a line."""
    *before, incomplete = called.words[1:] or [""]
    try:
        inner = Invocation(before)
        found = _completions(inner, incomplete)
    except (Wrong, NotRunning):
        found = []
    for kind, value, text in found:
        sys.stdout.write(f"{kind}\t{value}\t{text}\n")
    return 0


def _completions(inner: Invocation, incomplete: str) -> list[list[str]]:
    own: list[list[str]] = []
    if not inner.words:
        listed = {**OWN_COMMANDS, **{name.split()[0]: text.format(home="") for name, text in OPTIONS.items()}}
        own = [["plain", name, text] for name, text in listed.items() if name.startswith(incomplete)]
        own = [entry for entry in own if not entry[1].startswith("-") or incomplete.startswith("-")]
    elif inner.words[0] in OWN_COMMANDS:
        return []
    question = {"complete": {"words": inner.words, "incomplete": incomplete}, "session": inner.session}
    try:
        return own + list(ask_gateway(inner.home, question).get("completions", []))
    except NotRunning:
        return own


# --- help -------------------------------------------------------------------------------------------------


def _help() -> str:
    from mxseal.commands.catalogue import registry  # noqa: PLC0415

    options = {name: text.format(home=default_home()) for name, text in OPTIONS.items()}
    commands = dict(registry().summaries())
    return (
        "Usage: mxseal [OPTION]… COMMAND [WORD]…\n\nAn email security gateway whose subject is TLS.\n"
        f"\nOptions:\n{_listed(options)}"
        f"\nHere:\n{_listed(OWN_COMMANDS)}"
        f"\nOf the running gateway:\n{_listed(commands)}"
        "\n'mxseal help COMMAND' says more about one of them.\n"
    )


def _listed(entries: dict[str, str]) -> str:
    wide = max((len(name) for name in entries), default=0)
    return "".join(f"  {name.ljust(wide)}  {text}\n" for name, text in entries.items())


def _own_help(word: str) -> str:
    usage = {
        "init": "mxseal [--home DIR] init [--hostname NAME] [--smtp-port PORT] [--https-port PORT]",
        "completion": "mxseal completion bash|zsh|fish",
    }
    return f"Usage: {usage.get(word, f'mxseal [--home DIR] {word}')}\n\n{OWN_COMMANDS.get(word, '')}.\n"


if __name__ == "__main__":
    sys.exit(main())
