"""An authority's web server on loopback, and the lists of revoked certificates that it publishes."""

from __future__ import annotations

import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from lab.ca import Authority, Issued
from mxseal.config.model import Document


def crl(
    authority: Authority,
    *revoked: x509.Certificate,
    at: float,
    hours: float = 24.0,
    made: float = -1.0,
    extension: x509.ExtensionType | None = None,
    signer: Authority | None = None,
) -> x509.CertificateRevocationList:
    """A list made `made` hours from `at`, that counts for `hours` from `at`. `signer`: who forges it."""
    now = datetime.fromtimestamp(at, UTC).replace(microsecond=0)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now + timedelta(hours=made))
        .next_update(now + timedelta(hours=hours))
    )
    for each in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(each.serial_number)
        entry = entry.revocation_date(now - timedelta(days=1))
        reason = x509.CRLReason(x509.ReasonFlags.key_compromise)
        builder = builder.add_revoked_certificate(entry.add_extension(reason, critical=False).build())
    if extension is not None:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign((signer or authority).key, hashes.SHA256())


def der(found: x509.CertificateRevocationList) -> bytes:
    return found.public_bytes(Encoding.DER)


def pem(found: x509.CertificateRevocationList) -> bytes:
    return found.public_bytes(Encoding.PEM)


class Publisher:
    """Serves `pages` by their path: content, or a status with headers. `asked` is what was asked for."""

    def __init__(self, issued: Issued | None = None, folder: Path | None = None) -> None:
        """With a certificate, by HTTPS."""
        self.pages: dict[str, bytes | tuple[int, dict[str, str]]] = {}
        self.asked: list[str] = []
        self.unbounded: set[str] = set()
        """Paths whose length is not told."""
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.asked.append(self.path)
                page = publisher.pages.get(self.path, (404, {}))
                status, headers = page if isinstance(page, tuple) else (200, {})
                content = b"" if isinstance(page, tuple) else page
                self.send_response(status)
                length = {} if self.path in publisher.unbounded else {"Content-Length": str(len(content))}
                for name, value in (length | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._scheme = "http"
        if issued is not None and folder is not None:
            files = issued.write(folder, "publisher")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(files.chain, files.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, path: str = "/ca.crl") -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}{path}"


def trusting(authority: Authority, *sources: dict[str, Any], **trust: Any) -> Document:
    """A document that believes one authority and fetches from `sources`."""
    entry = {"name": "Lab", "certificate": authority.root.pem.decode()}
    known = [entry]
    if authority.parent is not None:
        known.append({"name": "Lab Issuer", "certificate": authority.pem.decode()})
    plain = {"system": False, "custom": True, "authorities": known, "crl_sources": sources} | trust
    return Document.model_validate({"trust": plain})
