"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const PAGE = 50; // rows of the table that are in the document at a time
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
const n = data.names.length;
const moves = data.elements.length > 1; // of the trivial group nothing is shown

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
const thousands = (value) => value.toLocaleString("en");
const isDead = (i) => data.columns.density[i] === 0;
const link = (i, text = data.names[i]) => el("a", { href: `#feature=${i}` }, text);

// ---- columns of the table ---------------------------------------------------------

// What the values of a column are for: the main irrep or the best class of each
// feature, or the one that is chosen for all.
const CHOICES = {};
if (data.irreps) {
  CHOICES.irrep = { names: data.irreps, column: "energy", values: data.energies,
    main: data.irrep.map((name) => data.irreps.indexOf(name)) };
}
if (data.classes) {
  CHOICES.class = { names: data.classes, column: "auc", values: data.auc,
    main: data.auc.map((auc, i) => (isDead(i) ? -1 : auc.indexOf(Math.max(...auc)))) };
}
const chosen = (choice) => ($(choice).value === "" ? null : Number($(choice).value));
function valuesOf(column) {
  if (!column.choice) return column.values;
  const { main, values } = CHOICES[column.choice], one = chosen(column.choice);
  return main.map((m, i) => (m < 0 ? null : values[i][one ?? m]));
}
function labelOf(column) {
  const one = column.choice ? chosen(column.choice) : null;
  return one === null ? column.label : `${column.label} of ${CHOICES[column.choice].names[one]}`;
}

const marked = (irrep, i) => (irrep && !data.beyond_chance[i] ? `${irrep} ?` : irrep);

const COLUMNS = [
  { key: "name", label: "Feature", values: data.names, first: "ascending",
    meaning: "The dictionary vector of one latent. A dead feature fires in no row." },
  { key: "removal", label: "FVU without", values: data.columns.removal_fvu, show: signed,
    meaning: "What the fraction of variance unexplained of all rows grows by when the feature is set to zero and all others stay as they are." },
  { key: "density", label: "Density", values: data.columns.density, show: percent,
    meaning: "Share of rows in which the feature fires." },
];
if (data.irreps) {
  COLUMNS.push(
    { key: "invariance", label: "Invariance", values: data.symmetry.invariance, show: number,
      meaning: "Share of the vector's energy that the group leaves alone, from 0 to 1. A vector whose copies under the group are orthogonal has one over the order of the group." },
    { key: "irrep", label: "Irrep", values: data.irrep.map(marked), text: true, first: "ascending",
      meaning: "Irreducible representation of the group that holds most of the vector's energy. A question mark: no more than a random direction of the activations may have there." },
    { key: "energy", label: "Energy", choice: "irrep", show: percent,
      meaning: "Share of the vector's energy in that irrep, or in the one that is chosen above the table." },
  );
}
if (data.classes) {
  COLUMNS.push(
    { key: "class", label: "Class", values: CHOICES.class.main.map((c) => data.classes[c] ?? null), text: true, first: "ascending",
      meaning: "Class that the feature separates best from the others." },
    { key: "auc", label: "AUC", choice: "class", show: number,
      meaning: "Area under the ROC curve of the feature for that class, or for the one that is chosen above the table: the chance that a row of the class has a larger activation than another row, where equal ones count half. 0.5 is no better than chance." },
  );
}

COLUMNS.push(
  { key: "mean", label: "Mean", values: data.columns.mean, show: number,
    meaning: "Mean activation over rows in which it fires." });
if (data.irreps) {
  COLUMNS.push(
    { key: "orbit", label: "Orbit", values: data.symmetry.orbit, show: String, first: "ascending",
      meaning: "Number of the orbit of features: those that the group turns into each other, with a cosine of at least 0.9." },
  );
}

const OTHERS = [
  { label: "Error without it",
    meaning: "What the squared error of a row grows by, in the mean over rows in which the feature fires." },
  { label: "Turns into",
    meaning: "The feature whose vector is nearest to what a generator of the group makes of this one, and the cosine between them." },
];

// ---- list: filter, sort, page -----------------------------------------------------

const state = { sort: "removal", direction: "descending", page: 0, current: 0 };
let found = [];

const isMain = (i) => Object.entries(CHOICES).every(([choice, { main }]) =>
  chosen(choice) === null || chosen(choice) === main[i]);

