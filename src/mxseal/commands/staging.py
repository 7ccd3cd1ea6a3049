"""Changes to the candidate that tell at once what `commit` will say about them."""

from __future__ import annotations

from typing import Any

from mxseal.commands.configuration import change
from mxseal.commands.context import Context
from mxseal.commands.results import Done
from mxseal.config.check import Problem, advice, check
from mxseal.config.model import Document


def stage(
    ctx: Context, document: Document, message: str, facts: dict[str, Any] | None = None, *notes: str
) -> Done:
    """Make `document` the candidate and say so, with `notes`, with what is newly against the rules, and with
    what is newly advised. A candidate may break a rule for a while: two changes may belong together."""
    before = ctx.services.history.candidate(ctx.owner)
    broken = _new(check(document), check(before))
    hints = _new(advice(document), advice(before))
    done = change(ctx, document, message)
    lines = [
        done.message,
        *notes,
        *(f"Warning: commit will refuse this: {problem}" for problem in broken),
        *(f"Note: {problem}" for problem in hints),
    ]
    told = {"refused": [str(problem) for problem in broken], "notes": [*notes, *map(str, hints)]}
    return Done("\n".join(lines), {**done.facts, **(facts or {}), **told})


def _new(after: list[Problem], before: list[Problem]) -> list[Problem]:
    return [problem for problem in after if problem not in before]
