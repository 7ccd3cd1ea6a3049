"""A gateway process whose logs go to a syslog server over TLS, and whose metrics are read over HTTPS."""

from __future__ import annotations

import http.client
import json
import smtplib
import ssl

import pytest

from lab import Unavailable
from lab.ca import Authority
from lab.gateway import Gateway
from lab.place import LOOPBACK, free_ports
from lab.process import PATIENCE
from lab.rsyslog import Rsyslog

DOCUMENT = """
hostname = "mx.lab.test"
workers = 1

[[listeners]]
name = "IncomingMail"
port = {smtp}
reverse_dns = false

[[mail_flow_policies]]
name = "ACCEPTED"
tls = "preferred"

[[interfaces]]
name = "Management"
https_port = {https}

[metrics]
allowed = {allowed}

[trust]
system = false
custom = true
authorities = [{{name = "Archive", certificate = '''{authority}'''}}]
"""
PUSH = """
[[log_subscriptions]]
name = "{log}"
kind = "{kind}"
push = {{host = "127.0.0.1", port = {port}}}
"""
LOGS = {"mail_logs": "mail", "json_logs": "json", "audit_logs": "audit"}


def test_logs_go_to_the_archive_and_numbers_to_prometheus() -> None:
    issued = Authority("Archive CA").issue(LOOPBACK)
    try:
        archive = Rsyslog("tls", issued)
    except Unavailable as reason:
        pytest.skip(str(reason))
    smtp, https = free_ports(2)
    pushes = "".join(PUSH.format(log=log, kind=kind, port=archive.port) for log, kind in LOGS.items())

    def document(*allowed: str) -> str:
        listed = json.dumps(allowed)
        pem = issued.root_pem.decode()
        return DOCUMENT.format(smtp=smtp, https=https, allowed=listed, authority=pem) + pushes

    with archive, Gateway(document()) as gateway:
        archive.wait_for("Configuration revision 2 is in force")
        with smtplib.SMTP(LOOPBACK, smtp):
            pass
        archive.wait_for("ICID 1 close")  # a line of a worker
        archive.wait_for('"event":"ConfigurationCommitted"')
        assert read(https)[0] in (401, 403)
        gateway.load(document(LOOPBACK))
        status, page = read(https)
        assert status == 200
        assert "mxseal_configuration_revision 3.0\n" in page
        assert 'mxseal_log_push_connected{log="mail_logs"} 1.0\n' in page
        gateway.kill9()
        gateway.start()
        gateway.stop()
        archive.wait_for('"event":"GatewayStopped"')
        assert sum("Configuration revision 3" in line for line in archive.raw()) in (1, 2)


def read(port: int) -> tuple[int, str]:
    """Status and text of GET /metrics."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = http.client.HTTPSConnection(LOOPBACK, port, context=context, timeout=PATIENCE)
    client.request("GET", "/metrics")
    answer = client.getresponse()
    text = answer.read().decode()
    client.close()
    return answer.status, text
