/* The coupon collector: labels drawn at random, and the clusters and images that they cover. */
(() => {
  "use strict";
  const { unpack, percent, count, plural, argmax, random, html, svg, button } = live;
  const SEED = 1;
  const MOST = 20000; // labels, after which a collection is given up
  const RUNS = 1000;

  // ---------------------------------------------------------------- the model

  /** Expected number of clusters with a label, and expected share of the images in them. */
  const expectedCovered = (shares, n) => shares.reduce((sum, p) => sum + 1 - (1 - p) ** n, 0);
  const expectedReached = (shares, n) => 1 - shares.reduce((sum, p) => sum + p * (1 - p) ** n, 0);

  /** Draws an index with the probabilities `shares` by halving intervals of their sums. */
  function sampler(shares, next) {
    const sums = [];
    shares.reduce((sum, p, i) => (sums[i] = sum + p), 0);
    return () => {
      const u = next() * sums.at(-1);
      let [low, high] = [0, sums.length - 1];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (sums[middle] > u) high = middle;
        else low = middle + 1;
      }
      return low;
    };
  }

  /** Labels until every cluster has one, in so many collections; sorted. */
  function collections(shares, runs, seed) {
    const draw = sampler(shares, random(seed));
    const found = [];
    for (let run = 0; run < runs; run++) {
      const seen = new Uint8Array(shares.length);
      let [missing, n] = [shares.length, 0];
      while (missing && n < MOST) {
        const c = draw();
        n++;
        if (!seen[c]) {
          seen[c] = 1;
          missing--;
        }
      }
      found.push(n);
    }
    return found.sort((a, b) => a - b);
  }

  /** Rectangles [x, y, width, height] of areas in proportion to shares, rows of about one height. */
  function treemap(shares, width, height) {
    const order = shares.map((_, i) => i).sort((i, j) => shares[j] - shares[i]);
    const total = shares.reduce((sum, p) => sum + p, 0);
    const perRow = Math.max(1, Math.round(Math.sqrt((shares.length * width) / height)));
    const boxes = [];
    let top = 0;
    for (let start = 0; start < order.length; start += perRow) {
      const row = order.slice(start, start + perRow);
      const mass = row.reduce((sum, c) => sum + shares[c], 0);
      const high = (height * mass) / total;
      let left = 0;
      for (const c of row) {
        const wide = (width * shares[c]) / mass;
        boxes[c] = [left, top, wide, high];
        left += wide;
      }
      top += high;
    }
    return boxes;
  }

  // ----------------------------------------------------------------- the page

  function build(body, packed) {
    const K = packed.shares.length;
    const L = packed.class_names.length;
    const letters = unpack(packed.letters); // [K, L]
    const equal = packed.shares.map(() => 1 / K);
    const heaviest = packed.shares.map((_, c) => c).sort((a, b) => packed.shares[b] - packed.shares[a]);
    let kind = "real";
    let next, drawCluster, votes, n, covered, history, times;

    const shares = () => (kind === "equal" ? equal : packed.shares);

    function restart() {
      next = random(SEED);
      drawCluster = sampler(shares(), next);
      votes = packed.shares.map(() => new Uint16Array(L));
      n = 0;
      covered = new Set();
      history = [[0, 0, 0]];
      times = null;
    }

    /** Give one more label: in a cluster at random, or in the heaviest without one. */
    function label() {
      if (kind === "chosen" && n >= K) return;
      const c = kind === "chosen" ? heaviest[n] : drawCluster();
      const u = next();
      let letter = 0;
      for (let sum = letters[c * L]; sum < u && letter < L - 1; sum += letters[c * L + letter]) letter++;
      votes[c][letter]++;
      n++;
      covered.add(c);
      history.push([n, covered.size / K, reached()]);
    }

    const reached = () => [...covered].reduce((sum, c) => sum + shares()[c], 0);
    const right = () =>
      [...covered].reduce((sum, c) => sum + shares()[c] * letters[c * L + argmax(votes[c])], 0);

    const guess = live.guess(
      `How many letters, drawn at random, must be labelled until each of the ${K} real clusters has a label, in 95 of 100 attempts?`,
      [K, 460, 875, packed.cover.real, 10000].map((value) => [value, count(value)]),
      (value) =>
        `${value === packed.cover.real ? "Right" : `Not ${count(value)}`}: ${count(packed.cover.real)}. Were the clusters equal, ${count(packed.cover.equal)} would do; chosen, ${K}. Now watch what the labels cover long before.`,
    );
    const picker = live.choice(
      "Clusters and labels",
      [["equal", "equal clusters"], ["real", "the book's clusters"], ["chosen", "labels chosen"]],
      kind,
      (key) => {
        kind = key;
        restart();
        show();
      },
    );
    const more = (k) => () => {
      for (let i = 0; i < k; i++) label();
      show();
    };
    const untilAll = button("until all", () => {
      while (covered.size < K && n < MOST) label();
      show();
    });
    const many = button(`${count(RUNS)} collections`, () => {
      times = collections(shares(), RUNS, SEED);
      show();
    });
    const counters = html("p", { class: "live-counters" });
    const tiles = html("div", {});
    const picture = html("div", {});
    const said = html("p", { class: "live-status", role: "status" });
    body.append(
      guess.node,
      picker.node,
      html(
        "div",
        { class: "live-choice", role: "group", "aria-label": "Draw labels" },
        button("1 label", more(1)),
        button("10", more(10)),
        button("100", more(100)),
        untilAll,
        many,
        button("start over", () => {
          restart();
          show();
        }),
      ),
      counters,
      tiles,
      picture,
      said,
    );

    function show() {
      const counter = (value, words) => html("span", {}, html("strong", {}, value), ` ${words}`);
      counters.replaceChildren(
        counter(count(n), n === 1 ? "label" : "labels"),
        counter(`${covered.size} of ${K}`, "clusters"),
        counter(percent(reached()), "of the images reached"),
        counter(percent(right()), "named right"),
      );
      many.disabled = kind === "chosen";
      said.textContent = times
        ? `Of ${count(RUNS)} collections, half were complete after ${count(times[RUNS / 2])} labels and 95 % after ${count(times[Math.ceil(0.95 * RUNS) - 1])}; the exact number is ${count(packed.cover[kind])}.`
        : "";
      redraw();
    }

    function drawTiles(width) {
      const height = 150;
      const boxes = treemap(shares(), width, height);
      const root = svg("svg", {
        class: "live-chart",
        viewBox: `0 0 ${width} ${height}`,
        width,
        height,
        role: "img",
        "aria-label": `${K} clusters as tiles, their area the share of the images; ${covered.size} are coloured.`,
      });
      boxes.forEach(([x, y, wide, high], c) => {
        const has = covered.has(c);
        root.append(
          svg("rect", {
            class: has ? "collector-covered" : "collector-empty",
            x: (x + 0.5).toFixed(1),
            y: (y + 0.5).toFixed(1),
            width: Math.max(0.5, wide - 1).toFixed(1),
            height: Math.max(0.5, high - 1).toFixed(1),
          }),
        );
        if (has && wide > 10 && high > 13)
          root.append(
            svg(
              "text",
              {
                class: "collector-name",
                x: (x + wide / 2).toFixed(1),
                y: (y + high / 2 + 4).toFixed(1),
                "text-anchor": "middle",
              },
              packed.class_names[argmax(votes[c])],
            ),
          );
      });
      return root;
    }

    function drawCurves(width) {
      const plot = live.chart({
        width,
        height: 230,
        x: { min: 1, max: 10000, log: true, ticks: [1, 10, 100, 1000, 10000], label: "labels", text: count },
        y: { min: 0, max: 1, ticks: [0, 0.25, 0.5, 0.75, 1], text: (v) => `${100 * v}` },
        margin: { top: 24, right: 20 },
        label: `Share of clusters and of images covered after ${plural(n, "label")}: ${percent(covered.size / K)} and ${percent(reached())}.`,
      });
      const { layer, X, Y } = plot;
      layer.append(svg("text", { x: 4, y: 12 }, "% covered: line, this collection; dashes, expected"));
      if (times) {
        const edges = Array.from({ length: 41 }, (_, i) => 10 ** (2 + i / 20));
        const bars = edges.slice(1).map((edge, i) => times.filter((t) => t > edges[i] && t <= edge).length);
        const most = Math.max(...bars);
        bars.forEach((bar, i) => {
          if (bar)
            layer.append(
              svg("rect", {
                class: "collector-bar",
                x: X(edges[i]),
                width: X(edges[i + 1]) - X(edges[i]) - 1,
                y: Y((0.5 * bar) / most),
                height: Y(0) - Y((0.5 * bar) / most),
              }),
            );
        });
        const at = packed.cover[kind];
        layer.append(
          svg("line", { class: "live-mark", x1: X(at), x2: X(at), y1: Y(0), y2: Y(0.62) }),
          svg("text", { x: X(at) - 4, y: Y(0.64), "text-anchor": "middle" }, `95 % at ${count(at)}`),
        );
      }
      const steps = Array.from({ length: 81 }, (_, i) => 10 ** (i / 20));
      const chosen = (k) => heaviest.slice(0, Math.min(K, Math.floor(k)));
      const expected = {
        images: (k) =>
          kind === "chosen" ? chosen(k).reduce((sum, c) => sum + packed.shares[c], 0) : expectedReached(shares(), k),
        clusters: (k) => (kind === "chosen" ? chosen(k).length / K : expectedCovered(shares(), k) / K),
      };
      const lines = [["clusters", 1, "red"], ["images", 2, "blue"]];
      for (const [name, column, colour] of lines) {
        const points = history.slice(1).map((row) => [X(row[0]), Y(row[column])]);
        layer.append(
          live.path(steps.map((k) => [X(k), Y(expected[name](k))]), {
            class: `live-line live-thin live-${colour}`,
          }),
          live.path(points, { class: `live-line live-${colour}` }),
        );
      }
      const at = kind === "chosen" ? [14, 8] : [60, 160];
      layer.append(
        svg("text", { class: "live-blue", x: X(at[0]) - 8, y: Y(expected.images(at[0])) - 6, "text-anchor": "end" }, "images"),
        svg("text", { class: "live-red", x: X(at[1]) + 14, y: Y(expected.clusters(at[1])) + 16 }, "clusters"),
      );
      return plot.root;
    }

    restart();
    const redraw = live.responsive(picture, (width) => {
      tiles.replaceChildren(drawTiles(width));
      picture.replaceChildren(drawCurves(width));
    });
    show();
    return {
      expectedCovered: (which, k) => expectedCovered(which === "equal" ? equal : packed.shares, k),
      expectedReached: (which, k) => expectedReached(which === "equal" ? equal : packed.shares, k),
      collections: (which, runs, seed) => collections(which === "equal" ? equal : packed.shares, runs, seed),
      state: () => ({ n, covered: covered.size, reached: reached(), right: right(), votes: votes.map((v) => [...v]) }),
      still: () => {
        restart();
        for (let i = 0; i < 291; i++) label();
        return drawTiles(640).outerHTML + drawCurves(640).outerHTML;
      },
    };
  }

  live.define("collector", build);
})();
