"""Alerts: who gets them and how often, a test of each, and the last ones (reference §5)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from pydantic import ValidationError

from mxseal.alerts.alert import CLASSES, SEVERITIES
from mxseal.alerts.examples import KINDS, examples_of
from mxseal.alerts.outbox import Attempt, Receiver, secret_name
from mxseal.commands.configuration import change
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Argument, Option, Secret
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Data, Done, Parts, Problems, Result, Table, Text
from mxseal.commands.times import moment
from mxseal.commands.words import nearest
from mxseal.config.check import Problem
from mxseal.config.model import AlertRecipient, Alerts, Document, Webhook
from mxseal.config.values import mail_address
from mxseal.storage.ports import StorageRefused

GROUPS = {
    "alertconfig": "Who is told of what goes wrong, and how often",
    "alertconfig webhook": "Alerts by HTTP POST",
}
_SHORTEST_SECRET = 16
_ALL = "1"
E = TypeVar("E", AlertRecipient, Webhook)
K = TypeVar("K", bound=str)


def _menu(title: str, names: Mapping[Any, str]) -> str:
    """The reference's list: All first, then the others, numbered."""
    lines = [f"{number}. {label}" for number, label in enumerate(("All", *names.values()), 1)]
    return "\n".join([f"{title} Separate multiple choices with commas.", *lines])


_CLASS_MENU = _menu("Choose the Alert Classes.", CLASSES)
_SEVERITY_MENU = _menu("Select a Severity Level.", SEVERITIES)
_Classes = Annotated[
    str, Option("Classes: names or numbers, separated by commas; 1 or all: all of them", ask=_CLASS_MENU)
]
_Severities = Annotated[
    str,
    Option("Severities: names or numbers, separated by commas; 1 or all: all of them", ask=_SEVERITY_MENU),
]


# --- the candidate ----------------------------------------------------------------------------------------


def _alerts(ctx: Context) -> Alerts:
    return ctx.services.history.candidate(ctx.owner).alerts


def addresses(ctx: Context) -> list[str]:
    return [entry.address for entry in _alerts(ctx).recipients]


def webhooks(ctx: Context) -> list[str]:
    return [entry.name for entry in _alerts(ctx).webhooks]


def _changed(ctx: Context, message: str, **values: Any) -> Done:
    """The candidate with these keys of `[alerts]` replaced. CommandFailed for values that can't be."""
    document = ctx.services.history.candidate(ctx.owner)
    plain = document.alerts.model_dump() | values
    try:
        alerts = Alerts.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CommandFailed(f"alerts.{place}: {_told(first)}") from None
    return change(ctx, document.model_copy(update={"alerts": alerts}), message)


def _told(error: Any) -> str:
    return str(error.get("ctx", {}).get("error") or error["msg"])


def _valid_address(text: str) -> str:
    try:
        return mail_address(text)
    except ValueError as error:
        raise CommandFailed(f"{error}. Write one such as administrator@example.com") from None


def _recipient(alerts: Alerts, address: str) -> AlertRecipient:
    for entry in alerts.recipients:
        if entry.address.lower() == address.strip().lower():
            return entry
    known = ", ".join(entry.address for entry in alerts.recipients) or "nobody"
    raise CommandFailed(f"No alerts are sent to {address}. They are sent to: {known}")


def _chosen(answer: str, names: Mapping[K, str], what: str) -> tuple[K, ...]:
    """The choices of an answer such as '2,3' or 'system, certificates'; empty means all."""
    by_word: dict[str, K | None] = {"1": None, "all": None}
    for number, (key, label) in enumerate(names.items(), 2):
        by_word |= {str(number): key, key: key, label.lower(): key}
    found: list[K] = []
    everything = False
    for word in filter(None, (part.strip().lower() for part in answer.split(","))):
        if word not in by_word:
            near = nearest(word, by_word)
            meant = f"Did you mean {near}?" if near else f"There are: all, {', '.join(names)}."
            raise CommandFailed(f"There is no {what} called {word}. {meant}", 2)
        choice = by_word[word]
        if choice is None:
            everything = True
        elif choice not in found:
            found.append(choice)
    return () if everything or len(found) == len(names) else tuple(found)


