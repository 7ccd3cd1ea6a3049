"""Faults as `TLS failed: REASON` of the mail log (reference §4.3), to the letter: parsers match on it. PURE.

The reference speaks like OpenSSL 1.1.1, with the function that failed, and has FreeBSD's error numbers.
OpenSSL 3 and later give no function and reworded some reasons; both are put back here.
"""

from __future__ import annotations

import errno
import re

from mxseal.tls.facts import TlsFault

STARTTLS_UNAVAILABLE = "TLS required, STARTTLS unavailable, destination is TLS disabled"
STARTTLS_UNEXPECTED = "STARTTLS unexpected response"

_LIBRARY = "SSL routines"

# "tls alert X" was "sslv3 alert X" until OpenSSL 3.1 and "ssl/tls alert X" for a while.
_ALERT = re.compile(r"(?:ssl/tls|tls) alert (.+)")
_ALERTS_OF_ANY_AGE = re.compile(r"(?:sslv3|tlsv1|tlsv13) alert .+|tlsv1 .+")

_FUNCTIONS = {
    "bad extension": "tls_collect_extensions",
    "bad record type": "ssl3_get_record",
    "bad signature": "tls_process_cert_verify",
    "block cipher pad is wrong": "ssl3_get_record",
    "data between ccs and finished": "ssl3_read_bytes",
    "data length too long": "ssl3_get_record",
    "decryption failed or bad record mac": "ssl3_get_record",
    "digest check failed": "tls_process_finished",
    "encrypted length too long": "ssl3_get_record",
    "excessive message size": "tls_get_message_header",
    "http request": "ssl3_get_record",
    "https proxy request": "ssl3_get_record",
    "no suitable key share": "final_key_share",
    "no suitable signature algorithm": "tls_choose_sigalg",
    "packet length too long": "ssl3_get_record",
    "unexpected record": "ssl3_read_bytes",
    "unsafe legacy renegotiation disabled": "final_renegotiate",
    "wrong signature type": "tls12_check_peer_sigalg",
    "wrong version number": "ssl3_get_record",
}
_INBOUND = {
    "certificate verify failed": "tls_process_client_certificate",
    "inappropriate fallback": "tls_early_post_process_client_hello",
    "length mismatch": "tls_process_client_hello",
    "length too short": "tls_process_client_hello",
    "no ciphers specified": "bytes_to_cipher_list",
    "no compression specified": "tls_early_post_process_client_hello",
    "no shared cipher": "tls_early_post_process_client_hello",
    "no shared signature algorithms": "tls1_set_server_sigalgs",
    "peer did not return a certificate": "tls_process_client_certificate",
    "unexpected message": "ossl_statem_server_read_transition",
    "unknown protocol": "tls_early_post_process_client_hello",
    "unsupported protocol": "tls_early_post_process_client_hello",
    "version too low": "tls_early_post_process_client_hello",
}
_OUTBOUND = {
    "bad key share": "tls_parse_stoc_key_share",
    "bad length": "tls_process_server_hello",
    "certificate verify failed": "tls_process_server_certificate",
    "dh key too small": "tls_process_ske_dhe",
    "length mismatch": "tls_process_server_hello",
    "no ciphers available": "tls_construct_client_hello",
    "no protocols available": "tls_construct_client_hello",
    "unexpected message": "ossl_statem_client_read_transition",
    "unknown cipher returned": "set_client_ciphersuite",
    "unsupported protocol": "ssl_choose_client_version",
    "version too low": "ssl_choose_client_version",
    "wrong cipher returned": "set_client_ciphersuite",
    "wrong curve": "tls_process_ske_ecdhe",
    "wrong ssl version": "tls_process_server_hello",
}

_SOCKET_ERRORS = {
    errno.ECONNRESET: "[Errno 54] Connection reset by peer",
    errno.ETIMEDOUT: "[Errno 60] Operation timed out",
    errno.EPIPE: "[Errno 32] Broken pipe",
    errno.ECONNABORTED: "[Errno 53] Software caused connection abort",
    errno.ECONNREFUSED: "[Errno 61] Connection refused",
    errno.EHOSTDOWN: "[Errno 64] Host is down",
    errno.EHOSTUNREACH: "[Errno 65] No route to host",
    errno.ENETDOWN: "[Errno 50] Network is down",
    errno.ENETUNREACH: "[Errno 51] Network is unreachable",
    errno.ENOTCONN: "[Errno 57] Socket is not connected",
}
"""By the system's number; the text has FreeBSD's."""
_SOCKET_KINDS = {
    "peer-gone": "[Errno 0] Error",
    "reset": "[Errno 54] Connection reset by peer",
    "timeout": "[Errno 60] Operation timed out",
}


def socket_reason(number: int, text: str) -> str:
    """A socket error in the reference's style: the number is FreeBSD's where it is known."""
    return _SOCKET_ERRORS.get(number) or f"[Errno {number}] {text}"


def inbound_reason(fault: TlsFault) -> str:
    """The text after `ICID n TLS failed: `."""
    if fault.verify_error is not None:
        return verify_reason(fault.verify_error)
    return _reason(fault, _INBOUND)


def outbound_reason(fault: TlsFault) -> str:
    """The text after `DCID n TLS failed: ` for a handshake that failed."""
    return _reason(fault, _OUTBOUND)


def verify_reason(error: str) -> str:
    """The text for a certificate that a verifying level refuses; OpenSSL 1.1.1 wrote no hyphens."""
    return f"verify error: {error.replace('self-signed', 'self signed')}"


def _reason(fault: TlsFault, by_side: dict[str, str]) -> str:
    if fault.kind in _SOCKET_KINDS:
        return _SOCKET_ERRORS.get(fault.errno, _SOCKET_KINDS[fault.kind])
    reason = _ALERT.sub(r"sslv3 alert \1", fault.reason) or "unknown alert type"
    if _ALERTS_OF_ANY_AGE.fullmatch(reason) or fault.kind == "alert-received":
        function = "ssl3_read_bytes"
    else:
        function = by_side.get(reason) or _FUNCTIONS.get(reason, "")
    return f"('{fault.library or _LIBRARY}:{function}:{reason}')"