function matches(i) {
  const query = $("query").value.trim().toLowerCase();
  const show = $("state").value;
  if (show !== "all" && isDead(i) !== (show === "dead")) return false;
  if ($("only").checked && !isMain(i)) return false;
  return !query || String(i) === query || data.names[i].toLowerCase().includes(query);
}

const collator = new Intl.Collator("en", { numeric: true });
function compare(values, sign) {
  return (a, b) => {
    const x = values[a], y = values[b];
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    const order = typeof x === "string" ? collator.compare(x, y) : x - y;
    return sign * order || a - b;
  };
}

function refresh() {
  const column = COLUMNS.find((one) => one.key === state.sort);
  const sign = state.direction === "ascending" ? 1 : -1;
  found = Array.from({ length: n }, (_, i) => i).filter(matches);
  found.sort(compare(valuesOf(column), sign));
  state.page = 0;
  state.current = 0;
  renderHead();
  renderRows();
}

function filter(event) {
  const choice = CHOICES[event.target.id];
  if (!choice || event.target.value === "") return refresh();
  state.sort = choice.column;
  state.direction = "descending";
  refresh();
  showColumn(sortedHeading());
}

const sortedHeading = () => $("head").querySelector("[aria-sort]");

function showColumn(heading) { // not behind the names, which stay in view
  const rect = (node) => node.getBoundingClientRect();
  const box = $("head").closest(".scroll"), names = $("head").firstChild;
  if (heading === names) return;
  const beyond = rect(heading).right - rect(box).left - box.clientWidth;
  const hidden = rect(names).right - rect(heading).left;
  if (beyond > 0) box.scrollLeft += beyond;
  else if (hidden > 0) box.scrollLeft -= hidden;
}

function renderHead() {
  for (const th of $("head").children) {
    const column = COLUMNS.find((one) => one.key === th.dataset.key);
    th.firstChild.textContent = labelOf(column);
    if (column.key === state.sort) th.setAttribute("aria-sort", state.direction);
    else th.removeAttribute("aria-sort");
  }
  $("only-label").hidden = Object.keys(CHOICES).every((choice) => chosen(choice) === null);
}

function renderRows() {
  const start = state.page * PAGE;
  const shown = found.slice(start, start + PAGE);
  state.current = Math.min(state.current, Math.max(shown.length - 1, 0));
  const columns = COLUMNS.slice(1).map((column) => ({ ...column, values: valuesOf(column) }));
  $("rows").replaceChildren(...shown.map((i, place) => row(i, place, columns)));
  const range = shown.length ? `, ${start + 1} to ${start + shown.length} shown` : "";
  const order = labelOf(COLUMNS.find((one) => one.key === state.sort));
  $("count").textContent = `${thousands(found.length)} of ${thousands(n)} features by ${order}${range}`;
  const pages = Math.max(Math.ceil(found.length / PAGE), 1);
  $("pages").hidden = pages === 1;
  $("page").textContent = `Page ${state.page + 1} of ${pages}`;
  $("previous").disabled = state.page === 0;
  $("next").disabled = state.page === pages - 1;
}

function row(i, place, columns) {
  const name = link(i);
  name.tabIndex = place === state.current ? 0 : -1;
  name.title = data.names[i];
  const cells = columns.map(({ key, text, show, values }) => text
    ? el("td", { class: "text", "data-key": key, title: values[i] }, values[i] ?? "–")
    : el("td", { "data-key": key }, show(values[i])));
  const open = i === opened() ? "open" : null;
  return el("tr", { class: open }, el("th", { scope: "row" }, name), ...cells);
}

function sortBy(column) {
  const first = column.first || "descending";
  const other = first === "ascending" ? "descending" : "ascending";
  state.direction = state.sort === column.key && state.direction === first ? other : first;
  state.sort = column.key;
  refresh();
}

function turnPage(page, place = 0) {
  state.page = page;
  state.current = place;
  renderRows();
}

function focusRow(place) {
  const links = $("rows").querySelectorAll("a");
  if (!links.length) return;
  links[state.current].tabIndex = -1;
  state.current = Math.min(Math.max(place, 0), links.length - 1);
  links[state.current].tabIndex = 0;
  links[state.current].focus();
}

