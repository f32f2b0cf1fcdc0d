// ---- inputs and vectors as pictures, curves, points or texts -----------------------

function draw(drawn, place, e, label, cell = -1) {
  const drawing = drawn?.drawings[place];
  if (drawing === undefined || e >= drawn.n_elements) return null;
  if (drawn.kind === "image") return image(drawn, drawing, e, label);
  if (drawn.kind === "text") return text(drawing[e], cell);
  const marks = drawn.kind === "signal"
    ? drawing[e].flatMap(curves)
    : drawing[e].filter((point) => !point.includes(null)) // missing numbers
      .map(([x, y]) => svg("circle", { cx: x + 5, cy: 105 - y, r: 2, fill: "currentColor" }));
  const width = drawn.kind === "signal" ? 150 : 110;
  return svg("svg", { viewBox: `0 0 ${width} 110`, role: "img", "aria-label": label }, ...marks);
}

function curves(heights) { // one curve, or several where samples are missing
  const step = 140 / Math.max(heights.length - 1, 1);
  const points = heights.map((y, t) => y === null ? ";" : `${step * t + 5},${105 - y}`);
  const parts = points.join(" ").split(";").map((part) => part.trim());
  return parts.filter((part) => part).map((part) => svg("polyline", { points: part }));
}

function image(drawn, strip, e, label) {
  const node = el("img", { alt: label, class: drawn.side < 48 ? "pixels" : null });
  const last = drawn.n_elements - 1;
  node.style.aspectRatio = String(drawn.aspect);
  node.style.objectPosition = `${last ? (100 * e) / last : 0}% 0`; // one of the strip
  node.src = strip;
  return node;
}

function text(tokens, cell) { // a text, or tokens of which one is marked
  if (typeof tokens === "string") return el("span", { class: "passage" }, tokens);
  const first = Math.max(cell - 12, 0);
  const near = tokens.slice(first, first + 40).map((token, t) =>
    first + t === cell ? el("mark", {}, token) : token);
  return el("span", { class: "passage" }, first ? "… " : "", ...near.flatMap((token) => [token, " "]));
}

function cellBox(cell, attributes) {
  const [rows, columns] = data.grid, node = el("span", attributes);
  node.style.left = `${(100 * (cell % columns)) / columns}%`;
  node.style.top = `${(100 * Math.floor(cell / columns)) / rows}%`;
  node.style.width = `${100 / columns}%`;
  node.style.height = `${100 / rows}%`;
  return node;
}

function frame(drawing, cell, heat, most) { // round the cell that fired, over the heat map
  if (drawing === null || !data.grid || !(cell >= 0) || data.pictures.kind !== "image") return drawing;
  const warm = (heat || []).map(([at, z]) => {
    const node = cellBox(at, { class: "warm" });
    node.style.opacity = String(0.75 * Math.min(z / most, 1));
    return node;
  });
  return el("span", { class: "framed" }, drawing, ...warm, cellBox(cell, { class: "cell" }));
}

// An example is [place, activation at each element, cell at each element, heat map].
const strongest = ([, z]) => z.reduce((best, value, e) => (value ?? -1) > (z[best] ?? -1) ? e : best, 0);

function labelOfInput(place, e) {
  const name = `input ${isolated(data.inputs[place])}`;
  return moves ? `${name} moved by ${data.elements[e]}` : name;
}

function picture(example, e, heat = null, most = 1) {
  const [place, , cells = []] = example;
  const shown = data.pictures?.n_elements > 1 ? e : 0; // only canonical inputs may be there
  const drawing = draw(data.pictures, place, shown, labelOfInput(place, shown), cells[shown]);
  return frame(drawing, cells[shown], heat, most);
}
