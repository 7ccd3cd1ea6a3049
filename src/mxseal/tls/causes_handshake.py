"""Causes of handshakes that fail: nothing in common, a refusal of theirs or of ours, silence. PURE."""

from __future__ import annotations

from mxseal.tls.telling import Cause

HANDSHAKE: dict[str, Cause] = {
    # --- nothing said: the network, or a peer that gave up
    "peer-gone": Cause(
        "unclear",
        "{Peer} closed the connection in the middle of the TLS handshake without giving a reason.",
        "If it happens every time with this peer, ask its administrator what its log says for this moment; "
        "a firewall or proxy that inspects SMTP between the two is the other usual cause.",
    ),
    "peer-gone-silent": Cause(
        "between",
        "{Peer} closed the connection before it sent a single byte of TLS.",
        "Single cases are port scanners and health checks and need no action; for a real mail server look "
        "for a firewall that inspects SMTP and breaks STARTTLS.",
    ),
    "peer-gone-in-hello": Cause(
        "between",
        "{Peer} was cut off in the middle of its first TLS message.",
        "If it happens every time, large packets get lost on the way (MTU, blocked ICMP, a post-quantum "
        "greeting that a firewall does not take): have a packet capture made on both ends.",
    ),
    "server-gone-silent": Cause(
        "unclear",
        "{Peer} agreed to STARTTLS and closed the connection on the first TLS message.",
        "Try without the post-quantum group, since old middleboxes choke on the larger greeting; if that "
        "does not help, ask the peer's administrator what its log says for this moment.",
    ),
    "peer-closed": Cause(
        "theirs",
        "{Peer} ended the TLS handshake in good order, but did not say why.",
        "Ask the peer's administrator what its log says for this moment.",
    ),
    "peer-closed-later": Cause(
        "theirs",
        "{Peer} broke the connection off right after the TLS handshake.",
        "In TLS 1.3 this is how a server refuses a client certificate, or the lack of one: ask its "
        "administrator whether it demands one from this gateway.",
    ),
    "reset": Cause(
        "between",
        "The connection was reset during the TLS handshake.",
        "Look for a firewall or load balancer between the two that cuts TLS off (SMTP inspection, packets "
        "larger than 1400 bytes); if there is none, ask the peer's administrator.",
    ),
    "timeout": Cause(
        "between",
        "{Peer} did not finish the TLS handshake in time.",
        "If small messages get through and this does not, look for packets lost because of their size (MTU, "
        "blocked ICMP); otherwise the peer is overloaded, and the next attempt may succeed.",
    ),
    "timeout-silent": Cause(
        "theirs",
        "{Peer} sent nothing at all when the TLS handshake was due.",
        "Its TLS hangs, or a firewall swallows TLS: ask the peer's administrator what its log says for this "
        "moment.",
    ),
    "timeout-in-hello": Cause(
        "between",
        "{Peer} sent only a part of its first TLS message, and then nothing.",
        "Large packets get lost on the way (MTU, blocked ICMP, a post-quantum greeting that a firewall does "
        "not take): have a packet capture made on both ends.",
    ),
    # --- no TLS at all
    "http-request": Cause(
        "theirs",
        "{Peer} spoke HTTP instead of TLS.",
        "This is a web client or a scanner on a mail port; nothing to do unless the address is known to you.",
    ),
    "clear-text": Cause(
        "theirs",
        "{Peer} went on in clear text after STARTTLS was agreed, instead of starting TLS.",
        "The peer's mail program or something in between (SMTP inspection of a firewall) mishandles "
        "STARTTLS: inspection has to be switched off for this connection, or the program repaired.",
    ),
    "clear-text-answer": Cause(
        "theirs",
        "{Peer} agreed to STARTTLS and then answered in clear text.",
        "The server's TLS is not working (often a certificate that its mail program can't read), or a "
        "firewall that inspects SMTP rewrites the dialogue: tell the peer's administrator.",
    ),
    # --- the two have nothing in common
    "client-too-old": Cause(
        "theirs",
        "{Peer} only knows TLS versions that are not allowed here; {ours} are.",
        "The sender's mail server needs an update or TLS 1.2 switched on; where the policy prefers TLS and "
        "does not require it, it may send in clear text meanwhile.",
    ),
    "server-too-old": Cause(
        "theirs",
        "{Peer} only knows TLS versions that are not allowed here; {ours} are.",
        "The recipient's mail server needs an update or TLS 1.2 switched on.",
    ),
    "no-common-version": Cause(
        "ours",
        "{Peer} and this gateway have no TLS version in common; {ours} are allowed here.",
        "The peer knows a version that is still good and is refused here: allow it again, or agree with the "
        "peer on a newer one.",
    ),
    "sslv2-hello": Cause(
        "theirs",
        "{Peer} opened with an SSL 2.0 greeting, which no current TLS library reads.",
        "The sender's TLS settings date from before 2011: SSL 2.0 has to be switched off there.",
    ),
    "only-broken-ciphers": Cause(
        "theirs",
        "{Peer} offers only ciphers that are broken (RC4, DES, 3DES, export or none at all).",
        "The sender has to enable AES cipher suites; do not weaken this gateway for it.",
    ),
    "only-rsa-key-exchange": Cause(
        "theirs",
        "{Peer} offers only cipher suites without forward secrecy (RSA key exchange).",
        "The sender has to enable ECDHE suites with AES-GCM: without them a stolen key opens all recorded "
        "mail, so this gateway does not serve it.",
    ),
    "only-dhe": Cause(
        "theirs",
        "{Peer} offers only Diffie-Hellman over large numbers (DHE), which this gateway does not serve.",
        "The sender should enable ECDHE suites.",
    ),
    "only-ecdsa": Cause(
        "ours",
        "{Peer} accepts only ECDSA certificates, and this listener has {keys} alone.",
        "Put an ECDSA certificate beside the present one on this listener (second certificate).",
    ),
    "only-rsa-certificates": Cause(
        "ours",
        "{Peer} accepts only RSA certificates, and this listener has {keys} alone.",
        "Put an RSA certificate beside the present one on this listener (second certificate).",
    ),
    "no-shared-cipher": Cause(
        "unclear",
        "{Peer} and this gateway have no cipher suite in common.",
        "Have the peer enable ECDHE with AES-GCM or ChaCha20; if it has, compare the key types: this "
        "listener serves {keys}.",
    ),
    "no-common-group": Cause(
        "unclear",
        "{Peer} and this gateway have no key exchange group in common.",
        "Have the peer enable X25519 or P-256, which every current TLS library has.",
    ),
    "no-common-signature": Cause(
        "ours",
        "None of this listener's certificates ({keys}) can sign in a way that {peer} accepts.",
        "Put a certificate of the other key type beside it, or have the peer accept current signatures "
        "(SHA-256 or better).",
    ),
    "inappropriate-fallback": Cause(
        "theirs",
        "{Peer} came back with a lower TLS version although both know a higher one.",
        "An earlier attempt of the same peer failed: look at the connection before this one.",
    ),
    "weak-key-exchange": Cause(
        "theirs",
        "{Peer} uses Diffie-Hellman parameters that are too short to be safe.",
        "The server needs parameters of 2048 bits or more, or ECDHE suites: tell its administrator.",
    ),
    "legacy-renegotiation": Cause(
        "theirs",
        "{Peer} lacks secure renegotiation (RFC 5746), so somebody in between could inject text.",
        "The server's TLS library dates from before 2010 or has the extension switched off: it needs an "
        "update.",
    ),
    # --- the peer said no
    "demonstration-certificate": Cause(
        "ours",
        "{Peer} does not trust the demonstration certificate that is still in use here.",
        "Get a certificate from an authority that the peer trusts and assign it in place of the "
        "demonstration certificate.",
    ),
    "our-certificate-untrusted": Cause(
        "ours",
        "{Peer} does not know the authority that issued {certificate}.",
        "Check that all intermediate certificates are sent (certconfig check); if they are, the peer has to "
        "add the authority to its trust list.",
    ),
    "our-certificate-self-signed": Cause(
        "ours",
        "{Peer} does not trust {certificate}, which is self-signed.",
        "Have its signing request signed by an authority that the peer trusts (certconfig csr).",
    ),
    "our-chain-incomplete": Cause(
        "ours",
        "{Peer} does not trust {certificate}: an intermediate certificate is missing in what we send.",
        "Get it from the authority and add it (certconfig intermediates add), then check (certconfig check).",
    ),
    "our-chain-disordered": Cause(
        "ours",
        "{Peer} does not trust {certificate}: its chain holds a leftover, a duplicate or a wrong order.",
        "Have the chain repaired (certconfig check --repair), which keeps exactly the path to the authority.",
    ),
    "our-certificate-expired": Cause(
        "ours",
        "{Peer} says that {certificate} has expired or is not valid yet.",
        "Renew it and commit; if it is in date, the peer's clock or an old intermediate certificate is "
        "wrong.",
    ),
    "our-certificate-revoked": Cause(
        "ours",
        "{Peer} says that {certificate} has been revoked.",
        "Ask the issuing authority why, get a new certificate with a new key and assign it.",
    ),
    "our-certificate-rejected": Cause(
        "ours",
        "{Peer} rejects {certificate} (alert: {alert}).",
        "Run certconfig check, then compare its names with what the peer connects to: usual reasons are "
        "another name, a missing intermediate, self-signed, a usage that does not allow it.",
    ),
    "our-certificate-unsupported": Cause(
        "ours",
        "{Peer} can't handle the type of {certificate}.",
        "Offer an RSA certificate beside the ECDSA one: old systems know RSA only.",
    ),
    "client-certificate-required": Cause(
        "ours",
        "{Peer} demands a certificate from this gateway and got none.",
        "Assign a certificate for deliveries, and have the peer accept its authority.",
    ),
    "no-client-certificate": Cause(
        "theirs",
        "{Peer} showed no certificate, and this listener demands one.",
        "The sender has to configure a client certificate for its deliveries.",
    ),
    "peer-certificate-rejected": Cause(
        "theirs",
        "The certificate of {peer} could not be verified.",
        "Check the issuing authority, the dates and the intermediates that the peer sends.",
    ),
    "handshake-failure": Cause(
        "unclear",
        "{Peer} broke off the handshake: it finds nothing acceptable in what this gateway offers.",
        "Mostly the peer insists on a cipher suite, a group or a client certificate that is missing here; "
        "its log says which.",
    ),
    "version-refused": Cause(
        "theirs",
        "{Peer} refuses the TLS versions that this gateway allows ({ours}).",
        "The peer needs TLS 1.2 or 1.3 switched on.",
    ),
    "insufficient-security": Cause(
        "ours",
        "{Peer} demands stronger cryptography than this gateway offers.",
        "Ask the peer what it demands: most often a longer key than the one of the certificate shown here.",
    ),
    "name-refused": Cause(
        "unclear",
        "{Peer} does not serve the name that was asked for in SNI.",
        "Check the host name in the MX record or the route: it has to be one that the server knows itself "
        "by.",
    ),
    "peer-internal-error": Cause(
        "theirs",
        "{Peer} reports an internal error of its own TLS.",
        "Tell the peer's administrator; often its private key or certificate file can't be read.",
    ),
    "peer-cannot-read-us": Cause(
        "unclear",
        "{Peer} says that it can't read what this gateway sent (alert: {alert}).",
        "Either something in between alters packets, or the peer stumbles over a modern handshake: try this "
        "destination without the post-quantum group.",
    ),
    "peer-cannot-decrypt": Cause(
        "between",
        "{Peer} could not decrypt or verify what this gateway sent (alert: {alert}).",
        "Something in between alters packets, or one side's memory or network card does; repeated cases "
        "need a packet capture on both ends.",
    ),
    "cancelled": Cause(
        "theirs",
        "{Peer} called the handshake off (alert: {alert}).",
        "Ask the peer's administrator what its log says for this moment.",
    ),
    "alert": Cause(
        "unclear",
        "{Peer} broke off with the alert “{alert}”.",
        "Ask the peer's administrator what its log says for this moment.",
    ),
    # --- we said no
    "damaged-record": Cause(
        "between",
        "What arrived from {peer} could not be decrypted: it was altered on its way or wrongly encrypted.",
        "If it repeats, look for a device in between that alters packets, and take a packet capture.",
    ),
    "malformed-message": Cause(
        "theirs",
        "{Peer} sent a TLS message that breaks the standard ({reason}).",
        "Single cases are scanners; a mail server that does this needs an update of its TLS library.",
    ),
    "bad-signature": Cause(
        "theirs",
        "{Peer} could not prove that it holds the key of its certificate ({reason}).",
        "The server's key and certificate do not belong together, or somebody in between poses as the "
        "server.",
    ),
    "peer-key-too-weak": Cause(
        "theirs",
        "{Peer} showed a certificate whose key or signature is too weak for this gateway ({reason}).",
        "They need a certificate with RSA of 2048 bits or more, or ECDSA P-256, signed with SHA-256 or "
        "better.",
    ),
    "our-internal-error": Cause(
        "ours",
        "This gateway's own TLS failed ({reason}).",
        "This should not happen: restart the gateway if it repeats, and report it with this line.",
    ),
    "our-settings": Cause(
        "ours",
        "This gateway's own TLS settings leave nothing to offer ({reason}).",
        "Look at the versions and ciphers that are set for this direction, and allow at least TLS 1.2.",
    ),
    "unexplained": Cause(
        "unclear",
        "The TLS connection with {peer} failed: {reason}.",
        "Search the peer's log for the same moment; a packet capture shows the rest.",
    ),
}
