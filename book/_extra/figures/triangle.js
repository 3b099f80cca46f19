/* Hard against soft on three clusters: every picture is a point of a triangle, every verdict an area.
 *
 * Both rules compare linear functions of the posterior, so that their areas are polygons: exact.
 */
(() => {
  "use strict";
  const { percent, argmax, html, svg, button } = live;
  const CORNERS = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
  const ADDED = ["c", "e"]; // letters that a new label may have
  const STEP = 0.02; // of an arrow key

  // ---------------------------------------------------------------- the model

  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

  /** The two rules after labels [{q, y}, ...]: classes, votes [3][C], means [C][3]. */
  function fit(labels) {
    const classes = [...new Set(labels.map(({ y }) => y))].sort();
    const votes = CORNERS.map(() => classes.map(() => 0));
    const means = classes.map((letter) => {
      const own = labels.filter(({ y }) => y === letter);
      return [0, 1, 2].map((c) => own.reduce((sum, { q }) => sum + q[c], 0) / own.length);
    });
    for (const { q, y } of labels) votes[argmax(q)][classes.indexOf(y)]++;
    const named = votes.map((of) => (of.some((n) => n) ? classes[argmax(of)] : null));
    return { classes, votes, means, named };
  }

  /** HardDecoder: the name of the likeliest cluster; of the likeliest labelled one with a fallback. */
  function hard({ classes, named }, q, fallback) {
    const order = [0, 1, 2].sort((a, b) => q[b] - q[a]);
    const cluster = fallback ? order.find((c) => named[c] !== null && q[c] > 0) : order[0];
    return { cluster, letter: (cluster === undefined ? null : named[cluster]) ?? classes[0] };
  }

  /** SoftDecoder: the letter whose mean posterior has the largest inner product with q. */
  function soft({ classes, means }, q) {
    const similarity = means.map((mean) => dot(mean, q));
    return { similarity, letter: classes[argmax(similarity)] };
  }

  /** The part of a polygon of posteriors where w'q >= 0. */
  function clip(polygon, w) {
    const kept = [];
    polygon.forEach((q, i) => {
      const before = polygon[(i + polygon.length - 1) % polygon.length];
      const [a, b] = [dot(w, before), dot(w, q)];
      if (a < 0 !== b < 0) kept.push(q.map((value, c) => before[c] + (a / (a - b)) * (value - before[c])));
      if (b >= 0) kept.push(q);
    });
    return kept;
  }

  const minus = (a, b) => a.map((value, c) => value - b[c]);

  /** Areas of equal verdict: [{letter, polygon, hole}, ...]; a hole is a cluster without a label. */
  function areas(rule, fitted, fallback) {
    const { classes, named, means } = fitted;
    if (rule === "soft")
      return classes.map((letter, l) => ({
        letter,
        polygon: means.reduce((part, other, k) => (k === l ? part : clip(part, minus(means[l], other))), CORNERS),
      }));
    const able = [0, 1, 2].filter((c) => !fallback || named[c] !== null);
    return able.map((c) => ({
      letter: named[c] ?? classes[0],
      hole: named[c] === null,
      polygon: able.reduce(
        (part, other) => (other === c ? part : clip(part, minus(CORNERS[c], CORNERS[other]))),
        CORNERS,
      ),
    }));
  }

  // ----------------------------------------------------------------- the page

  function build(body, packed) {
    const start = () => packed.q.map((q, i) => ({ q: [...q], y: packed.y[i] }));
    let labels = start();
    let x = [...packed.new[1]];
    let fallback = true;

    const panels = html("div", { class: "triangle-panels" });
    const said = html("p", { role: "status" });
    const put = (q) => () => {
      x = [...q];
      show();
    };
    const fallbackButton = button("", () => {
      fallback = !fallback;
      show();
    });
    const take = button("take the last label", () => {
      if (labels.length > 1) labels.pop();
      show();
    });
    const guess = live.guess(
      "The picture lies where the third cluster is likeliest, and that cluster has no label. The article's rule has no fallback. What does it answer?",
      [["c", "c"], ["e", "e"], ["nothing", "nothing"]],
      (value) =>
        `${value === "c" ? "Right: it" : "It"} says c, since c is the first letter of the alphabet here: it has looked at nothing. The corner is a hole. Switch the fallback and see it close.`,
      () => {
        fallback = false;
        show();
      },
    );
    body.append(
      guess.node,
      panels,
      said,
      html(
        "div",
        { class: "live-choice", role: "group", "aria-label": "Change the picture and the labels" },
        button("first picture", put(packed.new[0])),
        button("second picture", put(packed.new[1])),
        ...ADDED.map((letter) =>
          button(`label it ${letter}`, () => {
            labels.push({ q: [...x], y: letter });
            show();
          }),
        ),
        take,
        fallbackButton,
        button("start over", () => {
          labels = start();
          fallback = true;
          x = [...packed.new[1]];
          show();
        }),
      ),
    );

    const words = (q) => q.map((value, c) => `cluster ${c} ${percent(value)}`).join(", ");
    const kindOf = (letter) => (letter === "c" ? "red" : "blue");

    function panel(rule, size, interactive) {
      const [top, left, side] = [46, 14, size - 28];
      const high = (side * Math.sqrt(3)) / 2;
      const at = [[left, top + high], [left + side, top + high], [left + side / 2, top]];
      const place = (q) => [0, 1].map((axis) => q.reduce((sum, value, c) => sum + value * at[c][axis], 0));
      const fitted = fit(labels);
      const verdict = rule === "soft" ? soft(fitted, x) : hard(fitted, x, fallback);
      const name = rule === "soft" ? "soft" : `hard, ${fallback ? "with" : "no"} fallback`;
      const root = svg("svg", {
        class: "live-chart",
        viewBox: `0 0 ${size} ${(top + high + 30).toFixed(0)}`,
        width: size,
        height: (top + high + 30).toFixed(0),
        role: interactive ? "group" : "img",
        "aria-label": `${name}: the picture is called ${verdict.letter}`,
      });
      root.append(
        svg("text", { x: 0, y: 14 }, svg("tspan", { class: "live-bold" }, size < 220 ? rule : name), ` says ${verdict.letter}`),
      );
      const shape = (polygon) => polygon.map((q) => place(q).map((v) => v.toFixed(1)).join(",")).join(" ");
      for (const { letter, polygon, hole } of areas(rule, fitted, fallback))
        if (polygon.length) {
          root.append(
            svg("polygon", { class: `triangle-area live-${kindOf(letter)}${hole ? " triangle-hole" : ""}`, points: shape(polygon) }),
          );
          const middle = [0, 1, 2].map((c) => polygon.reduce((sum, q) => sum + q[c], 0) / polygon.length);
          const [mx, my] = place(middle);
          root.append(
            svg("text", { class: `live-${kindOf(letter)} live-bold`, x: mx, y: my + 4, "text-anchor": "middle" }, hole ? `${letter}?` : letter),
          );
        }
      at.forEach(([px, py], c) =>
        root.append(
          svg(
            "text",
            { class: "live-muted", x: px, y: c === 2 ? py - 8 : py + 18, "text-anchor": ["start", "end", "middle"][c] },
            fitted.named[c] === null ? `${c}: no label` : `${c}: votes ${fitted.named[c]}`,
          ),
        ),
      );
      for (const { q, y } of labels) {
        const [px, py] = place(q);
        root.append(
          svg("circle", { class: `triangle-label live-${kindOf(y)}`, cx: px, cy: py, r: 9 }),
          svg("text", { class: "triangle-letter", x: px, y: py + 4, "text-anchor": "middle" }, y),
        );
      }
      const [px, py] = place(x);
      root.append(svg("circle", { class: "triangle-x", cx: px, cy: py, r: 8 }));
      if (interactive) {
        const handle = svg("circle", {
          class: "triangle-handle",
          cx: px,
          cy: py,
          r: 20,
          tabindex: 0,
          role: "slider",
          "aria-label": `The picture, in the panel ${rule}`,
          "aria-valuemin": 0,
          "aria-valuemax": 100,
          "aria-valuenow": Math.round(100 * x[0]),
          "aria-valuetext": `${words(x)}: ${verdict.letter}`,
          "data-rule": rule,
        });
        root.append(handle);
        listen(root, handle, at, rule);
      }
      return root;
    }

    /** The posterior at a point of the plane; outside the triangle, the nearest inside. */
    function posteriorAt([px, py], at) {
      const [[ax, ay], [bx, by], [cx, cy]] = at;
      const area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay);
      const one = ((px - ax) * (cy - ay) - (cx - ax) * (py - ay)) / area;
      const two = ((bx - ax) * (py - ay) - (px - ax) * (by - ay)) / area;
      return normalised([1 - one - two, one, two]);
    }

    function normalised(q) {
      const positive = q.map((value) => Math.max(0, value));
      const sum = positive.reduce((total, value) => total + value, 0);
      return positive.map((value) => value / sum);
    }

    function listen(root, handle, at, rule) {
      live.drag(root, (event) => {
        const box = root.getBoundingClientRect(); // as it stood, since each move draws it anew
        const scale = root.viewBox.baseVal.width / box.width;
        const move = ({ clientX, clientY }) => {
          x = posteriorAt([(clientX - box.left) * scale, (clientY - box.top) * scale], at);
          show(rule);
        };
        move(event);
        return move;
      });
      handle.addEventListener("keydown", (event) => {
        const step = {
          ArrowLeft: [STEP, -STEP, 0],
          ArrowRight: [-STEP, STEP, 0],
          ArrowUp: [-STEP / 2, -STEP / 2, STEP],
          ArrowDown: [STEP / 2, STEP / 2, -STEP],
        }[event.key];
        if (!step) return;
        event.preventDefault();
        event.stopPropagation();
        x = normalised(x.map((value, c) => value + step[c]));
        show(rule);
      });
    }

    const sizeFor = (width) => Math.floor(Math.min(320, (width - 16) / 2));

    function show(focus) {
      const fitted = fit(labels);
      const [h, s] = [hard(fitted, x, fallback), soft(fitted, x)];
      const because =
        h.cluster === undefined || fitted.named[h.cluster] === null
          ? `cluster ${h.cluster} has no label, and the first class is ${h.letter}`
          : `the likeliest ${fallback ? "labelled " : ""}cluster is ${h.cluster}`;
      said.textContent =
        `The picture: ${words(x)}. Hard says ${h.letter}, because ${because}. Soft says ${s.letter}: ` +
        fitted.classes.map((letter, l) => `⟨m(${letter}), q⟩ = ${s.similarity[l].toFixed(3)}`).join(", ") +
        ".";
      take.disabled = labels.length < 2;
      fallbackButton.textContent = fallback ? "take the fallback away" : "give hard a fallback";
      redraw();
      if (focus) panels.querySelector(`[data-rule="${focus}"]`)?.focus({ preventScroll: true });
    }

    const redraw = live.responsive(panels, (width) =>
      panels.replaceChildren(...["hard", "soft"].map((rule) => panel(rule, sizeFor(width), true))),
    );
    show();
    return {
      verdicts: (q, given = packed.q.map((p, i) => ({ q: p, y: packed.y[i] }))) => {
        const fitted = fit(given);
        return {
          hard: hard(fitted, q, true).letter,
          none: hard(fitted, q, false).letter,
          soft: soft(fitted, q).letter,
          similarity: soft(fitted, q).similarity,
        };
      },
      areaOf: (rule, withFallback) =>
        areas(rule, fit(labels), withFallback).map(({ letter, polygon }) => ({ letter, polygon })),
      still: () => {
        fallback = false;
        const drawn = ["hard", "soft"].map((rule) => panel(rule, 320, false).outerHTML).join("");
        fallback = true;
        return drawn;
      },
    };
  }

  live.define("triangle", build);
})();
