// The labels of one page: entries {label, flag, reason, path, digest, at, saved} by row, kept in
// this browser. `at` is when a person gave it (0: it came with the page), `saved` whether a saved
// file holds it. An entry without label and flag is one that was taken back.
const PREFIX = "gmvae-labels:";
const UNSURE = "unsure", NONE = "none of these"; // flags: no class, and no label to learn from

function openStore(data, onChange) {
  const key = PREFIX + data.id;
  let entries = new Map();
  let since = 0; // everything older was dropped by "start anew"
  let kept = true; // whether this browser keeps anything
  let last = 0;

  function begin() {
    entries = new Map(data.known.map((known) => [known.row, { ...known, at: 0, saved: true }]));
  }

  function forget(until) {
    const newer = Array.from(entries).filter(([, entry]) => entry.at > until);
    since = until;
    begin();
    for (const [row, entry] of newer) entries.set(row, entry);
  }

  function read(name) {
    try {
      const found = JSON.parse(localStorage.getItem(name));
      return found && typeof found.entries === "object" ? found : null;
    } catch (error) {
      return null; // nothing kept, or nothing that can be read
    }
  }

  // Take over what another tab has written, of each row the newer entry; return whether it lacks
  // some of ours: browsers bring what one tab keeps to the other a little late.
  function merge() {
    const found = read(key);
    if (!found) return entries.size > 0;
    if (found.since > since) forget(found.since);
    for (const [row, theirs] of Object.entries(found.entries)) {
      const mine = entries.get(Number(row));
      last = Math.max(last, theirs.at);
      if (theirs.at <= since) continue;
      if (!mine || theirs.at > mine.at) entries.set(Number(row), theirs);
      else if (theirs.at === mine.at) mine.saved = mine.saved || theirs.saved;
    }
    const there = (row) => (found.entries[row] || { at: 0 }).at;
    return Array.from(entries).some(([row, entry]) => entry.at > there(row));
  }

  function write() {
    const mine = {};
    for (const [row, entry] of entries) if (entry.at) mine[row] = entry;
    const content = { set: data.set, written: data.written, since: since, entries: mine };
    try {
      localStorage.setItem(key, JSON.stringify(content));
      kept = true;
    } catch (error) {
      kept = false;
    }
  }

  // changes: [[row, {label, flag, reason, path, digest}], ...]
  function put(changes) {
    merge();
    last = Math.max(Date.now(), last + 1);
    for (const [row, entry] of changes) entries.set(row, { ...entry, at: last, saved: false });
    write();
  }

  // What pages written at another time left in this browser about the same pictures, and this page
  // does not know. It counts only if the reader says so: the file may be newer than it.
  function elsewhere(items) {
    const byDigest = new Map();
    for (const item of items) if (item.path && item.digest) byDigest.set(item.digest, item.row);
    const found = new Map();
    const names = [];
    for (let i = 0; i < localStorage.length; i++) names.push(localStorage.key(i));
    for (const name of names) {
      const other = name.startsWith(PREFIX) && name !== key ? read(name) : null;
      for (const [row, entry] of Object.entries(other ? other.entries : {})) {
        const here = other.set === data.set ? Number(row) : byDigest.get(entry.digest);
        if (here === undefined || !(entry.label || entry.flag) || entries.has(here)) continue;
        if (!found.has(here) || found.get(here).at < entry.at) found.set(here, entry);
      }
    }
    return Array.from(found);
  }

  begin();
  merge();
  window.addEventListener("storage", (event) => {
    if (event.key !== key) return;
    if (merge()) write();
    onChange();
  });
  return {
    get: (row) => entries.get(row),
    label: (row) => (entries.get(row) || {}).label || "",
    flag: (row) => (entries.get(row) || {}).flag || "",
    done: (row) => Boolean(entries.has(row) && (entries.get(row).label || entries.get(row).flag)),
    // [[row, entry], ...] of all that say something, in the order of the rows
    all: () => Array.from(entries).filter(([, e]) => e.label || e.flag).sort((a, b) => a[0] - b[0]),
    changed: () => Array.from(entries.values()).filter((entry) => entry.at).length,
    unsaved: () => Array.from(entries.values()).filter((entry) => !entry.saved).length,
    kept: () => kept,
    put: put,
    merge: merge,
    elsewhere: () => { try { return elsewhere(data.items); } catch (error) { return []; } },
    markSaved() {
      for (const entry of entries.values()) entry.saved = true;
      write();
    },
    startAnew() {
      merge();
      forget(Math.max(Date.now(), last));
      write();
    },
  };
}
