"""All targets by name."""

from __future__ import annotations

from tests.fuzz import (
    certificates,
    client_hello,
    configuration,
    dns_answers,
    icap_answers,
    ldap_answers,
    local_face,
    mail_log,
    message,
    notices,
    server_hello,
    smtp_client,
    smtp_server,
    threatgrid_answers,
)
from tests.fuzz.target import Target

_MODULES = (
    smtp_server,
    smtp_client,
    message,
    client_hello,
    certificates,
    configuration,
    dns_answers,
    icap_answers,
    ldap_answers,
    local_face,
    mail_log,
    notices,
    server_hello,
    icap_answers,
    threatgrid_answers,
)
TARGETS: dict[str, Target] = {module.TARGET.name: module.TARGET for module in _MODULES}
