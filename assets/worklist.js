// The list of files: order, filter and the open line are decided here, so that quick arrow keys lose nothing; the server
// is told which file is open.
const thumbnails = (globalThis[Symbol.for("chest-xray thumbnails")] ??= new Map());
const PACE = 150; // milliseconds between two messages to the server
const NOTHING = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";
const HEAD = 100, BELOW = 60, LEAST = 240; // pixels: of the page above its two columns, below the list, and of a list
const TAIL = 9; // characters at a name's end that always stand

// Outlives the component: a rerun and another page of the app keep order and filter.
const kept = { by: "number", down: false, filter: "all", turn: 0 };
const lists = new WeakMap();
const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

const ORDERS = {
  number: (a, b) => a.number - b.number,
  name: (a, b) => collator.compare(a.name, b.name),
  urgency: (a, b) => a.urgency - b.urgency || b.finding - a.finding,
  covid19: (a, b) => (b.covid19 ?? -1) - (a.covid19 ?? -1),
  warnings: (a, b) => b.warnings - a.warnings,
};
const FILTERS = {
  all: () => true,
  warned: (row) => row.warnings > 0,
};

class List {
  constructor(root) {
    this.root = root.querySelector(".worklist");
    this.list = this.$(".list");
    this.abort = new AbortController();
    const options = { signal: this.abort.signal };
    for (const button of this.root.querySelectorAll("[data-step]")) button.addEventListener("click", () => this.step(Number(button.dataset.step)), options);
    window.addEventListener("resize", () => this.fit(), options);
    this.list.addEventListener("click", (event) => {
      const row = event.target.closest("[data-id]");
      if (row) this.open(row.dataset.id);
    }, options);
    this.list.addEventListener("keydown", (event) => {
      const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity };
      if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      this.step(steps[event.key]);
    }, options);
    document.addEventListener("chest-xray-step", ({ detail }) => this.step(detail), options);
    document.addEventListener("chest-xray-thumbnails", () => this.illustrate(), options);
  }

  $(selector) { return this.root.querySelector(selector); }

  update(component) {
    this.component = component;
    this.data = { ...component.data, rows: JSON.parse(component.data.rows) }; // as text, which the server encodes once
    if (this.data.turn >= kept.turn) { // else the server has not heard of the last step yet
      kept.turn = this.data.turn;
      this.opened = this.data.opened;
    }
    if (!this.data.rows.some((row) => row.id === this.opened)) this.opened = this.data.opened;
    this.write();
  }

  get rows() { return this.data.rows; }

  passes(row) { return (FILTERS[kept.filter] ?? ((one) => one.kind === kept.filter))(row); }

  write() {
    const { words } = this.data, compare = ORDERS[kept.by];
    if (kept.filter !== "all" && !this.rows.some((row) => this.passes(row))) kept.filter = "all";
    this.shown = this.rows.filter((row) => this.passes(row)).sort((a, b) => (kept.down ? -1 : 1) * compare(a, b) || a.number - b.number);
    this.list.setAttribute("aria-label", words.worklist);
    this.$("[data-step='-1']").setAttribute("aria-label", words.previous);
    this.$("[data-step='1']").setAttribute("aria-label", words.next);
    this.writeTotals();
    this.writeHeads();
    this.writeRows();
    this.fit();
    this.mark();
  }

  // As high as the window leaves it below what stands above: lists of two hundred files scroll in themselves.
  fit() {
    const desk = document.querySelector(".st-key-desk");
    if (!desk) return;
    const [page, list] = [desk.getBoundingClientRect().top, this.list.getBoundingClientRect().top];
    this.list.style.height = `${Math.max(LEAST, innerHeight - HEAD - (list - page) - BELOW)}px`;
  }

  writeTotals() {
    const { words } = this.data;
    const count = (name) => this.rows.filter((row) => (FILTERS[name] ?? ((one) => one.kind === name))(row)).length;
    const totals = this.data.kinds.map(([name, label]) => [name, label, count(name)]).filter(([name, , number]) => number || name === "all");
    const totalled = JSON.stringify([totals, kept.filter]);
    if (totalled === this.totalled) return;
    this.totalled = totalled;
    const place = this.$(".totals");
    place.setAttribute("aria-label", words.totals);
    place.replaceChildren(...totals.map(([name, label, number]) => {
      const button = document.createElement("button");
      button.textContent = `${label} ${number}`;
      button.setAttribute("aria-pressed", name === kept.filter);
      button.addEventListener("click", () => { kept.filter = name === kept.filter ? "all" : name; this.seen = null; this.write(); this.focus(".totals", name, totals.map(([one]) => one)); });
      return button;
    }));
  }

  writeHeads() {
    const { words } = this.data;
    this.$(".heads").setAttribute("aria-label", words.order);
    this.$(".heads").replaceChildren(...words.heads.map(([name, label, meaning]) => {
      const button = document.createElement("button"), sorted = name === kept.by;
      button.textContent = sorted ? `${label} ${kept.down ? "▼" : "▲"}` : label;
      button.title = meaning;
      button.setAttribute("aria-label", meaning);
      button.setAttribute("aria-pressed", sorted);
      button.addEventListener("click", () => {
        Object.assign(kept, sorted ? { down: !kept.down } : { by: name, down: false });
        this.seen = null; // the open line is brought back into view
        this.write();
        this.focus(".heads", name, words.heads.map(([one]) => one));
      });
      return button;
    }));
  }

  focus(group, name, names) { this.$(group).children[names.indexOf(name)]?.focus(); }

  writeRows() {
    const { words } = this.data;
    const old = new Map([...this.list.children].map((row) => [row.dataset.id, row]));
    const rows = this.shown.map((row) => {
      const written = JSON.stringify(row), known = old.get(row.id);
      if (known?.written === written) return known;
      return Object.assign(this.made(row, words), { written });
    });
    if (rows.length !== this.list.children.length || rows.some((row, place) => row !== this.list.children[place])) this.list.replaceChildren(...rows);
    this.illustrate();
  }

  made(row, words) {
    const element = document.createElement("li"), text = document.createElement("div");
    Object.assign(element, { className: "row", id: `row-${row.number}`, title: [row.name, row.said, ...row.notes].join("\n") });
    element.dataset.id = row.id;
    element.dataset.thumbnail = row.id;
    element.setAttribute("role", "option");
    const picture = Object.assign(document.createElement("img"), { className: "thumb", alt: "", src: NOTHING });
    const name = Object.assign(document.createElement("bdi"), { className: "name" });
    const cut = Math.max(0, row.name.length - TAIL);
    for (const part of [row.name.slice(0, cut), row.name.slice(cut)]) name.append(Object.assign(document.createElement("span"), { textContent: part }));
    const answer = Object.assign(document.createElement("div"), { className: "answer" });
    const dot = Object.assign(document.createElement("i"), { className: row.tone ? "dot toned" : "dot" });
    if (row.tone) dot.style.setProperty("--tone", row.tone);
    answer.append(dot, Object.assign(document.createElement("span"), { className: "said", textContent: row.said }));
    if (row.warnings) {
      const warned = Object.assign(document.createElement("span"), { className: "warned", textContent: row.warnings > 1 ? `▲${row.warnings}` : "▲" });
      warned.setAttribute("aria-label", words.warned.replace("{count}", row.warnings));
      warned.setAttribute("role", "img");
      warned.style.setProperty("--warned", this.data.warned);
      answer.append(warned);
    }
    text.className = "text";
    text.append(name, answer);
    element.append(picture, text);
    return element;
  }

  illustrate() {
    for (const row of this.list.children) {
      const picture = row.querySelector("img"), address = thumbnails.get(row.dataset.thumbnail);
      if (picture && address && picture.src !== address) picture.src = address;
    }
  }

  mark() {
    const place = this.shown.findIndex((row) => row.id === this.opened);
    for (const row of this.list.children) row.setAttribute("aria-selected", row.dataset.id === this.opened);
    const open = this.list.children[place];
    this.$(".place").textContent = this.data.words.place.replace("{place}", place < 0 ? "–" : place + 1).replace("{total}", this.shown.length);
    this.$("[data-step='-1']").disabled = place === 0 || !this.shown.length;
    this.$("[data-step='1']").disabled = place === this.shown.length - 1 || !this.shown.length;
    if (!open) return;
    this.list.setAttribute("aria-activedescendant", open.id);
    if (this.seen === this.opened) return;
    this.seen = this.opened;
    const above = open.offsetTop - this.list.scrollTop, below = above + open.offsetHeight - this.list.clientHeight;
    if (above < 0) this.list.scrollTop += above - open.offsetHeight; // one more line shows where the way goes on
    else if (below > 0) this.list.scrollTop += below + open.offsetHeight;
  }

  step(by) {
    if (!this.shown?.length) return;
    const place = this.shown.findIndex((row) => row.id === this.opened);
    const next = place < 0 ? 0 : Math.min(this.shown.length - 1, Math.max(0, place + by));
    this.open(this.shown[next].id);
  }

  open(id) {
    if (id === this.opened) return;
    this.opened = id;
    kept.turn += 1;
    this.mark();
    const since = performance.now() - (this.told ?? -Infinity);
    clearTimeout(this.timer);
    if (since > PACE) this.tell();
    else this.timer = setTimeout(() => this.tell(), PACE - since);
  }

  tell() {
    this.told = performance.now();
    this.component.setStateValue("opened", { id: this.opened, turn: kept.turn });
  }

  close() {
    this.abort.abort();
    clearTimeout(this.timer);
  }
}

export default function (component) {
  const root = component.parentElement;
  if (!lists.has(root)) lists.set(root, new List(root));
  lists.get(root).update(component);
  // Streamlit calls this for every message that another has overtaken as well; only a list that has gone is closed.
  return () => setTimeout(() => {
    if (root.isConnected) return;
    lists.get(root)?.close();
    lists.delete(root);
  });
}
