"""From a document and the key store to the TLS contexts that listeners and delivery use.

All contexts of a document are built before anything is swapped: what can't be built changes nothing. Contexts
whose inputs did not change are taken over from the previous document, and with them the keys of their session
tickets.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
from cryptography import x509
from OpenSSL import SSL

from mxseal.certs.facts import (
    PrivateKey,
    Problem,
    common_name,
    dns_names,
    fingerprint,
    key_name,
    key_type,
    pem,
    title,
)
from mxseal.certs.judge import is_fqdn, key_strength
from mxseal.certs.keys import KeyDamaged, KeyStore
from mxseal.certs.profiles import parse, sent
from mxseal.certs.x509 import Bundle
from mxseal.config.model import Certificate, Delivery, Document, Listener, TlsSettings
from mxseal.tls import profiles
from mxseal.tls.contexts import (
    CertificateFiles,
    ClientTls,
    ContextProblem,
    ServerTls,
    SniCertificates,
    client_context,
    server_context,
)
from mxseal.tls.receiving import VERIFYING


class ContextsRefused(Exception):
    """The document's certificates can't be put to work; `problems` has all reasons with their key paths."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(problem.sentence() for problem in problems))
        self.problems = tuple(problems)


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """One listener's context and what a client gets to see."""

    context: SSL.Context
    inputs: str
    """Digest of what the context was made of: equal inputs, same context."""
    fingerprints: frozenset[str]
    """SHA-256 (colon hex) of the leaves for clients that name no host, or an unknown one."""
    by_name: tuple[tuple[tuple[str, ...], frozenset[str]], ...] = ()
    """(host names, fingerprints of the leaves) for clients that name one of them."""

    def expected(self, server_name: str | None) -> frozenset[str]:
        if server_name is None:
            return self.fingerprints
        name = server_name.lower().rstrip(".")
        for wanted in (name, "*." + name.partition(".")[2]):
            for names, fingerprints in self.by_name:
                if wanted in names:
                    return fingerprints
        return self.fingerprints


class Delivering(msgspec.Struct, frozen=True, kw_only=True):
    """The contexts of outbound TLS. They are the same object when post-quantum groups are off."""

    context: SSL.Context
    classic: SSL.Context
    """Without post-quantum groups, for the second attempt at peers that choke on them."""
    inputs: str


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """The contexts of one document."""

    servers: Mapping[str, Serving]
    """By listener name."""
    delivery: Delivering
    directory: Delivering | None = None
    """For LDAP over TLS; None without a profile that wants it."""
    analysis: Mapping[str, Delivering] = {}
    """For analysis servers over TLS, by name."""

    def server_context(self, listener: str) -> SSL.Context:
        return self.servers[listener].context

    def expected_fingerprints(self, listener: str, server_name: str | None = None) -> frozenset[str]:
        """The leaves (SHA-256, colon hex) that a probe of the listener may see: one for each key type."""
        return self.servers[listener].expected(server_name)


class _Material(msgspec.Struct, frozen=True):
    """A certificate with key, ready to be given to OpenSSL."""

    leaf: x509.Certificate
    key: PrivateKey
    chain: str
    """PEM: leaf, then path."""


class _Named(msgspec.Struct, frozen=True):
    names: tuple[str, ...]
    materials: tuple[_Material, ...]


def build(document: Document, keys: KeyStore, previous: Live | None, now: float) -> Live:
    """All contexts of `document`. Raises ContextsRefused with everything that is wrong, StorageRefused.

    Every certificate of the document is looked at, also those that nothing uses: one that can't work would
    fail on the day it is assigned.

    `now` (seconds since the epoch) decides among several certificates of one authority, nothing else: an
    expired certificate keeps being served (reference §1.7). `previous` None builds every context anew, as is
    needed after the system's trust list has changed.
    """
    builder = _Builder(document, keys, previous, now)
    builder.certificates()
    servers: dict[str, Serving] = {}
    for listener in document.listeners:
        serving = builder.listener(listener)
        if serving is not None:
            servers[listener.name] = serving
    delivering = builder.delivery(document.delivery)
    directory = builder.directory()
    analysis = builder.analysis()
    if builder.problems or delivering is None:
        raise ContextsRefused(builder.problems)
    return Live(servers=servers, delivery=delivering, directory=directory, analysis=analysis)


