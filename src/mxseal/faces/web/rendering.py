"""Templates to pages: Jinja with everything escaped, an environment for each language."""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, datetime
from functools import lru_cache
from types import CodeType
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.bccache import Bucket, BytecodeCache
from markupsafe import Markup, escape

from mxseal.clock import Clock
from mxseal.commands.results import Field, Record, Shown
from mxseal.commands.times import at_of
from mxseal.faces.render import clean
from mxseal.faces.web import moments
from mxseal.faces.web.retold import retold
from mxseal.faces.web.static import Static
from mxseal.faces.web.texts import NAMES, catalogue, markup, plural, say, translated
from mxseal.language import LANGUAGES, Language

if TYPE_CHECKING:
    from mxseal.faces.web.visit import Visit


class _Compiled(BytecodeCache):
    """Templates that were compiled, for all languages: their code is the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._known.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        assert bucket.code is not None, "it was compiled"
        self._known[bucket.key, bucket.checksum] = bucket.code


_COMPILED = _Compiled()


class Rendering:
    """Makes pages. What templates may call is listed in `_environment`."""

    def __init__(self, static: Static, clock: Clock) -> None:
        self._static = static
        self._clock = clock
        self.environments = {language: self._environment(language) for language in LANGUAGES}
        self._icon = lru_cache(maxsize=500)(self._drawn)
        self._warming: threading.Thread | None = None

    def warm(self) -> None:
        """Compile all templates: half a second of a processor, beside what else is done."""
        for language, environment in self.environments.items():
            catalogue(language)
            for name in environment.list_templates(["html"]):
                environment.get_template(name)

    def page(self, template: str, visit: Visit, values: dict[str, Any]) -> str:
        if self._warming is None:
            # Whoever sees a first page reads it, or types a password: meanwhile all others get ready.
            self._warming = threading.Thread(target=self.warm, daemon=True)
            self._warming.start()
        environment = self.environments[visit.language]
        return environment.get_template(template).render(visit=visit, **values)

    def _environment(self, language: Language) -> Environment:
        environment = Environment(
            loader=PackageLoader("mxseal.faces.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            bytecode_cache=_COMPILED,
            finalize=_clean,
        )
        speak = markup(language)
        environment.globals |= {
            "_": speak,
            "plural": plural(language),
            "told": lambda text: retold(language, translated(language, text)),
            "retold": lambda text: retold(language, text),
            "language": language,
            "languages": NAMES,
            "static": self._static.address,
            "icon": lambda name, words="": self._icon(name, str(words)),
            "when": lambda at: self._when(language, at),
            "ago": lambda at: moments.ago(say(language), self._clock.now() - at),
            "stamp": lambda at, hours: moments.stamp(language, at, hours),
            "lasting": lambda seconds: moments.span(say(language), seconds),
            "zone": lambda: time.strftime("%Z", time.localtime(self._clock.now())),
            "grouped": grouped,
            "browser": lambda agent: moments.browser(say(language), agent),
            "sections": sections,
            "address": address,
            "size": lambda count: moments.size(language, count),
            "number": lambda value: moments.number(language, value),
            "moment_of": at_of,
            "shown": lambda value: isinstance(value, Shown),
        }
        return environment

    def _drawn(self, name: str, words: str) -> Markup:
        """A picture of the sprite. Without `words` a screen reader passes over it."""
        address = f"{self._static.address('icons.svg')}#{name}"
        told = Markup('role="img" aria-label="{}"').format(words) if words else Markup('aria-hidden="true"')
        return Markup('<svg class="icon" {}><use href="{}"></use></svg>').format(told, address)

    def _when(self, language: Language, at: float | None) -> Markup:
        """The time, and how long ago, or until then, beside it."""
        if at is None:
            return Markup('<span class="quiet">–</span>')
        now = self._clock.now()
        stamp = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Markup('<time datetime="{}">{} <span class="quiet">{}</span></time>').format(
            stamp, moments.absolute(language, at, now), moments.ago(say(language), now - at)
        )


def _clean(value: Any) -> Any:
    """Text from strangers must not turn the direction of a page's text, nor bring control characters."""
    return clean(value) if type(value) is str else value


def grouped(fingerprint: str) -> Markup:
    """'3F2A90CC…' in groups of four, which can be read aloud and compared; copied, it is whole."""
    plain = fingerprint.replace(":", "")
    groups = [plain[at : at + 4] for at in range(0, len(plain), 4)]
    spans = Markup("").join(Markup("<span>{}</span>").format(escape(group)) for group in groups)
    return Markup('<code class="groups">{}</code>').format(spans)


def sections(record: Record) -> list[tuple[str, list[Field]]]:
    """The fields of a record under their headings, both in the order in which they come."""
    found: dict[str, list[Field]] = {}
    for field in record.fields:
        found.setdefault(field.section, []).append(field)
    return list(found.items())


def address(text: str) -> Markup:
    """A mail address or domain, which may be broken before its signs and nowhere else."""
    return Markup(re.sub(r"([@.])", r"<wbr>\1", str(escape(clean(text)))))  # noqa: S704 - escaped before