def _labels(keys: Sequence[Any], names: Mapping[Any, str]) -> str:
    return ", ".join(names[key] for key in keys) if keys else "All"


# --- show -------------------------------------------------------------------------------------------------


@command("alertconfig", "show", role="read-only", summary="Show who gets which alerts")
def alertconfig_show(ctx: Context) -> Result:
    """With your uncommitted changes."""
    document = ctx.services.history.candidate(ctx.owner)
    return Data(_shown(document), document.alerts.model_dump(mode="json"))


def _shown(document: Document) -> str:
    alerts = document.alerts
    lines: list[str] = []
    if alerts.recipients:
        lines.append("Sending alerts to:")
        for entry in alerts.recipients:
            lines += [entry.address, _subscription(entry)]
    else:
        lines.append("Not sending alerts (no configured addresses)")
    if alerts.webhooks:
        lines.append("\nCalling webhooks:")
        for hook in alerts.webhooks:
            signed = ", signed" if hook.secret is not None else ""
            lines += [f"{hook.name} ({hook.url}{signed})", _subscription(hook)]
    first, longest = alerts.first_wait, alerts.longest_wait
    sender = (
        "the system-default From Address"
        if alerts.from_address is None
        else f"the From Address {alerts.from_address}"
    )
    failed = "a required TLS connection fails, unless a destination says otherwise"
    switch = "" if document.delivery.alert_on_tls_failure else "not "
    age = f"{alerts.queue_age:g} seconds" if alerts.queue_age else "never"
    percent = f"{alerts.disk_free_percent} %" if alerts.disk_free_percent else "never"
    lines += [
        "",
        f"Initial number of seconds to wait before sending a duplicate alert: {first:g}",
        f"Maximum number of seconds to wait before sending a duplicate alert: {longest:g}",
        f"Maximum number of alerts stored in the system are: {alerts.kept}",
        "",
        f"Alerts will be sent using {sender}.",
        f"An alert is {switch}sent when {failed}.",
        f"Age of the oldest message that raises an alert: {age}",
        f"Seconds without a failure until a trouble is told to be over: {alerts.calm_time:g}",
        f"Free space of the disk below which an alert is sent: {percent}",
    ]
    return "\n".join(lines) + "\n"


def _subscription(entry: AlertRecipient | Webhook) -> str:
    return (
        f"        Class: {_labels(entry.classes, CLASSES)} - "
        f"Severities: {_labels(entry.severities, SEVERITIES)}"
    )


# --- recipients -------------------------------------------------------------------------------------------


@command("alertconfig", "new", role="operator", summary="Add a new email address to send alerts")
def alertconfig_new(
    ctx: Context,
    address: Annotated[
        str,
        Argument(
            "Mail address",
            ask='Please enter a new email address to send alerts.\n(Ex: "administrator@example.com")',
        ),
    ],
    *,
    classes: _Classes = _ALL,
    severities: _Severities = _ALL,
) -> Result:
    """Classes are system, delivery, certificates, storage, security; severities critical, warning,
    information. Send a test with 'alertconfig test' once it is committed.
    """
    alerts = _alerts(ctx)
    address = _valid_address(address)
    if any(entry.address.lower() == address.lower() for entry in alerts.recipients):
        raise CommandFailed(f"{address} gets alerts already. 'alertconfig edit {address}' changes which")
    entry = AlertRecipient(
        address=address,
        classes=_chosen(classes, CLASSES, "class"),
        severities=_chosen(severities, SEVERITIES, "severity"),
    )
    return _changed(ctx, f"Alerts will be sent to {address}.", recipients=_plain(*alerts.recipients, entry))


def _plain(*entries: AlertRecipient | Webhook) -> list[dict[str, Any]]:
    return [entry.model_dump() for entry in entries]


_Known = Annotated[
    str, Argument("Mail address", complete=addresses, ask="Enter the email address that you wish to change.")
]


