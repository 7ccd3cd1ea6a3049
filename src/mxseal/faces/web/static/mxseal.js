// The little that pages do by themselves. Everything works without it, but passkeys.
"use strict";

// A menu closes when something else is pressed, or with Escape.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// A list that grows by itself: the lines of a log, as they are written.
for (const list of document.querySelectorAll("[data-follow]")) {
  const source = new EventSource(list.dataset.follow);
  const add = (lines) => {
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    for (const line of lines) {
      const item = document.createElement("li");
      item.textContent = line;
      list.append(item);
    }
    while (list.children.length > 1000) list.firstElementChild.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  };
  source.onmessage = (event) => add(JSON.parse(event.data));
  source.addEventListener("ended", (event) => {
    source.close();
    const told = JSON.parse(event.data);
    if (told) add([told]);
  });
  window.addEventListener("pagehide", () => source.close());
}
// Passkeys: the browser is asked what the gateway wants to know, and the answer goes back. Bytes travel as base64url.
const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (sign) => sign.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

function wanted(options) {
  options.challenge = bytes(options.challenge);
  if (options.user) options.user.id = bytes(options.user.id);
  for (const known of [...(options.excludeCredentials || []), ...(options.allowCredentials || [])]) known.id = bytes(known.id);
  return { publicKey: options };
}

function given(credential) {
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[name]) response[name] = text(credential.response[name]);
  }
  return {
    id: credential.id, rawId: text(credential.rawId), type: credential.type, response,
    clientExtensionResults: credential.getClientExtensionResults(),
  };
}

async function send(address, body) {
  const token = JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRF-Token"];
  const answer = await fetch(address, {
    method: "POST", credentials: "same-origin", body,
    headers: { "X-CSRF-Token": token, "Content-Type": "application/json" },
  });
  return answer.json();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-passkey]");
  if (!button) return;
  const told = button.parentElement.querySelector(".passkey-told");
  const named = button.parentElement.querySelector("[name=passkey-name]");
  told.textContent = "";
  button.disabled = true;
  try {
    const options = wanted(await send(button.dataset.ask, ""));
    const made = await navigator.credentials[button.dataset.passkey](options);
    const address = button.dataset.answer + (named ? "?name=" + encodeURIComponent(named.value) : "");
    const answer = await send(address, JSON.stringify(given(made)));
    if (answer.go) window.location.assign(answer.go);
    else told.textContent = answer.told;
  } catch {
    told.textContent = button.dataset.failed;
  } finally {
    button.disabled = false;
  }
});
