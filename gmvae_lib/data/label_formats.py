"""Labels in the files of two other tools: Label Studio's JSON, FiftyOne's labels.json and folders.

The readers return what those in `labels.READERS` do: an iterator of (line, cells), the names of the
columns first, and a list of notes. A "line" is the number of the task or entry, from 1.
"""

import json
import re
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from gmvae_lib.data.folders import PICTURE_SUFFIXES
from gmvae_lib.data.storage import digest_of
from gmvae_lib.errors import InputError, one_line

HEADER = ["path", "digest", "label", "reason"]
UNLABELLED = "_unlabeled"  # FiftyOne's folder of pictures without a class
ABOUT_A_TASK = {
    *("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"),
    *("index", "path", "digest", "reason", "flag"),
}
NAMED = 5  # in a note


def read_json(path):
    """The labels in a JSON file of Label Studio or FiftyOne.

    Label Studio: a list of tasks, as its exports "JSON" and "JSON-MIN" write them, that were
    answered with one choice each. Skipped tasks have no label; several choices, or annotators who
    differ, leave a task out. FiftyOne: the labels.json of a FiftyOneImageClassificationDataset.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path}: no JSON ({error}), expected labels") from None
    try:
        if isinstance(content, dict) and isinstance(content.get("labels"), dict):
            return _fiftyone(Path(path), content)
        if isinstance(content, list) and content and all(isinstance(t, dict) for t in content):
            return _label_studio(path, content)
    except (AttributeError, TypeError, LookupError) as error:
        raise InputError(
            f"{path}: found JSON of another form ({one_line(error)}), expected what Label Studio "
            "or FiftyOne writes"
        ) from None
    found = f"a list of {len(content)}" if isinstance(content, list) else type(content).__name__
    raise InputError(
        f"{path}: found {found}, expected Label Studio's list of tasks or FiftyOne's labels.json"
    )


def read_folder(folder):
    """The labels in a folder: a FiftyOneImageClassificationDataset, or one sub-folder a class.

    Pictures are known by their content, so they may have other names in the folder.
    """
    folder = Path(folder)
    if (folder / "labels.json").is_file():
        return read_json(folder / "labels.json")
    pictures = sorted(
        path
        for path in folder.glob("*/**/*")
        if _is_picture(path.name)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not pictures:
        raise InputError(
            f"{folder}: found no picture in a sub-folder, expected one sub-folder a class"
        )

    def rows():
        yield 1, HEADER
        for i, picture in enumerate(pictures):
            label = picture.relative_to(folder).parts[0]
            digest = digest_of(picture.read_bytes())
            name = picture.relative_to(folder / label).as_posix()
            yield i + 1, [name, digest, "" if label == UNLABELLED else label, ""]

    return rows(), []


def _is_picture(name) -> bool:
    return name.lower().endswith(PICTURE_SUFFIXES)


# ------------------------------------------------------------------- FiftyOne


def _fiftyone(path, content):
    """Targets are positions in the classes, or without classes the labels themselves."""
    classes = content.get("classes")
    here = {}
    for picture in sorted((path.parent / "data").glob("**/*")):
        name = picture.relative_to(path.parent / "data")
        here.setdefault(name.with_suffix("").as_posix(), picture)
        here.setdefault(name.as_posix(), picture)
    rows, several = [(1, HEADER)], []
    for i, (name, target) in enumerate(content["labels"].items()):
        targets = target if isinstance(target, list) else [target]
        found = [t.get("label") if isinstance(t, dict) else t for t in targets]
        if len(found) > 1:
            several.append(name)
            continue
        label = _class(path, name, found[0] if found else None, classes)
        digest = digest_of(here[name].read_bytes()) if name in here else ""
        rows.append((i + 1, [name, digest, label, ""]))
    return iter(rows), _left_out(several, "several labels each")


def _class(path, name, target, classes) -> str:
    if target is None:
        return ""
    if classes is None or isinstance(target, str):
        return str(target)
    if isinstance(target, bool) or not isinstance(target, int) or not 0 <= target < len(classes):
        raise InputError(
            f"{path}: {name}: found class {target!r}, expected a position in {len(classes)} classes"
        )
    return str(classes[target])


# --------------------------------------------------------------- Label Studio


def _label_studio(path, tasks):
    rows, several, differing, questions = [(1, HEADER)], [], [], {}
    for i, task in enumerate(tasks):
        full = isinstance(task.get("data"), dict)
        data = task["data"] if full else task
        address = _address(path, i + 1, data)
        answers = _answers(task) if full else _short_answers(task, address)
        questions |= dict.fromkeys(question for question, _ in answers)
        labels = dict.fromkeys(tuple(choices) for _, choices in answers)
        name = str(data.get("path") or _path_of(address))
        if len(labels) > 1:
            differing.append(name)
        elif any(len(choices) > 1 for choices in labels):
            several.append(name)
        else:
            label = next((choices[0] for choices in labels if choices), "")
            reason = [data.get("flag"), data.get("reason")]
            reason = "; ".join(str(part) for part in reason if part)
            rows.append((i + 1, [name, str(data.get("digest") or ""), label, reason]))
    if len(questions) > 1:
        raise InputError(
            f"{path}: found answers to {', '.join(questions)}, expected those to one question"
        )
    notes = _left_out(several, "several choices each")
    return iter(rows), notes + _left_out(differing, "annotators who differ")


def _address(path, number, data) -> str:
    """The address of a task's picture: its `image`, or its only value that looks like one."""
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    alike = [value for key, value in texts.items() if key != "path" and _is_picture(value)]
    found = [texts["image"]] if "image" in texts else alike
    if len(found) != 1:
        keys = ", ".join(map(str, data))[:100] or "nothing"
        raise InputError(
            f"{path}: line {number}: found {keys}, expected the address of one picture as `image`"
        )
    return found[0]


