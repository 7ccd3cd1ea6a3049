"""The tables of the document about servers that analyse files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mxseal.config.table import Table
from mxseal.config.values import Host, IcapService, Name, Port, SandboxName, Seconds


class AnalysisServer(Table):
    """`[[analysis_servers]]`: one server that says what a file is worth. Seconds, counts."""

    name: Name
    kind: Literal["threatgrid", "icap"]
    """threatgrid: an appliance that runs files, by the Threat Grid API v2; icap: a scanner (RFC 3507)."""
    host: Host
    port: Port | None = None
    """None: 443 for threatgrid, 11344 for icap over TLS, 1344 for icap without."""
    security: Literal["tls", "none"] = "tls"
    """none: for a scanner on this machine. Everybody between here and there reads the files and can answer in
    the server's place."""
    verify: bool = True
    """Whether the server's certificate must be verified, by its authority and the host's name."""
    authority: Annotated[str, Field(max_length=262_144)] | None = None
    """PEM: the only authorities that the server's certificate may come from; None: the lists of [trust]."""
    certificate: Name | None = None
    """Client certificate for this server; None: none is shown."""
    api_key: Name | None = None
    """Of threatgrid: which sealed secret is the key; `ampconfig` sets it."""
    key_as: Literal["header", "parameter"] = "header"
    """How the key is sent: in the header Authorization, or as the parameter api_key of each request."""
    private: bool = True
    """Of threatgrid: only the own organisation sees what is submitted."""
    vm: SandboxName = ""
    """Of threatgrid: the machine that runs the files; empty: the appliance chooses."""
    playbook: SandboxName = ""
    """Of threatgrid: what is done with a file while it runs; empty: the appliance's default."""
    malicious_from: Annotated[int, Field(ge=1, le=100)] = 90
    """Of threatgrid: the score from which a file is malicious."""
    service: IcapService = "avscan"
    """Of icap: the service, as it stands in icap://host/service."""
    connections: Annotated[int, Field(ge=1, le=100)] = 4
    """Files that are under way to the server at a time, in each worker."""
    connect_time: Seconds = 10.0
    """For name, connection and TLS together."""
    answer_time: Seconds = 60.0
    """For which a server may be silent while it is asked; a whole answer may take four times as long."""
    rest_time: Seconds = 60.0
    """For which a server that failed is not asked."""

    @property
    def at(self) -> int:
        """The port, also where none is written."""
        if self.port is not None:
            return self.port
        return {"threatgrid": 443}.get(self.kind, 11344 if self.security == "tls" else 1344)
