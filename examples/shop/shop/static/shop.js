"use strict";

const POLL_MS = 1000;
const SHOWN = 8;
const byId = (id) => document.getElementById(id);
const form = byId("form");
const before = {counts: {}, latest: null};

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

function showCounts(counts) {
  const names = Object.keys(counts);
  byId("counts").replaceChildren(...names.map((name) => {
    const row = element("tr", "", before.latest && before.counts[name] !== counts[name] ? "fresh" : "");
    const heading = element("th", "");
    heading.scope = "row";
    heading.append(element("code", name));
    row.append(heading, element("td", counts[name].toLocaleString(), "number"));
    return row;
  }));
  byId("no-counts").hidden = names.length > 0;
  const total = (all) => Object.values(all).reduce((sum, count) => sum + count, 0);
  const more = total(counts) - total(before.counts);
  if (before.latest && more > 0) byId("news").textContent = `${more} more handled`;
}

function showLatest(latest) {
  byId("latest").replaceChildren(...latest.slice(0, SHOWN).map((entry) => {
    const item = element("li", "", before.latest && !before.latest.has(entry.id) ? "fresh" : "");
    const first = element("p", "");
    first.append(element("code", entry.name));
    const at = new Date(entry.handled_at).toLocaleTimeString();
    const attempt = entry.attempt > 1 ? `, attempt ${entry.attempt}` : "";
    item.append(first, element("p", `${at}${attempt} · ${entry.data}`, "note"));
    return item;
  }));
  byId("no-latest").hidden = latest.length > 0;
}

async function poll() {
  try {
    const response = await fetch("/handled.json");
    if (!response.ok) throw new Error(response.statusText);
    const {counts, latest} = await response.json();
    showCounts(counts);
    showLatest(latest);
    before.counts = counts;
    before.latest = new Set(latest.map((entry) => entry.id));
    byId("trouble").hidden = true;
  } catch {
    byId("trouble").hidden = false;
  }
  setTimeout(poll, POLL_MS);
}

function showResult(text, isBad) {
  const old = form.parentElement.querySelector(".flash");
  const flash = element("p", text, isBad ? "flash bad" : "flash");
  flash.setAttribute("role", isBad ? "alert" : "status");
  old ? old.replaceWith(flash) : form.before(flash);
}

// Without this script the form works as well: the page is then loaded again.
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter ?? form.querySelector(".primary");
  const name = form.elements.name.value;
  button.disabled = true;
  try {
    const headers = {Accept: "application/json"};
    const response = await fetch(form.action, {method: "POST", body: new FormData(form), headers});
    const answer = await response.json();
    showResult(response.ok ? `Sent ${answer.sent} × ${name}.` : answer.error, !response.ok);
  } catch {
    showResult("The frontend does not answer. Was the signal sent? Look below in a minute.", true);
  }
  button.disabled = false;
});

for (const button of form.querySelectorAll("button[data-name]")) {
  button.addEventListener("click", () => {
    for (const field of ["name", "data", "count"]) form.elements[field].value = button.dataset[field];
    form.elements.name.focus();
  });
}

poll();
