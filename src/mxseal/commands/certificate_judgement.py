"""What is to be said about a stored certificate, with the cases that only a gateway's own view knows."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509

from mxseal.certs.chain import check_chain, issuer_urls, repair
from mxseal.certs.facts import Problem
from mxseal.certs.judge import judge, judge_dates
from mxseal.certs.make import DEMO
from mxseal.certs.x509 import Bundle
from mxseal.config.model import Certificate


def is_demo(name: str) -> bool:
    return name.lower() == DEMO.lower()


def demo_problems(leaf: x509.Certificate, now: float) -> list[Problem]:
    return [
        Problem(
            "demonstration",
            "warning",
            "The demonstration certificate encrypts, and no peer can verify it.",
            "Have a certificate of your own signed and assign that ('certconfig new', 'certconfig assign').",
        ),
        *judge_dates(leaf, now),
    ]


def private_root(problems: Sequence[Problem], bundle: Bundle, now: float) -> list[Problem]:
    """The problems of `check_chain`, without asking for a root of one's own.

    Where nothing but a trust list speaks for a gap, and the last certificate names no place to get what is
    missing, the chain ends at a root that is not in the list: adding that to the chain would be wrong.
    """
    if not any(problem.code == "missing-intermediate" for problem in problems):
        return list(problems)
    top = (bundle.leaf, *repair(bundle.leaf, bundle.intermediates, now))[-1]
    without_list = {entry.code for entry in check_chain(bundle.leaf, bundle.intermediates, now)}
    if "missing-intermediate" in without_list or issuer_urls(top):
        return list(problems)
    note = Problem(
        "root-not-trusted",
        "warning",
        "The chain ends at an authority that is not in the trust list.",
        "Nothing is to be done where all peers that verify know this authority.",
    )
    return [note if problem.code == "missing-intermediate" else problem for problem in problems]


def all_problems(
    profile: Certificate, bundle: Bundle, now: float, roots: Sequence[x509.Certificate] | None
) -> list[Problem]:
    """What `judge` and the chain check say about a stored profile."""
    if is_demo(profile.name):
        return demo_problems(bundle.leaf, now)
    return [
        *judge(bundle, now, strict_names=False, key_kept=True),
        *private_root(check_chain(bundle.leaf, bundle.intermediates, now, roots), bundle, now),
    ]
