"""Directories, tokens, recordings, log subscriptions and settings by their forms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab.ca import Authority
from tests.web.around import SECRET
from tests.web.asking import Ask, Asker, asker
from tests.web.serving import WebServing


@pytest.fixture(scope="module")
def ask(web: WebServing, authority: Authority) -> Iterator[Ask]:
    with asker(web, authority) as make:
        yield make


@pytest.fixture
def anna(web: WebServing, ask: Ask) -> Iterator[Asker]:
    """An administrator without uncommitted changes."""
    web.do(lambda: web.services.history.clear("user:anna"))
    yield ask("anna")
    web.do(lambda: web.services.history.clear("user:anna"))


def candidate(web: WebServing) -> Any:
    return web.services.history.candidate("user:anna")


# --- directories ------------------------------------------------------------------------------------------


def _profile(**changes: str) -> dict[str, str]:
    return {
        "hosts": "dc1.example.com dc3.example.com", "type_": "active-directory", "security": "ldaps",
        "verify": "on", "base": "DC=example,DC=com", "bind": "password", "strategy": "failover",
        "bind_name": "CN=mail,DC=example,DC=com",
    } | changes  # fmt: skip


def test_a_directory_is_changed_and_its_password_is_sealed_and_never_shown(
    web: WebServing, anna: Asker
) -> None:
    path = "/system/ldap/profiles/Staff/edit"
    assert anna.submit(path, **_profile(password=SECRET)).status_code == 303
    changed = candidate(web).ldap_profiles[0]
    assert changed.hosts == ("dc1.example.com", "dc3.example.com")
    assert changed.password not in ("0123456789abcdef", SECRET)
    for page in (path, "/system/ldap", "/changes", "/system/configuration"):
        assert SECRET not in anna.get(page).text


def test_a_directory_whose_password_is_left_empty_keeps_it(web: WebServing, anna: Asker) -> None:
    anna.submit("/system/ldap/profiles/Staff/edit", **_profile(password=""))
    assert candidate(web).ldap_profiles[0].password == "0123456789abcdef"


def test_a_new_directory_brings_the_usual_queries(web: WebServing, anna: Asker) -> None:
    anna.submit("/system/ldap/profiles/new", name="Branch", queries="yes", **_profile(password=SECRET))
    assert "Branch.ldapaccept" in {query.name for query in candidate(web).ldap_queries}


def test_a_query_is_shown_with_its_values_and_replaced(web: WebServing, anna: Asker) -> None:
    path = "/system/ldap/queries/Clear.ldapaccept/edit"
    assert 'value="(mail={a})"' in anna.get(path).text
    anna.submit(path, profile="Clear", kind="accept", filter_="(uid={u})")
    found = {query.name: query.filter for query in candidate(web).ldap_queries}
    assert found["Clear.ldapaccept"] == "(uid={u})"
    assert len(found) == 3


def test_a_listener_is_given_a_query_and_one_for_another_purpose_is_refused(
    web: WebServing, anna: Asker
) -> None:
    path = "/system/ldap/listeners/IncomingMail/{}"
    anna.submit(path.format("accept"), query="Staff.ldapaccept", at="work-queue", unavailable="defer")
    assert candidate(web).listeners[0].ldap_accept.query == "Staff.ldapaccept"
    refused = anna.submit(path.format("routing"), query="Staff.ldapaccept")
    assert refused.status_code == 422
    assert "routing query" in refused.text


def test_kept_answers_of_one_directory_are_forgotten(web: WebServing, anna: Asker) -> None:
    anna.submit("/system/ldap/flush", profile="Staff")
    assert web.services.directories.cleared[-1] == ("Staff",)


# --- tokens -----------------------------------------------------------------------------------------------


def test_a_token_is_shown_once_and_kept_by_no_page_or_cache(web: WebServing, ask: Ask) -> None:
    rhea = ask("rhea")
    made = rhea.submit("/system/tokens/new", name="watch", role="read-only", expires="90d")
    text = made.text.split('id="token-text">')[1].split("<")[0]
    assert made.headers["cache-control"] == "no-store"
    assert web.services.tokens.named("watch") is not None
    assert text not in rhea.get("/system/tokens").text
    assert "watch" in rhea.get("/system/tokens").text


def test_a_token_can_have_no_more_rights_than_its_user(web: WebServing, ask: Ask) -> None:
    refused = ask("rhea").submit("/system/tokens/new", name="more", role="administrator", expires="1d")
    assert refused.status_code == 422
    assert web.services.tokens.named("more") is None


def test_a_token_is_revoked_after_a_question_and_not_by_others(web: WebServing, ask: Ask) -> None:
    anna, rhea = ask("anna"), ask("rhea")
    anna.submit("/system/tokens/new", name="gone", role="read-only", expires="1d")
    rhea.submit("/system/tokens/revoke", name="gone", sure="yes")
    assert web.services.tokens.named("gone") is not None
    assert "gone" in anna.submit("/system/tokens/revoke", name="gone").text
    assert web.services.tokens.named("gone") is not None
    anna.submit("/system/tokens/revoke", name="gone", sure="yes")
    assert web.services.tokens.named("gone") is None


# --- recordings -------------------------------------------------------------------------------------------

NAME = "20260216-093102-icid8"


def test_a_recording_is_armed_and_taken_back(web: WebServing, anna: Asker) -> None:
    anna.submit("/system/captures/arm", domain="partner.example", only="delivery", count="2", minutes="5")
    (armed,) = web.services.captures.armed()
    assert (armed.order.domain, armed.order.count, armed.order.content) == ("partner.example", 2, False)
    assert "partner.example" in anna.get("/system/captures").text
    anna.submit("/system/captures/disarm", number=armed.order.name)
    assert web.services.captures.armed() == []


def test_a_recording_that_says_no_connection_is_refused_in_its_form(anna: Asker) -> None:
    refused = anna.submit("/system/captures/arm", count="1", minutes="5")
    assert refused.status_code == 422


def test_a_recording_is_downloaded_whole(anna: Asker) -> None:
    got = anna.submit(f"/system/captures/{NAME}/download", kind="session")
    assert got.content == b"pcapng"
    assert f"{NAME}.pcapng" in got.headers["content-disposition"]


@pytest.mark.parametrize("user", ["otto", "cora", "rhea"])
def test_recordings_are_for_administrators_only(ask: Ask, user: str) -> None:
    other = ask(user)
    assert other.get("/system/captures").status_code == 403
    assert other.get(f"/system/captures/{NAME}").status_code == 403
    assert other.submit(f"/system/captures/{NAME}/download", kind="session").status_code == 403
    assert "/system/captures" not in other.get("/system").text


def test_a_recording_is_deleted_after_a_question(web: WebServing, anna: Asker) -> None:
    path = f"/system/captures/{NAME}/delete"
    anna.submit(path, kind="session")
    assert web.services.captures.store.find(NAME) is not None
    anna.submit(path, kind="session", sure="yes")
    assert web.services.captures.store.find(NAME) is None


# --- logs -------------------------------------------------------------------------------------------------


def test_a_log_keeps_following_the_general_settings_it_was_not_given(web: WebServing, anna: Asker) -> None:
    path = "/system/subscriptions/ldap_debug/edit"
    shown = {"level": "Debug", "filename": "ldap_debug", "rotate_bytes": "104857600", "keep_files": "10"}
    anna.submit(path, **shown | {"keep_days": "7"})
    entry = next(each for each in candidate(web).log_subscriptions if each.name == "ldap_debug")
    assert (entry.keep_days, entry.keep_files, entry.rotate_bytes) == (7, None, None)


def test_a_log_is_sent_over_tls_and_no_more(web: WebServing, anna: Asker) -> None:
    path = "/system/subscriptions/ldap_debug/{}"
    anna.submit(path.format("push"), host="logs.example.com", transport="tls", format="rfc5424")
    entry = next(each for each in candidate(web).log_subscriptions if each.name == "ldap_debug")
    assert (entry.push.host, entry.push.transport) == ("logs.example.com", "tls")
    anna.submit(path.format("unpush"), sure="yes")
    entry = next(each for each in candidate(web).log_subscriptions if each.name == "ldap_debug")
    assert entry.push is None


# --- settings ---------------------------------------------------------------------------------------------


def test_settings_are_changed_by_their_pages(web: WebServing, anna: Asker) -> None:
    anna.submit("/system/tracking", enabled="yes", keep_days="30", max_megabytes="512", max_refused="5000")
    anna.submit("/system/web", second_factor="required", idle_time="600", session_time="7200")
    anna.submit("/system/ssh", address="off", port="22", passwords="no", idle_time="300")
    anna.submit("/system/listeners/IncomingMail/limits", connections="70")
    found = candidate(web)
    assert found.tracking.keep_days == 30
    assert found.web.second_factor == "required"
    assert found.ssh.address is None
    assert found.listeners[0].limits.connections == 70


def test_the_configuration_is_saved_and_read_again(web: WebServing, anna: Asker) -> None:
    text = anna.submit("/system/configuration/save").text
    changed = text.replace('postmaster = "postmaster@example.com"', 'postmaster = "desk@example.com"')
    assert changed != text
    assert anna.submit("/system/configuration", **{"file-text": changed}).status_code == 303
    assert candidate(web).postmaster == "desk@example.com"


def test_routes_are_read_from_a_file_and_mistakes_are_told_with_their_lines(
    web: WebServing, anna: Asker
) -> None:
    refused = anna.submit("/policies/routes/file", **{"file-text": "example.net ["})
    assert refused.status_code == 422
    assert "line 1" in refused.text
    anna.submit("/policies/routes/file", merge="yes", **{"file-text": "example.net mx.example.net"})
    assert set(candidate(web).smtp_routes) == {"example.com", "example.net"}


def test_a_webhook_is_added_and_its_secret_is_not_shown(web: WebServing, anna: Asker) -> None:
    web.services.alerts.secrets = web.services.secrets  # type: ignore[attr-defined]
    anna.submit("/system/alerts/webhook", name="chat", url="https://chat.example/x", secret=SECRET)
    assert candidate(web).alerts.webhooks[0].name == "chat"
    assert SECRET not in anna.get("/system/alerts").text


def test_the_gateway_starts_again_only_after_a_question(web: WebServing, anna: Asker) -> None:
    anna.submit("/system/gateway/restart")
    assert web.services.restarts == 0
    anna.submit("/system/gateway/restart", sure="yes")
    assert web.services.restarts == 1
