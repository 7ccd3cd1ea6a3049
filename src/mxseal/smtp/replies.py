"""Every reply of the listener in one place, to the letter of reference §3.2. PURE.

The enhanced status has a leading '#'. Texts that the reference does not give follow its style.
"""

from __future__ import annotations

from collections.abc import Iterable

from mxseal.smtp.wire import Reply


def _reply(line: str) -> Reply:
    return Reply(int(line[:3]), (line[4:],))


def banner(hostname: str) -> Reply:
    return Reply(220, (f"{hostname} ESMTP",))


def hello(hostname: str, keywords: Iterable[str] = ()) -> Reply:
    """To EHLO with the keywords of the service extensions, to HELO without."""
    return Reply(250, (hostname, *keywords))


def sender_ok(sender: str) -> Reply:
    return Reply(250, (f"sender <{sender}> ok",))


def recipient_ok(recipient: str) -> Reply:
    return Reply(250, (f"recipient <{recipient}> ok",))


def accepted(mid: int) -> Reply:
    """The message is on stable storage."""
    return Reply(250, (f"ok:  Message {mid} accepted",))


def chunk_ok(size: int) -> Reply:
    return Reply(250, (f"{size} octets received",))


def goodbye(hostname: str) -> Reply:
    return Reply(221, (hostname,))


def client_certificate_refused(reason: str) -> Reply:
    """`reason`: OpenSSL's words."""
    return Reply(554, (f"#5.7.0 Client certificate not accepted: {reason}",))


def syntax_error(what: str) -> Reply:
    return Reply(501, (f"#5.5.2 syntax error: {what}",))


def unknown_parameter(keyword: str) -> Reply:
    return Reply(555, (f"#5.5.4 unsupported parameter {keyword}",))


OK = _reply("250 ok")
RESET = _reply("250 reset")
GO_AHEAD = _reply("354 go ahead")
VERIFY = _reply("252 #2.5.2 can't verify the recipient, send the message and it will be tried")
HELP = _reply("214 #2.0.0 commands: EHLO HELO STARTTLS MAIL RCPT DATA BDAT RSET VRFY NOOP QUIT")

# TLS
START_TLS = _reply("220 Go ahead with TLS")
TLS_UNAVAILABLE = _reply("454 TLS not available due to a temporary reason")
TOO_MANY_HANDSHAKES = _reply("421 #4.4.5 Too many new TLS sessions at this time")
TOO_MANY_TLS_SESSIONS = _reply("421 #4.4.5 Too many TLS sessions at this time")
TLS_REQUIRED = _reply("530 #5.7.0 Must issue a STARTTLS command first")
SENDER_NEEDS_TLS = _reply("530 #5.7.0 This sender must issue a STARTTLS command first")
RECIPIENT_NEEDS_TLS = _reply("530 #5.7.0 Mail for this recipient is taken over TLS only")
CLIENT_CERTIFICATE_NEEDED = _reply("554 #5.7.0 A client certificate is needed to send mail here")
TLS_ACTIVE = _reply("503 #5.5.1 TLS is already active")
DATA_BEHIND_STARTTLS = _reply("554 #5.5.1 data behind STARTTLS, closing the connection")
AUTH_REQUIRED = _reply("530 Authentication required")
ENCRYPTION_REQUIRED = _reply("538 #5.7.11 Encryption required")

# Syntax and order
NOT_RECOGNIZED = _reply("500 #5.5.1 command not recognized")
NOT_OFFERED = _reply("502 #5.5.1 command not offered")
LINE_TOO_LONG = _reply("500 #5.5.2 command line too long")
ENDLESS_LINE = _reply("421 #5.5.2 command line without end, closing the connection")
CONTROL_CHARACTERS = syntax_error("control characters, or bytes that are not UTF-8, in a command")
EHLO_NEEDS_DOMAIN = _reply("501 #5.0.0 EHLO requires domain address")
EHLO_FIRST = _reply("503 #5.5.1 EHLO first")
MAIL_FIRST = _reply("503 #5.5.1 MAIL first")
RCPT_FIRST = _reply("503 #5.5.1 RCPT first")
SENDER_GIVEN = _reply("503 #5.5.1 sender already given")
CHUNKS_BEGUN = _reply("503 #5.5.1 BDAT or RSET first")
NEEDS_SMTPUTF8 = _reply("553 #5.6.7 a non-ASCII address needs SMTPUTF8")

# Limits
TOO_MANY_FROM_HOST = _reply("421 #4.4.5 Too many connections from your host")
TOO_MANY_TO_HOST = _reply("421 #4.4.5 Too many connections to this host")
TOO_MANY_TO_LISTENER = _reply("421 #4.4.5 Too many connections to this listener")
TOO_MANY_MESSAGES = _reply("421 #4.x.2 Too many messages for this session")
TOO_MANY_ERRORS = _reply("421 Exceeded bad SMTP command limit, disconnecting")
TOO_MANY_REFUSED = _reply("421 #4.7.1 Too many invalid recipients")
TOO_MANY_COMMANDS = _reply("421 #4.7.0 Too many commands for this session")
BARREN_TLS = _reply("421 #4.7.0 TLS records without content")
IDLE = _reply("421 #4.4.2 Idle for too long, closing the connection")
TOO_LONG_CONNECTED = _reply("421 Exceeded allowable connection time")
TOO_MANY_RECIPIENTS = _reply("452 #4.5.3 Too many recipients")
QUEUE_FULL = _reply("452 #4.3.1 queue full")
MESSAGE_TOO_LARGE = _reply("552 #5.3.4 message size exceeds limit")
HEADER_TOO_LARGE = _reply("552 #5.3.4 message header size exceeds limit")
BARE_NEWLINES = _reply("550 #5.6.0 bare CR or LF in the message, lines end with CRLF")
TOO_MANY_HOPS = _reply("554 Too many hops")

# Access
SENDER_REJECTED = _reply("554 #5.7.1 Your host may not send mail here, ask the postmaster of the recipient")
RECIPIENT_REJECTED = _reply("550 #5.1.0 Address rejected.")
# RFC 3463 §3.5: 4.4.3 is a directory server failure
DIRECTORY_UNAVAILABLE = _reply("451 #4.4.3 This recipient can't be looked up at the moment, try again later")
SENDER_UNDECIDED = _reply("451 #4.4.3 This sender can't be looked up at the moment, try again or use TLS")

# Server trouble
SHUTTING_DOWN = _reply("421 #4.3.2 Shutting down, try again later")
TEMPORARY_TROUBLE = _reply("421 #4.3.0 Can't take mail at the moment, try again later")
TEMPORARY_ERROR = _reply("451 #4.3.0 Server Error")
PERMANENT_ERROR = _reply("554 #5.3.0 Server Error")
