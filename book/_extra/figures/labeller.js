/* You are the labeller: name suggested letters, and see what the names are worth for all others.
 *
 * The graph decoder (gmvae_lib.label.decoding.GraphDecoder) on a sample of the posteriors; its data
 * come from gmvae_lib/study/labeller.py. First the model, pure functions; then the page.
 */
(() => {
  "use strict";
  const { unpack, percent, count, plural, argmax, atLog, crossing, solve, html, svg, button } = live;
  const STRENGTH = 1; // of the neighbours, and the rest as in GraphDecoder

  // ---------------------------------------------------------------- the model

  function posterior({ cluster, weight }) {
    const [n, kept] = cluster.shape;
    const weights = unpack(weight);
    const most = weight.dtype === "uint8" ? 255 : 65535;
    return { n, kept, cluster: unpack(cluster), weight: Float64Array.from(weights, (w) => w / most) };
  }

  function read(packed) {
    const K = packed.affinity.shape[0];
    return {
      K,
      names: packed.class_names,
      sample: { ...posterior(packed.sample), truth: unpack(packed.sample.truth) },
      asked: {
        ...posterior(packed.asked),
        truth: unpack(packed.asked.truth),
        home: unpack(packed.asked.home),
      },
      affinity: Float64Array.from(unpack(packed.affinity), (root) => (root / 65535) ** 2),
    };
  }

  /** p(l|c) from labels, [[which letter asked for, its name], ...]: {classes, table [K][C]}. */
  function graphTable({ K, asked, affinity }, labels) {
    const classes = [...new Set(labels.map(([, name]) => name))].sort((a, b) => a - b);
    const classCount = classes.map((name) => labels.filter(([, other]) => other === name).length);
    const prior = classCount.map((n) => (n + 1) / (labels.length + classes.length));
    const trace = 1e-3 * STRENGTH;
    const right = Array.from({ length: K }, () => Float64Array.from(prior, (p) => trace * p));
    const seen = new Float64Array(K);
    for (const [which, name] of labels)
      for (let j = 0; j < asked.kept; j++) {
        const c = asked.cluster[which * asked.kept + j];
        right[c][classes.indexOf(name)] += asked.weight[which * asked.kept + j];
        seen[c] += asked.weight[which * asked.kept + j];
      }
    const system = Array.from({ length: K }, (_, c) => {
      const row = affinity.slice(c * K, (c + 1) * K);
      const degree = row.reduce((sum, value) => sum + value, 0);
      return row.map(
        (value, other) =>
          (other === c ? seen[c] + (degree > 0 ? STRENGTH : 0) + trace : 0) -
          (degree > 0 ? (STRENGTH * value) / degree : 0),
      );
    });
    return { classes, seen, table: solve(system, right) };
  }

  /** Share of the sample that the names given so far get right. */
  function accuracy({ sample }, { classes, table }) {
    const scores = new Float64Array(classes.length);
    let hits = 0;
    for (let i = 0; i < sample.n; i++) {
      scores.fill(0);
      for (let j = i * sample.kept; j < (i + 1) * sample.kept; j++)
        for (let l = 0; l < scores.length; l++)
          scores[l] += sample.weight[j] * Math.max(0, table[sample.cluster[j]][l]);
      hits += classes[argmax(scores)] === sample.truth[i];
    }
    return hits / sample.n;
  }

  // ----------------------------------------------------------------- the page

  const TARGET = 0.8;
  const GUESSES = [15, 40, 150, 600, 10000];

  function build(body, packed, root) {
    const model = read(packed);
    const { names, asked, K } = model;
    const [height, width] = packed.size;
    const given = []; // one entry a letter asked for: a name, or null where it was passed over
    const course = []; // accuracy after each entry
    let guessed = null;

    const labels = (upTo = given.length) =>
      given.slice(0, upTo).flatMap((name, which) => (name === null ? [] : [[which, name]]));
    const baseline = (name, n) => atLog(n, packed.baselines[name].n, packed.baselines[name].accuracy);

    // what the reader sees
    const letter = html("div", { class: "labeller-letter", role: "img" });
    letter.style.backgroundImage = `url("${root}figures/labeller.png")`;
    letter.style.backgroundSize = `${100 * packed.columns}% auto`;
    const question = html("p", { class: "labeller-question" });
    const where = html("p", { class: "labeller-where" });
    const keys = html("div", { class: "labeller-keys", role: "group", "aria-label": "Its name" });
    const big = html("strong", { class: "labeller-big" });
    const bigNote = html("span", {});
    const rivals = html("p", { class: "labeller-rivals" });
    const said = html("p", { class: "live-status", role: "status" });
    const picture = html("div", { class: "labeller-chart" });
    const tiles = html("div", { class: "labeller-tiles", role: "img" });
    const sentence = html("p", { class: "labeller-sentence" });
    const copy = button("Copy", share, { hidden: true });
    const undoButton = button("Undo", undo);
    const skipButton = button("Pass", () => give(null), { title: "I cannot tell" });
    const tenButton = button("Name ten for me", () => answerFor(10));
    const keyButtons = names.map((name, i) =>
      button(name, () => give(i), { tabindex: i ? -1 : 0, "aria-label": `It is ${/[aefhilmnorsx]/.test(name) ? "an" : "a"} ${name}` }),
    );
    keys.append(...keyButtons);
    const stage = html(
      "div",
      { class: "labeller-stage", role: "group", "aria-label": "You are the labeller" },
      html(
        "div",
        { class: "labeller-card" },
        letter,
        html("div", {}, question, where, html("div", { class: "live-choice" }, undoButton, skipButton, tenButton)),
      ),
      html("p", { class: "labeller-score" }, big, " ", bigNote),
      keys,
      rivals,
    );

    const before = live.guess(
      "How many letters must you name until 80 % of the others are right?",
      GUESSES.map((n) => [n, count(n)]),
      (n) => `You say ${count(n)}. Now name some: press a key, or tap the letter.`,
      (n) => {
        guessed = n;
        keyButtons[0].focus({ preventScroll: true });
      },
    );
    body.append(
      before.node,
      stage,
      html(
        "div",
        { class: "labeller-below" },
        picture,
        html(
          "div",
          {},
          tiles,
          html(
            "p",
            { class: "labeller-note" },
            "The clusters, the largest first. Framed: you named a letter of it. The others borrow a name from clusters that share letters with them.",
          ),
        ),
      ),
      html("div", { class: "labeller-end" }, sentence, copy),
      said,
    );

    // what happens
    function measure() {
      const known = labels();
      return known.length ? accuracy(model, graphTable(model, known)) : null;
    }

    function give(name) {
      if (given.length >= asked.n) return;
      given.push(name);
      course.push(measure());
      const which = given.length - 1;
      const truth = names[asked.truth[which]];
      const unlike = name !== null && name !== asked.truth[which];
      show(
        name === null
          ? "Passed over."
          : `${names[name]}.${unlike ? ` EMNIST calls this one ${truth}; your name counts here.` : ""}`,
      );
    }

    function undo() {
      given.pop();
      course.pop();
      show("Taken back.");
    }

    function answerFor(n) {
      for (let i = 0; i < n && given.length < asked.n; i++) {
        given.push(asked.truth[given.length]);
        course.push(measure());
      }
      show(`${n} letters got EMNIST's own names.`);
    }

    function words() {
      const n = labels().length;
      const right = course.at(-1);
      if (!n) return "";
      const boosting = baseline("xgboost", n);
      const network = baseline("network", n);
      const rest = packed.n_images - n;
      const than =
        boosting === null
          ? ""
          : ` With as many labels, drawn at random, XGBoost gets ${percent(boosting)} and the best network without the other letters ${percent(network)}.`;
      return `${plural(n, "letter")} named: ${percent(right)} of the other ${count(rest)} right (measured on ${count(packed.n_sample)} of them).${than}`;
    }

    function share() {
      const text = `${words()} How few do you need? ${location.href.split("#")[0]}`;
      const done = () => (said.textContent = "Copied.");
      if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, () => select(sentence));
      else select(sentence);
    }

    function select(node) {
      getSelection().selectAllChildren(node);
      said.textContent = "Selected: copy it with your keyboard or menu.";
    }

    function show(what = "") {
      const n = labels().length;
      const next = given.length;
      const right = course.at(-1) ?? null;
      const finished = next >= asked.n;
      letter.hidden = finished;
      const [column, row] = [next % packed.columns, Math.floor(next / packed.columns)];
      const rowCount = Math.ceil(asked.n / packed.columns);
      letter.style.backgroundPosition = `${(100 * column) / (packed.columns - 1)}% ${(100 * row) / (rowCount - 1)}%`;
      letter.setAttribute("aria-label", `Handwritten letter ${next + 1} of ${asked.n}`);
      letter.style.aspectRatio = `${width} / ${height}`;
      question.textContent = finished ? "All hundred are named." : "Which letter is this?";
      where.textContent = finished
        ? ""
        : `Letter ${next + 1} of ${asked.n}. The model finds it typical of ${percent(packed.share[asked.home[next]], 1)} of all letters.`;
      big.textContent = right === null ? "0\u00a0%" : percent(right);
      bigNote.textContent = `of the other ${count(packed.n_images - n)} letters right, with ${plural(n, "name")} from you`;
      const boosting = n ? baseline("xgboost", n) : null;
      rivals.textContent =
        boosting === null
          ? "XGBoost and the best network on labels alone: measured from 7 labels on."
          : `With ${n} labels drawn at random, from the labelled letters alone: XGBoost ${percent(boosting)}, the best network ${percent(baseline("network", n))}.`;
      undoButton.disabled = !given.length;
      for (const one of [skipButton, tenButton, ...keyButtons]) one.disabled = finished;
      sentence.textContent = words();
      copy.hidden = !n;
      const at = course.findIndex((value) => value >= TARGET);
      let reached = "";
      if (at >= 0) {
        const needed = labels(at + 1).length;
        reached = ` You reached 80 % with ${plural(needed, "letter")}${guessed ? `; your guess was ${count(guessed)}` : ""}. XGBoost needs ${count(crossing(packed.baselines.xgboost.n, packed.baselines.xgboost.accuracy, TARGET))}.`;
        before.say(reached.trim());
      }
      said.textContent = what && right !== null ? `${what} ${percent(right)} right.` : what;
      drawTiles();
      redraw();
    }

    function drawTiles() {
      const known = labels();
      const found = known.length ? graphTable(model, known) : null;
      const own = new Set(known.map(([which]) => asked.home[which]));
      const order = [...Array(K).keys()].sort((a, b) => packed.share[b] - packed.share[a]);
      const made = order.map((c) => {
        const tile = html("span", { class: "labeller-tile" });
        if (!found) return tile;
        const best = argmax(found.table[c]);
        const sure = found.table[c][best];
        if (own.has(c)) tile.classList.add("labeller-own");
        if (own.has(c) || sure > 0.3) {
          tile.textContent = names[found.classes[best]];
          tile.style.setProperty("--sure", `${Math.round(100 * Math.min(1, sure))}%`);
        }
        return tile;
      });
      tiles.replaceChildren(...made);
      tiles.setAttribute(
        "aria-label",
        `The ${K} clusters: ${own.size} hold a letter that you named; ${made.filter((tile) => tile.textContent).length} have a name.`,
      );
    }

    function draw(total) {
      picture.replaceChildren(curves(total, 230));
    }

    function curves(total, high) {
      const plot = live.chart({
        width: total,
        height: high,
        x: { min: 0, max: asked.n, ticks: [0, 20, 40, 60, 80, 100], label: "letters named" },
        y: { min: 0, max: 1, ticks: [0, 0.2, 0.4, 0.6, 0.8, 1], text: (v) => `${Math.round(100 * v)}` },
        margin: { top: 20, right: 16 },
        label: `Accuracy on the other letters against letters named. ${words()}`,
      });
      const { layer, X, Y, edge } = plot;
      layer.append(
        svg("text", { x: 4, y: 12 }, "% of the others right"),
        svg("line", { class: "live-mark", x1: edge.left, x2: X(asked.n), y1: Y(TARGET), y2: Y(TARGET) }),
      );
      for (const [name, label] of [["network", total < 420 ? "best network" : "best network, labels alone"], ["xgboost", "XGBoost"]]) {
        const points = [];
        for (let n = 7; n <= asked.n; n++) points.push([X(n), Y(baseline(name, n))]);
        layer.append(
          live.path(points, { class: `live-line labeller-${name}` }),
          svg(
            "text",
            { class: `labeller-${name}`, x: X(asked.n), y: points.at(-1)[1] + (name === "network" ? 32 : -8), "text-anchor": "end" },
            label,
          ),
        );
      }
      const mine = course.map((value, i) => [X(labels(i + 1).length), Y(value ?? NaN)]);
      layer.append(live.path([[X(0), Y(0)], ...mine], { class: "live-line labeller-you" }));
      const last = mine.at(-1);
      if (last && Number.isFinite(last[1])) {
        layer.append(svg("circle", { class: "labeller-you", cx: last[0], cy: last[1], r: 5 }));
        const left = last[0] > total - 90;
        layer.append(
          svg(
            "text",
            { class: "labeller-you labeller-bold", x: last[0] + (left ? -8 : 8), y: last[1] - 8, "text-anchor": left ? "end" : "start" },
            `you ${percent(course.at(-1))}`,
          ),
        );
      }
      return plot.root;
    }

    // keys: a letter names, Backspace takes back, arrows walk the buttons
    stage.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const typed = names.indexOf(event.key.toLowerCase());
      const at = keyButtons.indexOf(document.activeElement);
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 13, ArrowUp: -13 }[event.key];
      if (typed >= 0) give(typed);
      else if (event.key === "Backspace" && given.length) undo();
      else if (step && at >= 0) focusKey(Math.min(names.length - 1, Math.max(0, at + step)));
      else return;
      event.preventDefault();
      event.stopPropagation();
    });

    function focusKey(to) {
      keyButtons.forEach((one, i) => (one.tabIndex = i === to ? 0 : -1));
      keyButtons[to].focus();
    }

    const redraw = live.responsive(picture, draw);
    show();
    return {
      accuracyOf: (pairs) => accuracy(model, graphTable(model, pairs)),
      tableOf: (pairs) => graphTable(model, pairs).table.map((row) => [...row]),
      baseline,
      answerFor,
      words,
      truth: [...asked.truth],
      still: (n = 40) => {
        answerFor(n);
        return curves(640, 300).outerHTML;
      },
    };
  }

  live.define("labeller", build);
})();
