"""Building blocks of HTML pages in one file each: they need no network and no server.

Whatever comes from file names or labels passes `html.escape`, or `as_json` inside a script.
"""

import json
from functools import cache
from importlib.resources import files


@cache
def template(name) -> str:
    """The text of a file in templates/."""
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


def templates(*names) -> str:
    """The texts of several, one after the other."""
    return "\n".join(map(template, names))


def as_json(value) -> str:
    """JSON that can stand inside a script element."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
