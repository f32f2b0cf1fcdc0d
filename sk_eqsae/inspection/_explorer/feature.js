// ---- one feature, or two side by side ---------------------------------------------

const MOST_COPIES = 24; // of a latent orbit that are shown
let heatMaps = false;

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

// ---- the inputs ---------------------------------------------------------------------

const inputLink = (place) => el("a", { href: href({ input: data.inputs[place], sort: "here",
  direction: "descending", page: 0 }), title: "Which features fire here?" }, `Input ${data.inputs[place]}`);

function card(example, i, heading = null) {
  const e = strongest(example), [place, z, , heat] = example;
  const drawing = picture(example, e, heatMaps ? heat : null, data.columns.max[i]);
  return el("li", {}, drawing,
    el("span", { class: "value" }, inputLink(place), el("span", {}, number(z[e]))),
    bar(z[e] / data.columns.max[i]),
    heading === null ? null : el("span", { class: "note" }, heading),
    drawing || !data.pictures ? null : el("span", { class: "note" }, "no room for its picture"));
}

const cards = (all) => el("ol", { class: data.pictures?.kind === "text" ? "cards passages" : "cards" }, ...all);

function examples(i) {
  if (!data.top[i].length) return [];
  const others = data.others[i].map(([quantile, ...example]) =>
    card(example, i, quantile ? `stronger than ${quantile}\u00a0%` : "at random"));
  return [
    el("h3", {}, "Inputs that fire it most"), heatBox(i),
    cards(data.top[i].map((example) => card(example, i))),
    ...(others.length ? [el("h3", {}, "Others that fire it"), cards(others)] : []),
    moves ? alongOrbits(i) : null,
  ].filter((node) => node !== null);
}

function heatBox(i) {
  if (data.pictures?.kind !== "image" || !data.top[i].some((example) => example[3])) return null;
  const box = el("input", { type: "checkbox" });
  box.checked = heatMaps;
  box.addEventListener("change", () => { heatMaps = box.checked; renderFeature(); });
  return el("label", { class: "note" }, box, " Heat map: all sites that fire it");
}

function alongOrbits(i) { // made when it is opened
  const box = el("details", {}, el("summary", {}, "The same inputs at each place of their orbit"));
  box.addEventListener("toggle", () => {
    if (box.children.length > 1) return;
    box.append(el("ol", { class: "inputs" }, ...data.top[i].map((example) => alongOrbit(example, i))));
  });
  return box;
}

function alongOrbit(example, i) {
  const [place, activations] = example, most = strongest(example);
  const cells = activations.map((z, e) =>
    el("li", { class: e === most ? "strongest" : null },
      data.pictures?.n_elements > 1 || e === 0 ? picture(example, e) : null,
      el("span", { class: "value" }, el("span", {}, data.elements[e]), el("span", {}, number(z))),
      bar(z / data.columns.max[i])));
  return el("li", {}, el("h4", {}, `Input ${data.inputs[place]}`), el("ul", { class: "orbit" }, ...cells));
}

// ---- the latent orbit: copies side by side ----------------------------------------------

const decoded = (i) => data.vectors && data.vectors.place[i] >= 0
  ? draw(data.vectors, data.vectors.place[i], 0, `vector of ${data.names[i]}, decoded`) : null;

function copies(i) {
  const all = copiesOf(i), shown = all.slice(0, MOST_COPIES), vector = decoded(i);
  if (all.length === 1) {
    return vector ? [el("h3", {}, "Its vector, decoded"), el("div", { class: "cards" }, vector)] : [];
  }
  const alike = new Set(all.map((j) => copyOf[j])).size < all.length; // families may have several
  const head = shown.map((j) => el("th", { scope: "col", class: j === i ? "here" : null },
    link(j, (alike ? null : data.elements[copyOf[j]]) ?? data.names[j]), el("span", { class: "note" }, isDead(j) ? "dead" : "")));
  const rows = [];
  if (data.vectors) rows.push(el("tr", {}, el("th", { scope: "row" }, "Vector, decoded"),
    ...shown.map((j) => el("td", {}, decoded(j) ?? "–"))));
  data.turned[i].forEach((places, k) => {
    const example = data.top[i][k];
    const cells = places.map(([e, z]) => el("td", {}, picture(example, e),
      el("span", { class: "note" }, `${data.elements[e]}: ${number(z)}`)));
    rows.push(el("tr", {}, el("th", { scope: "row" }, inputLink(example[0])), ...cells));
  });
  return [
    el("h3", {}, `Its latent orbit: ${all.length} copies`),
    el("p", { class: "note" }, "Each copy, and the inputs above turned to where they fire it most, with the activation there."),
    el("div", { class: "scroll-x", role: "region", "aria-label": "Copies", tabindex: "0" },
      el("table", { class: "copies" }, el("thead", {}, el("tr", {}, el("td", {}, "Copy"), ...head)), el("tbody", {}, ...rows))),
    all.length > shown.length ? el("p", { class: "note" }, `and ${all.length - shown.length} more`) : null,
  ].filter((node) => node !== null);
}

