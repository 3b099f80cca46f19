/* The latent map: one set of letters on three maps, and labels that spread to their neighbours. */
(() => {
  "use strict";
  const { unpack, percent, count, plural, argmax, html, svg, button } = live;
  const [WEIGHT, STEPS, BACKGROUND] = [0.99, 30, 1]; // as in NeighbourDecoder
  const MAPS = ["PCA", "UMAP", "t-SNE"];
  const COLOURS = 7; // of the points; letters on the map tell apart what shares one

  // ---------------------------------------------------------------- the model

  /** The symmetric graph, row by row as in neighbour_graph: row i has the edges start[i] to start[i + 1]. */
  function graph(neighbours, n) {
    const each = neighbours.length / n;
    const rows = Array.from({ length: n }, () => new Map());
    for (let i = 0; i < n; i++)
      for (let j = i * each; j < (i + 1) * each; j++) {
        const other = neighbours[j];
        rows[i].set(other, (rows[i].get(other) ?? 0) + 1 / each);
        rows[other].set(i, (rows[other].get(i) ?? 0) + 1 / each);
      }
    const degree = rows.map((row) => [...row.values()].reduce((sum, value) => sum + value, 0));
    const start = new Uint32Array(n + 1);
    rows.forEach((row, i) => (start[i + 1] = start[i] + row.size));
    const to = new Uint16Array(start[n]);
    const weight = new Float64Array(start[n]);
    rows.forEach((row, i) => {
      let at = start[i];
      for (const [other, value] of row) {
        to[at] = other;
        weight[at++] = value / Math.sqrt(degree[i] * degree[other]);
      }
    });
    return { n, start, to, weight };
  }

  /** Nearness of each point to the labels of each class: Float64Array [n * C]. */
  function spreadLabels({ n, start, to, weight }, labels, nClasses, steps = STEPS) {
    const sources = new Float64Array(n * nClasses);
    for (const [point, name] of labels) sources[point * nClasses + name] = 1;
    const present = [...new Set(labels.map(([, name]) => name))]; // the others stay at 0
    let near = sources.slice();
    let next = new Float64Array(n * nClasses);
    for (let step = 0; step < steps; step++) {
      next.fill(0);
      for (let i = 0; i < n; i++)
        for (let edge = start[i]; edge < start[i + 1]; edge++) {
          const factor = WEIGHT * weight[edge];
          const [here, there] = [i * nClasses, to[edge] * nClasses];
          for (let k = 0; k < present.length; k++) next[here + present[k]] += factor * near[there + present[k]];
        }
      for (const [point, name] of labels) next[point * nClasses + name] += 1 - WEIGHT;
      [near, next] = [next, near];
    }
    return near;
  }

  /** Each point's name by the density of the labels around it; -1 where none has arrived. */
  function namesOf(near, labels, nClasses) {
    const n = near.length / nClasses;
    const counts = new Float64Array(nClasses);
    for (const [, name] of labels) counts[name]++;
    const found = new Int16Array(n).fill(-1);
    for (let i = 0; i < n; i++) {
      const row = near.subarray(i * nClasses, (i + 1) * nClasses);
      let most = 0;
      for (let l = 0; l < nClasses; l++) {
        const density = counts[l] ? (row[l] + BACKGROUND / n) / (counts[l] + BACKGROUND) : 0;
        if (density > most) [most, found[i]] = [density, l];
      }
      if (!row.some((value) => value > 0)) found[i] = -1;
    }
    return found;
  }

  // ----------------------------------------------------------------- the page

  function build(body, packed, root) {
    const names = packed.class_names;
    const truth = unpack(packed.truth);
    const cluster = unpack(packed.cluster);
    const n = truth.length;
    const places = packed.maps.map((map) => Float32Array.from(unpack(map), (value) => value / 65535));
    const edges = graph(unpack(packed.neighbours), n);
    let labels = [];
    let found = null;
    let at = 1; // UMAP
    let showTruth = false;
    let cursor = packed.typical[0];

    const picture = html("div", { class: "map-picture" });
    const info = html("p", { class: "map-info" });
    const sheets = { letter: `${root}figures/map-letters.png`, drawing: `${root}figures/map-clusters.png` };
    const shown = Object.values(sheets).map((sheet) => {
      const tile = html("span", { class: "map-drawing", role: "img" });
      tile.style.backgroundImage = `url("${sheet}")`;
      tile.style.backgroundSize = `${100 * packed.columns}% auto`;
      return tile;
    });
    const infoText = html("span", {});
    info.append(...shown, infoText);
    const said = html("p", { role: "status" });
    const morph = live.slider("Map:", {
      min: 0,
      max: 2,
      step: 0.02,
      value: at,
      shown: (value) => {
        const near = Math.round(value);
        return Math.abs(value - near) < 0.01 ? MAPS[near] : `between ${MAPS[Math.floor(value)]} and ${MAPS[Math.ceil(value)]}`;
      },
      oninput: (value) => {
        at = value;
        redraw();
      },
    });
    const truthButton = button("show the true letters", () => {
      showTruth = !showTruth;
      truthButton.setAttribute("aria-pressed", String(showTruth));
      redraw();
    }, { "aria-pressed": "false" });
    const tenButton = button("label ten clusters", () => {
      const taken = new Set(labels.map(([point]) => cluster[point]));
      const next = packed.typical.filter((point) => !taken.has(cluster[point])).slice(0, 10);
      labels.push(...next.map((point) => [point, truth[point]]));
      spread();
    });
    body.append(
      morph.node,
      html(
        "div",
        { class: "live-choice", role: "group", "aria-label": "Which map" },
        ...MAPS.map((name, i) => button(name, () => glide(i))),
        tenButton,
        truthButton,
        button("start over", () => {
          labels = [];
          spread();
        }),
      ),
      picture,
      info,
      said,
    );

    /** Move to a map, slowly unless the reader prefers no motion. */
    function glide(to) {
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      const from = at;
      const began = performance.now();
      const frame = (now) => {
        const t = still ? 1 : Math.min(1, (now - began) / (700 * Math.max(1, Math.abs(to - from))));
        at = from + (to - from) * (t * t * (3 - 2 * t));
        morph.set(t === 1 ? to : at);
        redraw();
        if (t < 1) requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
    }

    function label(point) {
      if (!labels.some(([other]) => other === point)) labels.push([point, truth[point]]);
      spread();
    }

    function share() {
      const known = new Set(labels.map(([point]) => point));
      let hits = 0;
      for (let i = 0; i < n; i++) hits += !known.has(i) && found[i] === truth[i];
      return hits / (n - known.size);
    }

    function spread() {
      found = labels.length ? namesOf(spreadLabels(edges, labels, names.length), labels, names.length) : null;
      said.textContent = found
        ? `${plural(labels.length, "label")} spread over the graph of neighbours: ${percent(share(), 1)} of the other ${count(n - labels.length)} points get the right name.`
        : "No label yet: tap a point, and its letter spreads to its neighbours.";
      tenButton.disabled = new Set(labels.map(([point]) => cluster[point])).size >= packed.typical.length;
      showInfo();
      redraw();
    }

    function showInfo() {
      const c = cluster[cursor];
      const rows = Math.ceil(packed.n_clusters / packed.columns);
      const place = `${(100 * (c % packed.columns)) / (packed.columns - 1)}% ${(100 * Math.floor(c / packed.columns)) / (rows - 1)}%`;
      const what = [`The most typical letter of cluster ${c}`, `What the model draws from cluster ${c}`];
      shown.forEach((tile, i) => {
        tile.style.backgroundPosition = place;
        tile.setAttribute("aria-label", what[i]);
      });
      const given = found && found[cursor] >= 0 ? `, called ${names[found[cursor]]}` : "";
      infoText.textContent = `Here: cluster ${c}${given}. On the left its most typical letter and what the model draws.`;
    }

    /** Coordinates in [0, 1] of a point on the map between two maps. */
    function placeOf(i) {
      const [below, above] = [Math.floor(at), Math.ceil(at)];
      const t = at - below;
      return [0, 1].map((axis) => (1 - t) * places[below][2 * i + axis] + t * places[above][2 * i + axis]);
    }

    function draw(width) {
      const high = Math.round(0.8 * width);
      const margin = 10;
      const xy = (i) => {
        const [u, v] = placeOf(i);
        return [margin + u * (width - 2 * margin), high - margin - v * (high - 2 * margin)];
      };
      const names26 = showTruth ? truth : found;
      const of = Array.from({ length: COLOURS + 1 }, () => []);
      const spots = Array.from({ length: n }, (_, i) => xy(i));
      spots.forEach(([x, y], i) => {
        const name = names26 ? names26[i] : -1;
        of[name < 0 ? COLOURS : name % COLOURS].push(`M${x.toFixed(0)} ${y.toFixed(0)}h0`);
      });
      const chart = svg("svg", {
        class: "live-chart map-chart",
        viewBox: `0 0 ${width} ${high}`,
        width,
        height: high,
        role: "application",
        tabindex: 0,
        "aria-label": `${count(n)} letters on a map by ${MAPS[Math.round(at)]}. Arrow keys move to a neighbouring point, Enter labels it.`,
      });
      of.forEach((points, k) => {
        if (points.length)
          chart.append(svg("path", { class: `map-points map-${k === COLOURS ? "none" : k}`, d: points.join("") }));
      });
      // at the middle of each cluster's points: its name, or its most typical letter while nothing has one
      if (names26) {
        for (const [x, y, points] of middles(spots, (i) => names26[i] >= 0, width < 480 ? 16 : 20)) {
          const counts = new Uint16Array(names.length);
          for (const i of points) counts[names26[i]]++;
          const name = names[argmax(counts)];
          chart.append(svg("text", { class: "map-name", x: x.toFixed(0), y: (y + 5).toFixed(0), "text-anchor": "middle" }, name));
        }
      } else {
        const side = width < 480 ? 18 : 24;
        for (const [x, y, points] of middles(spots, () => true, 1.25 * side))
          chart.append(thumbnail(cluster[points[0]], x - side / 2, y - side / 2, side));
      }
      for (const [point] of labels)
        chart.append(svg("circle", { class: "map-label", cx: spots[point][0].toFixed(0), cy: spots[point][1].toFixed(0), r: 6 }));
      chart.append(svg("circle", { class: "map-cursor", cx: spots[cursor][0].toFixed(0), cy: spots[cursor][1].toFixed(0), r: 9 }));
      listen(chart, spots, width);
      return chart;
    }

    /** The most typical letter of a cluster, cut out of the sheet. */
    function thumbnail(c, x, y, side) {
      const [column, row] = [c % packed.columns, Math.floor(c / packed.columns)];
      const rows = Math.ceil(packed.n_clusters / packed.columns);
      return svg(
        "svg",
        { class: "map-thumbnail", x: x.toFixed(0), y: y.toFixed(0), width: side, height: side, viewBox: `${column} ${row} 1 1` },
        svg("image", { href: sheets.letter, width: packed.columns, height: rows, preserveAspectRatio: "none" }),
      );
    }

    /** [x, y, points] at the medians of the largest clusters, of the points that count; none covers another. */
    function middles(spots, counts, gap) {
      const members = new Map();
      for (let i = 0; i < n; i++) if (counts(i)) members.set(cluster[i], [...(members.get(cluster[i]) ?? []), i]);
      const kept = [];
      for (const points of [...members.values()].sort((a, b) => b.length - a.length)) {
        const middle = [0, 1].map((axis) => {
          const sorted = points.map((i) => spots[i][axis]).sort((a, b) => a - b);
          return sorted[sorted.length >> 1];
        });
        if (kept.every(([x, y]) => Math.hypot(x - middle[0], y - middle[1]) > gap)) kept.push([...middle, points]);
      }
      return kept;
    }

    function nearest(spots, x, y, allowed = () => true) {
      let [best, least] = [cursor, Infinity];
      spots.forEach(([px, py], i) => {
        const distance = (px - x) ** 2 + (py - y) ** 2;
        if (distance < least && allowed(px, py, i)) [best, least] = [i, distance];
      });
      return best;
    }

    function listen(chart, spots, width) {
      const pointAt = (event) => {
        const box = chart.getBoundingClientRect();
        const scale = width / box.width;
        return nearest(spots, (event.clientX - box.left) * scale, (event.clientY - box.top) * scale);
      };
      chart.addEventListener("pointermove", (event) => {
        const point = pointAt(event);
        if (point === cursor || event.pointerType === "touch") return;
        cursor = point;
        const mark = chart.querySelector(".map-cursor");
        mark.setAttribute("cx", spots[point][0].toFixed(0));
        mark.setAttribute("cy", spots[point][1].toFixed(0));
        showInfo();
      });
      chart.addEventListener("click", (event) => {
        cursor = pointAt(event);
        label(cursor);
      });
      chart.addEventListener("keydown", (event) => {
        const [x, y] = spots[cursor];
        const ahead = {
          ArrowLeft: (px, py) => px < x && Math.abs(py - y) <= x - px,
          ArrowRight: (px, py) => px > x && Math.abs(py - y) <= px - x,
          ArrowUp: (px, py) => py < y && Math.abs(px - x) <= y - py,
          ArrowDown: (px, py) => py > y && Math.abs(px - x) <= py - y,
        }[event.key];
        if (ahead) {
          cursor = nearest(spots, x, y, (px, py, i) => i !== cursor && ahead(px, py));
          showInfo();
          redraw();
        } else if (event.key === "Enter") label(cursor);
        else return;
        event.preventDefault();
        event.stopPropagation();
      });
    }

    const redraw = live.responsive(picture, (width) => {
      const focused = picture.contains(document.activeElement);
      picture.replaceChildren(draw(width));
      if (focused) picture.firstChild.focus({ preventScroll: true });
    });
    spread();
    return {
      nearness: (given, steps) => [...spreadLabels(edges, given, names.length, steps)],
      namesOf: (given) => [...namesOf(spreadLabels(edges, given, names.length), given, names.length)],
      still: () => {
        showTruth = true;
        const chart = draw(640);
        showTruth = false;
        chart.querySelector(".map-cursor").remove();
        chart.setAttribute("role", "img");
        chart.removeAttribute("tabindex");
        return chart.outerHTML;
      },
    };
  }

  live.define("map", build);
})();
