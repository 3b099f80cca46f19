"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const items = data.items; // {index, reason, name, src}
  const store = "gmvae-labels-" + data.sha256;
  const byId = function (id) { return document.getElementById(id); };
  const text = byId("text");
  let labels = load(); // {index: {label, reason}}, of all images of this set
  let current = 0;
  let oneKey = false;
  let saved = true; // whether the browser keeps the labels
  let downloaded = true;
  const history = [];
  const skipped = new Set();

  function load() {
    const kept = Object.assign({}, data.known);
    try {
      const found = JSON.parse(localStorage.getItem(store)) || {};
      for (const index of Object.keys(found)) {
        const entry = found[index];
        if (/^\d+$/.test(index) && entry && typeof entry.label === "string") {
          kept[index] = { label: entry.label, reason: String(entry.reason || "") };
        }
      }
    } catch (error) { /* nothing kept, or nothing that can be read */ }
    return kept;
  }

  function keep() {
    downloaded = false;
    try {
      localStorage.setItem(store, JSON.stringify(labels));
      saved = true;
    } catch (error) {
      saved = false;
    }
  }

  function labelOf(i) {
    const entry = labels[items[i].index];
    return entry ? entry.label : "";
  }

  function say(message, bad) {
    byId("status").textContent = message;
    byId("status").classList.toggle("bad", Boolean(bad));
  }

  function set(i, label) {
    history.push({ i: i, before: labelOf(i), skipped: skipped.has(i) });
    put(i, label);
  }

  function put(i, label) {
    const item = items[i];
    skipped.delete(i);
    if (label) labels[item.index] = { label: label, reason: item.reason };
    else delete labels[item.index];
    keep();
  }

  function next(from) {
    // the next image without a label, skipped ones last
    for (const again of [false, true]) {
      for (let step = 1; step <= items.length; step++) {
        const i = (from + step) % items.length;
        if (!labelOf(i) && (again || !skipped.has(i))) return i;
      }
    }
    return Math.min(from + 1, items.length - 1);
  }

  function accept(label) {
    label = label.trim();
    if (!label) { say("Type a label first, or skip this image.", true); text.focus(); return; }
    const i = current;
    set(i, label);
    say("Image " + items[i].index + " is labelled " + label + ".");
    current = next(i);
    show();
  }

  function counts() {
    const found = new Map();
    for (const index of Object.keys(labels)) {
      const label = labels[index].label;
      found.set(label, (found.get(label) || 0) + 1);
    }
    return found;
  }

  // A key for each label: its own character, else a letter of it, else a digit, else a letter.
  function keysOf(names) {
    const key = new Map();
    const taken = new Set();
    const give = function (name, candidates) {
      for (const candidate of candidates) {
        if (!taken.has(candidate)) { taken.add(candidate); key.set(name, candidate); return; }
      }
    };
    const single = names.filter(function (name) { return Array.from(name).length === 1; });
    for (const name of single) give(name, [name]);
    for (const name of names) {
      if (!key.has(name)) {
        const own = Array.from(name.toLowerCase()).filter(function (c) { return /[a-z0-9]/.test(c); });
        give(name, own.concat(Array.from("1234567890abcdefghijklmnopqrstuvwxyz")));
      }
    }
    return key;
  }

  function chips() {
    const found = counts();
    const names = Array.from(found.keys()).sort(function (a, b) {
      return a.localeCompare(b, undefined, { numeric: true });
    });
    const keys = keysOf(names);
    const box = byId("chips");
    box.replaceChildren();
    for (const name of names) {
      const chip = document.createElement("button");
      chip.type = "button";
      if (oneKey && keys.has(name)) {
        const key = document.createElement("kbd");
        key.textContent = keys.get(name);
        chip.append(key);
      }
      const word = document.createElement("span");
      word.textContent = name;
      const count = document.createElement("span");
      count.className = "count";
      count.textContent = found.get(name);
      chip.append(word, count);
      chip.setAttribute("aria-label", "Label it " + name + ", used " + found.get(name) + " times");
      if (labelOf(current) === name) chip.setAttribute("aria-current", "true");
      chip.addEventListener("click", function () { accept(name); });
      box.append(chip);
    }
    return keys;
  }

  let keys = new Map();

  function show() {
    const item = items[current];
    const n = items.filter(function (_, i) { return labelOf(i); }).length;
    const elsewhere = Object.keys(labels).length - n;
    byId("image").src = item.src;
    byId("image").alt = "Image " + item.index + (item.name ? ", " + item.name : "");
    byId("place").textContent = (current + 1) + " of " + items.length;
    byId("about").textContent = "image " + item.index + (item.name ? " (" + item.name + ")" : "") + "; " + item.reason;
    text.value = labelOf(current);
    byId("progress").value = n;
    byId("all-title").textContent = n + " of " + items.length + " labelled" +
      (elsewhere ? ", and " + elsewhere + " before" : "");
    byId("save").disabled = !Object.keys(labels).length;
    byId("undo").disabled = !history.length;
    byId("back").disabled = current === 0;
    keys = chips();
    Array.from(byId("all").children).forEach(function (cell, i) {
      const button = cell.firstChild;
      const label = labelOf(i);
      button.lastChild.textContent = label || (skipped.has(i) ? "skipped" : "");
      button.classList.toggle("labelled", Boolean(label));
      button.setAttribute("aria-label", "Image " + items[i].index + ", " + (label ? "labelled " + label : "no label"));
      if (i === current) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    });
    if (!saved) say("This browser keeps nothing: save labels.csv before you close the page.", true);
    else if (n === items.length) say("All are labelled. Save labels.csv.");
    byId("help").textContent = oneKey
      ? "Press the key on a label; space skips, backspace undoes, Enter types a new label, Esc ends this mode."
      : "Type and press Enter, or click a label used before. Esc: one key a label.";
    if (oneKey) { if (document.activeElement === text) text.blur(); }
    else { text.focus({ preventScroll: true }); text.select(); }
  }

  function go(i) {
    current = Math.max(0, Math.min(items.length - 1, i));
    show();
  }

  function skip() {
    if (!labelOf(current)) {
      history.push({ i: current, before: "", skipped: skipped.has(current) });
      skipped.add(current);
    }
    say("Image " + items[current].index + " is skipped.");
    current = next(current);
    show();
  }

  function undo() {
    const last = history.pop();
    if (!last) return;
    put(last.i, last.before);
    if (last.skipped) skipped.add(last.i);
    current = last.i;
    say("Undone: image " + items[last.i].index + (last.before ? " is " + last.before + " again." : " has no label again."));
    show();
  }

  function toggleKeys() {
    oneKey = !oneKey;
    byId("keys").setAttribute("aria-pressed", String(oneKey));
    show();
  }

  // RFC 4180; a label that a spreadsheet would run as a formula gets an apostrophe, which
  // gmvae_lib takes off again (labels.py).
  function field(value) {
    return /[",\r\n]/.test(value) ? '"' + value.replaceAll('"', '""') + '"' : value;
  }

  function guard(label) {
    const bare = label.replace(/^'+/, "");
    const risky = /^[=@\t\r]./s.test(bare) || (/^[+-]/.test(bare) && !/^[+-][0-9.]*$/.test(bare));
    return risky ? "'" + label : label;
  }

  function csv() {
    const lines = ["index,label,reason"];
    const all = Object.keys(labels).map(Number).sort(function (a, b) { return a - b; });
    for (const index of all) {
      lines.push(index + "," + field(guard(labels[index].label)) + "," + field(labels[index].reason));
    }
    return lines.join("\r\n") + "\r\n";
  }

  byId("form").addEventListener("submit", function (event) { event.preventDefault(); accept(text.value); });
  byId("back").addEventListener("click", function () { go(current - 1); });
  byId("skip").addEventListener("click", skip);
  byId("undo").addEventListener("click", undo);
  byId("keys").addEventListener("click", toggleKeys);
  byId("save").addEventListener("click", function () {
    const link = document.createElement("a");
    const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv;charset=utf-8" }));
    link.href = url;
    link.download = "labels.csv";
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(function () { URL.revokeObjectURL(url); }, 1000);
    downloaded = true;
    say(Object.keys(labels).length + " labels are in labels.csv, where your downloads go.");
  });
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape") { event.preventDefault(); toggleKeys(); return; }
    if (document.activeElement === text) return;
    if (!oneKey) return;
    const onButton = document.activeElement && document.activeElement.tagName === "BUTTON";
    if (event.key === "Enter" && !onButton) { event.preventDefault(); text.focus(); text.select(); return; }
    if (event.key === " " && !onButton) { event.preventDefault(); skip(); return; }
    if (event.key === "Backspace") { event.preventDefault(); undo(); return; }
    if (event.key === "ArrowLeft") { go(current - 1); return; }
    if (event.key === "ArrowRight") { go(current + 1); return; }
    for (const entry of keys) {
      if (entry[1] === event.key) { event.preventDefault(); accept(entry[0]); return; }
    }
  });
  window.addEventListener("beforeunload", function (event) {
    if (!saved && !downloaded) event.preventDefault();
  });

  items.forEach(function (item, i) {
    const cell = document.createElement("li");
    const button = document.createElement("button");
    const image = document.createElement("img");
    image.src = item.src;
    image.alt = "";
    image.className = byId("image").className;
    button.type = "button";
    button.append(image, document.createElement("span"));
    button.addEventListener("click", function () { go(i); byId("image").scrollIntoView({ block: "nearest" }); });
    cell.append(button);
    byId("all").append(cell);
  });
  current = items.findIndex(function (_, i) { return !labelOf(i); });
  if (current < 0) current = 0;
  if (Object.keys(labels).length) say("Labels from before are back.");
  show();
})();
