// The label page: one picture or one group of pictures at a time.
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const items = data.items; // {row, path, digest, cluster, batch, random, reason, guess, src, view}
  const queue = items.map((_, i) => i).filter((i) => items[i].batch > 0);
  const batches = Math.max(...queue.map((i) => items[i].batch));
  const groups = groupsOf();
  const store = openStore(data, show);
  const byId = (id) => document.getElementById(id);
  const text = byId("text");
  const touch = window.matchMedia("(pointer: coarse)").matches;

  let grouped = false; // whole groups, or one picture after the other
  let current = queue[0]; // an item
  let group = null; // {cluster, members}, instead of the current item
  let oneKey = false;
  let batch = 1; // suggestions up to this batch are shown
  let struck = new Set(); // items of the group on show
  let odd = new Set(), skipped = new Set(), left = new Set(); // struck out before; items; clusters
  let history = []; // [{before: [[row, entry]], current, group, struck, odd}]
  let keys = new Map(); // of labels
  let reminded = 0;

  // ---- what there is to label ----

  function groupsOf() {
    const found = new Map();
    items.forEach((item, i) => {
      if (item.random) return;
      if (!found.has(item.cluster)) found.set(item.cluster, []);
      found.get(item.cluster).push(i);
    });
    for (const [cluster, members] of found) if (members.length < 2) found.delete(cluster);
    return found;
  }

  const rowOf = (i) => items[i].row;
  const done = (i) => store.done(rowOf(i));
  const shown = () => queue.filter((i) => items[i].batch <= batch);
  const nameOf = (i) => items[i].path || "image " + items[i].row;
  // members that are suggested later are part of their group from the start
  const open = (members) => members.filter((i) => !done(i) && !odd.has(i));
  const targets = () => (group ? open(group.members).filter((i) => !struck.has(i)) : [current]);
  const isGroup = (i) => grouped && groups.has(items[i].cluster) && !items[i].random && !odd.has(i);

  // ---- the guess: the commonest label of the group, the labels so far, the groups like it ----

  function commonest(cluster) {
    const found = tally(items.filter((item) => item.cluster === cluster)
      .map((item) => store.label(item.row)).filter(Boolean));
    const best = Math.max(...found.values());
    return Array.from(found.keys()).find((label) => found.get(label) === best);
  }

  function guessOf(i) {
    const item = items[i];
    // A picture drawn at random measures the accuracy: a guess would pull the answer its way.
    if (item.random) return null;
    const own = commonest(item.cluster);
    if (own && !odd.has(i)) return { label: own, why: "the labels in its group" };
    if (item.guess && item.guess !== own) return { label: item.guess, why: "the labels so far" };
    if (odd.has(i)) return null;
    for (const cluster of data.like[item.cluster] || []) {
      const label = commonest(cluster);
      if (label) return { label: label, why: "a group like it" };
    }
    return null;
  }

  // ---- labelling ----

  function put(members, fields) {
    history.push({
      before: members.map((i) => [rowOf(i), store.get(rowOf(i)) || blank(i)]),
      ...place(),
    });
    store.put(members.map((i) => [rowOf(i), { ...blank(i), ...fields }]));
    members.forEach((i) => skipped.delete(i));
  }

  const place = () => ({ current, group, struck: new Set(struck), odd: new Set(odd) });

  function blank(i) {
    const item = items[i];
    return { label: "", flag: "", reason: item.reason, path: item.path, digest: item.digest };
  }

  function accept(label) {
    label = label.trim();
    const guess = guessOf(current);
    if (!label && guess) label = guess.label;
    if (!label) return refuse("Type a label first, or skip.");
    const known = counts();
    const twin = Array.from(known.keys()).find((other) => other !== label && folded(other) === folded(label));
    const odd = known.has(label) ? "" : twin ? " New label; there is also " + twin + "." : " New label.";
    answer({ label: label }, "labelled " + label, odd);
  }

  function answer(fields, how, more) {
    const members = targets();
    if (!members.length) return refuse("All pictures are struck out: nothing to label.");
    put(members, fields);
    const what = group ? count(members.length, "picture") : nameOf(members[0]);
    const most = group && struck.size > members.length; // struck out: it is not they that are odd
    const later = !group || !struck.size ? "" : most ? " What are the others?"
      : " " + struck.size + " struck out: asked later, one by one.";
    say(what + " " + (members.length > 1 ? "are " : "is ") + how + "." + (more || "") + later);
    if (!most) odd = new Set([...odd, ...struck]);
    struck = new Set();
    if (most) show();
    else next();
  }

  function refuse(message) {
    say(message, true);
    if (!group && !touch) text.focus();
  }

  const folded = (label) => label.normalize("NFKC").toLowerCase().replace(/\s+/g, " ");
  const sentence = (words) => words[0].toUpperCase() + words.slice(1) + ".";
  const count = (n, word) => n + " " + word + (n === 1 ? "" : "s");

  function counts() {
    return tally(store.all().map(([, entry]) => entry.label).filter(Boolean));
  }

  function undo() {
    const step = history.pop();
    if (!step) return;
    if (step.before) store.put(step.before);
    if (step.skipped !== undefined) { skipped.delete(step.skipped); left.delete(step.left); }
    ({ current, group, struck, odd } = step);
    grouped = Boolean(group);
    say("Undone.");
    show();
  }

  function skip() {
    history.push({ ...place(), skipped: current, left: group && group.cluster });
    if (group) left.add(group.cluster);
    else skipped.add(current);
    say(group ? "The group is left." : nameOf(current) + " is skipped.");
    next();
  }

  // ---- moving ----

  function waiting(i, again) {
    if (isGroup(i)) {
      const { cluster } = items[i];
      return (again || !left.has(cluster)) && open(groups.get(cluster)).length > 0;
    }
    return !done(i) && (again || !(skipped.has(i) || odd.has(i)));
  }

  function next() {
    const all = shown(), from = all.indexOf(current);
    for (const again of [false, true]) {
      for (let step = 1; step <= all.length; step++) {
        const i = all[(from + step) % all.length];
        if (waiting(i, again) && (again || i !== current)) return go(i);
      }
    }
    show();
  }

  function go(i) {
    current = i;
    struck = new Set();
    group = isGroup(i) ? { cluster: items[i].cluster, members: screenful(items[i].cluster) } : null;
    show();
  }

  function screenful(cluster) {
    const all = groups.get(cluster), waiting = open(all);
    return (waiting.length ? waiting : all).slice(0, 16); // on one screen, of a phone too
  }

  function step(by) {
    const all = shown();
    let at = all.indexOf(current);
    do at += by; while (group && all[at] !== undefined && isGroup(all[at]) && items[all[at]].cluster === group.cluster);
    if (all[at] !== undefined) go(all[at]);
  }

  function setGrouped(on) {
    grouped = on;
    const all = shown(), from = all.indexOf(current);
    const ahead = all.slice(from).concat(all.slice(0, from)).find((i) => isGroup(i) && waiting(i));
    go(on && ahead !== undefined ? ahead : current);
  }

  // ---- what is on the screen ----

  function say(message, bad) {
    byId("status").textContent = message;
    byId("status").classList.toggle("bad", Boolean(bad));
  }

  function show() {
    const all = shown();
    const n = all.filter(done).length;
    keys = keysOf(Array.from(counts().keys()));
    byId("single").hidden = Boolean(group);
    byId("grid").hidden = !group;
    byId("strikes").hidden = !group;
    byId("skip").textContent = group ? "Leave them" : "Skip";
    const alike = open(groups.get(items[current].cluster) || []).filter((i) => i !== current).length;
    byId("together-line").hidden = Boolean(group) || !alike || items[current].random;
    byId("together").textContent = "Label it with " + alike + " like it";
    if (group) showGroup();
    else showOne(all);
    showGuess();
    showChips();
    showAll(all, n);
    byId("count").textContent = n + " of " + all.length;
    byId("progress").max = all.length;
    byId("progress").value = n;
    byId("one").setAttribute("aria-pressed", String(!grouped));
    byId("groups").setAttribute("aria-pressed", String(grouped));
    byId("undo").disabled = !history.length;
    byId("back").disabled = all.indexOf(current) <= 0;
    byId("keys").setAttribute("aria-pressed", String(oneKey));
    byId("help").textContent = oneKey
      ? "One key a label. Enter: the guess; space: skip; ? for all keys."
      : "Type and press Enter; Enter alone takes the guess. Esc: one key a label.";
    showNotices(n === all.length);
    const inGrid = byId("grid").contains(document.activeElement);
    if (oneKey && group) { if (!inGrid) byId("grid").querySelector("button").focus(); }
    else if (oneKey) text.blur();
    else if (!touch && !inGrid) {
      text.focus({ preventScroll: true });
      text.select();
    }
  }

  function showOne(all) {
    const item = items[current];
    byId("image").src = item.src;
    byId("image").alt = nameOf(current);
    byId("view").hidden = !item.view;
    if (item.view) byId("view-image").src = item.view;
    byId("place").textContent = nameOf(current);
    byId("about").textContent = (all.indexOf(current) + 1) + " of " + all.length + ", " + item.reason;
    text.value = store.label(item.row);
    byId("what").textContent = "Label";
  }

  function showGroup() {
    text.value = "";
    byId("what").textContent = "Label of the " + count(targets().length, "picture") + " not struck out";
    byId("strikes-about").textContent = "Strike out what does not belong here. " + sentence(items[current].reason);
    fillGrid(byId("grid"), group.members.map((i) => ({
      id: i, src: items[i].src, name: nameOf(i), label: store.label(rowOf(i)) || store.flag(rowOf(i)),
      struck: struck.has(i) || odd.has(i),
    })));
  }

  function strike(i, only) {
    if (done(i) && !only) { put([i], {}); say(nameOf(i) + " has no label again."); }
    else if (odd.has(i)) { if (!only) odd.delete(i); }
    else if (!done(i) && (only || !struck.delete(i))) struck.add(i);
    show();
  }

  function showGuess() {
    const guess = guessOf(current);
    const given = !group && (store.label(rowOf(current)) || store.flag(rowOf(current)));
    byId("guess").hidden = !guess || Boolean(given);
    byId("no-guess").hidden = group || !items[current].random || Boolean(given);
    if (!guess) return;
    byId("guess-label").textContent = guess.label;
    byId("guess-why").textContent = "guessed from " + guess.why;
  }

  function showChips() {
    const found = counts();
    const mine = group ? "" : store.label(rowOf(current));
    const names = Array.from(found.keys()).sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    fillChips(byId("chips"), names.map((name) => ({
      id: name, count: found.get(name), key: oneKey ? keys.get(name) : "", current: name === mine,
    })));
    for (const flag of ["unsure", "none"]) {
      const on = !group && store.flag(rowOf(current)) === (flag === "none" ? NONE : UNSURE);
      byId(flag).setAttribute("aria-pressed", String(on));
    }
  }

  function showAll(all, n) {
    const more = store.all().filter(([, entry]) => entry.label).length - all.filter((i) => store.label(rowOf(i))).length;
    byId("all-title").textContent = n + " of " + all.length + " labelled" + (more ? ", and " + more + " besides" : "");
    fillAll(byId("all"), all.map((i) => ({
      id: i, src: items[i].src, name: nameOf(i), current: !group && i === current,
      label: store.label(rowOf(i)) || store.flag(rowOf(i)) || (skipped.has(i) ? "skipped" : ""),
    })));
  }

  function showNotices(finished) {
    const unsaved = store.unsaved();
    byId("new").textContent = unsaved ? " (" + unsaved + " new)" : "";
    byId("save").disabled = !store.all().length && !unsaved;
    byId("finished").hidden = !finished;
    byId("more").hidden = batch >= batches;
    const next = queue.filter((i) => items[i].batch === batch + 1).length;
    byId("more").textContent = "Go on with " + next + " more";
    if (!store.kept()) say("This browser keeps nothing: save labels.csv before you close the page.", true);
    else if (unsaved < reminded) reminded = 0;
    else if (unsaved >= reminded + 50) {
      reminded = unsaved;
      say(unsaved + " labels are in no file yet. Save labels.csv now and then.");
    }
  }

  // ---- labels that this browser kept from another page ----

  const before = store.elsewhere();
  byId("before").hidden = !before.length;
  byId("before-count").textContent = count(before.length, "label");
  byId("before-yes").addEventListener("click", () => {
    store.put(before);
    byId("before").hidden = true;
    say(count(before.length, "label") + " taken over.");
    next();
  });
  byId("before-no").addEventListener("click", () => { byId("before").hidden = true; });

  // ---- saving ----

  function save(name, text, type) {
    store.merge();
    download(name, text(store.all()), type);
    say(count(store.all().length, "answer") + " in " + name + ", where your downloads go.");
  }

  byId("save").addEventListener("click", () => {
    save("labels.csv", asCsv, "text/csv");
    store.markSaved();
    show();
  });
  for (const id of ["label-studio", "fiftyone"]) byId(id).hidden = !items.some((item) => item.path);
  byId("label-studio").addEventListener("click", () => save("label-studio.json", asLabelStudio, "application/json"));
  byId("fiftyone").addEventListener("click", () => save("labels.json", asFiftyOne, "application/json"));
  byId("anew").addEventListener("click", () => byId("anew-dialog").showModal());
  byId("anew-dialog").addEventListener("close", (event) => {
    if (event.target.returnValue !== "forget") return;
    store.startAnew();
    history = [];
    odd = new Set();
    skipped = new Set();
    left = new Set();
    batch = 1;
    say("All labels given on this page are forgotten.");
    go(queue[0]);
  });
  document.addEventListener("click", () => { byId("menu").open = false; });
  byId("menu").querySelector("summary").addEventListener("click", (event) => event.stopPropagation());
  window.addEventListener("beforeunload", (event) => {
    if (!store.kept() && store.unsaved()) event.preventDefault();
  });

  // ---- events ----

  const flag = (name) => answer({ flag: name }, "marked “" + name + "”");
  const actions = {
    back: () => step(-1), skip: skip, undo: undo, one: () => setGrouped(false), groups: () => setGrouped(true),
    together: () => setGrouped(true), unsure: () => flag(UNSURE), none: () => flag(NONE),
    guess: () => accept(""), keys: toggleKeys, zoom: () => zoom(items[current]),
    more: () => { batch += 1; say(""); next(); }, "help-button": () => byId("help-dialog").showModal(),
    invert: () => { struck = new Set(open(group.members).filter((i) => !struck.has(i))); show(); },
  };
  for (const [id, action] of Object.entries(actions)) byId(id).addEventListener("click", action);
  byId("form").addEventListener("submit", (event) => { event.preventDefault(); accept(text.value); });
  roving(byId("grid"), (id, only) => strike(Number(id), only));
  byId("grid").addEventListener("contextmenu", (event) => {
    const button = event.target.closest("button");
    if (button) { event.preventDefault(); zoom(items[Number(button.dataset.id)]); }
  });
  roving(byId("chips"), accept);
  roving(byId("all"), (id) => {
    grouped = false;
    go(Number(id));
    byId("single").scrollIntoView({ block: "nearest" });
  });

  function toggleKeys() {
    oneKey = !oneKey;
    show();
  }

  function zoom(item) {
    byId("zoom-image").src = item.src;
    byId("zoom-image").alt = item.path;
    byId("zoom-dialog").showModal();
  }

  document.addEventListener("keydown", (event) => {
    const plain = !(event.ctrlKey || event.metaKey || event.altKey || event.isComposing);
    const focus = document.activeElement;
    const typing = focus === text;
    if (document.querySelector("dialog[open]")) return;
    const act = (action, ...values) => { event.preventDefault(); action(...values); };
    if ((event.ctrlKey || event.metaKey) && event.key === "z" && !(typing && text.value)) return act(undo);
    if (!plain) return;
    if (event.key === "Escape") return act(toggleKeys);
    if (event.key === "Enter" && event.shiftKey) return act(setGrouped, !grouped);
    if (typing && group && event.key === "ArrowDown" && !text.value) {
      return act(() => byId("grid").querySelector("[tabindex='0']").focus());
    }
    if (typing) return;
    const inGrid = byId("grid").contains(focus);
    const onButton = focus && focus.tagName === "BUTTON" && !inGrid;
    if (inGrid && event.key === "+") return act(zoom, items[Number(focus.dataset.id)]);
    if (event.key === "Enter" && !onButton) return act(guessOf(current) ? accept : () => text.focus(), "");
    if (event.key === "?") return act(actions["help-button"]);
    if (event.key === "Backspace") return act(undo);
    if (!oneKey) { if (event.key.length === 1 && event.key !== " ") text.focus(); return; }
    if (event.key === " " && !onButton && !inGrid) return act(skip);
    if (event.key === "ArrowLeft" && !inGrid) return act(step, -1);
    if (event.key === "ArrowRight" && !inGrid) return act(step, 1);
    if (event.key === "/") return act(() => { text.focus(); text.select(); });
    if (event.key === ",") return act(flag, UNSURE);
    if (event.key === ".") return act(flag, NONE);
    for (const [label, key] of keys) if (key === event.key) return act(accept, label);
  });

  if (store.all().length) say("Labels from before are back.");
  while (batch < batches && queue.some((i) => items[i].batch > batch && done(i))) batch += 1;
  go(shown().find((i) => !done(i)) ?? queue[0]);
})();
