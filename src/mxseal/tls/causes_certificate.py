"""Causes of a connection that is encrypted and not verified: what is wrong with the peer's certificate. PURE.

Chains are RFC 5280 §6, names RFC 6125 and reference §3.4. Where the level only prefers verification, mail
goes on encrypted and the cause is told all the same.
"""

from __future__ import annotations

from mxseal.tls.telling import Cause

CERTIFICATE: dict[str, Cause] = {
    "certificate-expired": Cause(
        "theirs",
        "The certificate of {peer} expired on {date}.",
        "Ask them to renew it; until then only a level without verification lets mail through.",
    ),
    "certificate-not-yet-valid": Cause(
        "theirs",
        "The certificate of {peer} becomes valid on {date}.",
        "Check this gateway's clock first; if it is right, they have to put the earlier certificate back.",
    ),
    "intermediate-expired": Cause(
        "theirs",
        "The intermediate certificate {subject} that {peer} sends expired on {date}.",
        "Ask them to install the current intermediate certificates of their authority.",
    ),
    "intermediate-not-yet-valid": Cause(
        "theirs",
        "The intermediate certificate {subject} that {peer} sends becomes valid on {date}.",
        "Check this gateway's clock first; if it is right, they have to install the intermediate that is in "
        "force.",
    ),
    "certificate-self-signed": Cause(
        "theirs",
        "The certificate of {peer} is self-signed: nobody vouches for it.",
        "Ask them for a certificate of an authority; if you know theirs to be right, add it to the custom "
        "list or pin its key for this destination.",
    ),
    "authority-unknown": Cause(
        "ours",
        "The chain of {peer} ends at the authority {authority}, which is not in the lists that are trusted "
        "here.",
        "If it is a public authority, bring the system list up to date; if it is the partner's own, import "
        "its root into the custom list.",
    ),
    "authority-unfit": Cause(
        "ours",
        "The chain of {peer} ends at the authority {authority}, which is in the lists that are trusted here, "
        "but whose own certificate is not good ({reason}).",
        "If {authority} has a newer certificate, import it into the custom list; if not, they need a "
        "certificate of another authority.",
    ),
    "intermediate-missing": Cause(
        "theirs",
        "{Peer} sends no certificate of {issuer}, which issued its own and is not trusted here by itself.",
        "Ask them to send the whole chain, with all intermediate certificates; if {issuer} is a root of "
        "their own, import it into the custom list.",
    ),
    "chain-wrong-order": Cause(
        "theirs",
        "{Peer} sends its chain in the wrong order.",
        "Ask them to send the certificate first and then each issuer after what it issued; stricter servers "
        "fail on it.",
    ),
    "chain-duplicate": Cause(
        "theirs",
        "{Peer} sends the certificate {subject} twice.",
        "Ask them to send each certificate once: mostly a renewal was appended to the old chain.",
    ),
    "chain-leftover": Cause(
        "theirs",
        "{Peer} sends the certificate {subject}, which signed nothing else in the chain.",
        "Ask them to remove what a renewal left behind, and to send the intermediates of the new "
        "certificate.",
    ),
    "authority-key-mismatch": Cause(
        "theirs",
        "{Peer} sends {subject}, which signed the certificate below it, but that one names another key or "
        "serial number of its issuer.",
        "Ask them to send the issuer's certificate that came with theirs, or to have theirs issued anew: "
        "the authority key identifier decides which issuer is followed.",
    ),
    "name-mismatch": Cause(
        "theirs",
        "The certificate of {peer} is for other names: the nearest is {name}.",
        "They need a certificate with one of the wanted names; if a provider hosts their mail, the level "
        "“verify hosted domains” compares the names of the mail exchangers too.",
    ),
    "certificate-without-names": Cause(
        "theirs",
        "The certificate of {peer} names no host at all.",
        "They need a certificate with their host names as subject alternative names.",
    ),
    "weak-key": Cause(
        "theirs",
        "A certificate of {peer} has a key that is too weak ({key}).",
        "They need a new certificate with RSA of 2048 bits or more, or ECDSA P-256.",
    ),
    "weak-signature": Cause(
        "theirs",
        "A certificate of {peer} is signed in a way that can be forged ({signature}).",
        "They need a certificate, and intermediates, signed with SHA-256 or better.",
    ),
    "wrong-usage": Cause(
        "theirs",
        "The certificate of {peer} is not meant for this use ({usage}).",
        "They need a certificate whose usage allows it: server authentication for a mail server, client "
        "authentication for one that sends.",
    ),
    "authority-not-allowed": Cause(
        "theirs",
        "A certificate in the chain of {peer} was not allowed to issue the next one ({reason}).",
        "The chain is not what their authority issued: ask them to install it anew, and be careful "
        "meanwhile.",
    ),
    "certificate-signature-wrong": Cause(
        "theirs",
        "A signature in the chain of {peer} is wrong ({reason}).",
        "The chain is damaged or forged: have them install it anew, and do not lower the level meanwhile.",
    ),
    "certificate-revoked": Cause(
        "theirs",
        "The certificate of {peer} was revoked by its authority.",
        "Ask them why, and for a new certificate with a new key; do not lower the level before you know.",
    ),
    "revocation-unknown": Cause(
        "ours",
        "Whether the certificate of {peer} was revoked can't be said: {reason}.",
        "Check the sources of revocation lists: each authority of the chain needs a list that is in date.",
    ),
    "certificate-missing": Cause(
        "theirs",
        "{Peer} showed no certificate, so nothing could be verified.",
        "They have to configure a certificate; a server that encrypts without one can be anybody.",
    ),
    "certificate-unreadable": Cause(
        "theirs",
        "{Peer} showed a certificate that can't be read.",
        "Their certificate breaks the standard (RFC 5280): they need a new one.",
    ),
    "certificate-not-pinned": Cause(
        "theirs",
        "The key of {peer} is none of those that are pinned for this destination.",
        "Ask the partner by another way whether the key was changed, and pin the new one only after that.",
    ),
    "certificate-unverified": Cause(
        "unclear",
        "The certificate of {peer} could not be verified: {reason}.",
        "Look at the chain with explain, and ask them to install it anew if it is not what their authority "
        "issued.",
    ),
}
