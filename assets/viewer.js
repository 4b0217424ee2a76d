// X-ray and map side by side, as a reading station shows them. What is drawn comes from the server; what is seen of it
// (part, window, map on or off) is decided here, so that no movement waits for the server.
const pixels = (globalThis[Symbol.for("chest-xray pixels")] ??= new Map());
const REST = 250; // milliseconds without a change after which the server is told, for what it saves
const CLOSEST = 24; // times the fitted size
const STEP = 1.25;
const OWN_ARROWS = "input, select, [role=slider], [role=radiogroup], [role=tablist], [role=listbox], [role=combobox], [role=menu]";

// Outlives the component: a rerun, another map and another page of the app change nothing of what is seen.
const views = new Map(); // image -> part and grey scale
const look = { map: true, style: "colour", opacity: 60, keys: true, panel: "xray" };
const viewers = new WeakMap();
let byPointer = false; // whether the reader's last move to a control was by pointer

const fresh = () => ({ scale: 1, x: 0.5, y: 0.5, level: 50, window: 100, inverted: false });
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

class Viewer {
  constructor(root) {
    this.root = root.querySelector(".viewer");
    this.boxes = [...this.root.querySelectorAll(".box")];
    this.canvases = this.boxes.map((box) => box.querySelector("canvas"));
    this.bases = new Map(); // picture's key and grey scale -> canvas
    this.abort = new AbortController();
    this.listen();
  }

  $(selector) { return this.root.querySelector(selector); }
  $$(selector) { return [...this.root.querySelectorAll(selector)]; }
  get view() {
    if (!views.has(this.data.image)) views.set(this.data.image, fresh());
    return views.get(this.data.image);
  }

  // What the server says -----------------------------------------------------------------------------------------
  update(component) {
    const before = this.data;
    this.data = component.data;
    this.component = component;
    if (!before && component.data.look) Object.assign(look, component.data.look);
    if (before?.image !== this.data.image) this.asked = null;
    this.write();
    this.loadLayer();
    this.paths = this.data.lines && this.data.lines.map(({ towards, path }) => ({ towards, path: new Path2D(path) }));
    this.draw();
  }

  write() {
    const { words, classes, target, against, titles, alts, empty } = this.data;
    this.root.setAttribute("aria-label", words.viewer);
    for (const place of this.$$("[data-word]")) place.textContent = words[place.dataset.word];
    for (const place of this.$$("[data-label]")) place.setAttribute("aria-label", words[place.dataset.label]);
    for (const button of this.$$("[data-do]")) {
      const { do: what, key } = button.dataset;
      button.setAttribute("aria-label", words[what]);
      button.title = key ? `${words[what]} (${key})` : words[what];
      if (key) button.setAttribute("aria-keyshortcuts", key);
    }
    this.$(".classes").replaceChildren(...classes.map(({ name, label }, place) => {
      const button = document.createElement("button");
      Object.assign(button, { textContent: label, title: `${label} (${place + 1})` });
      button.setAttribute("role", "radio");
      button.setAttribute("aria-checked", name === target);
      button.tabIndex = name === target ? 0 : -1;
      button.addEventListener("click", () => this.choose(name));
      return button;
    }));
    this.$(".classes").hidden = classes.length < 2;
    const others = classes.filter(({ name }) => name !== target);
    const select = this.$(".against select");
    select.replaceChildren(new Option(words.other_classes, ""), ...others.map(({ name, label }) => new Option(label, name)));
    select.value = against ?? "";
    this.$(".against").hidden = others.length < 2;
    this.$(".group.map").hidden = !classes.length;
    this.$(".help dl").replaceChildren(...words.keys.flatMap(([keys, meaning]) => {
      const term = document.createElement("dt"), text = document.createElement("dd");
      term.append(...keys.split(" ").map((key) => Object.assign(document.createElement("kbd"), { textContent: key })));
      text.textContent = meaning;
      return [term, text];
    }));
    this.boxes.forEach((box, place) => {
      box.querySelector(".title").textContent = titles[place];
      box.querySelector("canvas").setAttribute("aria-label", alts[place]);
      box.querySelector(".empty").textContent = empty[place] ?? "";
      box.querySelector(".empty").hidden = !empty[place];
      box.querySelectorAll(".side").forEach((side) => {
        side.hidden = Boolean(empty[place]) || !classes.length; // of what was rejected nobody knows how it lies
        side.title = words.sides;
      });
    });
    const { scale } = this.data;
    this.$(".scale").hidden = !scale;
    if (scale) {
      this.$(".low").textContent = `−${scale.full}`;
      this.$(".high").textContent = `+${scale.full}`;
      this.$(".unit").textContent = words.scale;
      this.$(".ramp").style.background = `linear-gradient(90deg, ${scale.against}, #23282d 50%, ${scale.towards})`;
    }
  }

