"""What was observed, as texts with places: the evidence below a diagnosis. PURE.

English texts are the keys of the catalogue; the places are those of `telling.PLACES`.
"""

from __future__ import annotations

OBSERVATIONS: dict[str, str] = {
    # --- said and answered
    "it-sent": "It sent: {text}",
    "it-answered": "It answered: {reply}.",
    "it-offered": "It offered {text}.",
    "alert-received": "It sent the alert “{alert}”.",
    "alert-sent": "This gateway ended the handshake with the alert “{alert}”.",
    "bytes-heard": "It had sent {count} bytes of TLS by then.",
    "openssl-said": "OpenSSL's reason: {reason}.",
    # --- offers
    "client-offer": "The client offered {versions} with {count} cipher suites ({suites}).",
    "client-offer-empty": "The client offered {versions} and no cipher suite.",
    "client-groups": "Its key exchange groups: {groups}.",
    "client-signatures": "Its signature algorithms: {signatures}.",
    "client-name": "It asked for the name {name}.",
    "client-no-name": "It asked for no name.",
    "our-versions": "This gateway allows {ours}.",
    "our-keys": "This listener has certificates of the type {keys}.",
    "our-groups": "Our key exchange groups: {groups}.",
    "our-certificate": "This gateway showed {certificate}.",
    # --- certificates
    "leaf": "It showed a certificate for {subject}, issued by {issuer}, valid until {date}, "
    "SHA-256 {sha256}.",
    "leaf-brief": "It showed a certificate for {subject}, issued by {issuer}.",
    "leaf-unreadable": "It showed a certificate that can't be read.",
    "leaf-alone": "It sent no other certificate.",
    "chain": "With it came {count} more: {others}.",
    "names": "The certificate is for {names}; wanted was {wanted}.",
    "no-names": "The certificate is for no host; wanted was {wanted}.",
    "where": "The missing certificate can be had at {where}.",
    "trust": "Trusted here: {trust}.",
    # --- further things that are wrong with a chain
    "also-expired": "Besides, {subject} expired on {date}.",
    "also-order": "Besides, the chain is in the wrong order.",
    "also-duplicate": "Besides, {subject} is sent twice.",
    "also-leftover": "Besides, {subject} is sent and signed nothing else in the chain.",
    "also-root": "Besides, the root {subject} is sent, which nobody needs.",
    "also-weak": "Besides, the key or signature of {subject} is weak ({key}).",
    # --- time
    "times": "Seconds for each stage: {times}.",
}
