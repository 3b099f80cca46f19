/* What the book's interactive figures share: numbers, elements, charts, and their start.
 *
 * Plain scripts, since modules and fetch() do not work on a page opened from a file. A page loads
 * this file, a figure's data (data/NAME.js, written by tools/interactive.py when the book is built)
 * and the figure itself. Colours come from figures.css, so that they follow the theme.
 */
(() => {
  "use strict";
  if (window.live) return; // two figures on one page load it twice

  const ARRAY_TYPES = { uint8: Uint8Array, uint16: Uint16Array, int16: Int16Array, float32: Float32Array };

  /** A typed array from gmvae_lib.study.playground.pack(). */
  function unpack({ dtype, data }) {
    const text = atob(data);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new ARRAY_TYPES[dtype](bytes.buffer);
  }

  // ------------------------------------------------------------------ numbers

  const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)}\u00a0%`;
  const count = (n) => Math.round(n).toLocaleString("en");
  const plural = (n, noun) => `${count(n)} ${noun}${Math.round(n) === 1 ? "" : "s"}`;

  function argmax(values) {
    let best = 0; // ties: the first, as in NumPy
    for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
    return best;
  }

  /** Numbers in [0, 1) from a seed (mulberry32), so that a figure can be repeated. */
  function random(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = state;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  /** The value of a curve at n, linear in log(n); null left of its first point. */
  function atLog(n, xs, ys) {
    if (!xs.length || n < xs[0]) return null;
    let i = 1;
    while (i < xs.length && xs[i] < n) i++;
    if (i === xs.length) return n === xs[i - 1] ? ys[i - 1] : null;
    const t = (Math.log(n) - Math.log(xs[i - 1])) / (Math.log(xs[i]) - Math.log(xs[i - 1]));
    return ys[i - 1] + t * (ys[i] - ys[i - 1]);
  }

  /** Where a curve first reaches a target, linear in log(n): as metrics.labels_at_accuracy. */
  function crossing(xs, ys, target) {
    const after = ys.findIndex((y) => y >= target);
    if (after < 0) return null;
    if (after === 0) return xs[0];
    const t = (target - ys[after - 1]) / (ys[after] - ys[after - 1]);
    return Math.exp(Math.log(xs[after - 1]) + t * (Math.log(xs[after]) - Math.log(xs[after - 1])));
  }

  /** Solve A X = B for square A, row by row in place: A [n, n], B [n, m], arrays of Float64Array. */
  function solve(A, B) {
    const n = A.length;
    for (let k = 0; k < n; k++) {
      let pivot = k;
      for (let i = k + 1; i < n; i++) if (Math.abs(A[i][k]) > Math.abs(A[pivot][k])) pivot = i;
      [A[k], A[pivot]] = [A[pivot], A[k]];
      [B[k], B[pivot]] = [B[pivot], B[k]];
      for (let i = k + 1; i < n; i++) {
        const factor = A[i][k] / A[k][k];
        if (factor === 0) continue;
        for (let j = k; j < n; j++) A[i][j] -= factor * A[k][j];
        for (let j = 0; j < B[i].length; j++) B[i][j] -= factor * B[k][j];
      }
    }
    for (let k = n - 1; k >= 0; k--) {
      for (let j = 0; j < B[k].length; j++) {
        for (let i = k + 1; i < n; i++) B[k][j] -= A[k][i] * B[i][j];
        B[k][j] /= A[k][k];
      }
    }
    return B;
  }

  // ----------------------------------------------------------------- elements

  function filled(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  const html = (tag, attributes = {}, ...children) =>
    filled(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) =>
    filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  const button = (text, onclick, attributes = {}) =>
    html("button", { type: "button", onclick, ...attributes }, text);

  let ids = 0;
  const newId = () => `live-${++ids}`;

  /** A labelled range input: {node, input, output}; `shown` turns its value into words. */
  function slider(label, { min, max, step = 1, value, shown = String, oninput }) {
    const id = newId();
    const output = html("output", { for: id });
    const input = html("input", { type: "range", id, min, max, step, value });
    const say = () => {
      const words = shown(Number(input.value));
      output.textContent = words;
      input.setAttribute("aria-valuetext", words);
    };
    input.addEventListener("input", () => {
      say();
      oninput(Number(input.value));
    });
    say();
    const node = html("div", { class: "live-slider" }, html("label", { for: id }, label), output, input);
    const set = (number) => {
      input.value = number;
      say();
    };
    return { node, input, output, set };
  }

  /** Buttons of which one is pressed: {node, set}. options: [[value, text], ...]. */
  function choice(label, options, value, onchoose) {
    const buttons = options.map(([key, text]) =>
      button(text, () => {
        set(key);
        onchoose(key);
      }),
    );
    function set(key) {
      options.forEach(([other], i) => buttons[i].setAttribute("aria-pressed", String(other === key)));
    }
    set(value);
    const node = html("div", { class: "live-choice", role: "group", "aria-label": label }, ...buttons);
    return { node, set };
  }

  /** The reader guesses first: a question with answers to press, then what is true.
   *
   * options: [[value, text], ...]; answer(value) gives the words that follow. The figure calls
   * onguess to show what it had kept back.
   */
  function guess(question, options, answer, onguess = () => {}) {
    const said = html("p", { class: "live-answer", role: "status" });
    const buttons = options.map(([value, text]) =>
      button(text, (event) => {
        buttons.forEach((other) => {
          other.disabled = true;
          other.setAttribute("aria-pressed", String(other === event.currentTarget));
        });
        said.textContent = answer(value);
        node.dataset.guessed = value;
        onguess(value);
      }),
    );
    const node = html(
      "div",
      { class: "live-guess", role: "group", "aria-label": "Your guess" },
      html("p", {}, html("strong", {}, "Guess first. "), question),
      html("div", { class: "live-choice" }, ...buttons),
      said,
    );
    return { node, say: (text) => (said.textContent = text) };
  }

  // ------------------------------------------------------------------- charts

  const superscripts = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const power = (n) => (n < 10000 ? count(n) : `10${superscripts[Math.round(Math.log10(n))]}`);

  /** An empty chart: axes, ticks and scales; draw on `layer`, in pixels.
   *
   * x: {min, max, log, ticks, label, text}; y likewise. All text has the size of the page's, since
   * a chart is drawn anew for each width and never scaled.
   */
  function chart({ width, height, x, y, margin = {}, label }) {
    const edge = { top: 12, right: 12, bottom: 40, left: 44, ...margin };
    const scale = ({ min, max, log }, from, to) => {
      const place = log ? Math.log : (value) => value;
      const unplace = log ? Math.exp : (value) => value;
      const [a, b] = [place(min), place(max)];
      const forward = (value) => from + ((place(value) - a) / (b - a)) * (to - from);
      forward.invert = (pixel) => unplace(a + ((pixel - from) / (to - from)) * (b - a));
      return forward;
    };
    const X = scale(x, edge.left, width - edge.right);
    const Y = scale(y, height - edge.bottom, edge.top);
    const bottom = height - edge.bottom;
    const root = svg("svg", {
      class: "live-chart",
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: "img",
      "aria-label": label,
    });
    const axes = svg("g", { class: "live-axes" });
    for (const tick of y.ticks) {
      axes.append(
        svg("line", { class: "live-grid", x1: edge.left, x2: width - edge.right, y1: Y(tick), y2: Y(tick) }),
        svg("text", { x: edge.left - 6, y: Y(tick) + 4, "text-anchor": "end" }, (y.text ?? String)(tick)),
      );
    }
    axes.append(
      svg("line", { class: "live-axis", x1: edge.left, x2: width - edge.right, y1: bottom, y2: bottom }),
    );
    for (const tick of x.ticks) {
      axes.append(
        svg("line", { class: "live-axis", x1: X(tick), x2: X(tick), y1: bottom, y2: bottom + 4 }),
        svg("text", { x: X(tick), y: bottom + 17, "text-anchor": "middle" }, (x.text ?? power)(tick)),
      );
    }
    if (x.label)
      axes.append(
        svg(
          "text",
          { x: (edge.left + width - edge.right) / 2, y: height - 6, "text-anchor": "middle" },
          x.label,
        ),
      );
    const layer = svg("g", {});
    root.append(axes, layer);
    return { root, layer, X, Y, edge, width, height };
  }

  /** A path through points [[x, y], ...] in pixels; a point without a number breaks it. */
  function path(points, attributes) {
    let pen = "M";
    let d = "";
    for (const [x, y] of points) {
      if (!Number.isFinite(x) || !Number.isFinite(y)) {
        pen = "M";
        continue;
      }
      d += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = "L";
    }
    return svg("path", { d, fill: "none", ...attributes });
  }

  /** Heights for labels that keep a gap: as near to the wished ones as an order allows. */
  function spread(heights, gap, low, high) {
    const order = heights.map((_, i) => i).sort((i, j) => heights[i] - heights[j]);
    const placed = [...heights];
    for (let pass = 0; pass < 60; pass++) {
      for (let k = 1; k < order.length; k++) {
        const [i, j] = [order[k - 1], order[k]];
        const lack = gap - (placed[j] - placed[i]);
        if (lack > 0) {
          placed[i] -= lack / 2;
          placed[j] += lack / 2;
        }
      }
      for (const i of order) placed[i] = Math.min(high, Math.max(low, placed[i]));
    }
    return placed;
  }

  /** Draw at once and whenever the width changes: draw(width). */
  function responsive(node, draw) {
    let width = 0;
    const again = () => {
      const now = Math.floor(node.clientWidth);
      if (!now || now === width) return;
      width = now;
      draw(width);
    };
    new ResizeObserver(again).observe(node);
    again();
    return () => draw(width || Math.floor(node.clientWidth) || 640);
  }

  /** Follow a pen that comes down on a node until it goes up: start(event) gives what each move calls. */
  function drag(node, start) {
    node.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary || event.button !== 0) return;
      event.preventDefault();
      const move = start(event);
      const up = () => {
        document.removeEventListener("pointermove", move);
        document.removeEventListener("pointerup", up);
        document.removeEventListener("pointercancel", up);
      };
      document.addEventListener("pointermove", move);
      document.addEventListener("pointerup", up);
      document.addEventListener("pointercancel", up);
    });
  }

  // -------------------------------------------------------------------- start

  /** Start a figure wherever the page has one; its functions stay at live.NAME, for the tests. */
  function define(name, build) {
    for (const root of document.querySelectorAll(`[data-live="${name}"]`)) {
      const body = html("div", { class: "live-body" });
      root.querySelector(".live-still")?.replaceWith(body);
      live[name] = build(body, window.liveData[name], root.dataset.root ?? "");
      root.dataset.state = "ready";
    }
  }

  window.live = {
    unpack, percent, count, plural, argmax, random, atLog, crossing, solve, html, svg, button, newId,
    slider, choice, guess, chart, path, power, spread, responsive, drag, define,
  };
})();
