"""Every constant of the recipe and of the decoders: its value, where it was chosen, what was seen.

``python -m gmvae_lib.study.frozen`` compares the constants in the code with results/frozen.json,
and writes the file if there is none. While they agree, what `held_out` reports was measured with
constants that nobody changed after seeing it.
"""

import argparse
import inspect
import json
import sys
from dataclasses import asdict
from pathlib import Path

from gmvae_lib.data.storage import write_atomically
from gmvae_lib.errors import InputError
from gmvae_lib.study.programs import program

OUT = Path("results/frozen.json")
SEEN = {  # how a constant was chosen, and which labels were in view
    "article": ("the article's", "none"),
    "machine": ("for the data's form or the machine's sake", "none"),
    "elbo": ("in prototypes; acts on the second stage, which does not move the clusters", "none"),
    "prototypes": (
        "in prototypes on the 100,000 letters; what decided is not recorded for each",
        "those of all images: purity and accuracy",
    ),
    "two models": (
        "on the 100,000 letters with two model seeds (chapters 6 and 8)",
        "those of all images: accuracy",
    ),
}
OTHER_FIELDS = {  # of the preset `best`; the others were chosen in prototypes
    "article": ("K", "likelihood"),
    "machine": ("image_shape", "precision", "checkpoint_every"),
    "elbo": (
        *("z_dim", "decoder_hidden", "style", "prior_std", "prior_rate", "learn_weights"),
        "generative_epochs",
    ),
}


def constants() -> list[dict]:
    """All constants as the code has them: part, name, value, chosen, labels in view."""
    from gmvae_lib.label import choosing, decoding, neighbours
    from gmvae_lib.vae import objective
    from gmvae_lib.vae.config import preset

    model, training = preset("best")
    where = {name: seen for seen, names in OTHER_FIELDS.items() for name in names}
    rows = [
        _row("recipe", name, value, where.get(name, "prototypes"))
        for part in (model, training)
        for name, value in asdict(part).items()
        if not _without_use(name, model)
    ]
    rows += [
        _row("recipe", "ENTROPY_WEIGHT", objective.ENTROPY_WEIGHT, "prototypes"),
        _row("recipe", "TEMPERATURE", objective.TEMPERATURE, "prototypes"),
        _row("graph", "strength", _default(decoding.GraphDecoder, "strength"), "prototypes"),
        _row("graph and neighbours", "NEIGHBOURS", neighbours.NEIGHBOURS, "prototypes"),
    ]
    rows += [
        _row("graph and neighbours", f"{what}: {name}", _default(function, name), "two models")
        for what, function, names in (
            ("smoothing", neighbours.smooth_posterior, ("weight", "steps")),
            ("spreading", neighbours.NeighbourDecoder, ("weight", "steps", "background")),
        )
        for name in names
    ]
    rows += [
        _row("suggest", name, getattr(choosing, name), "two models")
        for name in ("MOST_TYPICAL", "SAMPLE")
    ]
    return json.loads(json.dumps(rows))  # as the file holds them: lists for tuples


def _without_use(name, model) -> bool:
    """Whether a field is no constant: one of another encoder, a part left out, or the seed."""
    return (
        name == "seed"
        or (model.encoder == "conv" and name in ("encoder_hidden", "last_activation"))
        or (name == "residual" and not model.residual)
    )


def _default(function, name):
    return inspect.signature(function).parameters[name].default


def _row(part, name, value, seen) -> dict:
    chosen, labels = SEEN[seen]
    return {"part": part, "name": name, "value": value, "chosen": chosen, "in view": labels}


def changes(stored: list[dict], now: list[dict]) -> list[str]:
    """One line for each constant that differs between the file and the code.

    Examples
    --------
    >>> row = {"part": "graph", "name": "strength", "value": 1.0}
    >>> changes([row], [row | {"value": 2.0}])
    ['graph, strength: 1.0 in the file, 2.0 in the code']
    """
    there, here = ({(r["part"], r["name"]): r["value"] for r in rows} for rows in (stored, now))
    return [
        f"{part}, {name}: {there.get((part, name), 'nothing')} in the file, "
        f"{here.get((part, name), 'nothing')} in the code"
        for part, name in {**there, **here}
        if (part, name) not in there
        or (part, name) not in here
        or there[part, name] != here[part, name]
    ]


@program("frozen")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.frozen",
        description="Compare the constants in the code with the file; without a file, write it.",
    )
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args(argv).out
    now = constants()
    if not out.exists():
        text = json.dumps(now, indent=1) + "\n"
        write_atomically(out, lambda path: path.write_text(text, encoding="utf-8"))
    try:
        stored = json.loads(out.read_text(encoding="utf-8"))
        found = changes(stored, now)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{out}: no list of constants ({error}), expected one") from error
    print("\n".join(found) or f"{out}: {len(now)} constants, all as in the code")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
