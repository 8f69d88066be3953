// Draws what Python holds: one figure, one selection. Every change draws the whole again, the latest one last.

const opened = async (packed) => {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  // as a module, so that plotly.js meets no loader of the page
  const parts = ["const module = { exports: {} }, define = undefined;\n", await new Response(stream).text(), "\nexport default module.exports;\n"];
  const url = URL.createObjectURL(new Blob(parts, { type: "text/javascript" }));
  try {
    return (await import(/* webpackIgnore: true */ url)).default;
  } finally {
    URL.revokeObjectURL(url);
  }
};

/** plotly.js, once per page, and how to dress figures. */
const tools = async (model) => {
  const reference = model.get("library");
  if (!reference) throw new Error("run its cell again");
  const library = await model.widget_manager.get_model(reference.replace("IPY_MODEL_", ""));
  const dress = JSON.parse(library.get("dress"));
  const key = Symbol.for(`msaviz.plotly.${dress.version}`);
  if (!globalThis[key]) {
    if (!library.get("code")?.byteLength) throw new Error("run its cell again");
    globalThis[key] = opened(library.get("code"));
    globalThis[key].catch(() => delete globalThis[key]);
  }
  const Plotly = await globalThis[key];
  library.set("code", new DataView(new ArrayBuffer(0)));  // a notebook saved with its widgets must not hold it
  return { Plotly, ...dress };
};

const darkened = (value, pairs) => {
  if (typeof value === "string") return pairs.reduce((text, [light, dark]) => text.split(light).join(dark), value);
  if (Array.isArray(value)) return value.map((inner) => darkened(inner, pairs));
  if (value === null || typeof value !== "object" || "bdata" in value) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, darkened(inner, pairs)]));
};

const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => {
  const light = document.body.dataset.jpThemeLight;  // JupyterLab's theme, else the system's
  return light === undefined ? system.matches : light === "false";
};

const TYPES = {
  i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array, i4: Int32Array, u4: Uint32Array, f4: Float32Array, f8: Float64Array,
};
const unpacked = (value) => {
  if (!value || !("bdata" in value)) return Array.isArray(value) ? value : [];
  const type = TYPES[value.dtype];
  if (!type) return [];
  const numbers = new type(Uint8Array.from(atob(value.bdata), (c) => c.charCodeAt(0)).buffer);
  const width = Number(String(value.shape ?? "").split(",")[1] ?? 1);
  return Array.from({ length: numbers.length / width }, (_, row) => numbers[row * width]);
};
/** The whole numbers that name the points of a trace; none: nothing in it can be selected. */
const named = (trace) => {
  const found = unpacked(trace.customdata).map((entry) => (Array.isArray(entry) ? entry[0] : entry));
  return found.length && found.every((entry) => entry === null || Number.isInteger(entry)) ? found : [];
};

/** Traces with the selected points marked: the others fade, and round marks of one size grow. */
const marked = (data, names, selection) => {
  const chosen = new Set(selection);
  const places = names.map((numbers) => numbers.flatMap((number, place) => (chosen.has(number) ? [place] : [])));
  if (!places.some((found) => found.length)) return data;
  return data.map((trace, index) => {
    if (!names[index].length) return trace;
    const size = trace.marker?.size ?? 6;
    const grown = /^scatter/.test(trace.type ?? "scatter") && typeof size === "number" && !trace.selected && !trace.unselected;
    const look = grown ? { selected: { marker: { size: size * 1.6, opacity: 1 } }, unselected: { marker: { opacity: 0.35 } } } : {};
    return { ...trace, selectedpoints: places[index], ...look };
  });
};

const same = (one, other) => one.length === other.length && one.every((number, place) => number === other[place]);
const ascending = (numbers) => [...new Set(numbers)].sort((one, other) => one - other);

class Drawing {
  constructor(model, el) {
    this.model = model;
    this.root = document.createElement("div");
    this.root.className = "msaviz-figure";
    this.root.tabIndex = 0;
    this.root.dataset.lmSuppressShortcuts = "true";  // JupyterLab would move to another cell at an arrow key
    this.plot = this.root.appendChild(document.createElement("div"));
    this.said = this.root.appendChild(document.createElement("span"));
    this.said.className = "said";
    this.said.setAttribute("aria-live", "polite");
    el.appendChild(this.root);
    this.revision = 0;
    this.listen();
    this.read();
  }

  listen() {
    this.ended = new AbortController();
    const { signal } = this.ended;
    const draw = () => this.draw(), read = () => this.read();
    this.handlers = [["change:spec", read], ["change:label", read], ["change:selection", draw]];
    for (const [event, act] of this.handlers) this.model.on(event, act);
    system.addEventListener("change", draw, { signal });
    this.root.addEventListener("keydown", (event) => this.key(event), { signal });
    this.themes = new MutationObserver(draw);
    this.themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
    this.sizes = new ResizeObserver(() => this.resize());
    this.sizes.observe(this.root);
  }