def _answers(task) -> list[tuple[str, list[str]]]:
    """(question, choices) of every answer to a task, of the ground truth alone if there is one."""
    given = task.get("annotations", task.get("completions")) or []
    given = [answer for answer in given if not answer.get("was_cancelled")]
    given = [answer for answer in given if answer.get("ground_truth")] or given
    return [
        (str(part.get("from_name")), [str(choice) for choice in part["value"]["choices"]])
        for answer in given
        for part in answer.get("result") or []
        if part.get("type") == "choices" and part.get("value", {}).get("choices")
    ]


def _short_answers(task, address) -> list[tuple[str, list[str]]]:
    """The like in the export JSON-MIN, where questions are keys beside the data."""
    answers = []
    for key, value in task.items():
        if key not in ABOUT_A_TASK and value not in (address, None, ""):
            choices = value.get("choices", []) if isinstance(value, dict) else [value]
            if all(isinstance(choice, str) for choice in choices):
                answers.append((key, choices))
    return answers


def _path_of(address) -> str:
    """The path that an address of Label Studio stands for.

    Examples
    --------
    >>> _path_of("/data/upload/3/1f2a3b4c-IMG_1.jpg"), _path_of("/data/local-files/?d=a%20b/1.png")
    ('IMG_1.jpg', 'a b/1.png')
    >>> _path_of("s3://bucket/pictures/1.png"), _path_of("1 of 2.png")
    ('pictures/1.png', '1 of 2.png')
    """
    if not address.startswith("/data/") and "://" not in address:
        return address
    parts = urlsplit(address)
    if inside := parse_qs(parts.query).get("d"):
        return inside[0]
    path = unquote(parts.path).lstrip("/")
    if path.startswith("data/upload/"):  # uploads lie under a random prefix
        return re.sub(r"^[0-9a-f]{8}-", "", path.rsplit("/", 1)[-1])
    return path


def _left_out(names, reason) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    what = "picture" if len(names) == 1 else "pictures"
    return [f"{len(names)} {what} left out, {reason}: {', '.join(names[:NAMED])}{more}"]