// ---- numbers --------------------------------------------------------------------------

function numbers(i) {
  const c = data.columns;
  const pairs = [
    ["Density", percent(c.density[i])],
    ["Mean activation", number(c.mean[i])],
    ["Largest", number(c.max[i])],
    ["FVU without it", signed(c.fvu_without[i])],
    ["Error without it", signed(c.error_without[i])],
  ];
  if (data.irreps) {
    const s = data.symmetry;
    pairs.push(["Invariance", number(s.invariance[i])],
      ["Main irrep", `${data.irrep[i] ?? "–"}${data.beyond_chance[i] ? "" : ", no more than by chance"}`],
      ["Different turned vectors", number(s.orbit_length[i])]);
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
  return [
    el("h3", {}, "Under the group"),
    el("p", {}, "Turns into, under"), el("ul", { class: "links" }, ...turns),
    barTable("Energy of its vector by irrep, and what a random direction may have", energies,
      ["", "", "energy", "chance"]),
  ];
}

function near(i) {
  const lists = [["By vector", data.near[0][i]], ["By activations", data.near[1][i]]];
  const shown = lists.filter(([, pairs]) => pairs.length);
  return shown.length === 0 ? [] : [el("h3", {}, "Near features"), ...shown.flatMap(([name, pairs]) => [
    el("p", { class: "note" }, `${name}, with the cosine`),
    el("ul", { class: "links" }, ...pairs.map(([j, cosine]) => el("li", {}, link(j), ` ${number(cosine)} `,
      el("a", { href: href({ feature: i, compare: j }), class: "small", "aria-label": `compare with ${data.names[j]}` }, "compare")))),
  ])];
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
  const best = data.best[i], fires = best.map((_, at) => firesIn(i, at)), most = Math.max(...fires);
  const rows = best.map((c, at) =>
    [data.classes[c], fires[at] / most, percent(fires[at]), number(aucOf(i, c))]);
  const more = rows.length < data.classes.length ? `, the first ${rows.length} of ${data.classes.length}` : "";
  return [el("h3", {}, "Classes"),
    barTable(`Best separated first${more}`, rows, ["Class", "", "fires in", "AUC"])];
}

// ---- the view ---------------------------------------------------------------------------

function step(by) {
  const place = found.findIndex((j) => j === opened() || (address.per === "orbits" && orbitOf[j] === orbitOf[opened()]));
  return place < 0 ? undefined : found[place + by];
}

function navigation(i) {
  const go = (by, text, key) => step(by) === undefined ? null
    : el("a", { href: href({ feature: step(by), compare: "" }), "aria-keyshortcuts": key }, text);
  const other = latentAt("compare");
  return el("nav", { "aria-label": "Features" },
    el("a", { href: href({ feature: "", compare: "" }), "aria-keyshortcuts": "Escape" }, "Close"),
    go(-1, "Previous in list", "ArrowLeft"), go(1, "Next in list", "ArrowRight"),
    other === null ? compareBox(i) : el("a", { href: href({ compare: "" }) }, "Stop comparing"));
}

function compareBox(i) {
  const box = el("input", { type: "search", placeholder: "name or number", autocomplete: "off", size: "14" });
  box.addEventListener("change", () => {
    const named = data.names.indexOf(box.value.trim());
    const j = named >= 0 ? named : /^\d+$/.test(box.value) ? Number(box.value) : -1;
    if (j >= 0 && j < n && j !== i) location.hash = href({ compare: j });
    else box.setCustomValidity("No other feature has this name or number."), box.reportValidity();
  });
  box.addEventListener("input", () => box.setCustomValidity(""));
  return el("label", { class: "note" }, "Compare with ", box);
}

function view(i, id) {
  const { label } = noteOf(i);
  const heading = el("h2", { id, tabindex: "-1" }, data.names[i]);
  const copy = copiesOf(i).length > 1 ? `, copy under ${data.elements[copyOf[i]]} in latent orbit ${orbitOf[i]}` : "";
  return el("section", { "aria-labelledby": id }, heading, label ? el("p", { class: "label" }, label) : null,
    el("p", { class: "note" }, `Latent ${i} (0 to ${thousands(n - 1)})${copy}`),
    ...examples(i), ...copies(i), el("h3", {}, "Numbers"), numbers(i), noteBoxes(i),
    ...activity(i), ...symmetry(i), ...near(i), ...classes(i));
}

function renderFeature() {
  const i = opened(), other = latentAt("compare");
  const views = [view(i, "feature-name")];
  if (other !== null) views.push(view(other, "other-name"));
  $("feature").replaceChildren(navigation(i), el("div", { class: "views" }, ...views));
}
