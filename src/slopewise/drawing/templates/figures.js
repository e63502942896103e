"use strict";
// What every page does with its figures: it draws them in the colours of the stylesheet, and its legend hides arms.
const figures = (() => {
  const root = document.documentElement;
  const hidden = new Set(); // arms that the legend has switched off, by number
  const config = { displaylogo: false, modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]] };

  // Figures name their colours as CSS variables, so that the stylesheet alone holds the palette and its dark shades.
  function resolve(value, style) {
    if (typeof value === "string") {
      const variable = /^var\((--[\w-]+)\)$/.exec(value);
      return (variable && style.getPropertyValue(variable[1]).trim()) || value;
    }
    if (Array.isArray(value)) return value.map((item) => resolve(item, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item, style)]));
  }

  const all = () => Array.from(document.querySelectorAll(".chart"));
  const source = (chart) => document.getElementById(chart.dataset.figure).textContent;

  function draw(chart, width = chart.clientWidth) {
    const { data, layout } = resolve(JSON.parse(source(chart)), getComputedStyle(root));
    for (const trace of data) if (trace.legendgroup) trace.visible = !hidden.has(trace.legendgroup);
    const displayModeBar = chart.classList.contains("small") ? false : "hover";
    Plotly.react(chart, data, { ...layout, width }, { ...config, displayModeBar });
  }

  function press() {
    for (const button of document.querySelectorAll("button.arm")) {
      button.setAttribute("aria-pressed", String(!hidden.has(button.dataset.arm)));
    }
  }

  // `redraw` is called when an arm was switched on or off, and when the system's colours change.
  function follow(redraw) {
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button.arm");
      if (!button) return;
      const arm = button.dataset.arm;
      if (!hidden.delete(arm)) hidden.add(arm);
      press();
      redraw();
    });
  }

  return { all, source, draw, press, follow };
})();