function moveInList(event) {
  const last = Math.ceil(found.length / PAGE) - 1;
  const end = $("rows").children.length - 1;
  const keys = {
    ArrowDown: () => state.current === end && state.page < last
      ? (turnPage(state.page + 1), 0) : state.current + 1,
    ArrowUp: () => state.current === 0 && state.page > 0
      ? (turnPage(state.page - 1), PAGE - 1) : state.current - 1,
    PageDown: () => state.page < last ? (turnPage(state.page + 1), 0) : end,
    PageUp: () => state.page > 0 ? (turnPage(state.page - 1), 0) : 0,
    Home: () => 0,
    End: () => end,
  };
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
  if (!plain || !(event.key in keys) || !event.target.closest("a")) return;
  event.preventDefault();
  focusRow(keys[event.key]());
}

// ---- one feature ------------------------------------------------------------------

function opened() {
  const match = /^#feature=(\d+)$/.exec(location.hash);
  return match && Number(match[1]) < n ? Number(match[1]) : null;
}

function facts(pairs) {
  const groups = pairs.map(([term, value]) =>
    el("div", {}, el("dt", {}, term), el("dd", {}, value)));
  return el("dl", { class: "facts" }, ...groups);
}

function barTable(caption, rows, headings = null) {
  const body = rows.map(([name, share, ...texts]) =>
    el("tr", {}, el("th", { scope: "row", title: name }, name),
      el("td", { class: "bar-cell" }, bar(share)),
      ...texts.map((text) => el("td", {}, text))));
  const head = headings && el("thead", {}, el("tr", {},
    ...headings.map((text) => text ? el("th", { scope: "col" }, text) : el("td"))));
  return el("table", { class: "bars" }, el("caption", {}, caption), head, el("tbody", {}, ...body));
}

function navigation(i) {
  const place = found.indexOf(i);
  const step = (by, text) => {
    const to = found[place + by];
    return place < 0 || to === undefined ? null : el("a", { href: `#feature=${to}` }, text);
  };
  return el("nav", { "aria-label": "Features" },
    el("a", { href: "#list", "aria-keyshortcuts": "Escape" }, "Close"),
    step(-1, "Previous in list"), step(1, "Next in list"));
}

function numbers(i) {
  const c = data.columns;
  const pairs = [
    ["Density", percent(c.density[i])],
    ["Mean activation", number(c.mean[i])],
    ["Largest", number(c.max[i])],
    ["FVU without it", signed(c.removal_fvu[i])],
    ["Error without it", signed(c.removal_error[i])],
  ];
  if (data.irreps) {
    const s = data.symmetry;
    pairs.push(["Invariance", number(s.invariance[i])], ["Main irrep", `${data.irrep[i] ?? "–"}${data.beyond_chance[i] ? "" : ", no more than by chance"}`],
      ["Length of its orbit", number(s.orbit_length[i])]);
  }
  return facts(pairs);
}

function symmetry(i) {
  if (!data.irreps || data.symmetry.invariance[i] === null) return [];
  const energies = data.irreps.map((name, r) =>
    [name, data.energies[i][r], percent(data.energies[i][r]), percent(data.chance[r])]);
  const turns = data.turns_into.map((g) =>
    el("li", {}, `${g.name}: `, link(g.latent[i]), g.latent[i] === i ? " (itself)" : "",
      ` (cosine ${number(g.cosine[i])})`));
  const same = data.symmetry.orbit.flatMap((o, j) => o === data.symmetry.orbit[i] ? [j] : []);
  const shown = same.slice(0, 48);
  return [
    el("h3", {}, "Under the group"),
    el("p", {}, "Turns into, under"), el("ul", { class: "links" }, ...turns),
    el("p", {}, same.length === 1
      ? "Alone in its orbit in the dictionary."
      : `Its orbit in the dictionary, ${same.length} features:`),
    el("ul", { class: "links" }, ...(same.length === 1 ? [] : shown.map((j) =>
      el("li", {}, link(j), (j === i ? " (this)" : "") + (isDead(j) ? " (dead)" : "")))),
      same.length > shown.length ? el("li", {}, `and ${same.length - shown.length} more`) : null),
    barTable("Energy of its vector by irrep, and what a random direction may have", energies,
      ["", "", "energy", "chance"]),
  ];
}

