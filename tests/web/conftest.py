"""Fixtures of the pages' tests: one server and one browser for a module."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Unavailable
from lab.browser import Browser
from lab.ca import Authority
from tests.web.serving import WebServing, web_serving


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[WebServing]:
    """A site with users of each role and messages that wait."""
    root: Path = tmp_path_factory.mktemp("web")
    with web_serving(root, authority) as serving:
        serving.do(serving.fill_queue)
        serving.do(serving.fill_document)
        serving.do(serving.fill_peers)
        serving.do(serving.fill_logs)
        serving.do(serving.change)
        serving.do(serving.fill_tracking)
        yield serving


@pytest.fixture(scope="module")
def browser(authority: Authority) -> Iterator[Browser]:
    """Chromium, which trusts the tests' authority."""
    try:
        with Browser([authority.root.pem]) as engine:
            yield engine
    except Unavailable as reason:
        if os.environ.get("MXSEAL_LAB") == "required":
            raise
        pytest.skip(str(reason))
