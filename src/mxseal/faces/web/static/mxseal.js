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
