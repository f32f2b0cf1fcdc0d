// ---- a map of all features by their vectors ------------------------------------------

const MARGIN = 8, REACH = 14; // pixels

function mapPoints() { // [latent, x, y] on the canvas
  const { clientWidth, clientHeight } = $("map");
  const at = (share, size) => MARGIN + (share / 1000) * (size - 2 * MARGIN);
  return data.map.places.flatMap(([x, y], i) => x === null ? [] : [[i, at(x, clientWidth), at(y, clientHeight)]]);
}

function renderMap() {
  const canvas = $("map");
  if (!data.map.places.length || !$("map-box").open) return;
  const ratio = window.devicePixelRatio || 1, pen = canvas.getContext("2d");
  canvas.width = ratio * canvas.clientWidth;
  canvas.height = ratio * canvas.clientHeight;
  pen.scale(ratio, ratio);
  const colors = getComputedStyle(document.documentElement);
  const i = opened(), inOrbit = new Set(i === null ? [] : copiesOf(i)), inList = new Set(found.map((j) => orbitOf[j]));
  const rank = ([j]) => (j === i ? 3 : inOrbit.has(j) ? 2 : inList.has(orbitOf[j]) ? 1 : 0);
  const points = mapPoints();
  for (const [at, [name, radius]] of [["--line", 2], ["--bar", 2.5], ["--strong", 5], ["--strong", 8]].entries()) {
    pen.fillStyle = colors.getPropertyValue(name);
    pen.beginPath();
    for (const [, x, y] of points.filter((point) => rank(point) === at)) {
      pen.moveTo(x + radius, y);
      pen.arc(x, y, radius, 0, 2 * Math.PI);
    }
    pen.fill();
  }
}

function featureAt(event) {
  const distance = ([, x, y]) => Math.hypot(x - event.offsetX, y - event.offsetY);
  const nearest = mapPoints().reduce((best, point) => distance(point) < distance(best) ? point : best);
  return distance(nearest) < REACH ? nearest[0] : null;
}

function startMap() {
  if (!data.map.places.length) return;
  const canvas = $("map");
  $("map-box").hidden = false;
  $("map-by").textContent = data.map.by === "UMAP" ? "placed by UMAP: those beside each other have similar vectors"
    : "at the two main directions of the dictionary's vectors";
  $("map-box").addEventListener("toggle", renderMap);
  window.addEventListener("resize", renderMap);
  canvas.addEventListener("click", (event) => {
    const i = featureAt(event);
    if (i !== null) location.hash = href({ feature: i, compare: "" });
  });
  canvas.addEventListener("mousemove", (event) => {
    const i = featureAt(event);
    canvas.title = i === null ? "" : [data.names[i], noteOf(i).label].filter((part) => part).join(": ");
    canvas.style.cursor = i === null ? "default" : "pointer";
  });
}
