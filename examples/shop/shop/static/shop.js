"use strict";

const POLL_MS = 1000;
const SHOWN = 8;
const byId = (id) => document.getElementById(id);
const before = {counts: {}, latest: null};

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

function count(number, tone = "") {
  // What nobody knows is not zero.
  const text = number == null ? "not known" : number ? number.toLocaleString() : "–";
  return element("td", text, `number ${number ? tone : "none"}`);
}

function signal(name) {
  const heading = element("th", "");
  heading.scope = "row";
  const {admin} = byId("table").dataset;
  const shown = element(admin ? "a" : "span", "");
  if (admin) Object.assign(shown, {href: admin + encodeURIComponent(name), target: "worker"});
  shown.append(element("code", name));
  heading.append(shown);
  return heading;
}

function showCounts(counts, waiting) {
  const names = [...new Set([...Object.keys(counts), ...Object.keys(waiting)])].sort();
  byId("counts").replaceChildren(...names.map((name) => {
    const is = waiting[name] ?? {waiting: 0, running: 0, retrying: 0, dead: 0};
    const row = element("tr", "", before.latest && before.counts[name] !== counts[name] ? "fresh" : "");
    const waits = is.waiting == null ? null : is.waiting + is.running;
    row.append(signal(name), count(waits), count(is.retrying, "warn"), count(is.dead, "bad"), count(counts[name] ?? 0));
    return row;
  }));
  byId("no-counts").hidden = names.length > 0;
  const total = (all) => Object.values(all).reduce((sum, each) => sum + each, 0);
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

async function read(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(response.statusText);
  return response.json();
}

async function poll() {
  try {
    const [{counts, latest}, waiting] = await Promise.all([read("/handled.json"), read("/waiting.json")]);
    showCounts(counts, waiting);
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
  const flash = element("p", text, isBad ? "flash bad" : "flash");
  flash.setAttribute("role", isBad ? "alert" : "status");
  byId("result").replaceChildren(flash);
}

// Without this script the forms work as well: the page is then loaded again.
for (const form of document.forms) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.submitter ?? form.querySelector("button");
    const fields = new FormData(form, button);
    button.disabled = true;
    try {
      const response = await fetch(form.action, {method: "POST", body: fields, headers: {Accept: "application/json"}});
      const answer = await response.json();
      const sent = answer.outcome ? `${answer.sent}. ${answer.outcome}` : `${answer.sent} × ${fields.get("name")}.`;
      showResult(response.ok ? `Sent ${sent}` : answer.error, !response.ok);
    } catch {
      showResult("The frontend does not answer. Was the signal sent? Look below in a minute.", true);
    }
    button.disabled = false;
  });
}

poll();
