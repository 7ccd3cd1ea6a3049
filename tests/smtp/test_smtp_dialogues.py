"""Dialogues in text files: 'C: ' a line of the client's, 'C< ' its raw bytes with Python's escapes, 'S: ' a
line of the server's, 'M: ' a line of the last message, '@ ' settings or 'tls-started', '#' a comment."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxseal.smtp import replies
from mxseal.smtp.server import Server
from tests.smtp.conversation import HOST, Conversation, bytewise, settings

FILES = sorted((Path(__file__).parent / "dialogues").glob("*.txt"))
WORDS = {"yes": True, "no": False}


def parse(text: str) -> tuple[dict[str, object], list[tuple[str, bytes]]]:
    """(settings, steps); lines of one kind are one step, as a client that pipelines sends them."""
    chosen: dict[str, object] = {}
    steps: list[tuple[str, bytes]] = []
    for line in text.splitlines():
        kind, value = line[:2], line[3:]
        if line.startswith("@"):
            value = line[2:]
            if value == "tls-started":
                steps.append(("@", b""))
                continue
            pairs = (word.partition("=") for word in value.split())
            chosen |= {name: WORDS.get(setting, setting) for name, _, setting in pairs}
        elif line and not line.startswith("#"):
            raw = kind == "C<"
            data = (
                value.encode("latin-1").decode("unicode_escape").encode("latin-1")
                if raw
                else value.encode() + b"\r\n"
            )
            if steps and steps[-1][0] == kind[0]:
                steps[-1] = (kind[0], steps[-1][1] + data)
            else:
                steps.append((kind[0], data))
    return chosen, steps


# What comes behind STARTTLS is only seen when it comes at once with it.
WAYS = [("whole", file) for file in FILES] + [
    ("byte by byte", file) for file in FILES if "whole-only" not in file.read_text()
]


@pytest.mark.parametrize(("how", "file"), WAYS, ids=[f"{file.stem}, {how}" for how, file in WAYS])
def test_the_server_says_what_the_dialogue_says(how: str, file: Path) -> None:
    chosen, steps = parse(file.read_text())
    chosen.pop("whole-only", None)
    server = Server(settings(**chosen))
    server.say(replies.banner(HOST))
    conversation = Conversation(server)
    said = server.output()
    for kind, data in steps:
        if kind == "C":
            assert said == b"", "the server said more than the dialogue"
            said = conversation.feed(*([data] if how == "whole" else bytewise(data)))
        elif kind == "S":
            assert said.decode() == data.decode()
            said = b""
        elif kind == "M":
            assert conversation.messages[-1] == data
        else:
            server.tls_started()
    assert said == b"", "the server said more than the dialogue"
