"""`python -m tests.fuzz --target NAME --seconds N`: fuzz by hand, as long as wanted.

What breaks is written into the corpus, where `make test` runs it for ever after, and said with the command
that runs it again. The exit status is 1 when something broke.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from tests.fuzz import corpus
from tests.fuzz.campaign import Campaign, led_by_coverage
from tests.fuzz.targets import TARGETS


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz parts of the gateway.")
    parser.add_argument(
        "--target", choices=[*TARGETS, "all"], default="all", help="what to fuzz (default: all)"
    )
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--seed", type=int, help="of the run to repeat (default: another one each time)")
    parser.add_argument("--input", type=Path, help="run this kept input alone, and show what it raises")
    parser.add_argument("--coverage", action="store_true", help="let atheris lead it, where it is installed")
    given = parser.parse_args(arguments)
    if given.input is not None:
        return _again(given.target, given.input)
    if given.coverage:
        return _led(given.target, given.seconds)
    seed = random.randrange(1 << 32) if given.seed is None else given.seed
    broken = 0
    for name in TARGETS if given.target == "all" else [given.target]:
        campaign = Campaign(TARGETS[name], seed=seed)
        broken += len(campaign.run(given.seconds))
        print(f"{name}: {campaign.inputs} inputs, {len(campaign.findings)} findings, seed {seed}")
    return 1 if broken else 0


def _again(name: str, path: Path) -> int:
    if name == "all":
        name = path.resolve().parent.name
    if name not in TARGETS:
        sys.stderr.write(f"{path} lies in no folder of a target: name one with --target\n")
        return 2
    TARGETS[name].run(corpus.read(path))
    print(f"{name}: {path.name} breaks nothing")
    return 0


def _led(name: str, seconds: int) -> int:
    if name == "all":
        sys.stderr.write("--coverage needs one target: atheris ends the process with it\n")
        return 2
    try:
        led_by_coverage(TARGETS[name], seconds)
    except ImportError:
        sys.stderr.write("atheris is not installed: pip install atheris, or leave out --coverage\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
