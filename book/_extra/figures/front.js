/* Figure 3 that answers: drag the accuracy, read the labels that each method needs. */
(() => {
  "use strict";
  const { percent, count, atLog, crossing, html, svg, button } = live;
  const COLOURS = {
    "graph and neighbours": "wine",
    soft: "blue",
    hard: "purple",
    "hard, no fallback": "purple",
    network: "ink",
    "article’s model": "red",
    MLP: "muted",
    "logistic regression": "muted",
    XGBoost: "green",
  };

  function build(body, packed) {
    const curves = packed.curves;
    const on = new Set(curves.filter((curve) => curve.shown).map((curve) => curve.name));
    const LAST = 16000; // labels drawn
    let target = 0.8;
    let K = null;
    let asked = false; // the answer waits for the reader's guess, or for the first touch

    const needed = (curve, at) => crossing(curve.n, curve.mean, at);
    const picture = html("div", { class: "front-picture" });
    const said = html("p", { role: "status" });
    const table = html("table", { class: "front-table" });
    const boosting = curves.find((curve) => curve.method === "xgboost");
    const best = curves.find((curve) => curve.method === "neighbours");
    const times = needed(boosting, 0.8) / needed(best, 0.8);
    const guess = live.guess(
      "How many times as many labels does XGBoost need for 80 % as the best rule on the clusters?",
      [2, 10, 35, 100].map((value) => [value, `${value} times`]),
      (value) =>
        `${Math.abs(Math.log(times / value)) < 0.5 ? "About right" : `Not ${value}`}: ${times.toFixed(0)} times, ${count(needed(boosting, 0.8))} against ${count(needed(best, 0.8))}. But compare the network, which also sees nothing but the labelled letters.`,
      touched,
    );
    function touched() {
      asked = true;
      show();
    }
    const accuracy = live.slider("Accuracy wanted:", {
      min: 20,
      max: 92,
      value: 80,
      shown: (value) => `${value}\u00a0%`,
      oninput: (value) => {
        target = value / 100;
        touched();
      },
    });
    const toggles = curves.map((curve) =>
      button(
        curve.name,
        (event) => {
          if (on.has(curve.name)) on.delete(curve.name);
          else on.add(curve.name);
          event.currentTarget.setAttribute("aria-pressed", String(on.has(curve.name)));
          touched();
        },
        { "aria-pressed": String(on.has(curve.name)) },
      ),
    );
    const other = live.choice(
      "Another number of clusters, with the rule graph",
      [[null, "none"], ...packed.K.map((each) => [each.K, `K = ${each.K}`])],
      null,
      (key) => {
        K = key;
        touched();
      },
    );
    body.append(
      guess.node,
      accuracy.node,
      picture,
      said,
      html("div", { class: "live-scroll" }, table),
      html("p", {}, "Curves:"),
      html("div", { class: "live-choice", role: "group", "aria-label": "Curves" }, ...toggles),
      html("p", {}, "The rule graph with another number of clusters:"),
      other.node,
    );

    const shown = () => {
      const chosen = curves.filter((curve) => on.has(curve.name));
      const more = packed.K.find((each) => each.K === K);
      return more ? [...chosen, { ...more, name: `K = ${K}`, method: "K" }] : chosen;
    };

    function show() {
      const rows = shown().map((curve) => ({ curve, n: needed(curve, target) }));
      const least = rows.filter((row) => row.n !== null).sort((a, b) => a.n - b.n)[0];
      said.hidden = table.hidden = !asked;
      said.textContent = least
        ? `For ${percent(target)}, ${least.curve.name} needs ${about(least)} labels.`
        : `None of these curves reaches ${percent(target)}.`;
      table.replaceChildren(
        html(
          "thead",
          {},
          html("tr", {}, ...["method", `labels for ${percent(target)}`, "of the images", "times the fewest"].map((head) => html("th", { scope: "col" }, head))),
        ),
        html(
          "tbody",
          {},
          ...rows.map((row) =>
            html(
              "tr",
              {},
              html("th", { scope: "row" }, row.curve.name),
              html("td", {}, row.n === null ? "not reached" : about(row)),
              html("td", {}, row.n === null ? "–" : `${Number(((100 * row.n) / packed.n_images).toPrecision(2))} %`),
              html("td", {}, row.n === null ? "–" : (row.n / least.n).toFixed(1)),
            ),
          ),
        ),
      );
      redraw();
    }

    /** Where the first number measured is enough already, the number is an upper bound. */
    const about = ({ curve, n }) => `${n === curve.n[0] && curve.mean[0] > target ? "at most " : ""}${count(n)}`;

    /** The part of a curve that is drawn. */
    const upTo = (curve) => {
      const n = curve.n.filter((each) => each <= LAST);
      return { ...curve, n, mean: curve.mean.slice(0, n.length) };
    };

    function draw(width, interactive = true) {
      const narrow = width < 480;
      const plot = live.chart({
        width,
        height: narrow ? 320 : 380,
        x: { min: 6, max: LAST, log: true, ticks: narrow ? [10, 100, 1000, 10000] : [10, 30, 100, 300, 1000, 3000, 10000], label: "labels", text: count },
        y: { min: 0, max: 1, ticks: [0, 0.2, 0.4, 0.6, 0.8, 1], text: (v) => `${Math.round(100 * v)}` },
        margin: { top: 24, right: narrow ? 80 : 156 },
        label: `Accuracy against labels; at ${percent(target)}: ${(asked || !interactive ? shown() : []).map((curve) => `${curve.name} ${needed(curve, target) === null ? "never" : count(needed(curve, target))}`).join(", ")}.`,
      });
      const { layer, X, Y, edge } = plot;
      layer.append(svg("text", { x: 4, y: 12 }, "% right"));
      const list = shown().map(upTo);
      const ends = list.map((curve) => Y(curve.mean.at(-1)));
      const heights = live.spread(ends, 15, edge.top, Y(0));
      list.forEach((curve, i) => {
        const colour = COLOURS[curve.name] ?? "purple";
        const dashed = ["hard, no fallback", "MLP"].includes(curve.name) || curve.method === "K" ? " live-thin" : "";
        const reach = curve.low
          ? curve.n.flatMap((n, j) => (curve.low[j] === null ? [] : [[n, curve.low[j], curve.high[j]]]))
          : [];
        if (reach.length > 1) {
          const band = [...reach.map(([n, low]) => [n, low]), ...reach.reverse().map(([n, , high]) => [n, high])];
          layer.append(
            svg("polygon", { class: `front-band live-${colour}`, points: band.map(([n, v]) => `${X(n).toFixed(1)},${Y(v).toFixed(1)}`).join(" ") }),
          );
        }
        layer.append(
          live.path(curve.n.map((n, j) => [X(n), Y(curve.mean[j])]), { class: `live-line live-${colour}${dashed}` }),
          live.path([[X(curve.n.at(-1)) + 3, ends[i]], [width - edge.right + 6, heights[i]]], { class: `front-lead live-${colour}` }),
        );
        const text = svg("text", { class: `live-${colour}`, x: width - edge.right + 8, y: heights[i] + 4 });
        text.textContent = narrow ? curve.name.replace("graph and neighbours", "graph, n’s").replace("article’s model", "article").replace("logistic regression", "log. reg.").replace("hard, no fallback", "hard, none") : curve.name;
        layer.append(text);
      });
      // the line, and where each curve crosses it
      layer.append(
        svg("line", { class: "live-mark", x1: edge.left, x2: width - edge.right, y1: Y(target), y2: Y(target) }),
      );
      const hits = list
        .map((curve) => ({ curve, n: asked || !interactive ? needed(curve, target) : null }))
        .filter(({ n }) => n !== null)
        .sort((a, b) => a.n - b.n);
      for (const { curve, n } of hits)
        layer.append(svg("circle", { class: `front-hit live-${COLOURS[curve.name] ?? "purple"}`, cx: X(n), cy: Y(target), r: 5 }));
      if (hits.length > 1) {
        const [first, last] = [hits[0], hits.at(-1)];
        // below the line, where only the last curve has yet to come
        const y = Y(target) + 14;
        const middle = (X(hits.at(-2).n) + X(last.n)) / 2;
        layer.append(
          live.path([[X(first.n), y - 6], [X(first.n), y], [X(last.n), y], [X(last.n), y - 6]], { class: "front-bracket" }),
          svg("text", { class: "live-bold front-ratio", x: middle, y: y + 16, "text-anchor": "middle" }, `${count(first.n)} against ${count(last.n)}`),
        );
      }
      if (interactive) {
        const grip = svg("rect", { class: "front-grip", x: edge.left, width: width - edge.left - edge.right, y: Y(target) - 16, height: 32 });
        layer.append(grip);
        live.drag(grip, () => {
          const top = plot.root.getBoundingClientRect().top;
          return (moved) => {
            const value = Math.round(100 * Y.invert(moved.clientY - top));
            target = Math.min(92, Math.max(20, value)) / 100;
            accuracy.set(Math.round(100 * target));
            touched();
          };
        });
      }
      return plot.root;
    }

    const redraw = live.responsive(picture, (width) => picture.replaceChildren(draw(width)));
    show();
    return {
      needed: (method, at) => needed(curves.find((curve) => curve.method === method), at),
      neededAt: (clusters, at) => needed(packed.K.find((each) => each.K === clusters), at),
      at: (method, n) => {
        const curve = curves.find((each) => each.method === method);
        return atLog(n, curve.n, curve.mean);
      },
      still: () => draw(688, false).outerHTML,
    };
  }

  live.define("front", build);
})();
