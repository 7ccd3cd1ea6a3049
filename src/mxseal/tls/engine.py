"""One TLS connection over memory buffers: bytes in, bytes out. The peer's faults are values (TlsFault).

The only module that drives OpenSSL connections. Whoever owns the socket moves bytes: `receive` what came,
send what `output` gives, and look at `established`, `fault` and `closed` in between. After a fault `output`
still holds our alert, which should be sent before the socket is closed (RFC 8446 §6.2).
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Any, Literal

from cryptography import x509
from OpenSSL import SSL, crypto
from OpenSSL._util import ffi, lib

from mxseal.tls import clienthello, keylog
from mxseal.tls.facts import FaultKind, TlsFacts, TlsFault
from mxseal.tls.identity import DER_KEPT
from mxseal.tls.serverhello import ALERTS

_RECORD = 16_384
"""Largest plaintext of a TLS record (RFC 8446 §5.1): one read never leaves a rest inside OpenSSL."""
_LONGEST_SUBJECT = 500
_HEARD_FROM_CLIENT = 16_384
_HEARD_FROM_SERVER = 512
_ALERT = re.compile(
    r"(?:(?:ssl/tls|tls|sslv3|tlsv1|tlsv13) alert"
    r"|tlsv1(?= (?:unsupported extension|certificate unobtainable|unrecognized name|bad certificate)))"
    r" (?P<name>.+)"
)
_NOT_TLS = frozenset(
    ("wrong version number", "packet length too long", "data length too long", "bad record type")
)
_HTTP = frozenset(("http request", "https proxy request"))
_NULL: Any = ffi.NULL
_allocate: Any = ffi.new_allocator(should_clear_after_alloc=False)


def _new_buffer(size: int) -> Any:
    """Memory for `size` bytes, not cleared: OpenSSL writes into it before anyone reads."""
    return _allocate("char[]", size)


def _is_host_name(name: str) -> bool:
    """RFC 6066 §3: SNI carries DNS names, never address literals; OpenSSL takes at most 255 bytes."""
    if not name.isascii() or not 0 < len(name) <= 255:
        return False
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return True
    return False


class Engine:
    """A TLS connection, either side. Not thread-safe; one per connection.

    `server_name` (client) is sent as SNI when it is a host name. `session` (client) is what `session()` of an
    earlier engine with the same context gave; one of another context is ignored. `ask_certificate` (server):
    the client is asked for its certificate and need not have one; `facts` tell what it is worth. Needs a
    context that verifies clients.
    """

    __slots__ = (
        "_closing",
        "_connection",
        "_context",
        "_heard",
        "_incoming",
        "_outgoing",
        "_server_name",
        "_server_side",
        "_ssl",
        "_verify_errors",
        "closed",
        "established",
        "fault",
    )

    def __init__(
        self,
        context: SSL.Context,
        *,
        server_side: bool,
        server_name: str | None = None,
        session: object | None = None,
        ask_certificate: bool = False,
    ) -> None:
        self.established = False
        """The handshake is done: `write` and `facts` may be used."""
        self.closed = False
        """The peer said close_notify: nothing more will come."""
        self.fault: TlsFault | None = None
        # The SNI callback may switch the connection to another context; OpenSSL still calls the first one's
        # callbacks, so it has to live as long as the connection.
        self._context = context
        self._server_side = server_side
        self._server_name: str | None = None
        self._closing = False
        self._heard = bytearray()
        self._verify_errors: list[int] = []
        self._connection = connection = SSL.Connection(context, None)
        # A plain list, not the engine: a cycle would keep every connection until the collector runs.
        connection.set_app_data(self._verify_errors)
        self._ssl: Any = connection._ssl  # noqa: SLF001 - SSL_session_reused has no public name
        self._incoming: Any = connection._into_ssl  # noqa: SLF001
        self._outgoing: Any = connection._from_ssl  # noqa: SLF001
        if server_side:
            connection.set_accept_state()
            if ask_certificate:
                lib.SSL_set_verify(self._ssl, SSL.VERIFY_PEER, _NULL)  # the context's callback stays
                # pyOpenSSL's callback clears the verdict, so a resumed session would look verified; and one
                # begun without a certificate must not be resumed here.
                connection.set_options(SSL.OP_NO_TICKET)
            return
        connection.set_connect_state()
        if server_name and _is_host_name(server_name):
            connection.set_tlsext_host_name(server_name.encode("ascii"))
            self._server_name = server_name
        if isinstance(session, SSL.Session):
            try:
                connection.set_session(session)
            except ValueError:
                return  # from before a configuration change: a full handshake it is

    def tell_secrets(self, listener: keylog.Listener) -> None:
        """Before the handshake: hand the lines of this connection's key log to `listener`, until
        `keep_secrets`, which must follow."""
        keylog.listen(self._connection, self._context, listener)

    def keep_secrets(self) -> None:
        """The end of `tell_secrets`."""
        keylog.forget(self._connection)

    def start(self) -> None:
        """Client: put the ClientHello into the output. A server has nothing to do."""
        if not self._server_side and not self.established and self.fault is None:
            lib.ERR_clear_error()
            self._handshake()

    def receive(self, data: bytes) -> bytes:
        """Take ciphertext in; give the plaintext that it held, b"" while the handshake lasts.

        Never raises for anything a peer can send. After a fault or the peer's close_notify bytes are dropped.
        """
        if not data or self.closed or self.fault is not None:
            return b""
        # OpenSSL blames whatever is left in this thread's error queue on the next call that wants to read.
        lib.ERR_clear_error()
        if not self.established:
            room = (_HEARD_FROM_CLIENT if self._server_side else _HEARD_FROM_SERVER) - len(self._heard)
            self._heard += data[:room]
        lib.BIO_write(self._incoming, data, len(data))  # a memory buffer takes everything
        if not self.established and not self._handshake():
            return b""
        return self._read()

    def _handshake(self) -> bool:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as error:
            self._fail(error)
            return False
        self.established = True
        self._heard = bytearray()
        return True

    def _read(self) -> bytes:
        # OpenSSL's own calls where they succeed, which is nearly always: a third of the time that the
        # wrapper's checks and exceptions take. Where they don't, the wrapper finds out why.
        out: list[bytes] = []
        while lib.BIO_get_mem_data(self._incoming, _NULL):
            buffer = _new_buffer(_RECORD)
            size = lib.SSL_read(self._ssl, buffer, _RECORD)
            if size > 0:
                out.append(ffi.buffer(buffer, size)[:])
            elif lib.SSL_get_error(self._ssl, size) == lib.SSL_ERROR_WANT_READ:
                break
            else:
                self._explain_read(size)
                break
        return out[0] if len(out) == 1 else b"".join(out)

    def _explain_read(self, result: int) -> None:
        try:
            self._connection._raise_ssl_error(self._ssl, result)  # noqa: SLF001 - the wrapper's own reading
        except SSL.ZeroReturnError:
            self.closed = True
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self._fail(error)

    def eof(self) -> None:
        """The TCP connection ended. In the handshake that is a fault; later the mail protocol judges."""
        if not self.established:
            self.broken("peer-gone")
        elif self.fault is None:
            # Many peers close without close_notify. Since RFC 5246 §7.2.1 that no longer spoils a session,
            # but OpenSSL would mark it as not resumable when the connection is freed.
            self._connection.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)

    def broken(
        self, kind: Literal["peer-gone", "reset", "timeout"], *, errno: int = 0, reason: str = ""
    ) -> None:
        """The socket failed, or the caller's patience ended: record it as this connection's fault."""
        if self.fault is None:
            self.fault = self._make_fault(kind, errno=errno, reason=reason)

    def write(self, data: bytes) -> None:
        """Encrypt plaintext of any length into the output. Only once established; after a fault a no-op."""
        assert self.established, "write before the handshake was done"
        assert not self._closing, "write after close"
        if not data or self.fault is not None:
            return
        lib.ERR_clear_error()
        sent = lib.SSL_write(self._ssl, data, len(data))
        if sent == len(data):
            return
        try:
            self._connection._raise_ssl_error(self._ssl, sent)  # noqa: SLF001
            # A context in partial-write mode takes one record at a time.
            while sent < len(data):
                sent += self._connection.send(memoryview(data)[sent : sent + _RECORD])
        except SSL.Error as error:
            self._fail(error)

    def output(self) -> bytes:
        """Take what has to be sent to the peer; b"" if nothing. Also after a fault: our alert."""
        size = lib.BIO_get_mem_data(self._outgoing, _NULL)
        if not size:
            return b""
        buffer = _new_buffer(size)
        return bytes(ffi.buffer(buffer, lib.BIO_read(self._outgoing, buffer, size)))

    def _waiting_output(self) -> bytes:
        """What `output` would give, without taking it."""
        return _in_memory(self._outgoing)

    def close(self) -> None:
        """Put our close_notify into the output (RFC 8446 §6.1). What the peer still sends can be received."""
        if self._closing or not self.established or self.fault is not None:
            return
        self._closing = True
        lib.ERR_clear_error()
        try:
            self._connection.shutdown()
        except SSL.Error as error:
            self._fail(error)

    def session(self) -> object | None:
        """Client: what a later engine of the same context resumes with; None before the handshake's end.

        TLS 1.3 servers send tickets after the handshake: ask late, e.g. after the first reply. The session
        counts as broken unless `close` or `eof` was called before the engine is dropped.
        """
        if self._server_side or not self.established or self.fault is not None:
            return None
        return self._connection.get_session()

    def facts(self) -> TlsFacts:
        """What was negotiated. Only once established."""
        assert self.established, "facts before the handshake was done"
        connection = self._connection
        certificates = self._peer_certificates()
        error = self._verify_error() if certificates else None
        return TlsFacts(
            protocol=connection.get_protocol_version_name(),
            cipher=connection.get_cipher_name() or "",
            bits=connection.get_cipher_bits() or 0,
            group=connection.get_group_name(),
            resumed=bool(lib.SSL_session_reused(self._ssl)),
            server_name=self._asked_name(),
            peer_certificates=certificates,
            verify_error=error,
            verified=bool(certificates) and error is None,
            peer_subject=_subject(certificates[0]) if certificates else None,
        )

    def _asked_name(self) -> str | None:
        if not self._server_side:
            return self._server_name
        name = self._connection.get_servername()
        return None if name is None else clienthello.printable(name)

    def _verify_error(self) -> str | None:
        """The first reason why the peer's chain does not verify.

        A client's verdict survives resumption: OpenSSL keeps it in the session. A server that asks for
        certificates does not resume (see contexts).
        """
        code = self._verify_errors[0] if self._verify_errors else int(lib.SSL_get_verify_result(self._ssl))
        if code == 0:
            return None
        return bytes(ffi.string(lib.X509_verify_cert_error_string(code))).decode("ascii", "replace")

    def _peer_certificates(self) -> tuple[bytes, ...]:
        """DER, leaf first. Not parsed: a certificate that `cryptography` refuses is still evidence."""
        chain = lib.SSL_get_peer_cert_chain(self._ssl)
        sent = () if chain == _NULL else tuple(_der(chain, at) for at in range(lib.sk_X509_num(chain)))
        # OpenSSL leaves the leaf out of a server's list.
        leaf = self._connection.get_peer_certificate() if self._server_side else None
        return sent if leaf is None else (crypto.dump_certificate(crypto.FILETYPE_ASN1, leaf), *sent)

    def _fail(self, error: SSL.Error) -> None:
        library, reason = _first_error(error)
        alert = _ALERT.fullmatch(reason)
        kind: FaultKind = "local-error"
        name = None
        if isinstance(error, SSL.ZeroReturnError):
            kind, name = "peer-gone", "close notify"
        elif isinstance(error, SSL.SysCallError):
            kind = "peer-gone"
        elif alert is not None:
            kind, name = "alert-received", alert["name"]
        elif library and not reason:
            # OpenSSL has words for everything but alert numbers that no standard knows.
            kind, name = "alert-received", "unregistered"
        elif reason in _HTTP or (reason in _NOT_TLS and not clienthello.looks_like_tls(bytes(self._heard))):
            kind = "not-tls"
        self.fault = self._make_fault(kind, library=library, reason=reason, alert=name)

    def _make_fault(
        self,
        kind: FaultKind,
        *,
        library: str = "",
        reason: str = "",
        alert: str | None = None,
        errno: int = 0,
    ) -> TlsFault:
        heard = bytes(self._heard)
        return TlsFault(
            kind=kind,
            library=library,
            reason=reason,
            errno=errno,
            alert=alert,
            alert_sent=_alert_in(self._waiting_output()),
            offer=clienthello.parse(heard) if self._server_side and heard else None,
            heard=len(heard),
            peer_certificates=self._peer_certificates(),
            during="transfer" if self.established else "handshake",
            clear_text=clienthello.printable(heard.split(b"\n")[0])[:80] if kind == "not-tls" else "",
        )


_ALERT_RECORD = re.compile(rb"\x15\x03[\x00-\x04]\x00\x02[\x01\x02](?P<number>.)\Z", re.DOTALL)


def _in_memory(bio: Any) -> bytes:
    """What a memory BIO holds; it stays there."""
    place = ffi.new("char **")
    size = lib.BIO_get_mem_data(bio, place)
    return bytes(ffi.buffer(place[0], size)) if size > 0 else b""


def _der(chain: Any, at: int) -> bytes:
    """One certificate of OpenSSL's list; half the time of making Python's objects of it first."""
    bio = lib.BIO_new(lib.BIO_s_mem())
    try:
        lib.i2d_X509_bio(bio, lib.sk_X509_value(chain, at))
        return _in_memory(bio)
    finally:
        lib.BIO_free(bio)


def _alert_in(output: bytes) -> str | None:
    """Name of the alert (RFC 8446 §6) that ends `output` in clear; those under keys can't be read here."""
    found = _ALERT_RECORD.search(output[-7:])
    return None if found is None else ALERTS.get(found["number"][0])


def _first_error(error: SSL.Error) -> tuple[str, str]:
    """('SSL routines', reason): the first entry of the TLS library itself, else the first of any."""
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    own = [entry for entry in entries if entry[0] == "SSL routines"] or entries
    return (str(own[0][0]), str(own[0][2])) if own else ("", "")


def _subject(der: bytes) -> str | None:
    return (_read_subject if len(der) > DER_KEPT else _kept_subject)(der)


def _read_subject(der: bytes) -> str | None:
    try:
        return x509.load_der_x509_certificate(der).subject.rfc4514_string()[:_LONGEST_SUBJECT]
    except ValueError:
        return None


_kept_subject = lru_cache(maxsize=1024)(_read_subject)
