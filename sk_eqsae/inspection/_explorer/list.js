// ---- columns of the table ---------------------------------------------------------

const PAGE = 25; // rows of the table that are in the document at a time
const N_THUMBS = 4;

// What the values of a column are for: the main irrep or the best class of each
// feature, or the one that is chosen for all.
const CHOICES = {};
if (data.irreps) {
  CHOICES.irrep = { names: data.irreps, column: "energy", value: (i, irrep) => data.energies[i][irrep],
    main: data.irrep.map((name) => data.irreps.indexOf(name)) };
}
if (data.classes) {
  CHOICES.class = { names: data.classes, column: "auc", value: aucOf,
    main: data.best.map((best, i) => (isDead(i) ? -1 : best[0])) };
}
const chosen = (choice) => (address[choice] === "" ? null : Number(address[choice]));
function reader(column) { // of the value that a latent has there
  const values = column.key === "here" ? firesHere() : column.values;
  if (!column.choice) return (i) => values[i];
  const { main, value } = CHOICES[column.choice], one = chosen(column.choice);
  return (i) => (main[i] < 0 ? null : value(i, one ?? main[i]));
}
function labelOf(column) {
  const one = column.choice ? chosen(column.choice) : null;
  return one === null ? column.label : `${column.label} of ${isolated(CHOICES[column.choice].names[one])}`;
}
const marked = (irrep, i) => (irrep && !data.beyond_chance[i] ? `${irrep} ?` : irrep);

