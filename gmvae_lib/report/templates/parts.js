// Lists of buttons on the label page.

// Show one button for each of `cells`, {id, ...}; buttons stay where their id does.
function fill(list, cells, make, update) {
  const before = list.buttons || new Map();
  list.buttons = new Map();
  const nodes = cells.map((cell) => {
    const node = before.get(cell.id) || make(cell);
    list.buttons.set(cell.id, node);
    update(node.querySelector("button") || node, cell);
    return node;
  });
  const same = nodes.length === list.children.length && nodes.every((node, k) => node === list.children[k]);
  if (!same) list.replaceChildren(...nodes);
  oneTabStop(list);
}

function pictureButton(cell) {
  const node = document.createElement("li");
  const button = document.createElement("button");
  const image = document.createElement("img");
  image.src = cell.src;
  image.alt = "";
  button.type = "button";
  button.dataset.id = cell.id;
  button.title = cell.name;
  button.append(image, document.createElement("span"));
  node.append(button);
  return node;
}

// The pictures of a group: struck out (pressed), labelled, or open.
function fillGrid(list, cells) {
  fill(list, cells, pictureButton, (button, cell) => {
    button.lastChild.textContent = cell.label || (cell.struck ? "struck out" : "");
    button.classList.toggle("labelled", Boolean(cell.label));
    button.setAttribute("aria-pressed", String(cell.struck));
    button.setAttribute("aria-label", cell.name + (cell.label ? ", labelled " + cell.label : ""));
  });
}

// All pictures of the batches so far, with their labels.
function fillAll(list, cells) {
  fill(list, cells, pictureButton, (button, cell) => {
    button.lastChild.textContent = cell.label;
    button.classList.toggle("labelled", Boolean(cell.label));
    button.setAttribute("aria-label", cell.name + ", " + (cell.label || "no label"));
    if (cell.current) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
}

// The labels used so far: {id, key, count, current}.
function fillChips(list, cells) {
  const make = (cell) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.id = cell.id;
    for (const name of ["kbd", "span", "small"]) button.append(document.createElement(name));
    return button;
  };
  fill(list, cells, make, (button, cell) => {
    const [key, word, count] = button.children;
    key.hidden = !cell.key;
    key.textContent = cell.key;
    word.textContent = cell.id;
    count.textContent = cell.count;
    button.setAttribute("aria-label", "Label it " + cell.id + ", used " + cell.count + " times");
    if (cell.current) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
}

function oneTabStop(list, button) {
  const all = Array.from(list.querySelectorAll("button"));
  const stop = button || all.find((other) => other.tabIndex === 0) || all[0];
  for (const other of all) other.tabIndex = other === stop ? 0 : -1;
}

// Arrow keys move among the buttons of a list, which is one stop of the Tab key; a click calls
// action(id), and with the shift key action(id, true) for all from the last one clicked.
function roving(list, action) {
  let last = null;
  list.addEventListener("focusin", (event) => oneTabStop(list, event.target.closest("button")));
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const all = Array.from(list.querySelectorAll("button"));
    const [from, to] = [all.indexOf(last), all.indexOf(button)];
    last = button;
    if (!event.shiftKey || from < 0 || from === to) return action(button.dataset.id);
    const ids = all.slice(Math.min(from, to), Math.max(from, to) + 1).map((other) => other.dataset.id);
    for (const id of ids) action(id, true);
  });
  list.addEventListener("keydown", (event) => {
    const all = Array.from(list.querySelectorAll("button"));
    const at = all.indexOf(document.activeElement);
    const columns = all.filter((button) => button.offsetTop === all[0].offsetTop).length;
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -at, End: all.length - 1 - at }[event.key];
    if (by === undefined || at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    if (all[at + by]) all[at + by].focus();
  });
}

// A key for each label: its own character, else a letter of it, else a digit, else a letter. Signs
// that the page itself uses are left out.
function keysOf(labels) {
  const taken = new Set(Array.from(",.?/ "));
  const keys = new Map();
  const give = (label, candidates) => {
    const key = candidates.find((candidate) => !taken.has(candidate));
    if (key !== undefined) { taken.add(key); keys.set(label, key); }
  };
  const single = labels.filter((label) => Array.from(label).length === 1);
  for (const label of single) give(label, [label]);
  for (const label of labels) {
    const own = Array.from(label.toLowerCase()).filter((c) => /[a-z0-9]/.test(c));
    if (!keys.has(label)) give(label, own.concat(Array.from("1234567890abcdefghijklmnopqrstuvwxyz")));
  }
  return keys;
}
