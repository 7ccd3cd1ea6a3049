"""Requests without a browser: what tests of forms and of refusals use."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx2

from lab.ca import Authority
from mxseal.faces.web.sessions import COOKIE
from tests.web.serving import PATIENCE, WebServing


class Asker(httpx2.Client):
    """A client that says what a browser says of where its requests come from."""

    def csrf(self, path: str = "/queue") -> str:
        """The token of the session, out of a page's form."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.get(path).text)
        assert found is not None
        return found[1]

    def submit(self, path: str, **fields: str) -> httpx2.Response:
        """Post a form as its page has it."""
        return self.post(path, data={"csrf": self.csrf(), **fields})


Ask = Callable[..., Asker]


@contextmanager
def asker(web: WebServing, authority: Authority) -> Iterator[Ask]:
    """`make()`: a stranger's client; `make("anna")`: with a session of hers; `token`: with that cookie."""
    trust = ssl.create_default_context(cadata=authority.root.pem.decode())
    with ExitStack() as stack:

        def make(user: str | None = None, token: str = "", **headers: str) -> Asker:
            token = web.token(user) if user else token
            cookies = {COOKIE: token} if token else {}
            sent = {"Origin": web.address, "Sec-Fetch-Site": "same-origin"} | headers
            client = Asker(
                base_url=web.address, verify=trust, headers=sent, cookies=cookies, timeout=PATIENCE
            )
            return stack.enter_context(client)

        yield make
