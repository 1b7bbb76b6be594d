"use strict";
// The token leaves the address, so that it is in no history and on no screenshot.
const fromAddress = new URLSearchParams(location.hash.slice(1)).get("token");
if (fromAddress) {
  sessionStorage.setItem("token", fromAddress);
  history.replaceState(null, "", "/");
}
const token = sessionStorage.getItem("token");
const at = (id) => document.getElementById(id);
const rows = new Map();
let view = null;
let seenAt = 0;

const short = (ms) => {
  const s = ms / 1000;
  if (s < 1) return `${Math.round(ms)}ms`;
  if (s < 10) return `${s.toFixed(1)}s`;
  if (s < 60) return `${Math.floor(s)}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${Math.floor(s % 60)}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${Math.floor((s % 3600) / 60)}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor((s % 86400) / 3600)}h`;
};

const holderOf = (row) =>
  row.label ?? { foreign: "(another library)", divided: "(divided)" }[row.kind] ?? "(not known)";

function part(parent, name, tag = "div") {
  const element = document.createElement(tag);
  element.className = name;
  parent.append(element);
  return element;
}

function makeRow(row) {
  const element = document.createElement("article");
  element.className = "lock";
  element.dataset.key = row.key;
  const parts = { element };
  for (const name of ["key", "holder", "age"]) parts[name] = part(element, name);
  const lease = part(element, "lease");
  parts.bar = part(lease, "bar");
  parts.fill = part(parts.bar, "fill", "i");
  parts.left = part(lease, "left");
  parts.queue = part(element, "queue");
  parts.actions = part(element, "actions");
  if (token) {
    const button = part(parts.actions, "break danger", "button");
    button.textContent = "Break";
    button.addEventListener("click", () => ask(parts.row));
    parts.button = button;
  }
  return parts;
}

function show() {
  if (!view) return;
  const wanted = at("filter").value.toLowerCase();
  const shown = view.rows.filter((row) => `${row.key} ${holderOf(row)}`.toLowerCase().includes(wanted));
  const keys = new Set(shown.map((row) => row.key));
  for (const [key, parts] of rows) {
    if (!keys.has(key)) {
      parts.element.remove();
      rows.delete(key);
    }
  }
  shown.forEach((row, index) => {
    let parts = rows.get(row.key);
    if (!parts) rows.set(row.key, (parts = makeRow(row)));
    parts.row = row;
    // Text, and never markup: a key may contain anything.
    parts.key.textContent = row.key;
    parts.holder.textContent = holderOf(row);
    const waiting = row.waiters ?? 0;
    parts.queue.textContent = row.waiters === null ? "" : `${waiting} waiting`;
    parts.queue.classList.toggle("some", waiting > 0);
    if (parts.button) parts.button.disabled = row.id === null;
    if (at("locks").children[index] !== parts.element) at("locks").insertBefore(parts.element, at("locks").children[index] ?? null);
  });
  // Without an answer of the servers, the numbers are not known.
  at("holders").textContent = view.error ? "-" : view.holders;
  at("waiters").textContent = view.error ? "-" : view.waiters;
  at("rate").textContent = view.error ? "-" : view.hand_overs_per_second.toFixed(1);
  at("longest").textContent = view.longest_wait_ms === null ? "-" : short(view.longest_wait_ms);
  const cut = view.rows.length < view.holders ? `the first ${view.rows.length} of ${view.holders} holders` : "";
  say(view.error ?? (cut || (shown.length ? "" : "no lock is held")), Boolean(view.error));
  tick();
}

// Leases count down between two views.
function tick() {
  const passed = performance.now() - seenAt;
  for (const parts of rows.values()) {
    const row = parts.row;
    const left = row.remaining_ms === null ? null : Math.max(0, row.remaining_ms - passed);
    const share = left === null || !row.ttl_ms ? 1 : Math.min(1, left / row.ttl_ms);
    parts.fill.style.width = `${100 * share}%`;
    parts.bar.classList.toggle("low", share < 0.34);
    parts.left.textContent = left === null ? "no end" : short(left);
    parts.age.textContent = row.since_unix_ms === null ? "" : `for ${short(Math.max(0, Date.now() - row.since_unix_ms))}`;
  }
}

function say(text, isBad) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", isBad);
}

async function ask(row) {
  at("confirm-key").textContent = row.key;
  at("confirm-holder").textContent = holderOf(row);
  const dialog = at("confirm");
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  if (dialog.returnValue !== "yes") return;
  try {
    const answer = await fetch("break", {
      method: "POST",
      headers: { "x-distlock-token": token },
      body: JSON.stringify({ key: row.key, id: row.id }),
    });
    if (!answer.ok) say(await answer.text(), true);
  } catch (error) {
    say(`the lock was not broken: ${error.message}`, true);
  }
}

at("filter").addEventListener("input", show);
setInterval(tick, 100);
const events = new EventSource("events");
events.onmessage = (event) => {
  view = JSON.parse(event.data);
  seenAt = performance.now();
  show();
};
events.onerror = () => say("distlock does not answer; trying again", true);