function histogram(i) {
  const counts = data.histograms[i], top = Math.max(...counts);
  const width = 400 / counts.length, largest = number(data.columns.max[i]);
  const bars = counts.map((count, b) => {
    const height = (110 * count) / top;
    return svg("rect", { x: 10 + b * width, y: 120 - height, width: width - 1.5, height, fill: "currentColor" },
      svg("title", {}, `${count} rows`));
  });
  const total = thousands(counts.reduce((a, b) => a + b, 0));
  const label = `Histogram of ${total} activations above 0, up to ${largest}; the fullest bin has ${top} rows.`;
  return svg("svg", { viewBox: "0 -14 420 154", class: "histogram", role: "img", "aria-label": label },
    ...bars, svg("line", { x1: 10, x2: 410, y1: 120.5, y2: 120.5, class: "axis" }),
    svg("text", { x: 10, y: 135 }, "0"),
    svg("text", { x: 410, y: 135, "text-anchor": "end" }, largest),
    svg("text", { x: 410, y: 0, "text-anchor": "end" }, `fullest bin: ${top} rows`));
}

function activity(i) {
  if (isDead(i)) return [el("p", { class: "note" }, "Dead: no row of the data fires this feature.")];
  const means = data.by_power[i], most = Math.max(...means);
  const places = data.elements.map((name, e) => [name, means[e] / most, number(means[e])]);
  return [
    el("h3", {}, "Activations"), histogram(i),
    moves ? barTable("Mean activation at each place of an orbit, zeros included", places) : null,
  ].filter((node) => node !== null);
}

function classes(i) {
  if (!data.classes || isDead(i)) return [];
  const order = data.classes.map((_, c) => c).sort((a, b) => data.auc[i][b] - data.auc[i][a]);
  const fires = data.class_density[i], most = Math.max(...fires);
  const rows = order.slice(0, 20).map((c) =>
    [data.classes[c], fires[c] / most, percent(fires[c]), number(data.auc[i][c])]);
  const more = order.length > rows.length ? `, the first ${rows.length} of ${order.length}` : "";
  return [el("h3", {}, "Classes"),
    barTable(`Best separated first${more}`, rows, ["Class", "", "fires in", "AUC"])];
}

function picture(place, e, label) {
  const drawing = data.pictures?.drawings[place];
  if (drawing === undefined || e >= data.pictures.n_elements) return null;
  if (data.pictures.kind === "image") return image(drawing, e, label);
  const marks = data.pictures.kind === "signal"
    ? drawing[e].flatMap(curves)
    : drawing[e].filter((point) => !point.includes(null)) // missing numbers
      .map(([x, y]) => svg("circle", { cx: x + 5, cy: 105 - y, r: 2, fill: "currentColor" }));
  const width = data.pictures.kind === "signal" ? 150 : 110;
  return svg("svg", { viewBox: `0 0 ${width} 110`, role: "img", "aria-label": label }, ...marks);
}

function curves(heights) { // one curve, or several where samples are missing
  const step = 140 / Math.max(heights.length - 1, 1);
  const points = heights.map((y, t) => y === null ? ";" : `${step * t + 5},${105 - y}`);
  const parts = points.join(" ").split(";").map((part) => part.trim());
  return parts.filter((part) => part).map((part) => svg("polyline", { points: part }));
}

function image(strip, e, label) {
  const node = el("img", { alt: label, loading: "lazy" });
  const last = data.pictures.n_elements - 1;
  node.style.aspectRatio = String(data.pictures.aspect);
  node.style.objectPosition = `${last ? (100 * e) / last : 0}% 0`; // one of the strip
  node.src = strip;
  return node;
}

function frame(drawing, cell) { // round the cell of the grid that the row is of
  if (drawing === null || !data.grid || cell === undefined || cell < 0) return drawing;
  const [rows, columns] = data.grid, node = el("span", { class: "cell" });
  node.style.left = `${(100 * (cell % columns)) / columns}%`;
  node.style.top = `${(100 * Math.floor(cell / columns)) / rows}%`;
  node.style.width = `${100 / columns}%`;
  node.style.height = `${100 / rows}%`;
  return el("span", { class: "framed" }, drawing, node);
}

