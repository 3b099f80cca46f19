// Corrections on the report: pictures with a field for their label, and labels.csv with all of them.
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const items = new Map(data.items.map((item) => [item.row, item]));
  const store = openStore(data, show);
  const byId = (id) => document.getElementById(id);
  const places = []; // {row, buttons, input, node}

  function label(row, text) {
    const item = items.get(row), known = data.known.find((entry) => entry.row === row);
    const before = known ? known.reason : item.reason;
    store.put([[row, { path: item.path, digest: item.digest, reason: before, flag: "", label: text.trim() }]]);
    show();
  }

  function show() {
    for (const { row, buttons, input, node } of places) {
      const now = store.label(row), entry = store.get(row);
      input.value = now;
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.value === now));
      node.classList.toggle("changed", Boolean(entry && entry.at));
    }
    const changed = store.changed();
    byId("changes").hidden = !changed;
    byId("changes-count").textContent = changed + (changed === 1 ? " label" : " labels");
    const names = new Set(data.classes.concat(store.all().map(([, entry]) => entry.label)));
    byId("labels").replaceChildren(...Array.from(names).sort().map((name) => new Option(name, name)));
  }

  for (const node of document.querySelectorAll("li[data-row]")) {
    const row = Number(node.dataset.row), item = items.get(row);
    const box = document.createElement("div");
    const input = document.createElement("input");
    box.className = "choices";
    input.setAttribute("list", "labels");
    input.setAttribute("aria-label", "Label of " + (item.path || "image " + row));
    input.placeholder = "label";
    input.maxLength = 200;
    input.addEventListener("change", () => label(row, input.value));
    const buttons = item.options.map(([option, share]) => {
      const button = document.createElement("button");
      const small = document.createElement("small");
      small.textContent = " " + share;
      button.type = "button";
      button.value = option;
      button.append(option, small);
      button.addEventListener("click", () => label(row, option));
      return button;
    });
    for (const opinion of node.querySelectorAll(".opinion")) opinion.remove(); // the buttons say it
    box.append(...buttons, input);
    node.append(box);
    places.push({ row, buttons, input, node });
  }

  byId("save").addEventListener("click", () => {
    store.merge();
    download("labels.csv", asCsv(store.all()), "text/csv");
    store.markSaved();
  });
  byId("forget").addEventListener("click", () => { store.startAnew(); show(); });
  show();
})();
