// What a page saves: labels.csv, and the files of two other tools.

// RFC 4180. A label that a spreadsheet would run as a formula gets an apostrophe, which the
// library takes off again (gmvae_lib/data/labels.py).
function field(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}

function guard(label) {
  const bare = label.replace(/^'+/, "");
  const risky = /^[=@\t\r]./s.test(bare) || (/^[+-]/.test(bare) && !/^[+-][0-9.]*$/.test(bare));
  return risky ? "'" + label : label;
}

function asCsv(entries) {
  const lines = entries.map(([row, entry]) => {
    const reason = [entry.flag, entry.reason].filter(Boolean).join("; ");
    const cells = [row, guard(entry.path || ""), entry.digest || "", guard(entry.label), reason];
    return cells.map(field).join(",");
  });
  return ["index,path,digest,label,reason"].concat(lines, "").join("\r\n");
}

// Tasks as Label Studio exports and imports them. Its local storage serves pictures below
// LOCAL_FILES_DOCUMENT_ROOT at /data/local-files/?d=PATH. A skipped task has no choice.
function asLabelStudio(entries) {
  const address = (path) => path.split("/").map(encodeURIComponent).join("/");
  const tasks = entries.filter(([, entry]) => entry.path).map(([row, entry]) => {
    const result = entry.label
      ? [{ from_name: "choice", to_name: "image", type: "choices", value: { choices: [entry.label] } }]
      : [];
    const more = { index: row, path: entry.path, digest: entry.digest, reason: entry.reason };
    if (entry.flag) more.flag = entry.flag;
    return {
      data: { image: "/data/local-files/?d=" + address(entry.path), ...more },
      annotations: [{ result: result, was_cancelled: !entry.label }],
    };
  });
  return JSON.stringify(tasks, null, 1);
}

// labels.json of FiftyOne's FiftyOneImageClassificationDataset: classes by number, and pictures by
// path without suffix. Where two pictures share that name, neither is written.
function asFiftyOne(entries) {
  const stem = (path) => path.replace(/\.[^./]+$/, "");
  const labelled = entries.filter(([, entry]) => entry.label && entry.path);
  const times = tally(labelled.map(([, entry]) => stem(entry.path)));
  const classes = Array.from(tally(labelled.map(([, entry]) => entry.label)).keys()).sort();
  const labels = {};
  for (const [, entry] of labelled) {
    const name = stem(entry.path);
    if (times.get(name) === 1) labels[name] = classes.indexOf(entry.label);
  }
  return JSON.stringify({ classes: classes, labels: labels }, null, 1);
}

function tally(values) {
  const found = new Map();
  for (const value of values) found.set(value, (found.get(value) || 0) + 1);
  return found;
}

function download(name, text, type) {
  const link = document.createElement("a");
  const url = URL.createObjectURL(new Blob([text], { type: type + ";charset=utf-8" }));
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
