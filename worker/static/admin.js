// Looks again every few seconds and swaps what the page shows. Without this the page works the same, but for that.
"use strict";

const script = document.currentScript;
const STORED = "signals-refresh";

function chooseAll() {
  const all = document.getElementById("choose-all");
  if (!all) return;
  const boxes = [...document.querySelectorAll("input[type=checkbox][name]")];
  const count = () => boxes.filter((box) => box.checked).length;
  const show = () => {
    all.checked = count() === boxes.length;
    all.indeterminate = count() > 0 && !all.checked;
  };
  all.parentElement.hidden = false;
  all.addEventListener("change", () => boxes.forEach((box) => { box.checked = all.checked; }));
  boxes.forEach((box) => box.addEventListener("change", show));
  show();
}

function refreshItself(seconds) {
  const control = document.getElementById("refresh");
  const [told, button] = [control.querySelector("[role=status]"), control.querySelector("button")];
  let isOn = sessionStorage.getItem(STORED) !== "off";
  let timer = 0;

  const main = () => document.querySelector("main");
  const tell = (text, tone = "") => {
    // Only a change is told: a screen reader says each.
    if (told.textContent !== text) told.textContent = text;
    control.className = tone;
  };

  // A person who fills in a form, has something open, holds a button down or marks text keeps what they have.
  const isInUse = () => {
    const fields = [...main().querySelectorAll("input:not([type=hidden]), textarea")];
    return main().querySelector("details[open], :active") !== null
      || fields.some((field) => field.type === "checkbox" ? field.checked !== field.defaultChecked
        : field === document.activeElement || field.value !== field.defaultValue)
      || !getSelection().isCollapsed;
  };

  // What has the focus, in words that hold for the next look as well.
  const place = (element) => [
    element.tagName,
    element.id || element.getAttribute("href") || element.textContent.trim(),
    element.form?.getAttribute("action"),
    element.closest("section")?.id,
    element.closest("[data-name]")?.dataset.name,
    element.name + element.value,
  ].join("\n");

  const swap = (page) => {
    const focused = main().contains(document.activeElement) ? place(document.activeElement) : "";
    const done = main().querySelector(".flash:has([role=status])");
    main().replaceChildren(...(done ? [done] : []), ...page.querySelector("main").childNodes);
    document.title = page.title;
    document.getElementById("looked").replaceWith(page.getElementById("looked"));
    chooseAll();
    if (focused) {
      const candidates = main().querySelectorAll("a, button, summary, [type=checkbox], [tabindex]");
      [...candidates].find((each) => place(each) === focused)?.focus({ preventScroll: true });
    }
  };

  const look = async () => {
    const answer = await fetch(script.dataset.here, {
      headers: { Accept: "text/html" },
      signal: AbortSignal.timeout(20_000),
    });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    // Memcache that is down makes a page too, with 503. A refusal or a login is none.
    if (!page.getElementById("looked")) throw new Error(`answered ${answer.status}`);
    return page;
  };

  const refresh = async () => {
    clearTimeout(timer);
    if (!isOn) return tell("Off");
    if (document.hidden) return;
    if (isInUse()) {
      tell("Waiting while you work here");
    } else {
      try {
        const page = await look();
        if (isOn && !isInUse()) {
          swap(page);
          tell(`Every ${seconds} s`);
        }
      } catch {
        tell(`Cannot be refreshed: this is from ${document.getElementById("looked").textContent}`, "bad");
      }
    }
    clearTimeout(timer);
    timer = setTimeout(refresh, seconds * 1000);
  };

  button.addEventListener("click", () => {
    isOn = !isOn;
    sessionStorage.setItem(STORED, isOn ? "on" : "off");
    button.setAttribute("aria-pressed", isOn);
    refresh();
  });
  document.addEventListener("visibilitychange", refresh);
  button.setAttribute("aria-pressed", isOn);
  tell(isOn ? `Every ${seconds} s` : "Off");
  control.hidden = false;
  timer = setTimeout(refresh, seconds * 1000);
}

// What was done is said once, not again when the page is loaded again.
if (script.dataset.here) history.replaceState(null, "", script.dataset.here + location.hash);
chooseAll();
if (script.dataset.seconds) refreshItself(Number(script.dataset.seconds));