const COLUMNS = [
  { key: "name", label: "Feature", values: data.names, first: "ascending",
    meaning: "The dictionary vector of one latent. A dead feature fires in no row. Of a latent orbit, features that the group turns into each other, the list shows the one that comes first." },
  { key: "here", label: "Fires here", show: percent,
    meaning: "Largest activation at the input that is searched, as a share of the feature's largest of all." },
  { key: "removal", label: "FVU without", values: data.columns.fvu_without, show: signed,
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
COLUMNS.push({ key: "mean", label: "Mean", values: data.columns.mean, show: number,
  meaning: "Mean activation over rows in which it fires." });

const OTHERS = [
  { label: "Error without it",
    meaning: "What the squared error of a row grows by, in the mean over rows in which the feature fires." },
  { label: "Turns into",
    meaning: "The feature whose vector is nearest to what a generator of the group makes of this one, and the cosine between them." },
];

// ---- filter, sort, page -----------------------------------------------------------

let found = []; // latents of the rows, in their order
let current = 0; // row that has the focus

function firesHere() {
  const values = Array(n).fill(null), [latents, shares] = data.fires[data.inputs.indexOf(address.input)] || [[]];
  latents.forEach((i, at) => { values[i] = shares[at] / 100; });
  return values;
}

const isMain = (i) => Object.entries(CHOICES).every(([choice, { main }]) =>
  chosen(choice) === null || chosen(choice) === main[i]);

function filtered() {
  const { state, only } = address, query = address.query.trim().toLowerCase();
  const here = address.input.trim() === "" ? null : firesHere();
  const holds = (i) => [data.names[i], noteOf(i).label, noteOf(i).note]
    .some((text) => text.toLowerCase().includes(query));
  return Array.from({ length: n }, (_, i) => i).filter((i) =>
    (state === "all" || isDead(i) === (state === "dead"))
    && (!only || isMain(i)) && (here === null || here[i] !== null)
    && (!query || String(i) === query || holds(i)));
}

const collator = new Intl.Collator("en", { numeric: true });
function compare(read, sign) {
  const values = Array.from({ length: n }, (_, i) => read(i));
  return (a, b) => {
    const x = values[a], y = values[b];
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    const order = typeof x === "string" ? collator.compare(x, y) : x - y;
    return sign * order || a - b;
  };
}
const sortedColumn = () => COLUMNS.find((one) => one.key === address.sort) ?? COLUMNS[2];

function refresh() {
  found = filtered().sort(compare(reader(sortedColumn()), address.direction === "ascending" ? 1 : -1));
  const n_found = found.length, seen = new Set();
  if (address.per === "orbits") found = found.filter((i) => !seen.has(orbitOf[i]) && seen.add(orbitOf[i]));
  current = 0;
  renderHead();
  renderRows(n_found);
  renderMap();
}

function filter(event) {
  const { id, type, checked, value } = event.target, choice = CHOICES[id];
  change({ [id]: type === "checkbox" ? (checked ? "1" : "") : value, page: 0 });
  const key = id === "input" && value ? "here" : choice && value !== "" ? choice.column : null;
  if (key) change({ sort: key, direction: "descending" });
  else if (id === "input") change({ sort: DEFAULTS.sort, direction: DEFAULTS.direction });
  refresh();
  if (key) showColumn(sortedHeading());
}

const sortedHeading = () => $("head").querySelector("[aria-sort]");

function showColumn(heading) { // not behind the names, which stay in view
  const rect = (node) => node.getBoundingClientRect();
  const box = $("head").closest(".scroll"), names = $("head").firstChild;
  if (!heading || heading === names) return;
  const beyond = rect(heading).right - rect(box).left - box.clientWidth;
  const hidden = rect(names).right - rect(heading).left;
  if (beyond > 0) box.scrollLeft += beyond;
  else if (hidden > 0) box.scrollLeft -= hidden;
}

function renderHead() {
  for (const th of $("head").querySelectorAll("[data-key]")) {
    const column = COLUMNS.find((one) => one.key === th.dataset.key);
    th.firstChild.textContent = labelOf(column);
    if (column === sortedColumn()) th.setAttribute("aria-sort", address.direction);
    else th.removeAttribute("aria-sort");
    if (column.key === "here") th.hidden = address.input === "";
  }
  $("only-label").hidden = Object.keys(CHOICES).every((choice) => chosen(choice) === null);
}

const lastPage = () => Math.max(Math.ceil(found.length / PAGE) - 1, 0);
const pageNow = () => Math.min(Number(address.page) || 0, lastPage());

function renderRows(n_found = null) {
  const start = pageNow() * PAGE, shown = found.slice(start, start + PAGE);
  current = Math.min(current, Math.max(shown.length - 1, 0));
  const columns = COLUMNS.slice(1).map((column) => ({ ...column, read: reader(column) }));
  $("rows").replaceChildren(...shown.map((i) => row(i, columns)));
  markRows();
  if (n_found !== null) $("count").dataset.features = n_found;
  $("count").textContent = counted(Number($("count").dataset.features), start, shown.length);
  $("pages").hidden = lastPage() === 0;
  $("page").textContent = `Page ${pageNow() + 1} of ${lastPage() + 1}`;
  $("previous").disabled = pageNow() === 0;
  $("next").disabled = pageNow() === lastPage();
}

function counted(n_features, start, n_shown) {
  const features = `${thousands(n_features)} of ${thousands(n)} features`;
  const rows = found.length < n_features ? `, in ${thousands(found.length)} latent orbits` : "";
  const here = address.input === "" ? ""
    : data.inputs.includes(address.input) ? ` that fire at input ${isolated(address.input)}`
    : ` (input ${isolated(address.input)} is not on this page)`;
  const range = n_shown ? `, ${start + 1} to ${start + n_shown} shown` : "";
  return `${features}${rows}${here}, by ${labelOf(sortedColumn())}${range}`;
}

function markRows() { // which one is open, and which one the Tab key goes to
  for (const [place, tr] of [...$("rows").children].entries()) {
    const name = tr.querySelector("a");
    tr.classList.toggle("open", Number(name.dataset.latent) === opened());
    name.tabIndex = place === current ? 0 : -1;
  }
}

function row(i, columns) {
  const name = link(i), n_copies = copiesOf(i).length, { label } = noteOf(i);
  name.title = data.names[i];
  const cells = columns.map(({ key, text, show, read }) => text
    ? el("td", { class: "text", "data-key": key, title: read(i) }, read(i) ?? "–")
    : el("td", { "data-key": key, hidden: key === "here" && address.input === "" ? "" : null }, show(read(i))));
  return el("tr", {},
    el("th", { scope: "row" }, name,
      label ? el("span", { class: "label" }, label) : null,
      n_copies > 1 && address.per === "orbits" ? el("span", { class: "note" }, `${n_copies} copies`) : null),
    data.pictures ? el("td", { class: "thumbs" }, ...thumbs(i)) : null, ...cells);
}

function thumbs(i) {
  const n_thumbs = data.pictures.kind === "text" ? 2 : N_THUMBS;
  return data.top[i].slice(0, n_thumbs).map((example) => picture(example, strongest(example))).filter((node) => node);
}

function sortBy(column) {
  const first = column.first || "descending";
  const other = first === "ascending" ? "descending" : "ascending";
  const again = address.sort === column.key && address.direction === first;
  change({ sort: column.key, direction: again ? other : first, page: 0 });
  refresh();
}

function turnPage(page, place = 0) {
  change({ page });
  current = place;
  renderRows();
}

function focusRow(place) {
  const links = $("rows").querySelectorAll("a");
  if (!links.length) return;
  current = Math.min(Math.max(place, 0), links.length - 1);
  markRows();
  links[current].focus();
}

function moveInList(event) {
  const page = pageNow(), end = $("rows").children.length - 1;
  const keys = {
    ArrowDown: () => current === end && page < lastPage() ? (turnPage(page + 1), 0) : current + 1,
    ArrowUp: () => current === 0 && page > 0 ? (turnPage(page - 1), PAGE - 1) : current - 1,
    PageDown: () => page < lastPage() ? (turnPage(page + 1), 0) : end,
    PageUp: () => page > 0 ? (turnPage(page - 1), 0) : 0,
    Home: () => 0,
    End: () => end,
  };
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
  if (!plain || !(event.key in keys) || !event.target.closest("a")) return;
  event.preventDefault();
  focusRow(keys[event.key]());
}
