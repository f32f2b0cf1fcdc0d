"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
const n = data.names.length;
const moves = data.elements.length > 1; // of the trivial group nothing is shown
const { orbit: orbitOf, copy: copyOf } = data.columns;

// ---- building blocks: text goes in as text, never as HTML -------------------------

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}
const el = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

function bar(share) {
  const inner = el("span");
  inner.style.width = `${100 * Math.min(Math.max(share || 0, 0), 1)}%`;
  return el("span", { class: "bar", "aria-hidden": "true" }, inner);
}
const number = (value) => {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return String(value);
  return value && Math.abs(value) < 1e-4
    ? value.toExponential(1)
    : String(Number(value.toPrecision(3)));
};
const signed = (value) => (value === null || value < 0 ? number(value) : `+${number(value)}`);
const percent = (value) => (value === null ? "–" : `${number(100 * value)} %`);
const isolated = (text) => // marks of direction in it turn nothing around it
  /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069]/.test(text) ? `\u2068${text}\u2069` : text;
const thousands = (value) => value.toLocaleString("en");

// ---- features and their orbits ----------------------------------------------------

const isDead = (i) => data.columns.density[i] === 0;
const members = []; // latents of each orbit, by the element that makes them
orbitOf.forEach((orbit, i) => (members[orbit] ??= []).push(i));
members.forEach((latents) => latents.sort((a, b) => copyOf[a] - copyOf[b] || a - b));
const copiesOf = (i) => members[orbitOf[i]];
const inOrbits = members.length < n;

function unpacked(text, width) { // as written by packed() in Python; a latent's value at a place
  const characters = atob(text), bytes = new Uint8Array(characters.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = characters.charCodeAt(at);
  const whole = new Uint16Array(bytes.buffer);
  return (i, at) => {
    const value = whole[i * width + at];
    return value === 65535 ? null : value / 65534;
  };
}
const aucOf = data.classes && unpacked(data.auc, data.classes.length);
const firesIn = data.classes && unpacked(data.fires_in, data.best[0].length);

// ---- the address holds what is chosen, sorted and open ----------------------------

const DEFAULTS = { feature: "", compare: "", query: "", state: "live", per: "orbits", irrep: "",
  class: "", only: "", input: "", sort: "removal", direction: "descending", page: "0" };

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(Object.entries(DEFAULTS).map(([key, other]) => [key, given.get(key) ?? other]));
}
let address = readAddress();

function href(changes) {
  const parts = Object.entries({ ...address, ...changes })
    .filter(([key, value]) => String(value) !== DEFAULTS[key]);
  return parts.length ? `#${new URLSearchParams(parts)}` : "#list";
}
function change(changes) { // without a step in the browser's history
  Object.assign(address, changes);
  history.replaceState(null, "", href({}));
}
function latentAt(key) {
  const text = address[key];
  return /^\d+$/.test(text) && Number(text) < n ? Number(text) : null;
}
const opened = () => latentAt("feature");
const link = (i, text = data.names[i]) =>
  el("a", { href: href({ feature: i, compare: "" }), "data-latent": i }, text);