function example([place, activations, at = []], i) {
  const name = data.inputs[place];
  const most = Math.max(...activations.map((z) => z ?? -1));
  const cells = activations.map((z, e) => {
    const label = moves ? `input ${name} moved by ${data.elements[e]}` : `input ${name}`;
    const strongest = moves && z !== null && z === most;
    return el("li", { class: strongest ? "strongest" : null },
      frame(picture(place, e, label), at[e]),
      el("span", { class: "value" }, el("span", {}, moves ? data.elements[e] : "z"), el("span", {}, number(z))),
      bar(z / data.columns.max[i]));
  });
  const drawn = !data.pictures || place < data.pictures.drawings.length;
  return el("li", {}, el("h4", {}, `Input ${name}`, drawn ? "" : " (no room for its picture)"),
    el("ul", { class: "orbit" }, ...cells));
}

function examples(i) {
  if (!data.top[i].length) return [];
  return [el("h3", {}, "Inputs that fire it most"),
    el("p", { class: "note" }, moves
      ? "Each with its orbit, and the activation at each place; a frame marks the largest."
      : "Each with its activation."),
    el("ol", { class: "inputs" }, ...data.top[i].map((one) => example(one, i)))];
}

function route() {
  const i = opened(), article = $("feature"), was = !article.hidden;
  article.hidden = i === null;
  document.title = i === null ? data.title : `${data.names[i]} – ${data.title}`;
  const place = i === null ? -1 : found.indexOf(i);
  if (was === article.hidden) showColumn(sortedHeading()); // the list has another width now
  if (place >= 0) {
    turnPage(Math.floor(place / PAGE), place % PAGE);
    $("rows").children[place % PAGE].scrollIntoView({ block: "nearest" });
  } else renderRows();
  if (i === null) {
    if (was) focusRow(state.current);
    return;
  }
  const heading = el("h2", { id: "feature-name", tabindex: "-1" }, data.names[i]);
  article.replaceChildren(navigation(i), heading,
    el("p", { class: "note" }, `Latent ${i} (0 to ${thousands(n - 1)})`),
    numbers(i), ...activity(i), ...examples(i), ...symmetry(i), ...classes(i));
  article.scrollTop = 0;
  heading.focus();
}

// ---- start ------------------------------------------------------------------------

function shortcuts(event) {
  const typing = event.target.closest("input, select");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    if (opened() !== null && getComputedStyle($("list")).display === "none") location.hash = "#list";
    $("query").focus();
  } else if (event.key === "Escape" && event.target === $("query") && $("query").value) {
    $("query").value = "";
    refresh();
  } else if (event.key === "Escape" && opened() !== null) {
    location.hash = "#list";
  }
}

function options(select, names) {
  names.forEach((name, value) => $(select).append(el("option", { value }, name)));
  $(`${select}-label`).hidden = false;
}

function start() {
  const about = data.about;
  $("title").textContent = data.title;
  const live = data.columns.density.filter((density) => density > 0).length;
  $("about").textContent = [
    `${thousands(n)} features, ${thousands(live)} live`, `k = ${about.k}`,
    `FVU ${number(about.fvu)}`, `${thousands(about.n_rows)} rows${moves ? ` in ${thousands(about.n_orbits)} orbits of ${about.group}` : ""}`,
    `activations of length ${thousands(about.n_activations)}`,
  ].join(" · ");
  for (const [choice, { names }] of Object.entries(CHOICES)) options(choice, names);
  $("head").append(...COLUMNS.map((column) => {
    const button = el("button", { type: "button", title: column.meaning }, column.label);
    button.addEventListener("click", () => sortBy(column));
    return el("th", { scope: "col", "data-key": column.key, class: column.text ? "text" : null }, button);
  }));
  $("meanings").append(...COLUMNS.concat(OTHERS).flatMap((one) =>
    [el("dt", {}, one.label), el("dd", {}, one.meaning)]));
  $("filters").addEventListener("input", filter);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("previous").addEventListener("click", () => turnPage(state.page - 1));
  $("next").addEventListener("click", () => turnPage(state.page + 1));
  $("rows").addEventListener("keydown", moveInList);
  $("head").addEventListener("focusin", (event) => showColumn(event.target.closest("th")));
  document.addEventListener("keydown", shortcuts);
  window.addEventListener("hashchange", route);
  refresh();
  route();
}

start();
