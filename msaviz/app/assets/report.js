"use strict";
(() => {
  const root = document.documentElement;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const templates = read("templates"), config = read("config");
  const figures = [...document.querySelectorAll(".figure")];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const pairs = read("dark");
  const darkened = (value) => {
    if (typeof value === "string") return pairs.reduce((text, [light, dark]) => text.split(light).join(dark), value);
    if (Array.isArray(value)) return value.map(darkened);
    if (value === null || typeof value !== "object" || "bdata" in value) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, darkened(inner)]));
  };
  const dressed = (div) => {
    const figure = read(div.dataset.page).figure;
    const { data, layout } = root.dataset.theme === "dark" ? darkened(figure) : figure;
    return [data, { ...layout, template: templates[root.dataset.theme], autosize: true, width: undefined }, config];
  };

  const draw = async (div) => {
    try {
      await Plotly.newPlot(div, ...dressed(div));
      div.dataset.state = "drawn";
    } catch (error) {
      div.dataset.state = "failed";
      div.className = "failed";
      div.textContent = `This figure could not be drawn (${error.message}). Its numbers are below.`;
    }
  };
  const drawAll = async () => {
    for (const div of figures) {
      await draw(div);
      await new Promise((resolve) => setTimeout(resolve));  // the page stays responsive meanwhile
    }
    root.dataset.figures = `${figures.filter((d) => d.dataset.state === "drawn").length}/${figures.length}`;
  };
  const dress = (theme) => {
    if (root.dataset.theme === theme) return;
    root.dataset.theme = theme;
    for (const div of figures) {
      if (div.dataset.state === "drawn") Plotly.react(div, ...dressed(div));
    }
  };

  root.dataset.theme = dark.matches ? "dark" : "light";
  dark.addEventListener("change", (event) => dress(event.matches ? "dark" : "light"));
  let before = root.dataset.theme;
  addEventListener("beforeprint", () => { before = root.dataset.theme; dress("light"); });
  addEventListener("afterprint", () => dress(before));
  document.getElementById("theme").addEventListener("click", () => dress(root.dataset.theme === "dark" ? "light" : "dark"));

  document.addEventListener("click", (event) => {
    const page = event.target.dataset && event.target.dataset.csv;
    if (!page) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([read(page).csv], { type: "text/csv" }));
    link.download = event.target.dataset.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });

  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const spy = new IntersectionObserver((seen) => {
    for (const entry of seen) {
      if (!entry.isIntersecting || !links.has(entry.target.id)) continue;
      links.forEach((a) => a.classList.remove("here"));
      links.get(entry.target.id).classList.add("here");
    }
  }, { rootMargin: "0px 0px -75% 0px" });
  links.forEach((_, id) => { const target = document.getElementById(id); if (target) spy.observe(target); });

  drawAll();
})();
