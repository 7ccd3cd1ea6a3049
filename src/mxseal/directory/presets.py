"""What the common directories call things: filters to begin with. PURE."""

from __future__ import annotations

from mxseal.ldap.values import Kind

PRESETS: dict[str, dict[Kind, str]] = {
    "active-directory": {
        "accept": "(|(mail={a})(proxyAddresses=smtp:{a}))",
        "routing": "(proxyAddresses=smtp:{a})",
        "masquerade": "(proxyAddresses=smtp:{a})",
        "group": "(&(memberOf={g})(proxyAddresses=smtp:{a}))",
    },
    "openldap": {
        "accept": "(|(mail={a})(mailLocalAddress={a}))",
        "routing": "(mailLocalAddress={a})",
        "masquerade": "(mailLocalAddress={a})",
        "group": "(&(memberOf={g})(mail={a}))",
    },
    "other": {
        "accept": "(mail={a})",
        "routing": "(mailLocalAddress={a})",
        "masquerade": "(mailLocalAddress={a})",
        "group": "(&(memberOf={g})(mail={a}))",
    },
}
"""By type of server and kind of query. Active Directory tells all addresses of a mailbox in proxyAddresses,
OpenLDAP's misc.schema in mailLocalAddress."""
SUFFIXES: dict[Kind, str] = {
    "accept": "ldapaccept",
    "routing": "routing",
    "masquerade": "masquerade",
    "group": "ldapgroup",
}
"""What the reference puts behind a profile's name for each kind of query: LDAP.ldapaccept."""
