"""`python -m demo [--sink] [--keep]`: mail through the gateway over TLS, from a client to a real mail server.

Exit status 0: all went as it should; 1: something did not, or could not run (a sentence says what).
"""

from __future__ import annotations

import argparse
import os
import signal
import ssl
import sys
import threading
from collections.abc import Sequence
from types import FrameType

from demo.letters import CONFIDENTIAL, LETTERS, OLD_CLIENT, OWN_DOMAIN, PARTNER, Letter, old_client
from demo.screen import Follower, Screen
from demo.stage import HOSTNAME, Stage, built
from demo.story import Row, Story, delivered_row, held_row, read, refused_row
from lab import Trouble, Unavailable
from lab.client import Client, Trust, send
from lab.process import PATIENCE, until


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; gives the exit status."""
    options = _options(arguments)
    screen = Screen()
    signal.signal(signal.SIGTERM, _ended)
    signal.signal(signal.SIGHUP, _ended)
    try:
        return _run(screen, sink_only=options.sink, keep=options.keep)
    except (Unavailable, Trouble, OSError) as fault:
        screen.bad(f"The demonstration can't go on: {fault}")
        return 1
    except KeyboardInterrupt:
        screen.say("Stopped.")
        return 130


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--sink", action="store_true", help="use the built-in next hop, not Postfix")
    keep = os.environ.get("KEEP", "").lower() not in ("", "0", "no")
    parser.add_argument("--keep", action="store_true", default=keep, help="stay up until Ctrl-C (KEEP=1)")
    return parser.parse_args(arguments)


def _ended(number: int, _frame: FrameType | None) -> None:
    # As an exception it unwinds the stage, which ends every process and removes every file.
    sys.exit(128 + number)


def _run(screen: Screen, *, sink_only: bool, keep: bool) -> int:
    screen.heading("MXSeal demonstration: set the stage")
    with built(screen, sink_only=sink_only) as stage:
        with Follower(stage.gateway.home, screen.log) as log:
            screen.heading("Mail comes in over STARTTLS and goes out over verified TLS; mail_logs tells it")
            log.wait("Info: ", 1)
            for letter in LETTERS:
                deliver(screen, stage, log, letter)
            screen.heading("Two things go wrong, and mail_logs says why")
            fail_in_the_handshake(screen, stage, log)
            hold_back(screen, stage, log)
        rows = _rows(stage)
        screen.table(rows)
        failed = [row.title for row in rows if not row.as_expected]
        if failed:
            screen.bad(f"Not as it should be: {', '.join(failed)}.")
        else:
            screen.good(f"All as it should be. Next hop: {stage.hop.name}.")
        if keep:
            _stay(screen, stage)
        return 1 if failed else 0


# --- scenes -----------------------------------------------------------------------------------------------


def _trust(stage: Stage, letter: Letter) -> Trust:
    return Trust(roots=stage.roots.read_bytes(), name=HOSTNAME, tweak=letter.tweak)


def deliver(screen: Screen, stage: Stage, log: Follower, letter: Letter) -> None:
    screen.heading(f"> {letter.title}")
    before = log.count("Message finished MID ")
    sent = send(stage.address, letter.envelope(), _trust(stage, letter))
    screen.say(f"The client saw {HOSTNAME}'s certificate verified, {sent.protocol}, and: {sent.reply}")
    log.wait("Message finished MID ", before + 1)
    until(
        lambda: stage.hop.copies(letter.title, letter.body) >= len(letter.recipients),
        lambda: f"{stage.hop.name} has not got '{letter.title}' unchanged after {PATIENCE:g} s",
    )


def fail_in_the_handshake(screen: Screen, stage: Stage, log: Follower) -> None:
    screen.heading(f"> {OLD_CLIENT}: what a device from 2008 offers, TLS 1.2 without forward secrecy")
    before = log.count(" TLS diagnosis: ")
    with Client(stage.address) as client:
        try:
            client.secure(Trust(tweak=old_client))
        except (ssl.SSLError, ConnectionError) as fault:
            screen.say(f"All that the client knows: {fault}")
        else:
            screen.bad("The gateway took what no gateway should.")
    log.wait(" TLS diagnosis: ", before + 1)


def hold_back(screen: Screen, stage: Stage, log: Follower) -> None:
    screen.heading(f"> {CONFIDENTIAL.title}: TLS is required for {PARTNER}, whose server has none")
    before = log.count(" TLS diagnosis: ")
    sent = send(stage.address, CONFIDENTIAL.envelope(), _trust(stage, CONFIDENTIAL))
    screen.say(f"The client is told: {sent.reply}")
    log.wait(" TLS diagnosis: ", before + 1)
    log.wait("Delayed: ", 1)


# --- the end ----------------------------------------------------------------------------------------------


def _story(stage: Stage) -> Story:
    return read(stage.gateway.log("json_logs"))


def _rows(stage: Stage) -> list[Row]:
    story = _story(stage)
    rows = [
        delivered_row(story, letter.title, stage.hop.copies(letter.title, letter.body)) for letter in LETTERS
    ]
    rows.append(refused_row(story, OLD_CLIENT))
    rows.append(held_row(story, CONFIDENTIAL.title, stage.backward.taken))
    return rows


def _stay(screen: Screen, stage: Stage) -> None:
    mxseal = f".venv/bin/mxseal --home {stage.gateway.home}"
    where = f"{stage.address[0]}:{stage.port}"
    hello = r"printf 'Subject: hi\r\n\r\nHi.\r\n'"
    mail = f"--mail-from you@client.lab.test --mail-rcpt bob@{OWN_DOMAIN} -T -"
    screen.heading("It stays up until Ctrl-C. The web interface, which a browser has to be told to trust:")
    screen.say(f"{stage.web}   user admin   password {stage.password}")
    screen.heading("To try, in another terminal:")
    for about, command in (
        ("what it does", f"{mxseal} status"),
        ("its log, as it grows", f"{mxseal} tail mail_logs"),
        ("every failure explained", f'{mxseal} grep "TLS diagnosis" mail_logs'),
        ("what waits, and why", f"{mxseal} showrecipients"),
        ("certificates", f"{mxseal} certconfig list"),
        ("what is served on the wire", f"{mxseal} certconfig served"),
        ("a shell with completion", f"{mxseal} shell"),
        (
            "its TLS from outside",
            f"openssl s_client -starttls smtp -connect {where} -servername {HOSTNAME} -CAfile {stage.roots}",
        ),
        ("a message of yours", f"{hello} | curl --ssl-reqd --cacert {stage.roots} smtp://{where} {mail}"),
    ):
        screen.say(f"{about}:")
        screen.command(command)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        screen.say("Ending; everything is removed.")


if __name__ == "__main__":
    sys.exit(main())