def _present(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    entry = _recipient(_alerts(ctx), given["address"])
    return {
        "classes": _numbers(entry.classes, CLASSES),
        "severities": _numbers(entry.severities, SEVERITIES),
    }


@command(
    "alertconfig",
    "edit",
    role="operator",
    summary="Modify alert subscription for an email address",
    present=_present,
)
def alertconfig_edit(
    ctx: Context,
    address: _Known,
    *,
    classes: Annotated[str | None, Option("Classes, as for 'alertconfig new'", ask=_CLASS_MENU)] = None,
    severities: Annotated[
        str | None, Option("Severities, as for 'alertconfig new'", ask=_SEVERITY_MENU)
    ] = None,
) -> Result:
    """What is left out stays as it is."""
    entry = _recipient(_alerts(ctx), address)
    if classes is None and severities is None:
        raise CommandFailed("Say what changes: --classes, --severities or both", 2)
    values: dict[str, Any] = {}
    if classes is not None:
        values["classes"] = _chosen(classes, CLASSES, "class")
    if severities is not None:
        values["severities"] = _chosen(severities, SEVERITIES, "severity")
    fresh = entry.model_copy(update=values)
    kept = [fresh if other.address == entry.address else other for other in _alerts(ctx).recipients]
    return _changed(ctx, f"The subscription of {entry.address} was changed.", recipients=_plain(*kept))


def _numbers(keys: Sequence[Any], names: Mapping[Any, str]) -> str:
    order = list(names)
    return ", ".join(str(order.index(key) + 2) for key in keys) or _ALL


@command("alertconfig", "delete", role="operator", summary="Remove an email address")
def alertconfig_delete(
    ctx: Context,
    address: Annotated[
        str,
        Argument("Mail address", complete=addresses, ask="Enter the email address that you wish to remove."),
    ],
) -> Result:
    alerts = _alerts(ctx)
    entry = _recipient(alerts, address)
    kept = [other for other in alerts.recipients if other is not entry]
    message = f"Alerts will not be sent to {entry.address} any more."
    return _changed(ctx, message, recipients=_plain(*kept))


@command("alertconfig", "clear", role="operator", summary="Remove all email addresses (disable alerts)")
async def alertconfig_clear(
    ctx: Context, *, yes: Annotated[bool, Option("Do not ask", short="-y")] = False
) -> Result:
    """Webhooks stay; 'alertconfig webhook delete' removes them."""
    count = len(_alerts(ctx).recipients)
    if count and ctx.client.interactive and not yes:
        answer = await ctx.client.ask("Are you sure you want to remove all email addresses?", "N")
        if answer.strip().lower() not in {"y", "yes"}:
            return Done("Nothing was removed.", {"removed": 0})
    return _changed(ctx, f"All {count} email addresses were removed.", recipients=[])


# --- settings ---------------------------------------------------------------------------------------------


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How often, how many; None: as it is."""

    first_wait: Annotated[
        float | None,
        Option(
            "Seconds until a duplicate is sent; 0: every one at once",
            ask="Initial number of seconds to wait before sending a duplicate alert (0: send every one)",
            least=0,
            most=86_400,
        ),
    ] = None
    longest_wait: Annotated[
        float | None,
        Option(
            "Seconds that a duplicate waits at most",
            ask="Maximum number of seconds to wait before sending a duplicate alert",
            least=0,
            most=604_800,
        ),
    ] = None
    kept: Annotated[
        int | None,
        Option(
            "How many alerts displayalerts keeps",
            ask="Maximum number of alerts stored in the system",
            least=1,
            most=1000,
        ),
    ] = None
    calm_time: Annotated[
        float | None,
        Option("Seconds without a failure until a trouble is told to be over", least=1, most=86_400),
    ] = None
    queue_age: Annotated[
        float | None, Option("Seconds a message waits until there is an alert; 0: never", least=0)
    ] = None
    disk_free_percent: Annotated[
        int | None, Option("Free space of the disk below which there is one; 0: never", least=0, most=90)
    ] = None


def _present_settings(ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    alerts = _alerts(ctx)
    return {name: getattr(alerts, name) for name in Settings.__struct_fields__}


@command(
    "alertconfig", "setup", role="operator", summary="Configure alert settings", present=_present_settings
)
def alertconfig_setup(ctx: Context, *, settings: Settings) -> Result:
    """Duplicates are held back: with 5 and 60 an alert that comes all the time is sent at once and after 5,
    15, 35, 60, 120, … seconds, and each says how many were held back. Whether a required TLS connection that
    fails raises an alert is set with 'destconfig setup'.
    """
    values = {name: value for name, value in msgspec.structs.asdict(settings).items() if value is not None}
    if not values:
        raise CommandFailed("Say what changes; 'help alertconfig setup' shows the options", 2)
    return _changed(ctx, "The settings of alerts were changed.", **values)


def _present_from(ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"address": _alerts(ctx).from_address or ""}


@command(
    "alertconfig",
    "from",
    role="operator",
    summary="Configure the From Address of alert emails",
    present=_present_from,
)
def alertconfig_from(
    ctx: Context,
    address: Annotated[
        str | None,
        Argument("Mail address; it must exist to get bounces", ask="Enter the From Address of alert emails."),
    ] = None,
    *,
    default: Annotated[bool, Option("Use alert@ and this gateway's hostname")] = False,
) -> Result:
    if address is None and not default:
        raise CommandFailed("Write a mail address, or --default", 2)
    if address is not None and default:
        raise CommandFailed("Choose one of an address and --default", 2)
    if address is None:
        return _changed(ctx, "Alerts will be sent using the system-default From Address.", from_address=None)
    address = _valid_address(address)
    return _changed(ctx, f"Alerts will be sent using the From Address {address}.", from_address=address)


# --- webhooks ---------------------------------------------------------------------------------------------


@command("alertconfig", "webhook", "add", role="operator", summary="Send alerts to a URL, or change how")
def webhook_add(
    ctx: Context,
    name: Annotated[
        str, Argument("What it is called", complete=webhooks, ask="Enter a name for it:", free=True)
    ],
    url: Annotated[str, Argument("https://…", ask="Enter the URL:")],
    *,
    classes: _Classes = _ALL,
    severities: _Severities = _ALL,
    secret: Annotated[
        Secret | None,
        Option(
            "Sign requests with it, at least 16 characters; the receiver knows it too",
            ask="Enter the secret that signs requests (empty: none):",
        ),
    ] = None,
) -> Result:
    """One with that name is replaced. The secret is sealed in the store and not part of the configuration.
    Where the URL itself is secret, know that 'showconfig' shows it.
    """
    alerts = _alerts(ctx)
    identifier = None if secret is None or not secret.text else _sealed(ctx, secret)
    entry = {
        "name": name,
        "url": url,
        "classes": _chosen(classes, CLASSES, "class"),
        "severities": _chosen(severities, SEVERITIES, "severity"),
        "secret": identifier,
    }
    others = [other for other in alerts.webhooks if other.name.lower() != name.lower()]
    verb = "replaced" if len(others) < len(alerts.webhooks) else "added"
    return _changed(ctx, f"The webhook {name} was {verb}.", webhooks=[*_plain(*others), entry])


def _sealed(ctx: Context, secret: Secret) -> str:
    """Seal it under a name of its own, so that the secret in force stays until the commit."""
    if len(secret.text) < _SHORTEST_SECRET:
        raise CommandFailed(
            f"The secret has {len(secret.text)} characters: use at least {_SHORTEST_SECRET}, such as what "
            "'openssl rand -hex 32' prints"
        )
    identifier = secrets.token_hex(8)
    try:
        ctx.services.alerts.secrets.put(secret_name(identifier), secret.text.encode())
    except StorageRefused as refused:
        raise CommandFailed(f"Nothing was changed: the store takes no secret ({refused})") from None
    return identifier


@command("alertconfig", "webhook", "delete", role="operator", summary="Send no alerts to a URL any more")
def webhook_delete(
    ctx: Context, name: Annotated[str, Argument("What it is called", complete=webhooks, ask="Which one:")]
) -> Result:
    alerts = _alerts(ctx)
    kept = [entry for entry in alerts.webhooks if entry.name.lower() != name.lower()]
    if len(kept) == len(alerts.webhooks):
        known = ", ".join(entry.name for entry in alerts.webhooks) or "none"
        raise CommandFailed(f"There is no webhook called {name}. There are: {known}")
    return _changed(ctx, f"The webhook {name} was removed.", webhooks=_plain(*kept))


# --- test and display -------------------------------------------------------------------------------------


def alert_names(_ctx: Context) -> list[str]:
    return [*CLASSES, *KINDS]


def receivers(ctx: Context) -> list[str]:
    alerts = ctx.services.history.current().document.alerts
    return [*(entry.address for entry in alerts.recipients), *(entry.name for entry in alerts.webhooks)]


@command("alertconfig", "test", role="operator", summary="Send an alert as it may come, marked as a test")
async def alertconfig_test(
    ctx: Context,
    what: Annotated[str, Argument("A class or a kind of alert", complete=alert_names, ask="Which alert:")],
    to: Annotated[
        str | None, Argument("Mail address or webhook; left out: all who get such alerts", complete=receivers)
    ] = None,
) -> Result:
    """The configuration in force counts, so commit first. Each gets one attempt, whose outcome you see;
    mail_logs has the steps. A class gives one alert of each severity that it has. Status 1: not all went
    out."""
    alerts = examples_of(what.lower(), ctx.services.now())
    if not alerts:
        near = nearest(what, alert_names(ctx))
        meant = f"Did you mean {near}?" if near else f"There are: {', '.join(alert_names(ctx))}."
        raise CommandFailed(f"There is no class or kind of alert called {what}. {meant}", 2)
    chosen = None if to is None else [_receiver(ctx, to)]
    attempts = [attempt for each in alerts for attempt in await ctx.services.alerts.test(each, chosen)]
    if not attempts:
        raise CommandFailed(
            f"Nobody gets such alerts in the configuration in force. 'alertconfig new' adds an address, "
            f"'commit' puts it in force; or name one: 'alertconfig test {what} ADDRESS'"
        )
    return _outcome(attempts)


def _receiver(ctx: Context, to: str) -> Receiver:
    for hook in ctx.services.history.current().document.alerts.webhooks:
        if hook.name.lower() == to.lower():
            return hook
    return AlertRecipient(address=_valid_address(to))


def _outcome(attempts: Sequence[Attempt]) -> Result:
    columns = (Column("To"), Column("Sent", "ok"), Column("Problem"))
    table = Table(columns, tuple((each.to, each.ok, each.problem or None) for each in attempts))
    failed = [Problem(each.to, each.problem) for each in attempts if not each.ok]
    return Parts((table, Problems("Not all alerts were sent", tuple(failed)))) if failed else table


class Listed(Table, frozen=True):
    """A table for people; programs get each alert whole."""

    facts: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> Any:
        return list(self.facts)


@command("displayalerts", role="read-only", summary="Show the last alerts")
def displayalerts(
    ctx: Context,
    count: Annotated[int, Argument("How many", least=1, most=1000)] = 50,
    *,
    full: Annotated[bool, Option("With their whole text")] = False,
) -> Result:
    """The newest last, whether or not anybody was subscribed to them. 'alertconfig setup' says how many are
    kept."""
    recent = ctx.services.alerts.recent()[-count:]
    if full:
        return Text("\n".join(f"{moment(entry.at)}\n\n{entry.text}\n" for entry in recent) or _NONE + "\n")
    columns = (
        Column("Date and Time Stamp", "at"),
        Column("Severity"),
        Column("Class"),
        Column("Held back"),
        Column("Description"),
    )
    labels: dict[str, str] = dict(CLASSES.items())
    rows = tuple(
        (
            moment(entry.at),
            entry.severity.capitalize(),
            labels.get(entry.alert_class, entry.alert_class),
            entry.held_back or None,
            entry.title,
        )
        for entry in recent
    )
    facts = tuple(msgspec.to_builtins(entry) for entry in recent)
    return Listed(columns, rows, empty=_NONE, facts=facts)


_NONE = "There were no alerts."