  loadLayer() {
    const { layer } = this.data;
    if (!layer) this.layer = null;
    else if (this.layer?.src !== layer) {
      const image = new Image();
      image.onload = () => { this.layer = image; this.draw(); };
      image.src = layer;
    }
  }

  // Drawing ------------------------------------------------------------------------------------------------------
  draw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => { this.frame = null; this.paint(); });
  }

  paint() {
    const { data, view } = this, picture = pixels.get(data.pixels), native = pixels.get(data.native);
    this.root.dataset.panel = look.panel;
    this.root.classList.toggle("moved", view.scale > 1.001);
    this.reflect();
    this.boxes.forEach((box, place) => {
      const canvas = this.canvases[place], ratio = devicePixelRatio || 1;
      const width = Math.round(box.clientWidth * ratio), height = Math.round(box.clientHeight * ratio);
      if (!width || !height) return;
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      const context = canvas.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, width, height);
      canvas.dataset.ready = "";
      if (!picture || data.empty[place]) return;
      const { left, top, size } = this.placed(width, height);
      const [rows, columns] = data.shape;
      const area = [left, top, columns * size, rows * size];
      context.imageSmoothingQuality = "high";
      context.drawImage(this.base(native && this.tool !== "level" ? native : picture), ...area);
      if (place === 1 && look.map) this.paintMap(context, area, size, ratio);
      canvas.dataset.ready = data.pixels;
      canvas.dataset.native = Boolean(native);
      if (place === 0) this.askForMore(size);
    });
  }

  paintMap(context, [left, top, width, height], size, ratio) {
    context.globalAlpha = look.opacity / 100;
    if (look.style === "colour" && this.layer) context.drawImage(this.layer, left, top, width, height);
    if (look.style === "lines" && this.paths) {
      context.setTransform(size, 0, 0, size, left, top);
      context.lineWidth = (2 * ratio) / size;
      for (const { towards, path } of this.paths) {
        context.strokeStyle = towards ? this.data.scale.towards : this.data.scale.against;
        context.stroke(path);
      }
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalAlpha = 1;
  }

  // Where the picture's corner is and how large one of its pixels, in pixels of a box of this size.
  placed(width, height) {
    const { view } = this, [rows, columns] = this.data.shape;
    const size = Math.min(width / columns, height / rows) * view.scale;
    const part = (all, seen, at) => (all <= seen ? (seen - all) / 2 : clamp(seen / 2 - at * all, seen - all, 0));
    return { size, left: part(columns * size, width, view.x), top: part(rows * size, height, view.y) };
  }

  // The picture through its window, as a canvas of its own size; made anew when the window changes.
  base(picture) {
    const { level, window, inverted } = this.view;
    const name = `${picture.key} ${level} ${window} ${inverted}`;
    if (this.bases.get(picture.key)?.name === name) return this.bases.get(picture.key).canvas;
    const table = new Uint32Array(picture.deepest + 1);
    for (let stored = 0; stored <= picture.deepest; stored++) {
      const share = clamp((100 * stored / picture.deepest - level) / window + 0.5, 0, 1);
      const grey = Math.round(255 * (inverted ? 1 - share : share));
      table[stored] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
    const image = new ImageData(picture.columns, picture.rows), painted = new Uint32Array(image.data.buffer);
    for (let place = 0; place < painted.length; place++) painted[place] = table[picture.grey[place]];
    const known = this.bases.get(picture.key)?.canvas;
    const canvas = known ?? Object.assign(document.createElement("canvas"), { width: picture.columns, height: picture.rows });
    canvas.getContext("2d").putImageData(image, 0, 0);
    for (const key of this.bases.keys()) if (key !== this.data.pixels && key !== this.data.native) this.bases.delete(key);
    this.bases.set(picture.key, { name, canvas });
    return canvas;
  }

  // More pixels than the page has are fetched once they would be seen.
  askForMore(size) {
    const { native, image, view } = { ...this.data, view: this.view };
    if (!native || pixels.has(native) || this.asked === image || view.scale < 1.01 || size < 1.05) return;
    this.asked = image;
    this.component.setTriggerValue("native", image);
  }

  reflect() {
    const { words, badges } = this.data, { level, window, inverted, scale } = this.view;
    const marks = inverted ? [...badges, words.shown_inverted] : badges;
    for (const place of this.$$(".badges"))
      place.replaceChildren(...marks.map((badge) => Object.assign(document.createElement("b"), { textContent: badge })));
    this.$(".readout").textContent = this.data.pixels
      ? `${words.w} ${Math.round(window)} % · ${words.l} ${Math.round(level)} % · ${scale.toFixed(1)}×${inverted ? ` · ${words.inverted}` : ""}` : "";
    const pressed = (selector, on) => this.$(selector).setAttribute("aria-pressed", on);
    pressed("[data-do=map]", look.map);
    pressed("[data-do=invert]", inverted);
    for (const [name, value] of [["style", look.style], ["panel", look.panel]])
      for (const button of this.$$(`[role=radio][data-${name}]`)) {
        button.setAttribute("aria-checked", button.dataset[name] === value);
        button.tabIndex = button.dataset[name] === value ? 0 : -1;
      }
    this.$(".opacity input").value = look.opacity;
    this.$(".help input").checked = look.keys;
    for (const [name, value] of [["level", level], ["window", window]]) {
      const input = this.$(`[data-grey=${name}]`);
      input.value = value;
      input.nextElementSibling.textContent = `${Math.round(value)} %`;
    }
  }

  // What the reader does ------------------------------------------------------------------------------------------
  change(what) {
    Object.assign(this.view, what);
    this.draw();
    this.tell();
  }

  see(what) {
    Object.assign(look, what);
    this.draw();
    this.tell();
  }

  // The server saves what is seen; it is told when nothing has moved for a moment.
  tell() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const { level, window, inverted } = this.view, { map, style, opacity, keys } = look;
      const seen = { image: this.data.image, level, window, inverted, map, style, opacity, keys };
      if (JSON.stringify(seen) === this.told) return;
      this.told = JSON.stringify(seen);
      this.component.setStateValue("seen", seen);
    }, REST);
  }

  choose(target, against = null) {
    const { subject, classes } = this.data;
    if (!classes.some(({ name }) => name === target)) return;
    this.component.setStateValue("explained", { subject, target, against });
  }

  zoom(factor, place = null) {
    const { view } = this, scale = clamp(view.scale * factor, 1, CLOSEST);
    if (place) { // the point under the pointer stays where it is
      const ratio = devicePixelRatio || 1, [rows, columns] = this.data.shape;
      const width = place.width * ratio, height = place.height * ratio;
      const { left, top, size } = this.placed(width, height);
      const across = (place.x * ratio - left) / size, down = (place.y * ratio - top) / size;
      const next = size * scale / view.scale;
      view.x = (width / 2 - place.x * ratio + across * next) / (columns * next);
      view.y = (height / 2 - place.y * ratio + down * next) / (rows * next);
    }
    view.scale = scale;
    this.settle();
    this.draw();
  }

  // Takes the middle back to where the edge of the picture has stopped it.
  settle() {
    const { view } = this, box = this.boxes.find(({ clientWidth }) => clientWidth);
    if (!box) return;
    const { left, top, size } = this.placed(box.clientWidth, box.clientHeight), [rows, columns] = this.data.shape;
    view.x = clamp((box.clientWidth / 2 - left) / (columns * size), 0, 1);
    view.y = clamp((box.clientHeight / 2 - top) / (rows * size), 0, 1);
  }

  do(what) {
    const { view } = this;
    const deeds = {
      map: () => (this.narrow ? this.see({ panel: look.panel === "map" ? "xray" : "map" }) : this.see({ map: !look.map })),
      invert: () => this.change({ inverted: !view.inverted }),
      in: () => this.zoom(STEP),
      out: () => this.zoom(1 / STEP),
      fit: () => this.change({ scale: 1, x: 0.5, y: 0.5 }),
      reset: () => this.change(fresh()),
      previous: () => document.dispatchEvent(new CustomEvent("chest-xray-step", { detail: -1 })),
      next: () => document.dispatchEvent(new CustomEvent("chest-xray-step", { detail: 1 })),
      full: () => (this.root.ownerDocument.fullscreenElement ? document.exitFullscreen() : this.root.requestFullscreen?.()),
      more: () => this.$(".more").setAttribute("aria-expanded", this.root.classList.toggle("unfolded")),
      grey: () => this.open("grey"),
      help: () => this.open("help"),
    };
    deeds[what]();
  }

  get narrow() { return getComputedStyle(this.$(".panels")).display !== "none"; }

  open(name) {
    for (const sheet of this.$$(".sheet")) {
      const shown = sheet.classList.contains(name) && sheet.hidden;
      sheet.hidden = !shown;
      this.$(`[data-do=${sheet.classList.contains("grey") ? "grey" : "help"}]`).setAttribute("aria-expanded", shown);
    }
  }

  listen() {
    const options = { signal: this.abort.signal };
    for (const button of this.$$("[data-do]")) button.addEventListener("click", () => this.do(button.dataset.do), options);
    for (const button of this.$$("[data-style]")) button.addEventListener("click", () => this.see({ style: button.dataset.style, map: true }), options);
    for (const button of this.$$("[data-panel]")) button.addEventListener("click", () => this.see({ panel: button.dataset.panel }), options);
    for (const input of this.$$("[data-grey]")) input.addEventListener("input", () => this.change({ [input.dataset.grey]: Number(input.value) }), options);
    this.$(".opacity input").addEventListener("input", ({ target }) => this.see({ opacity: Number(target.value), map: true }), options);
    this.$(".help input").addEventListener("change", ({ target }) => this.see({ keys: target.checked }), options);
    this.$(".against select").addEventListener("change", ({ target }) => this.choose(this.data.target, target.value || null), options);
    for (const group of this.$$("[role=radiogroup]")) group.addEventListener("keydown", (event) => this.walk(event), options);
    for (const canvas of this.canvases) this.handle(canvas, options);
    document.addEventListener("chest-xray-pixels", () => this.draw(), options);
    document.addEventListener("fullscreenchange", () => this.draw(), options);
    document.addEventListener("pointerdown", () => { byPointer = true; }, { ...options, capture: true });
    document.addEventListener("keydown", (event) => this.key(event), { ...options, capture: true });
    this.sizes = new ResizeObserver(() => this.draw());
    for (const box of this.boxes) this.sizes.observe(box);
  }

  // Arrow keys along a row of choices, for whoever has come to it by keyboard.
  walk(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || event.defaultPrevented) return;
    const choices = [...event.currentTarget.querySelectorAll("[role=radio]")];
    const place = (choices.indexOf(event.target) + step + choices.length) % choices.length;
    event.preventDefault();
    choices[place].click();
    const group = event.currentTarget;
    requestAnimationFrame(() => group.querySelectorAll("[role=radio]")[place]?.focus());
  }

  key(event) {
    if (event.key === "Tab") byPointer = false;
    if (event.key === "Escape") this.open("");
    if (!look.keys || event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented || !this.data) return;
    const path = event.composedPath().filter((element) => element instanceof Element);
    if (path.some(isText)) return;
    const arrow = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const letters = { i: "invert", m: "map", f: "fit", 0: "reset", "+": "in", "-": "out" };
    if (arrow) {
      const widget = path.find((element) => element.matches(OWN_ARROWS));
      if (widget && !(byPointer && widget.matches("[role=radiogroup], [role=tablist]"))) return;
      document.dispatchEvent(new CustomEvent("chest-xray-step", { detail: arrow }));
    } else if (letters[event.key.toLowerCase()]) this.do(letters[event.key.toLowerCase()]);
    else if (/^[1-9]$/.test(event.key) && this.data.classes[event.key - 1]) this.choose(this.data.classes[event.key - 1].name);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // Pointers on a picture: left moves, right sets window and level, two fingers zoom.
  handle(canvas, options) {
    const pointers = new Map();
    const spread = () => { const [a, b] = [...pointers.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
    const at = (event) => { const box = canvas.getBoundingClientRect(); return { x: event.clientX - box.x, y: event.clientY - box.y, width: box.width, height: box.height }; };
    canvas.addEventListener("contextmenu", (event) => event.preventDefault(), options);
    canvas.addEventListener("dblclick", () => this.do("fit"), options);
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !document.fullscreenElement) return; // the page scrolls
      event.preventDefault();
      this.zoom(Math.exp(-clamp(event.deltaY, -200, 200) / 300), at(event));
    }, { ...options, passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch" && this.view.scale <= 1.001 && !pointers.size) { pointers.set(event.pointerId, at(event)); return; }
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, at(event));
      this.tool = event.button === 2 ? "level" : "move";
      this.root.classList.add(this.tool === "level" ? "levelling" : "dragging");
    }, options);
    canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const now = at(event);
      if (pointers.size === 2) {
        const apart = spread();
        pointers.set(event.pointerId, now);
        this.zoom(spread() / Math.max(apart, 1), now);
        return;
      }
      pointers.set(event.pointerId, now);
      if (this.tool === "level") this.level(now.x - before.x, now.y - before.y);
      else if (this.tool === "move") this.move(now.x - before.x, now.y - before.y, now);
    }, options);
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => {
      pointers.delete(event.pointerId);
      if (pointers.size) return;
      this.tool = null;
      this.root.classList.remove("levelling", "dragging");
      this.draw();
    }, options);
  }

  move(across, down, { width, height }) {
    const { view } = this, { size } = this.placed(width, height), [rows, columns] = this.data.shape;
    view.x -= across / (columns * size);
    view.y -= down / (rows * size);
    this.settle();
    this.draw();
  }

  level(across, down) {
    const { level, window } = this.view;
    this.change({ window: clamp(window + across / 4, 2, 100), level: clamp(level + down / 4, 0, 100) });
  }

  close() {
    this.abort.abort();
    this.sizes.disconnect();
    clearTimeout(this.timer);
  }
}

const isText = (element) =>
  element.matches("textarea, select, [contenteditable=''], [contenteditable=true], [role=textbox], [role=combobox]")
  || (element.tagName === "INPUT" && !["range", "checkbox", "radio", "button", "file"].includes(element.type));

export default function (component) {
  const root = component.parentElement;
  if (!viewers.has(root)) viewers.set(root, new Viewer(root));
  viewers.get(root).update(component);
  // Streamlit calls this for every message that another has overtaken as well; only a viewer that has gone is closed.
  return () => setTimeout(() => {
    if (root.isConnected) return;
    viewers.get(root)?.close();
    viewers.delete(root);
  });
}
