// ---- labels and notes by latent orbit, kept in the browser --------------------------

const STORE = `sk-eqsae notes ${data.key}`;
const notes = new Map(); // by orbit
const NONE = { label: "", note: "" };
const noteOf = (i) => notes.get(orbitOf[i]) ?? NONE;

function addNotes(records) {
  const known = records.filter(({ latent }) => Number.isInteger(Number(latent)) && orbitOf[latent] !== undefined);
  for (const { latent, label, note } of known) {
    notes.set(orbitOf[latent], { label: String(label ?? ""), note: String(note ?? "") });
  }
  return known.length;
}

function readStore() {
  addNotes(data.notes);
  try {
    addNotes(JSON.parse(localStorage.getItem(STORE) ?? "[]"));
  } catch { /* storage is off, or holds something else */ }
}

function keepNotes() {
  const all = [...notes].map(([orbit, texts]) => ({ latent: members[orbit][0], ...texts }));
  try {
    localStorage.setItem(STORE, JSON.stringify(all));
  } catch {
    $("notes-state").textContent = "This browser keeps no notes: export them before you close the page.";
  }
  countNotes();
}

const records = () => [...notes].filter(([, { label, note }]) => label || note)
  .map(([orbit, texts]) => ({ latent: members[orbit][0], ...texts })).sort((a, b) => a.latent - b.latent);

function countNotes() {
  $("n-notes").textContent = `(${records().length})`;
}

function noteBoxes(i) {
  const box = (part, node) => {
    node.value = noteOf(i)[part];
    node.addEventListener("input", () => {
      notes.set(orbitOf[i], { ...noteOf(i), [part]: node.value });
      keepNotes();
    });
    node.addEventListener("change", () => renderRows());
    return el("label", {}, el("span", { class: "note" }, part === "label" ? "Label" : "Note"), node);
  };
  return el("form", { class: "notes", autocomplete: "off" },
    box("label", el("input", { type: "text" })), box("note", el("textarea", { rows: "2" })));
}

const quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
const asCsv = () => ["latent,label,note", ...records().map(({ latent, label, note }) =>
  [latent, quoted(label), quoted(note)].join(","))].join("\r\n") + "\r\n";

function fromCsv(text) {
  const rows = [[]];
  for (const [, cell, end] of text.matchAll(/("(?:[^"]|"")*"|[^,\r\n]*)(,|\r?\n|$)/g)) {
    rows.at(-1).push(cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell);
    if (end !== ",") rows.push([]);
  }
  const [names, ...values] = rows.filter((row) => row.length > 1);
  return values.map((row) => Object.fromEntries(names.map((name, c) => [name, row[c]])));
}

function download(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

async function importNotes(event) {
  const [file] = event.target.files;
  if (!file) return;
  const text = await file.text();
  let read = 0;
  try {
    read = addNotes(file.name.endsWith(".csv") ? fromCsv(text) : JSON.parse(text));
  } catch { /* told below */ }
  $("notes-state").textContent = read ? `${read} read from ${file.name}.`
    : `${file.name} has no notes of this autoencoder: JSON or CSV with latent, label and note.`;
  event.target.value = "";
  keepNotes();
  refresh();
  if (opened() !== null) renderFeature();
}

function startNotes() {
  readStore();
  countNotes();
  $("export-json").addEventListener("click", () => download("notes.json", JSON.stringify(records(), null, 1), "application/json"));
  $("export-csv").addEventListener("click", () => download("notes.csv", asCsv(), "text/csv"));
  $("import").addEventListener("change", importNotes);
}
