"use strict";
(() => {
  const root = document.documentElement;
  const charts = figures.all();
  const drawn = () => charts.filter((chart) => chart.clientWidth > 0);
  const redraw = () => drawn().forEach((chart) => figures.draw(chart));

  // Fires once at the start, when a closed part opens, and when the window changes.
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.clientWidth > 0 && target.clientWidth !== target.drawnWidth) {
        target.drawnWidth = target.clientWidth;
        figures.draw(target);
      }
    }
  });
  charts.forEach((chart) => sizes.observe(chart));
  figures.follow(redraw);

  // A button that copies a text. If the page may not use the clipboard, it selects the text instead.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copies]");
    if (!button) return;
    const text = document.getElementById(button.dataset.copies);
    const status = button.parentElement.querySelector("[role=status]");
    try {
      // Without the page's typography: LaTeX and editors of code want plain hyphens and spaces.
      await navigator.clipboard.writeText(text.textContent.replaceAll("\u00a0", " ").replaceAll("\u2212", "-"));
      status.textContent = "Copied.";
    } catch (error) {
      if (!(error instanceof DOMException) && !(error instanceof TypeError)) throw error;
      getSelection().selectAllChildren(text);
      status.textContent = "Selected; copy it with the keyboard.";
    }
  });

  // Paper is white and has its own width.
  addEventListener("beforeprint", () => {
    root.dataset.theme = "light";
    drawn().forEach((chart) => figures.draw(chart, chart.classList.contains("small") ? 210 : 660));
  });
  addEventListener("afterprint", () => {
    delete root.dataset.theme;
    redraw();
  });
})();
