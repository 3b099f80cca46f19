/* The playground: draws, runs q(c|x), the two rules of the article and the book's own, shows how they decide.
 *
 * A plain script, since modules and fetch() do not work on a page opened from a file. It needs
 * figures/common.js, and its data, playground-data.js, which gmvae_lib/study/playground.py writes when
 * the book is built. Three parts: the model, from strokes to verdicts (pure functions); the view; the
 * events.
 */
(() => {
  "use strict";

  // ---------------------------------------------------------------- the model

  const { unpack, argmax, plural } = live; // figures/common.js

  /** Weights as float32, rows multiplied by their scale where they were stored as integers. */
  function unpackWeights(packed) {
    const values = unpack(packed);
    if (!packed.scale) return values;
    const scale = unpack(packed.scale);
    const width = values.length / scale.length;
    return Float32Array.from(values, (value, i) => value * scale[Math.floor(i / width)]);
  }

  /** The rows [start, start + n) of an array whose rows have `width` entries. */
  const rows = (array, width, start, n = 1) => array.subarray(start * width, (start + n) * width);

  /** Indices of the n largest values above zero, largest first. */
  function largest(values, n) {
    const order = Array.from(values.keys()).filter((i) => values[i] > 0);
    return order.sort((i, j) => values[j] - values[i]).slice(0, n);
  }

  /** One dense layer: weight [outputs, x.length] times x plus bias, then ReLU if asked for. */
  function dense({ weight, bias, relu }, x, output) {
    const n = x.length;
    for (let row = 0; row < bias.length; row++) {
      let sum = bias[row];
      const start = row * n;
      for (let i = 0; i < n; i++) sum += weight[start + i] * x[i];
      output[row] = relu && sum < 0 ? 0 : sum;
    }
    return output;
  }

  /** Copy the k x k pixels around a point, of every channel; outside the image they are zero. */
  function gather({ data, channels, height, width }, centreY, centreX, k, patch) {
    const top = centreY - (k >> 1);
    const left = centreX - (k >> 1);
    let i = 0;
    for (let channel = 0; channel < channels; channel++)
      for (let y = top; y < top + k; y++)
        for (let x = left; x < left + k; x++)
          patch[i++] =
            y < 0 || y >= height || x < 0 || x >= width ? 0 : data[(channel * height + y) * width + x];
  }

  /** A convolution is a dense layer, applied to the patch around every stride-th pixel. */
  function convolve(layer, image) {
    const { stride, size: k, bias } = layer;
    const height = Math.floor((image.height - 1) / stride) + 1;
    const width = Math.floor((image.width - 1) / stride) + 1;
    const data = new Float32Array(bias.length * height * width);
    const patch = new Float32Array(image.channels * k * k);
    const output = new Float32Array(bias.length);
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        gather(image, y * stride, x * stride, k, patch);
        dense(layer, patch, output);
        for (let channel = 0; channel < bias.length; channel++)
          data[(channel * height + y) * width + x] = output[channel];
      }
    return { data, channels: bias.length, height, width };
  }

  function softmax(logits) {
    const top = Math.max(...logits);
    const weights = Float64Array.from(logits, (logit) => Math.exp(logit - top));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return weights.map((weight) => weight / sum);
  }

  /** q(c|x) of pixels in [0, 1], in the order of the image's rows: Float64Array [K]. */
  function posterior(model, pixels) {
    const [height, width] = model.imageShape;
    let image = { data: Float32Array.from(pixels), channels: 1, height, width };
    for (const layer of model.layers)
      image =
        layer.kind === "conv"
          ? convolve(layer, image)
          : { data: dense(layer, image.data, new Float32Array(layer.bias.length)) };
    return softmax(image.data);
  }

  /** Votes of a component: [[letter, labels], ...], most first. */
  function votesOf(draw, component, nClasses) {
    const votes = new Array(nClasses);
    for (let letter = 0; letter < nClasses; letter++)
      votes[letter] = draw.votes[letter * draw.K + component];
    return largest(votes, nClasses).map((letter) => [letter, votes[letter]]);
  }

  /** Hard rule with its fallback: the commonest label of the likeliest component that has one. */
  function hardVerdict(q, draw, nClasses) {
    const passedOver = [];
    for (const component of largest(q, q.length)) {
      const votes = votesOf(draw, component, nClasses);
      if (votes.length) return { component, votes, letter: votes[0][0], passedOver };
      passedOver.push(component);
    }
    return { component: null, votes: [], letter: argmax(draw.classCount), passedOver };
  }

  /** Soft rule: the letter whose mean posterior m(l) has the largest inner product with q. */
  function softVerdict(q, draw, nClasses) {
    const similarity = new Float64Array(nClasses);
    for (let letter = 0; letter < nClasses; letter++) {
      const mean = rows(draw.mean, draw.K, letter);
      for (let c = 0; c < draw.K; c++) similarity[letter] += mean[c] * q[c];
    }
    const none = similarity.every((value) => value === 0);
    return { letter: argmax(none ? draw.classCount : similarity), similarity };
  }

  /** Graph rule: the letter with the largest sum over the clusters of q(c|x) p(l|c). */
  function graphVerdict(q, draw, nClasses) {
    const share = new Float64Array(nClasses);
    for (let letter = 0; letter < nClasses; letter++) {
      const given = rows(draw.graph, draw.K, letter);
      for (let c = 0; c < draw.K; c++) share[letter] += given[c] * q[c];
    }
    return { letter: argmax(share), share };
  }

  /** The components through which a letter's similarity comes: [[component, m(l)_c q_c], ...]. */
  function partsOfSimilarity(q, draw, letter, n) {
    const parts = rows(draw.mean, draw.K, letter).map((mean, c) => mean * q[c]);
    return largest(parts, n).map((c) => [c, parts[c]]);
  }

  /** The model and the draws of labels, from what the script file holds. */
  function readModel(packed) {
    const K = packed.samples.shape[0];
    return {
      K,
      imageShape: packed.image_shape,
      pen: packed.pen,
      nImages: packed.n_images,
      classNames: packed.class_names,
      contents: packed.contents,
      samples: unpack(packed.samples),
      nSamples: packed.samples.shape[1],
      layers: packed.layers.map((layer) => ({
        kind: layer.kind,
        stride: layer.stride,
        relu: layer.relu,
        size: layer.weight.shape[2],
        weight: unpackWeights(layer.weight),
        bias: unpack(layer.bias),
      })),
      draws: packed.draws.map((draw) => ({
        K,
        nLabels: draw.n_labels,
        classCount: draw.class_count,
        votes: unpack(draw.votes),
        mean: unpack(draw.mean),
        graph: unpackWeights(draw.graph),
        accuracy: draw.accuracy,
      })),
    };
  }

  // ------------------------------------------------------- from strokes to an image

  function squaredDistance(x, y, [ax, ay], [bx, by]) {
    const dx = bx - ax;
    const dy = by - ay;
    const along = dx || dy ? ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy) : 0;
    const t = Math.min(1, Math.max(0, along));
    return (x - ax - t * dx) ** 2 + (y - ay - t * dy) ** 2;
  }

  /** How far the ink reaches beyond the middle of a stroke, and where EMNIST's boxes end (10 %). */
  const reach = ({ width, edge }) => width / 2 + 0.3 * edge;

  /** Centre strokes and scale their longest side to the pen's; a dot stays a dot. */
  function fitStrokes(strokes, { side, ...pen }, [height, width]) {
    const points = strokes.flat();
    const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const longest = Math.max(right - left, bottom - top);
    const scale = longest > 0 ? (side - 2 * reach(pen)) / longest : 1;
    return strokes.map((stroke) =>
      stroke.map(([x, y]) => [
        (x - (left + right) / 2) * scale + width / 2,
        (y - (top + bottom) / 2) * scale + height / 2,
      ]),
    );
  }

  /** Strokes, lists of [x, y] in any unit, as an image like EMNIST's: Float32Array in [0, 1].
   *
   * The ink of a pixel is a function of its distance to the nearest stroke, so strokes have the
   * same width however large the letter was drawn, and no canvas is read back (some browsers blur
   * what is read, against fingerprinting).
   */
  function inkOf(strokes, pen, shape) {
    const [height, width] = shape;
    const pixels = new Float32Array(height * width);
    const fitted = fitStrokes(strokes, pen, shape);
    for (let i = 0; i < pixels.length; i++) {
      const x = (i % width) + 0.5;
      const y = Math.floor(i / width) + 0.5;
      let nearest = Infinity;
      for (const stroke of fitted)
        for (let j = 0; j < stroke.length; j++)
          nearest = Math.min(nearest, squaredDistance(x, y, stroke[Math.max(0, j - 1)], stroke[j]));
      const rise = Math.min(1, Math.max(0, (pen.width / 2 - Math.sqrt(nearest)) / pen.edge + 0.5));
      pixels[i] = rise * rise * (3 - 2 * rise);
    }
    return pixels;
  }

  // ----------------------------------------------------------------- the view

  const BARS = 5; // components and letters shown
  const percent = (share) =>
    share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;

  /** element("p", {className: "x"}, child, ...): children are nodes or text. */
  function element(tag, properties = {}, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  }

  /** A canvas with images side by side, ink on white as in the book's figures. */
  function picture(images, [height, width], label) {
    const canvas = element("canvas", { width: width * images.length, height });
    if (label) {
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", label);
    } else canvas.setAttribute("aria-hidden", "true");
    const context = canvas.getContext("2d");
    images.forEach((pixels, i) => {
      const bits = context.createImageData(width, height);
      pixels.forEach((value, j) => bits.data.set([255 - value, 255 - value, 255 - value, 255], 4 * j));
      context.putImageData(bits, i * width, 0);
    });
    return canvas;
  }

  const asBytes = (pixels) => Uint8ClampedArray.from(pixels, (value) => Math.round(255 * value));

  function castOf(votes, names) {
    return votes.map(([letter, n]) => `${names[letter]}\u00a0×${n.toLocaleString("en")}`).join(", ");
  }

  function shortCast(votes, names) {
    const shown = castOf(votes.slice(0, 3), names);
    return votes.length > 3 ? `${shown}, …` : shown;
  }

  /** Blue: the component votes for the soft verdict; red: for the hard one, if that differs. */
  function sideOf(letter, hard, soft) {
    if (letter === soft) return "soft";
    return letter === hard ? "hard" : "other";
  }

  function componentRow(model, draw, q, component, verdicts) {
    const names = model.classNames;
    const votes = votesOf(draw, component, names.length);
    const side = votes.length ? sideOf(votes[0][0], verdicts.hard.letter, verdicts.soft.letter) : "other";
    const bar = element("span", { className: `playground-bar playground-${side}` });
    bar.style.width = `${100 * q[component]}%`;
    const n = model.nSamples;
    const size = model.imageShape[0] * model.imageShape[1];
    const images = Array.from({ length: n }, (_, i) => rows(model.samples, size, component * n + i));
    return element(
      "li",
      {},
      element("span", { className: "playground-name" }, `c = ${component}`),
      element("span", { className: "playground-track" }, bar),
      element("span", { className: "playground-value" }, percent(q[component])),
      picture(images, model.imageShape, `${n} samples of cluster ${component}`),
      element(
        "span",
        { className: "playground-votes" },
        votes.length
          ? element("strong", {}, `votes ${names[votes[0][0]]}`)
          : element("strong", { className: "playground-no-vote" }, "no label, no vote"),
        votes.length ? ` (${shortCast(votes, names)})` : "",
        element("br"),
        element("small", {}, `holds ${model.contents[component]}`),
      ),
    );
  }

  function letterRow(model, draw, q, letter, verdicts) {
    const { similarity } = verdicts.soft;
    const total = similarity.reduce((sum, value) => sum + value, 0);
    const share = (value) => percent(value / total);
    const bar = element("span", {
      className: `playground-bar playground-${sideOf(letter, verdicts.hard.letter, verdicts.soft.letter)}`,
    });
    bar.style.width = `${(100 * similarity[letter]) / Math.max(...similarity)}%`;
    const counts = ([, part]) => part >= 0.02 * similarity[letter];
    const parts = partsOfSimilarity(q, draw, letter, 2).filter(counts);
    const others = ["others", similarity[letter] - parts.reduce((sum, [, part]) => sum + part, 0)];
    const terms = parts.map(([c, part]) => [`c = ${c}`, part]).concat([others].filter(counts));
    return element(
      "li",
      {},
      element("span", { className: "playground-name" }, model.classNames[letter]),
      element("span", { className: "playground-track" }, bar),
      element("span", { className: "playground-value" }, share(similarity[letter])),
      element(
        "small",
        { className: "playground-sum" },
        `= ${terms.map(([name, part]) => `${share(part)} (${name})`).join(" + ")}`,
      ),
    );
  }

  function hardReason(model, q, { component, votes, letter, passedOver }) {
    const names = model.classNames;
    if (component === null) return `No cluster has a label, so hard says ${names[letter]}.`;
    const votesText = `${castOf(votes, names)}, so hard says ${names[letter]}.`;
    if (!passedOver.length)
      return `The likeliest cluster is ${component} (${percent(q[component])}). Its labelled images: ${votesText}`;
    const skipped = passedOver.length === 1 ? "" : ` Nor have the next ${passedOver.length - 1}.`;
    return (
      `The likeliest cluster, ${passedOver[0]} (${percent(q[passedOver[0]])}), has no label.${skipped} ` +
      `The likeliest one that has labels is ${component} (${percent(q[component])}): ${votesText}`
    );
  }

  function unlabelled(draw, nClasses) {
    let count = 0;
    for (let c = 0; c < draw.K; c++) count += votesOf(draw, c, nClasses).length === 0;
    return count;
  }

  // --------------------------------------------------------------- the events

  const RULES = ["hard", "soft", "graph"];
  const SAY_AFTER = 600; // ms of rest before the verdict is read out, lest every stroke is

  function start(root) {
    const part = (name) => root.querySelector(`[data-part="${name}"]`);
    const canvas = part("canvas");
    const slider = part("slider");
    const state = { strokes: [], picked: null, what: "" };
    let model = null;
    let saying = 0;
    let waiting = false;

    const draw = () => model.draws[slider.value];

    function decide(q, labels = draw()) {
      const n = model.classNames.length;
      return {
        hard: hardVerdict(q, labels, n),
        soft: softVerdict(q, labels, n),
        graph: graphVerdict(q, labels, n),
      };
    }

    function say(text) {
      clearTimeout(saying);
      saying = setTimeout(() => (part("status").textContent = text), SAY_AFTER);
    }

    function showLabels() {
      const { nLabels, accuracy } = draw();
      for (const [rule, value] of Object.entries(accuracy))
        part(`${rule}-accuracy`).textContent = `${percent(value)} right`;
      const lost = unlabelled(draw(), model.classNames.length);
      part("labels").textContent = plural(nLabels, "label");
      part("share").textContent =
        `${Number(((100 * nLabels) / model.nImages).toPrecision(2))} % of the images; ` +
        (lost ? `${lost} of ${model.K} clusters have none` : "every cluster has one");
      slider.setAttribute("aria-valuetext", plural(nLabels, "label"));
    }

    function showNothing() {
      part("results").hidden = true;
      for (const rule of RULES) part(rule).textContent = "–";
      part("hint").hidden = false;
      part("seen").replaceChildren();
      say("");
    }

    function show() {
      showLabels();
      if (!state.strokes.length && !state.picked) return showNothing();
      const began = performance.now();
      const pixels = state.picked ?? inkOf(state.strokes, model.pen, model.imageShape);
      const q = posterior(model, pixels);
      const verdicts = decide(q);
      const milliseconds = Math.max(1, Math.round(performance.now() - began));
      const names = model.classNames;
      part("results").hidden = false;
      part("hint").hidden = true;
      for (const rule of RULES) part(rule).textContent = names[verdicts[rule].letter];
      part("hard-reason").textContent = hardReason(model, q, verdicts.hard);
      part("clusters").replaceChildren(
        ...largest(q, BARS).map((c) => componentRow(model, draw(), q, c, verdicts)),
      );
      const { similarity } = verdicts.soft;
      const letters = largest(similarity, BARS).filter(
        (letter) => similarity[letter] >= 0.05 * similarity[verdicts.soft.letter],
      );
      part("similarities").replaceChildren(
        ...letters.map((letter) => letterRow(model, draw(), q, letter, verdicts)),
      );
      part("seen").replaceChildren(
        picture([asBytes(pixels)], model.imageShape, "The image as the encoder reads it"),
      );
      say(
        `${state.what}: with ${plural(draw().nLabels, "label")}, hard says ` +
          `${names[verdicts.hard.letter]}, soft ${names[verdicts.soft.letter]}, graph ${names[verdicts.graph.letter]} ` +
          `(answered in ${milliseconds} ms).`,
      );
    }

    function showSoon() {
      if (waiting || !model) return; // a frame is enough, however fast the pen moves
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        show();
      });
    }

    function pick(bytes, what) {
      state.strokes = [];
      state.picked = Float32Array.from(bytes, (value) => value / 255);
      state.what = what;
      const context = canvas.getContext("2d");
      context.drawImage(picture([bytes], model.imageShape), 0, 0, canvas.width, canvas.height);
      showSoon();
    }

    function clear() {
      state.strokes = [];
      state.picked = null;
      canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
      showSoon();
    }

    /** Take the last stroke back, or what was picked. */
    function undo() {
      if (state.strokes.length < 2) return clear();
      state.strokes.pop();
      canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
      for (const stroke of state.strokes)
        stroke.forEach((point, i) => line(stroke[Math.max(0, i - 1)], point));
      showSoon();
    }

    function pointOf(event) {
      const box = canvas.getBoundingClientRect();
      const scale = canvas.width / box.width;
      return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    }

    function line(from, to) {
      const context = canvas.getContext("2d");
      context.lineWidth = canvas.width / 15;
      context.lineCap = context.lineJoin = "round";
      context.strokeStyle = "#000";
      context.beginPath();
      context.moveTo(...from);
      context.lineTo(...to);
      context.stroke();
    }

    function extend(points) {
      const stroke = state.strokes.at(-1);
      for (const point of points) {
        line(stroke.at(-1) ?? point, point);
        stroke.push(point);
      }
      state.what = "Your letter";
      showSoon();
    }

    function listenToPen() {
      canvas.addEventListener("pointerdown", (event) => {
        if (event.button !== 0 || !event.isPrimary) return;
        event.preventDefault();
        canvas.setPointerCapture(event.pointerId);
        if (!state.strokes.length) clear(); // what was picked makes room for a new drawing
        state.strokes.push([]);
        extend([pointOf(event)]);
      });
      canvas.addEventListener("pointermove", (event) => {
        if (!canvas.hasPointerCapture(event.pointerId)) return;
        const events = event.getCoalescedEvents?.() ?? [];
        extend((events.length ? events : [event]).map(pointOf));
      });
    }

    function fillGallery(packed) {
      const size = model.imageShape[0] * model.imageShape[1];
      const button = (bytes, what) => {
        const node = element("button", { type: "button", title: what }, picture([bytes], model.imageShape));
        node.setAttribute("aria-label", what);
        node.addEventListener("click", () => {
          pick(bytes, what);
          canvas.scrollIntoView({ block: "nearest" }); // on a phone the gallery is far below
        });
        return node;
      };
      const letters = unpack(packed.letters.images);
      part("letters").replaceChildren(
        ...packed.letters.names.map((name, i) =>
          button(rows(letters, size, i), `The letter ${name} from a font`),
        ),
      );
      part("hesitant").replaceChildren(
        ...packed.hesitant.map(([c, i]) =>
          button(rows(model.samples, size, c * model.nSamples + i), `A sample of cluster ${c}`),
        ),
      );
    }

    /** A gallery is one stop of the Tab key; arrows, Home and End walk through it. */
    function walkByArrows(gallery) {
      const buttons = [...gallery.children];
      buttons.forEach((node, i) => (node.tabIndex = i ? -1 : 0));
      gallery.addEventListener("keydown", (event) => {
        const at = buttons.indexOf(document.activeElement);
        const columns = getComputedStyle(gallery).gridTemplateColumns.split(" ").length;
        const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
        const ends = { Home: 0, End: buttons.length - 1 };
        if (at < 0 || !(step || event.key in ends)) return;
        event.preventDefault();
        event.stopPropagation();
        const to = step ? Math.min(buttons.length - 1, Math.max(0, at + step)) : ends[event.key];
        buttons.forEach((node, i) => (node.tabIndex = i === to ? 0 : -1));
        buttons[to].focus();
      });
    }

    function offerExample(example) {
      if (!example) return;
      const bytes = unpack(example.image);
      const showExample = () => {
        slider.value = model.draws.findIndex((draw) => draw.nLabels === example.n_labels);
        pick(bytes, `The letter of the article’s Figure 2, which is ${example.truth}`);
      };
      part("example").addEventListener("click", showExample);
      part("example").hidden = false;
      showExample();
    }

    function begin() {
      const packed = window.playgroundData;
      model = readModel(packed);
      posterior(model, new Float32Array(model.imageShape[0] * model.imageShape[1])); // compiles the loops
      slider.max = model.draws.length - 1;
      part("fewest").textContent = model.draws[0].nLabels.toLocaleString("en");
      part("most").textContent = model.draws.at(-1).nLabels.toLocaleString("en");
      slider.value = Math.max(0, model.draws.findIndex((draw) => draw.nLabels === 73));
      fillGallery(packed);
      listenToPen();
      slider.addEventListener("input", showSoon);
      part("clear").addEventListener("click", clear);
      part("undo").addEventListener("click", undo);
      for (const name of ["letters", "hesitant"]) walkByArrows(part(name));
      for (const control of root.querySelectorAll("[disabled]")) control.disabled = false;
      root.dataset.state = "ready";
      show();
      offerExample(packed.example);
      // for the tests, and for the curious in the console
      window.playground = {
        posterior: (pixels) => Array.from(posterior(model, pixels)),
        verdicts(pixels, nLabels) {
          const labels = model.draws.find((draw) => draw.nLabels === nLabels);
          const found = decide(posterior(model, pixels), labels);
          return Object.fromEntries(RULES.map((rule) => [rule, model.classNames[found[rule].letter]]));
        },
        inkOf: (strokes) => Array.from(inkOf(strokes, model.pen, model.imageShape)),
        labelCounts: model.draws.map((draw) => draw.nLabels),
      };
    }

    function load() {
      const script = element("script", { src: root.dataset.source });
      script.addEventListener("load", begin);
      script.addEventListener("error", () => {
        root.dataset.state = "failed";
        part("status").textContent = `${root.dataset.source} could not be loaded: is the page whole?`;
      });
      document.head.append(script);
    }

    // the page shows first, then megabytes of weights are read
    requestAnimationFrame(() => setTimeout(load));
  }

  const root = document.getElementById("playground");
  if (root) start(root);
})();
