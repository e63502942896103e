"use strict";
// The page requests itself again and applies what has changed in place, so that focus, scrolling, zoom, open parts and
// selected text stay. Polling has no connection to lose: after a sleep or a restart of the server it goes on.
(() => {
  const BUSY = 2000, QUIET = 10000, PATIENCE = 30000; // milliseconds
  const connection = document.getElementById("connection");
  const announcement = document.getElementById("said");
  let tag = "", asking = false, timer = 0, failures = 0, lostAt = null;

  // ---- Charts
  function draw(chart) {
    if (chart.clientWidth === 0) return; // inside a closed part: drawn when it opens
    chart.drawn = figures.source(chart);
    chart.drawnWidth = chart.clientWidth;
    figures.draw(chart);
  }

  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) if (target.clientWidth !== target.drawnWidth) draw(target);
  });
  figures.follow(() => figures.all().forEach(draw));

  // ---- Times
  const short = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
  const long = { ...short, year: "numeric", month: "short", day: "numeric" };

  function clock(date) {
    const today = date.toDateString() === new Date().toDateString();
    return today ? date.toLocaleTimeString([], short) : date.toLocaleString([], long);
  }

  function ago(date) {
    const seconds = Math.max(0, Math.round((Date.now() - date) / 1000));
    if (seconds < 60) return `${seconds} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    return seconds < 86400 ? `${Math.floor(seconds / 3600)} h ago` : clock(date);
  }

  function showTimes() {
    for (const time of document.querySelectorAll("time")) {
      const date = new Date(time.dateTime);
      const text = time.classList.contains("ago") ? ago(date) : clock(date);
      if (time.textContent !== text) time.textContent = text;
      if (!time.title) time.title = date.toLocaleString();
    }
  }

  // ---- One document becomes another
  function keyOf(node) {
    if (node.nodeType !== Node.ELEMENT_NODE) return null;
    if (node.localName === "figure") return node.querySelector(".chart")?.dataset.figure;
    return node.id || node.dataset.key || null;
  }

  function become(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    const drawing = old.classList.contains("chart"); // Plotly's from here on
    for (const { name, value } of fresh.attributes) {
      if (drawing && (name === "class" || name === "style")) continue;
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of Array.from(old.attributes)) {
      const own = drawing || (name === "open" && old.localName === "details") || (name === "title" && old.localName === "time");
      if (!own && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    if (drawing || old.localName === "time") return;
    becomeChildren(old, fresh);
  }

  function becomeChildren(old, fresh) {
    const freshKeys = new Set(Array.from(fresh.childNodes, keyOf).filter(Boolean));
    const oldByKey = new Map();
    for (const node of Array.from(old.childNodes)) {
      const key = keyOf(node);
      if (key && !freshKeys.has(key)) node.remove();
      else if (key) oldByKey.set(key, node);
    }
    let at = old.firstChild;
    for (const next of fresh.childNodes) {
      const key = keyOf(next);
      const same = key ? oldByKey.get(key) : at && !keyOf(at) && at.nodeName === next.nodeName ? at : null;
      if (!same) {
        old.insertBefore(document.importNode(next, true), at);
        continue;
      }
      if (same === at) at = at.nextSibling;
      else old.insertBefore(same, at);
      become(same, next);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  const badge = () => document.querySelector("header .state")?.textContent.trim();
  const alarms = () => Number(document.getElementById("alarms-section")?.dataset.alarms ?? 0);

  function take(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const before = badge(), raised = alarms();
    document.title = fresh.title;
    for (const id of ["header", "main"]) becomeChildren(document.getElementById(id), fresh.getElementById(id));
    settle();
    const news = [];
    if (badge() !== before) news.push(badge());
    if (alarms() > raised) news.push(`${alarms() - raised} new alarm${alarms() - raised > 1 ? "s" : ""}`);
    if (news.length) announcement.textContent = news.join(", "); // read out once; a change of numbers alone is not
  }

  function settle() {
    figures.press();
    showTimes();
    for (const chart of figures.all()) {
      if (chart.drawnWidth === undefined) {
        chart.drawnWidth = 0;
        sizes.observe(chart); // draws it
      } else if (chart.drawn !== figures.source(chart)) draw(chart);
    }
  }

  // ---- Requests
  function showLost(words) {
    lostAt ??= new Date();
    connection.textContent = `${words} since ${clock(lostAt)}. The page shows the state before that; trying again.`;
  }

  function showConnected() {
    failures = 0;
    lostAt = null;
    connection.textContent = "";
  }

  async function ask() {
    clearTimeout(timer);
    if (asking || document.hidden) return; // the next look at the page requests it again
    asking = true;
    try {
      const answer = await fetch(location.pathname, {
        cache: "no-store",
        headers: tag ? { "If-None-Match": tag } : {},
        signal: AbortSignal.timeout(PATIENCE),
      });
      if (answer.status === 200) {
        take(await answer.text());
        tag = answer.headers.get("ETag") || "";
      }
      if (answer.ok || answer.status === 304) showConnected();
      else if (answer.status === 404) showLost("This run is no longer in the folder,");
      else showLost(`slopewise watch answers with an error (${answer.status}; its terminal says more)`);
    } catch (error) {
      if (!(error instanceof TypeError) && error.name !== "TimeoutError" && error.name !== "AbortError") throw error;
      failures += 1;
      showLost("No answer from slopewise watch");
    } finally {
      asking = false;
      const running = document.querySelector(".state.running");
      timer = setTimeout(ask, failures ? Math.min(1000 * 2 ** failures, QUIET) : running || location.pathname === "/" ? BUSY : QUIET);
    }
  }

  document.addEventListener("visibilitychange", ask);
  addEventListener("pageshow", ask);
  addEventListener("online", ask);
  setInterval(() => document.hidden || showTimes(), 1000);
  settle();
})();
