// The search shows the operations that have all its words, and opens them when
// they are few. Without a script the page shows everything.
"use strict";
const field = document.getElementById("search");
const nothing = document.getElementById("nothing");
const operations = [...document.querySelectorAll(".operation")].map((e) => ({ e, text: e.textContent.toLowerCase() }));
if (matchMedia("(max-width: 48rem)").matches) document.getElementById("contents").open = false;

function search() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = operations.filter((o) => words.every((w) => o.text.includes(w)));
  for (const o of operations) {
    o.e.hidden = !found.includes(o);
    o.e.open = words.length > 0 && found.length <= 3 && found.includes(o);
  }
  for (const section of document.querySelectorAll("main section")) {
    const own = section.querySelectorAll(".operation");
    section.hidden = words.length > 0 && section.id !== "begin" &&
      (own.length ? [...own].every((e) => e.hidden) : !words.every((w) => section.textContent.toLowerCase().includes(w)));
  }
  nothing.hidden = found.length > 0 || [...document.querySelectorAll("main section")].some((s) => s.id !== "begin" && !s.hidden);
  history.replaceState(null, "", words.length ? "?q=" + encodeURIComponent(field.value) : location.pathname + location.hash);
}

function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.classList.contains("operation")) target.open = true;
}

field.addEventListener("input", search);
addEventListener("hashchange", openTarget);
addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== field) {
    event.preventDefault();
    field.focus();
  }
});
field.value = new URLSearchParams(location.search).get("q") || "";
if (field.value) search();
openTarget();