def client(document: Document, keys: KeyStore, certificate: str | None, path: str, now: float) -> Delivering:
    """Contexts for a server that is no next hop, such as one for logs: lists of authorities and versions are
    those of deliveries, the client certificate is the profile called `certificate`. `path`: its key in the
    document. Raises ContextsRefused, StorageRefused."""
    builder = _Builder(document, keys, None, now)
    profile = document.certificate(certificate) if certificate is not None else None
    builder.use(profile)
    delivering = builder.delivery(document.delivery.model_copy(update={"certificate": certificate}))
    if builder.problems or delivering is None:
        raise ContextsRefused([msgspec.structs.replace(each, path=path) for each in builder.problems])
    return delivering


def directory_contexts(document: Document, keys: KeyStore, now: float) -> Delivering | None:
    """Those for LDAP alone, to try a document with. Raises ContextsRefused."""
    builder = _Builder(document, keys, None, now)
    name = document.ldap.certificate
    builder.use(document.certificate(name) if name is not None else None)
    found = builder.directory()
    if builder.problems:
        raise ContextsRefused(builder.problems)
    return found


def analysis_contexts(document: Document, keys: KeyStore, now: float) -> Mapping[str, Delivering]:
    """Those for analysis servers alone, to try a document with. Raises ContextsRefused."""
    builder = _Builder(document, keys, None, now)
    for server in document.analysis_servers:
        builder.use(document.certificate(server.certificate) if server.certificate is not None else None)
    found = builder.analysis()
    if builder.problems:
        raise ContextsRefused(builder.problems)
    return found


