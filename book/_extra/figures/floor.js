/* Floor, forecast and measurement: what unrelated clusters allow, what chapter 3 predicts, what was measured. */
(() => {
  "use strict";
  const { percent, count, atLog, html, svg } = live;
  const RULES = [["hard (no fallback)", "hard, no fallback"], ["hard", "hard"], ["soft", "soft"], ["graph", "graph"]];

  function build(body, packed) {
    const models = Object.keys(packed);
    let model = models.find((name) => name.startsWith("this")) ?? models[0];
    let rule = "hard";
    let n = 73;

    const picture = html("div", {});
    const said = html("p", { role: "status" });
    const read = (kind, name, at, column = "value") =>
      atLog(at, packed[model].n, packed[model][kind][name][column]);
    const counts = packed[model].n;
    // of a logarithmic scale, in thousandths of a power of ten
    const place = (value) => Math.round(1000 * Math.log10(value));
    const labels = live.slider("Labels, drawn at random:", {
      min: place(counts[0]),
      max: place(counts.at(-1)),
      value: place(n),
      shown: (value) => count(10 ** (value / 1000)),
      oninput: (value) => {
        n = Math.min(counts.at(-1), Math.max(counts[0], Math.round(10 ** (value / 1000))));
        show();
      },
    });
    body.append(
      live.choice("Model", models.map((name) => [name, name]), model, (key) => {
        model = key;
        show();
      }).node,
      live.choice("Rule that was measured", RULES, rule, (key) => {
        rule = key;
        show();
      }).node,
      labels.node,
      picture,
      said,
    );

    function show() {
      const one = (value) => percent(value, 1);
      const exact = counts.includes(n) ? "" : " (between the numbers measured, on a straight line)";
      said.textContent =
        `With ${count(n)} labels${exact}: if the clusters were unrelated, no rule could on average exceed ${one(read("predicted", "independent", n))}; ` +
        `the forecast for rules that use their resemblance is ${one(read("predicted", "proportional", n))} to ${one(read("predicted", "graph", n))}; ` +
        `measured with ${RULES.find(([key]) => key === rule)[1]}: ${one(read("measured", rule, n))} (${one(read("measured", rule, n, "low"))} to ${one(read("measured", rule, n, "high"))}). ` +
        `A rule that gives each cluster one letter among those it has seen cannot on average exceed ${one(read("predicted", "ceiling", n))}.`;
      redraw();
    }

    function draw(width) {
      const narrow = width < 480;
      const plot = live.chart({
        width,
        height: narrow ? 300 : 340,
        x: { min: 6, max: 800, log: true, ticks: narrow ? [7, 29, 146, 728] : counts, label: "labels", text: count },
        y: { min: 0, max: 1, ticks: [0, 0.2, 0.4, 0.6, 0.8, 1], text: (v) => `${Math.round(100 * v)}` },
        margin: { top: 24, right: 16 },
        label: `Floor, forecast and measured accuracy of ${model} against labels; ${said.textContent}`,
      });
      const { layer, X, Y, edge } = plot;
      const { predicted, measured } = packed[model];
      const points = (curve, column = "value") => curve[column].map((v, i) => [X(counts[i]), Y(v)]);
      layer.append(svg("text", { x: 4, y: 12 }, "% right"));
      const band = [...points(predicted.graph), ...points(predicted.proportional).reverse()];
      layer.append(
        svg("polygon", { class: "front-band floor-band live-blue", points: band.map((p) => p.map((v) => v.toFixed(1)).join(",")).join(" ") }),
        live.path(points(predicted.ceiling), { class: "live-line live-thin live-muted" }),
        live.path(points(predicted.independent), { class: "live-line live-thin live-red" }),
      );
      measured[rule].value.forEach((value, i) => {
        const x = X(counts[i]);
        layer.append(
          svg("line", { class: "floor-interval", x1: x, x2: x, y1: Y(measured[rule].low[i]), y2: Y(measured[rule].high[i]) }),
          svg("circle", { class: "floor-measured", cx: x, cy: Y(value), r: 4 }),
        );
      });
      layer.append(svg("line", { class: "live-mark", x1: X(n), x2: X(n), y1: edge.top, y2: Y(0) }));
      const say = (text, at, value, colour, below, anchor) =>
        svg("text", { class: `live-${colour}`, x: X(at), y: Y(value) + (below ? 18 : -8), "text-anchor": anchor }, text);
      layer.append(
        say(narrow ? "upper limit" : "no rule can exceed this", 26, atLog(26, counts, predicted.ceiling.value), "muted", false, "end"),
        say("forecast", 170, atLog(170, counts, predicted.proportional.value), "blue", true, "start"),
        say("clusters unrelated", 60, atLog(60, counts, predicted.independent.value), "red", true, "start"),
        svg("circle", { class: "floor-measured", cx: edge.left + 12, cy: edge.top + 8, r: 4 }),
        svg("text", { x: edge.left + 22, y: edge.top + 12 }, `measured: ${RULES.find(([key]) => key === rule)[1]}`),
      );
      return plot.root;
    }

    const redraw = live.responsive(picture, (width) => picture.replaceChildren(draw(width)));
    show();
    return {
      read: (of, kind, name, at) => atLog(at, packed[of].n, packed[of][kind][name].value),
      still: () => draw(688).outerHTML,
    };
  }

  live.define("floor", build);
})();