  read() {
    this.figure = JSON.parse(this.model.get("spec"));
    this.names = this.figure.data.map(named);
    const pick = this.names.some((numbers) => numbers.length);
    this.root.setAttribute("role", pick ? "application" : "img");
    this.root.setAttribute("aria-label", this.model.get("label") || "Figure");
    this.size();
    this.draw();
  }

  /** Drawn again once the size is settled: what plotly keeps of the former size (rows of the legend, places of titles) is too old. */
  resize() {
    const width = this.root.clientWidth;
    if (!this.drawn || !width || width === this.width) return;
    clearTimeout(this.settling);
    this.settling = setTimeout(async () => {
      this.width = width;
      await this.Plotly.Plots.resize(this.plot);
      this.draw();
    }, 100);
  }

  size() {
    this.plot.style.height = `${this.figure.layout.height ?? 450}px`;
  }

  /** Draws until nothing changed meanwhile: quick changes are drawn together, the last one always. */
  async draw() {
    this.stale = true;
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.stale && !this.ended.signal.aborted) {
        this.stale = false;
        await this.once();
      }
    } catch (error) {
      this.root.dataset.state = "failed";
      this.plot.className = "failed";
      this.plot.style.height = "auto";
      this.plot.textContent = `This figure could not be drawn: ${error.message}.`;
    } finally {
      this.busy = false;
    }
  }

  async once() {
    const { Plotly, templates, pairs, config } = await tools(this.model);
    if (this.ended.signal.aborted) return;
    if (this.root.dataset.state === "failed") this.plot.replaceChildren();
    this.plot.className = this.plot.className.replace("failed", "").trim();
    this.size();
    const dark = isDark(), selection = this.model.get("selection");
    const own = structuredClone(this.figure);  // plotly writes into what it draws
    const { data, layout } = dark ? darkened(own, pairs) : own;
    const dressed = {
      uirevision: "kept", ...layout, template: templates[dark ? "dark" : "light"], autosize: true, width: undefined,
      selections: [], selectionrevision: ++this.revision,  // ours is what is selected, not what plotly remembers
    };
    this.root.classList.toggle("dark", dark);
    this.deaf = true;  // to plotly taking its own outlines away
    try {
      await Plotly.react(this.plot, marked(data, this.names, selection), dressed, { ...config, typesetMath: false });  // "$" is a price
    } finally {
      this.deaf = false;
    }
    if (!this.drawn) this.hear(Plotly);
    this.said.textContent = selection.length ? `selected: ${selection.slice(0, 5).join(", ")}${selection.length > 5 ? " …" : ""}` : "";
    this.root.dataset.selected = selection.length;
    this.root.dataset.state = "drawn";
  }

  hear(Plotly) {
    this.Plotly = Plotly;
    this.drawn = true;
    this.plot.on("plotly_click", ({ points, event }) => {
      const found = this.numbers(points.slice(0, 1));  // several where a mark stands for them, as a bar of a histogram does
      if (!found.length) return;
      const before = this.model.get("selection");
      const more = found.every((number) => before.includes(number)) ? before.filter((number) => !found.includes(number)) : [...before, ...found];
      this.model.set("clicked", found[0]);
      this.select(event?.shiftKey ? more : found);
    });
    this.plot.on("plotly_selected", (event) => {
      if (event?.points && !this.deaf) this.select(this.numbers(event.points));
    });
    this.plot.on("plotly_deselect", () => { if (!this.deaf) this.select([]); });
    this.plot.on("plotly_doubleclick", () => this.select([]));
  }

  numbers(points) {
    return points.flatMap(({ curveNumber, pointNumber, pointNumbers }) =>
      (pointNumbers ?? [pointNumber]).map((place) => this.names[curveNumber]?.[place]).filter((number) => Number.isInteger(number)));
  }

  select(numbers) {
    const found = ascending(numbers);
    if (!same(found, this.model.get("selection"))) this.model.set("selection", found);
    this.model.save_changes();
    this.draw();
  }

  key(event) {
    const numbers = (this.names.find((found) => found.length) ?? []).filter((number) => number !== null);
    const last = numbers.length - 1;
    const [at] = this.model.get("selection");
    const here = numbers.indexOf(at);
    const place = {
      ArrowRight: here + 1, ArrowDown: here + 1, ArrowLeft: here < 0 ? last : here - 1, ArrowUp: here < 0 ? last : here - 1, Home: 0, End: last,
    }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== this.root) return;
    if (event.key === "Escape") this.select([]);
    else if (place !== undefined && last >= 0) this.select([numbers[Math.min(Math.max(place, 0), last)]]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  end() {
    this.ended.abort();
    for (const [event, act] of this.handlers) this.model.off(event, act);
    this.themes.disconnect();
    this.sizes.disconnect();
    clearTimeout(this.settling);
    if (this.drawn) this.Plotly.purge(this.plot);
    this.root.remove();
  }
}

export default {
  render({ model, el }) {
    const drawing = new Drawing(model, el);
    return () => drawing.end();
  },
};