class _Builder:
    """Collects problems on the way, so that all are told at once."""

    def __init__(self, document: Document, keys: KeyStore, previous: Live | None, now: float) -> None:
        self.problems: list[Problem] = []
        self._document = document
        self._keys = keys
        self._previous = previous
        self._now = now
        self._materials: dict[str, _Material | None] = {}

    def certificates(self) -> None:
        """Look at every certificate; what is wrong with one is told here, once, not at its uses."""
        for profile in self._document.certificates:
            self.use(profile)

    def use(self, profile: Certificate | None) -> None:
        """Have this one at hand."""
        if profile is not None:
            self._materials[profile.name] = self._usable(profile)

    def listener(self, listener: Listener) -> Serving | None:
        place = f"listeners.{listener.name}"
        before = len(self.problems)
        default = self._side_by_side(listener, place)
        named = self._by_name(listener, place)
        used = (listener.certificate, listener.second_certificate, *listener.sni_certificates)
        unusable_here = any(self._materials.get(name) is None for name in used if name is not None)
        verifies = verifies_clients(self._document, listener.name)
        trust = self._trust_mark() if verifies else "nobody"
        if unusable_here or trust is None or len(self.problems) > before:
            return None
        settings = _settings("inbound", self._document.ssl.inbound)
        inputs = _digest(
            *(material.chain for material in default),
            *(part for entry in named for part in ("sni", *entry.names, *(m.chain for m in entry.materials))),
            *("settings", *settings.versions, settings.ciphers, "trust", trust),
        )
        known = self._previous.servers.get(listener.name) if self._previous else None
        if known is not None and known.inputs == inputs:
            return known
        values = self._server_values(settings, verifies, _digest(listener.name, inputs))
        context = self._server_context(default, named, values, f"{place}.certificate")
        if context is None:
            return None
        return Serving(
            context=context,
            inputs=inputs,
            fingerprints=_fingerprints(default),
            by_name=tuple((entry.names, _fingerprints(entry.materials)) for entry in named),
        )

    def delivery(self, delivery: Delivery) -> Delivering | None:
        known = self._previous.delivery if self._previous else None
        return self._client("delivery", delivery.certificate, known, post_quantum=delivery.post_quantum)

    def directory(self) -> Delivering | None:
        """Without the large key share: a directory is near, and its network old."""
        document = self._document
        if all(profile.security == "none" for profile in document.ldap_profiles):
            return None
        known = self._previous.directory if self._previous else None
        return self._client("ldap", document.ldap.certificate, known, post_quantum=False)

    def analysis(self) -> dict[str, Delivering]:
        """One for each server that is asked over TLS: each has its authorities and its certificate."""
        found: dict[str, Delivering] = {}
        for server in self._document.analysis_servers:
            if server.security == "none":
                continue
            known = self._previous.analysis.get(server.name) if self._previous else None
            place = f"analysis_servers.{server.name}"
            context = self._client(
                place, server.certificate, known, post_quantum=False, only=server.authority
            )
            if context is not None:
                found[server.name] = context
        return found

    def _client(
        self,
        place: str,
        name: str | None,
        known: Delivering | None,
        *,
        post_quantum: bool,
        only: str | None = None,
    ) -> Delivering | None:
        """Contexts with the lists of authorities that hold for all connections out, or with `only` (PEM) in
        their place."""
        material = self._material(name, f"{place}.certificate") if name is not None else None
        ca_file = self._document.delivery.ca_file if only is None else None
        lists = self._document.trust
        authorities = tuple(entry.certificate for entry in lists.authorities) if lists.custom else ()
        system = lists.system and only is None
        if only is not None:
            authorities = split_pem(only)
        trust = self._trust(ca_file) if system else "none"
        if trust is None or (material is None and name is not None):
            return None
        settings = _settings("outbound", self._document.ssl.outbound)
        inputs = _digest(
            material.chain if material else "",
            trust,
            str(post_quantum),
            *authorities,
            *("settings", *settings.versions, settings.ciphers),
        )
        if known is not None and known.inputs == inputs:
            return known
        try:
            with ExitStack() as files:
                values = ClientTls(
                    trust=ca_file,
                    system=system,
                    authorities=authorities,
                    partial=only is not None,
                    min_version=settings.lowest,
                    max_version=settings.highest,
                    ciphers=settings.ciphers,
                    certificate=_files(files, material) if material else None,
                    post_quantum=False,
                )
                classic = client_context(values)
                modern = classic
                if post_quantum:
                    modern = client_context(msgspec.structs.replace(values, post_quantum=True))
        except ContextProblem as problem:
            remedy = f"See {place}.certificate and delivery.ca_file."
            if only is not None:
                remedy = f"See {place}.certificate and {place}.authority."
            self._refuse("context", str(problem), remedy, place)
            return None
        return Delivering(context=modern, classic=classic, inputs=inputs)

    def _side_by_side(self, listener: Listener, place: str) -> tuple[_Material, ...]:
        first = self._material(listener.certificate, f"{place}.certificate")
        if listener.second_certificate is None:
            return (first,) if first else ()
        path = f"{place}.second_certificate"
        second = self._material(listener.second_certificate, path)
        if first is None or second is None:
            return ()
        if key_type(first.leaf) == key_type(second.leaf):
            self._refuse(
                "same-key-type",
                f"{listener.certificate} and {listener.second_certificate} both have "
                f"{key_type(first.leaf)} keys, "
                "and a client is shown one certificate of each type.",
                "Choose one with an RSA and one with an ECDSA key, or serve the other by server name "
                "(sni_certificates).",
                path,
            )
        return first, second

    def _by_name(self, listener: Listener, place: str) -> tuple[_Named, ...]:
        """SNI certificates; those for the same names with keys of different types go side by side."""
        groups: dict[tuple[str, ...], list[_Material]] = {}
        for index, name in enumerate(listener.sni_certificates):
            path = f"{place}.sni_certificates.{index}"
            material = self._material(name, path)
            if material is None:
                continue
            names = server_names(material.leaf)
            if not names:
                self._refuse(
                    "sni-without-name",
                    f"The certificate {name} holds no host name that a client could ask for.",
                    "Take it out of sni_certificates, or use one with subject alternative names.",
                    path,
                )
                continue
            group = groups.setdefault(names, [])
            if key_type(material.leaf) in map(key_type, (other.leaf for other in group)):
                self._refuse(
                    "sni-twice",
                    f"The certificate {name} has the names and the key type of one before it: it would "
                    "never be shown.",
                    "Take one of the two out of sni_certificates.",
                    path,
                )
                continue
            group.append(material)
        return tuple(_Named(names, tuple(materials)) for names, materials in groups.items())

    def _material(self, name: str, path: str) -> _Material | None:
        """The profile called `name`, with its key; None when that is not possible, with the problem noted."""
        if name not in self._materials:
            known = ", ".join(entry.name for entry in self._document.certificates) or "none"
            self._refuse(
                "unknown-certificate",
                f"There is no certificate called {name}.",
                f"Choose one of those that there are ({known}), or make it with certconfig.",
                path,
            )
            return None
        return self._materials[name]

    def _usable(self, profile: Certificate) -> _Material | None:
        wrong = unusable(profile)
        self._note(wrong)
        bundle = parse(profile)
        if isinstance(bundle, list):
            return None
        key = self._key(profile.name, bundle.leaf, f"certificates.{profile.name}.certificate")
        if wrong or key is None:
            return None
        return _Material(bundle.leaf, key, pem(*sent(profile, bundle, self._now)))

    def _key(self, name: str, leaf: x509.Certificate, path: str) -> PrivateKey | None:
        try:
            key = self._keys.key_of(leaf)
        except KeyDamaged as damage:
            self._refuse("key-damaged", str(damage), f"Import {name} again with its key.", path)
            return None
        if key is None:
            self._refuse(
                "key-missing",
                f"The key store holds no key that fits the certificate {name} ({title(leaf)}, "
                f"{key_name(leaf)}).",
                "Import it with its key (certconfig import), or remove it from the document.",
                path,
            )
        return key

    def _server_values(self, settings: profiles.Chosen, verifies: bool, configuration: str) -> ServerTls:
        """All but the certificates."""
        lists = self._document.trust
        return ServerTls(
            certificates=(),
            verifies_clients=verifies,
            trust=self._document.delivery.ca_file,
            system=lists.system,
            authorities=tuple(entry.certificate for entry in lists.authorities) if lists.custom else (),
            min_version=settings.lowest,
            max_version=settings.highest,
            ciphers=settings.ciphers,
            configuration=configuration,
        )

    def _trust_mark(self) -> str | None:
        """A mark of all that a client's chain may end in; None: it can't be read."""
        lists = self._document.trust
        listed = self._trust(self._document.delivery.ca_file) if lists.system else "none"
        custom = [entry.certificate for entry in lists.authorities] if lists.custom else []
        return None if listed is None else _digest(listed, *custom)

    def _server_context(
        self, default: tuple[_Material, ...], named: tuple[_Named, ...], values: ServerTls, path: str
    ) -> SSL.Context | None:
        try:
            with ExitStack() as files:
                return server_context(
                    msgspec.structs.replace(
                        values,
                        certificates=tuple(_files(files, material) for material in default),
                        sni=tuple(
                            SniCertificates(
                                names=entry.names,
                                certificates=tuple(_files(files, material) for material in entry.materials),
                            )
                            for entry in named
                        ),
                    )
                )
        except ContextProblem as problem:
            self._refuse(
                "context", str(problem), "Run the check of this certificate, or assign another one.", path
            )
            return None

    def _trust(self, ca_file: str | None) -> str | None:
        """A mark of the trust list's content: a changed file makes new contexts."""
        if ca_file is None:
            return "system"
        try:
            return hashlib.sha256(Path(ca_file).read_bytes()).hexdigest()
        except OSError as fault:
            self._refuse(
                "trust-unreadable",
                f"The file of trusted authorities {ca_file} can't be read ({fault.strerror}).",
                "Correct its path or its access rights, or leave it out for the system's list.",
                "delivery.ca_file",
            )
            return None

    def _note(self, problems: list[Problem]) -> None:
        # A profile that several services use is told once.
        self.problems += [problem for problem in problems if problem not in self.problems]

    def _refuse(self, code: str, text: str, remedy: str, path: str) -> None:
        self._note([Problem(code, "error", text, remedy, path)])


