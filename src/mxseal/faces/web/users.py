"""Users: who may log in, with which role, how, and who is logged in. And the page of the place System."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.responses import Response

from mxseal.faces.web.calling import Answer
from mxseal.faces.web.forms import Form, FormView
from mxseal.faces.web.pages import action, page
from mxseal.faces.web.pieces import Confirmation
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

NEW = Form("userconfig new", ("name", "full_name", "role", "password"), labels={"name": N_("User name")})
EDIT = Form("userconfig edit", ("full_name", "role"))
PASSWORD = Form(
    "userconfig password", ("password",), labels={"password": N_("New password")}, helps={"password": ""}
)
KEY = Form(
    "userconfig sshkey add",
    ("key",),
    labels={"key": N_("Public key")},
    kinds={"key": "lines"},
    helps={"key": N_("The line of a .pub file, such as ~/.ssh/id_ed25519.pub")},
)
CERTIFICATE = Form(
    "userconfig certificate add",
    ("identity", "authority"),
    labels={"identity": N_("Certificate"), "authority": N_("Authority")},
    helps={
        "identity": N_("sha256: and its fingerprint, email: and an address in it, or name: and its name"),
        "authority": N_("For email and name: the custom authority that issues it"),
    },
)
FORMS = (NEW, EDIT, PASSWORD, KEY, CERTIFICATE)
_TITLE = N_("Users")


@page("/system", title=N_("System"), place="system")
async def system(visit: Visit) -> Response:
    return visit.show("place.html")


@page(
    "/system/users",
    title=_TITLE,
    place="system",
    runs=("userconfig list", "userconfig session list"),
    summary=N_("Who may log in, with which role, and who is logged in."),
)
async def users(visit: Visit) -> Response:
    found = await visit.ask("userconfig list")
    sessions = await visit.ask("userconfig session list")
    return visit.show("users/list.html", users=found, sessions=sessions)


@page("/system/users/new", title=N_("New user"), place="system", runs=("userconfig new",))
async def new(visit: Visit) -> Response:
    return visit.show("users/new.html", form=NEW.blank(visit))


@action("/system/users/new", title=N_("New user"), place="system", runs=("userconfig new",))
async def create(visit: Visit) -> Response:
    view, answer = await NEW.submit(visit)
    if answer.ok:
        return visit.go("/system/users", answer)
    return visit.show("users/new.html", 422, form=view)


@page("/system/users/{name}", title=_TITLE, place="system", runs=("userconfig list",))
async def user(visit: Visit) -> Response:
    return await _user(visit)


async def _user(
    visit: Visit,
    *,
    edit: FormView | None = None,
    password: FormView | None = None,
    key: FormView | None = None,
    certificate: FormView | None = None,
) -> Response:
    """The page of a user; forms that were sent and not taken are shown with what is wrong."""
    name = visit.part("name")
    everybody = (await visit.ask("userconfig list")).value
    found = next((each for each in everybody if each["name"] == name), None)
    if found is None:
        raise HTTPException(404)
    return visit.show(
        "users/user.html", 422 if edit or password or key or certificate else 200, user=found,
        edit=edit or EDIT.blank(visit, {"full_name": found["full_name"], "role": found["role"]}),
        password=password or PASSWORD.blank(visit), key=key or KEY.blank(visit),
        keys=await visit.ask("userconfig sshkey list", name=name),
        certificate=certificate or CERTIFICATE.blank(visit),
        certificates=await visit.ask("userconfig certificate list", name=name),
        factors=await visit.ask("userconfig factor list", name=name),
        sessions=await visit.ask("userconfig session list", name=name),
    )  # fmt: skip


def _address(visit: Visit) -> str:
    return visit.request.url.path.rsplit("/", 1)[0]


@action("/system/users/{name}/edit", title=_TITLE, place="system", runs=("userconfig edit",))
async def edit(visit: Visit) -> Response:
    view, answer = await EDIT.submit(visit, name=visit.part("name"))
    return visit.go(_address(visit), answer) if answer.ok else await _user(visit, edit=view)


@action("/system/users/{name}/password", title=_TITLE, place="system", runs=("userconfig password",))
async def password(visit: Visit) -> Response:
    view, answer = await PASSWORD.submit(visit, name=visit.part("name"))
    return visit.go(_address(visit), answer) if answer.ok else await _user(visit, password=view)


@action("/system/users/{name}/key", title=_TITLE, place="system", runs=("userconfig sshkey add",))
async def add_key(visit: Visit) -> Response:
    view, answer = await KEY.submit(visit, name=visit.part("name"))
    return visit.go(_address(visit), answer) if answer.ok else await _user(visit, key=view)


@action("/system/users/{name}/key-delete", runs=("userconfig sshkey delete",))
async def delete_key(visit: Visit) -> Response:
    answer = await visit.run(
        "userconfig sshkey delete", name=visit.part("name"), fingerprint=visit.field("fingerprint")
    )
    return visit.go(_address(visit), answer)


@action(
    "/system/users/{name}/certificate", title=_TITLE, place="system", runs=("userconfig certificate add",)
)
async def add_certificate(visit: Visit) -> Response:
    view, answer = await CERTIFICATE.submit(visit, name=visit.part("name"))
    return visit.go(_address(visit), answer) if answer.ok else await _user(visit, certificate=view)


@action("/system/users/{name}/certificate-delete", runs=("userconfig certificate delete",))
async def delete_certificate(visit: Visit) -> Response:
    answer = await visit.run(
        "userconfig certificate delete", name=visit.part("name"), identity=visit.field("identity")
    )
    return visit.go(_address(visit), answer)


@action("/system/users/{name}/sessions", runs=("userconfig session end",))
async def end_sessions(visit: Visit) -> Response:
    return visit.go(_address(visit), await visit.run("userconfig session end", name=visit.part("name")))


@action("/system/users/{name}/factors", title=_TITLE, place="system", runs=("userconfig factor reset",))
async def reset_factors(visit: Visit) -> Response:
    name = visit.part("name")
    if visit.field("sure") != "yes":
        ask = Confirmation(
            question=visit.say(N_("Remove all second factors of {name}?"), name=name),
            text=visit.say(N_("The password alone is enough then, until new ones are set up.")),
            verb=visit.say(N_("Remove second factors")),
            action=visit.request.url.path,
            back=_address(visit),
        )
        return visit.show("confirm.html", ask=ask)
    return visit.go(_address(visit), await visit.run("userconfig factor reset", name=name))


@action("/system/users/{name}/delete", title=_TITLE, place="system", runs=("userconfig delete",))
async def delete(visit: Visit) -> Response:
    name = visit.part("name")
    if visit.field("sure") != "yes":
        ask = Confirmation(
            question=visit.say(N_("Delete the user {name}?"), name=name),
            text=visit.say(N_("Keys and second factors go with the user, and open sessions end.")),
            verb=visit.say(N_("Delete the user")),
            action=visit.request.url.path,
            back=_address(visit),
        )
        return visit.show("confirm.html", ask=ask)
    answer: Answer = await visit.run("userconfig delete", name=name, yes=True)
    return visit.go("/system/users" if answer.ok else _address(visit), answer)
