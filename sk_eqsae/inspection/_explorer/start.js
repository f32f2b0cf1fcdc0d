// ---- what happens when the address changes, and keys --------------------------------

const CONTROLS = ["query", "state", "per", "irrep", "class", "only", "input"];

function setControls() {
  for (const id of CONTROLS) {
    if ($(id).type === "checkbox") $(id).checked = address[id] === "1";
    else $(id).value = address[id];
  }
}

function route() {
  const before = address;
  address = readAddress();
  const isSame = Object.keys(DEFAULTS).every((key) =>
    ["feature", "compare", "page"].includes(key) || before[key] === address[key]);
  if (!isSame) {
    setControls();
    refresh();
  } else if (before.page !== address.page) renderRows();
  show();
}

function show() {
  const i = opened(), article = $("feature"), was = !article.hidden;
  article.hidden = i === null;
  document.body.classList.toggle("looking", i !== null);
  document.body.classList.toggle("comparing", i !== null && latentAt("compare") !== null);
  document.title = i === null ? data.title : `${data.names[i]} – ${data.title}`;
  const place = i === null ? -1 : found.findIndex((j) => orbitOf[j] === orbitOf[i]);
  if (place >= 0) {
    const page = Math.floor(place / PAGE);
    current = place % PAGE;
    if (page !== pageNow()) turnPage(page, current);
  }
  markRows();
  if (i !== null) renderFeature();
  // all is written before anything is measured, so that it is laid out once
  if (was === article.hidden) showColumn(sortedHeading()); // the list has another width now
  if (place >= 0) $("rows").children[current].scrollIntoView({ block: "nearest" });
  renderMap();
  if (i === null) {
    if (was) focusRow(current);
    return;
  }
  article.scrollTop = 0;
  $("feature-name").focus();
}

function shortcuts(event) {
  const typing = event.target.closest("input, select, textarea");
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.key === "/" && !typing && plain) {
    event.preventDefault();
    if (opened() !== null && getComputedStyle($("list")).display === "none") location.hash = href({ feature: "", compare: "" });
    $("query").focus();
  } else if (event.key === "Escape" && event.target === $("query") && $("query").value) {
    change({ query: "", page: 0 });
    $("query").value = "";
    refresh();
  } else if (event.key === "Escape" && opened() !== null) {
    location.hash = href({ feature: "", compare: "" });
  } else if (by && plain && !typing && event.target.closest("#feature") && !event.target.closest(".scroll-x")
      && step(by) !== undefined) {
    event.preventDefault();
    location.hash = href({ feature: step(by), compare: "" });
  }
}

// ---- start ------------------------------------------------------------------------

function options(select, names) {
  names.forEach((name, value) => $(select).append(el("option", { value }, name)));
  $(`${select}-label`).hidden = false;
}

function heading(column) {
  const button = el("button", { type: "button", title: column.meaning }, column.label);
  button.addEventListener("click", () => sortBy(column));
  return el("th", { scope: "col", "data-key": column.key, class: column.text ? "text" : null }, button);
}

function start() {
  const { about } = data;
  $("title").textContent = data.title;
  const live = data.columns.density.filter((density) => density > 0).length;
  $("about").textContent = [
    `${thousands(n)} features, ${thousands(live)} live${inOrbits ? `, in ${thousands(members.length)} latent orbits` : ""}`, `k = ${about.k}`,
    `FVU ${number(about.fvu)}`, `${thousands(about.n_rows)} rows${moves ? ` in ${thousands(about.n_orbits)} orbits of ${about.group}` : ""}`,
    `activations of length ${thousands(about.n_activations)}`,
  ].join(" · ");
  for (const [choice, { names }] of Object.entries(CHOICES)) options(choice, names);
  $("per-label").hidden = !inOrbits;
  $("input-label").hidden = !data.inputs.length;
  const headings = COLUMNS.map(heading);
  if (data.pictures) headings.splice(1, 0, el("th", { scope: "col", class: "thumbs" }, "Top inputs"));
  $("features").classList.toggle("pictured", data.pictures !== null);
  $("head").append(...headings);
  const shown = COLUMNS.filter(({ key }) => key !== "here" || data.inputs.length);
  $("meanings").append(...shown.concat(OTHERS).flatMap((one) =>
    [el("dt", {}, one.label), el("dd", {}, one.meaning)]));
  startNotes();
  startMap();
  setControls();
  $("filters").addEventListener("input", filter);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("previous").addEventListener("click", () => turnPage(pageNow() - 1));
  $("next").addEventListener("click", () => turnPage(pageNow() + 1));
  $("rows").addEventListener("keydown", moveInList);
  $("head").addEventListener("focusin", (event) => showColumn(event.target.closest("th")));
  $("skip").addEventListener("click", (event) => { event.preventDefault(); $("list").focus(); });
  document.addEventListener("keydown", shortcuts);
  window.addEventListener("hashchange", route);
  refresh();
  show();
}

start();