def verifies_clients(document: Document, listener: str) -> bool:
    """Whether a client of this listener may be asked for its certificate: by its policy's level, or because a
    group is for certain certificates."""
    groups = [group for group in document.sender_groups if not group.listeners or listener in group.listeners]
    policies = {document.default_policy, *(group.policy for group in groups)}
    return any(group.certificates for group in groups) or any(
        policy.tls in VERIFYING for policy in document.mail_flow_policies if policy.name in policies
    )


def _settings(use: profiles.Use, settings: TlsSettings) -> profiles.Chosen:
    return profiles.chosen(use, settings.profile, settings.protocols, settings.ciphers)


def unusable(profile: Certificate) -> list[Problem]:
    """What keeps a certificate of the document from ever being served, as far as it shows without its key:
    text that can't be read, a weak key. Each with its key's path."""
    place = f"certificates.{profile.name}"
    bundle = parse(profile)
    problems = bundle if isinstance(bundle, list) else []
    if isinstance(bundle, Bundle):
        problems = [
            msgspec.structs.replace(problem, path=f"{place}.certificate")
            for problem in key_strength(bundle.leaf)
            if problem.severity == "error"
        ]
    if profile.csr is not None:
        try:
            x509.load_pem_x509_csr(profile.csr.encode())
        except ValueError:
            text = f"The signing request of {profile.name} can't be read."
            remedy = "Leave the key csr out, or make a new request with certconfig csr."
            problems = [*problems, Problem("not-a-csr", "error", text, remedy, f"{place}.csr")]
    return problems


