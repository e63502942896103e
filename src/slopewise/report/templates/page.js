"use strict";
(() => {
  const root = document.documentElement;
  const charts = Array.from(document.querySelectorAll(".chart"));
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

  function draw(chart, width) {
    const figure = JSON.parse(document.getElementById(chart.dataset.figure).textContent);
    const { data, layout } = resolve(figure, getComputedStyle(root));
    for (const trace of data) trace.visible = !hidden.has(trace.legendgroup);
    const small = chart.classList.contains("small");
    Plotly.react(chart, data, { ...layout, width: width || chart.clientWidth }, { ...config, displayModeBar: small ? false : "hover" });
  }

  const drawn = () => charts.filter((chart) => chart.clientWidth > 0);
  const redraw = () => drawn().forEach((chart) => draw(chart));

  // Fires once at the start, when a closed part opens, and when the window changes.
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.clientWidth > 0 && target.clientWidth !== target.drawnWidth) {
        target.drawnWidth = target.clientWidth;
        draw(target);
      }
    }
  });
  charts.forEach((chart) => sizes.observe(chart));

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  for (const button of document.querySelectorAll("button.arm")) {
    button.addEventListener("click", () => {
      const arm = button.dataset.arm;
      if (!hidden.delete(arm)) hidden.add(arm);
      for (const same of document.querySelectorAll("button.arm")) {
        if (same.dataset.arm === arm) same.setAttribute("aria-pressed", String(!hidden.has(arm)));
      }
      redraw();
    });
  }

  // Paper is white and has its own width.
  addEventListener("beforeprint", () => {
    root.dataset.theme = "light";
    drawn().forEach((chart) => draw(chart, chart.classList.contains("small") ? 210 : 660));
  });
  addEventListener("afterprint", () => {
    delete root.dataset.theme;
    redraw();
  });
})();