def server_names(leaf: x509.Certificate) -> tuple[str, ...]:
    """The host names (lower case, sorted) that choose a certificate by SNI: its DNS names, else its CN."""
    names = dns_names(leaf) or (common_name(leaf.subject),)
    return tuple(sorted({name.lower() for name in names if is_fqdn(name)}))


def _fingerprints(materials: tuple[_Material, ...]) -> frozenset[str]:
    return frozenset(fingerprint(material.leaf) for material in materials)


def _digest(*parts: str) -> str:
    """The key needs no place in it: the leaf holds its public half."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part.encode())
    return digest.hexdigest()


def split_pem(text: str) -> tuple[str, ...]:
    """The certificates of a PEM text, one each; what is no certificate stays as it is, to be refused."""
    end = "-----END CERTIFICATE-----"
    parts = [part.strip() for part in text.split(end)]
    found = tuple(f"{part}\n{end}\n" for part in parts[:-1])
    return (*found, parts[-1]) if parts[-1] or not found else found


def _files(files: ExitStack, material: _Material) -> CertificateFiles:
    return CertificateFiles(chain_path=files.enter_context(_memory_file(material.chain)), key=material.key)


@contextmanager
def _memory_file(text: str) -> Iterator[str]:
    """A path that OpenSSL can open while the block runs; nothing touches a disk.

    OpenSSL keeps a chain per certificate only when it reads it from a file.
    """
    descriptor = os.memfd_create("chain")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
