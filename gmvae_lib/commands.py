"""The commands train, posterior, suggest, predict and report; each imports what it needs."""

import json
import logging
import os
import sys
import zipfile
from contextlib import ExitStack, closing
from pathlib import Path

from gmvae_lib.errors import InputError


def train(args) -> None:
    """Train without labels and write the run's folder."""
    rule = {"size": args.size, "colour": args.colour, "transpose": args.transpose}
    if args.features:
        from gmvae_lib.vae.pretrained import VIEWS_KEPT, side_of, with_features

        size = side_of(args.features) if args.size is None else args.size
        rule |= {"size": size, "colour": True}
    images = load(args, args.data, rule)
    if args.k is not None and args.k > len(images):
        raise InputError(
            f"--k: found {args.k} components, expected at most {len(images)}, the number of images "
            f"in {args.data}"
        )
    device = checked_device(args.device)
    if args.features:
        images = with_features(images, args.features, VIEWS_KEPT, device, progress())
    changes = {n: getattr(args, n) for n in ("seed", "learning_rate", "precision")}
    changes = {name: value for name, value in changes.items() if value is not None}
    from gmvae_lib.collection import Collection
    from gmvae_lib.label.outlook import outlook
    from gmvae_lib.vae.distributed import processes

    name = args.preset or ("features" if args.features else "best")
    with processes(device) as share:
        collection = Collection.train(
            images,
            name,
            args.k,
            args.epochs,
            "gaussian" if args.features else "bernoulli",
            out=args.out,
            resume=args.resume,
            device=device,
            progress=progress(),
            **changes,
        )
    if not share.first:
        return
    if collection.embedding is not None:
        seed = changes.get("seed", 0)
        parameters = {"preset": name, "epochs": args.epochs, "random_state": seed}
        parameters |= {"n_components": collection.run.config.K, "features": args.features}
        collection.save({"parameters": parameters})
    if collection.chosen:
        say(f"{args.out}: chose {collection.chosen}")
    config = collection.run.train_config
    further = f" and {config.generative_epochs} of the decoder" if config.generative_epochs else ""
    say(f"{args.out}: trained for {config.epochs} epochs{further} on {len(images)} images")
    if collection.embedding is not None and len(images) > 1:
        before = outlook(collection.embedding.q, collection.embedding.neighbours)
        (say if before.works else warn)(f"{args.out}: {before.sentence}")


def posterior(args) -> None:
    """Write q(c|x) of every image."""
    import numpy as np

    out = output(args, args.out, "posterior")
    from gmvae_lib.collection import Collection
    from gmvae_lib.data.storage import write_atomically
    from gmvae_lib.vae.embedding import load_embedding
    from gmvae_lib.vae.model import embed_batches

    run, images = run_and_images(args)
    if not len(images):
        raise InputError(f"{args.images}: found no image, expected at least one")
    shape = (len(images), run.config.K)
    batches = embed_batches(
        run.model, images, device=checked_device(args.device), progress=progress()
    )

    def write(path):
        # one batch at a time: neither the images nor q need fit into memory
        with ExitStack() as stack:
            stack.enter_context(closing(batches))  # whose progress bar ends before an error's line
            if out.suffix == ".npy":
                handle = stack.enter_context(open(path, "wb"))
            else:
                archive = stack.enter_context(zipfile.ZipFile(path, "w"))
                handle = stack.enter_context(archive.open("q.npy", "w", force_zip64=True))
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(handle, header)
            for q, _ in batches:
                handle.write(q.astype("<f4").tobytes())

    write_atomically(out, write)
    say(f"{out}: q of {shape[0]} images over {shape[1]} components")
    warn(Collection(run, learned=load_embedding(run)).unlike_note(images))


def suggest(args) -> None:
    """Write which images to label, and a page on which to label them."""
    if args.out is None and args.page is None:
        args.out = Path("to_label.csv")
    out = args.out and output(args, args.out, "suggest", args.labels)
    page = args.page and output(args, args.page, "suggest", args.labels, argument="--page")
    from gmvae_lib.data.identity import known_rows
    from gmvae_lib.data.labels import read_labels
    from gmvae_lib.data.outputs import same_place, write_table, write_text

    if page and out and same_place(page, out):
        raise InputError(f"--page: found {page}, which --out is, expected another file")
    labels = read_labels(args.labels) if args.labels else None
    run, images = run_and_images(args, required=page)
    collection, known, guesses = collection_of(args, run, images), {}, None
    if labels is not None:
        rows, y, _, notes = collection.match(labels)
        warn(*(f"{args.labels}: {note}" for note in notes))
        known = known_rows(labels, collection.embedding, learned_from(run))
    asked = (args.budget, args.random, args.seed, list(known))
    queue = collection.queue(*asked, batches=3 if page else 1)
    table = collection.first_batch(queue)
    if page:
        from gmvae_lib.report.label_page import label_page

        if labels is not None:
            collection.set_labels(rows, y)
            guesses = collection.classes_[collection.label_distributions_.argmax(axis=1)]
        from gmvae_lib.data.features import shown

        write_text(page, label_page(shown(images), queue, known, guesses))
        say(f"{page}: open it in a browser to label them")
    if out:
        write_table(out, table, run.path)
        clusters = table["cluster"].nunique()
        say(f"{out}: {len(table)} images to label, from {clusters} clusters")
    if images is not None:
        warn(collection.unlike_note(images))


def predict(args) -> None:
    """Write a label and a confidence for every image."""
    out = output(args, args.out, "predict", args.labels)
    from gmvae_lib.data.labels import read_labels
    from gmvae_lib.data.outputs import write_table

    labels = read_labels(args.labels)
    run, images = run_and_images(args)
    collection = named(args, run, images, labels)
    table = collection.predictions(images, args.min_confidence)
    write_table(out, table, run.path)
    warn(*args.notes, collection.overruled_note())
    say(
        f"{out}: {len(table)} images predicted from {len(collection.labelled_)} labelled ones, "
        f"{len(collection.classes_)} different labels; {collection.decoder_note}"
    )
    if args.min_confidence:
        n = int((table["label"] == "").sum())
        say(
            f"{out}: {n} of {len(table)} left without a label, less sure than {args.min_confidence}"
        )
    if images is not None:
        share = table["unlike"].mean() if collection.learned is not None else None
        warn(collection.unlike_note(images, share))


def report(args) -> None:
    """Write a page on what the labels make of the images, and how good that is."""
    out = output(args, args.out, "report", args.labels)
    from gmvae_lib.data.features import features_note, shown
    from gmvae_lib.data.identity import known_rows
    from gmvae_lib.data.images import reading_notes
    from gmvae_lib.data.labels import read_labels
    from gmvae_lib.data.outputs import write_text
    from gmvae_lib.report.report_page import accuracy_sentence, report_page

    labels = read_labels(args.labels)
    run, images = run_and_images(args, required=True)
    collection = collection_of(args, run, images)
    rows, y, at_random, unmatched = collection.match(labels)
    set_labels(args, collection, rows, y, at_random, unmatched, collection.marked(labels))
    findings = collection.findings()
    notes = reading_notes(images, learned_from(run))
    notes += [note for note in [collection.unlike_note(images)] if note]
    seen = [note for note in [features_note(learned_from(run))] if note]
    known = known_rows(labels, images, learned_from(run))
    shown_notes = [*seen, *notes]
    page = report_page(
        shown(images), findings, args.run, args.images, args.labels, shown_notes, known
    )
    write_text(out, page)
    say(f"{out}: {accuracy_sentence(findings.accuracy)}; {findings.decoder}")
    warn(*args.notes, *notes, *findings.warnings)


# ------------------------------------------------------------------------------- input


def load(args, source, rule, learned=None):
    """Read images by a rule, and say what was done to them or looks wrong."""
    from gmvae_lib.data.images import load_images, reading_notes

    logging.getLogger("PIL").addHandler(logging.NullHandler())  # it would print beside our line
    how = {"data_dir": args.data_dir, "skip_damaged": args.skip_damaged}
    images = load_images(source, **how, **rule)
    if isinstance(source, Path):  # where later commands find them, from whatever folder
        images.provenance["source"] = os.path.abspath(source)
    for note in reading_notes(images, learned):
        say(f"gmvae: note: {source}: {note}", sys.stderr)
    return images


def run_and_images(args, required=False):
    """The run, and the images asked for, read as those were that it learned from.

    Without --images, None, or where they are ``required`` those that the run learned from.
    """
    from gmvae_lib.data.images import DATASETS, reading_rule
    from gmvae_lib.vae.embedding import require_embedding
    from gmvae_lib.vae.runs import load_run

    run = load_run(args.run)
    learned = learned_from(run)
    if args.images is None:
        require_embedding(run)
        if not required:
            return run, None
        source = learned.get("source", "")
        if source not in DATASETS and not os.path.exists(source):
            raise InputError(
                f"{args.run}: found no longer the images it learned from ({source}), expected "
                "their place as --images"
            )
        args.images = source if source in DATASETS else Path(source)
    rule = reading_rule(run.config.image_shape, learned)
    images = load(args, args.images, rule, learned)
    return run, images if "features" not in learned else with_learned(args, images, learned)


def with_learned(args, images, learned):
    """Pictures with features of the kind that a run learned from, made once they are needed."""
    from gmvae_lib.data.features import LaterFeatures

    about = learned["features"]
    features = getattr(args, "features", None) or about.get("source", about["name"])

    def make(pictures):
        from gmvae_lib.vae.pretrained import pictures_with_features

        device = checked_device(args.device)
        return pictures_with_features(pictures, features, learned, device, progress())

    return LaterFeatures(images, make)


def learned_from(run) -> dict:
    """The provenance of the images that a run learned from."""
    return run.provenance.get("data", {})


def options(args) -> dict:
    """What a collection is told: device, progress and, where there is a choice, the decoder."""
    decoder = {"decoder": args.decoder} if hasattr(args, "decoder") else {}
    return {"device": checked_device(args.device), "progress": progress(), **decoder}


def collection_of(args, run, images, join=False, learned=None):
    """The images as the run sees them; None are those that it keeps, ``learned`` if read before."""
    from gmvae_lib.collection import Collection

    if images is not None and not len(images):
        raise InputError(f"{args.images}: found no image, expected at least one")
    return Collection.of_run(run, images, join, learned, **options(args))


def named(args, run, images, labels):
    """A collection whose clusters have names from a table of labels.

    Its rows are the images that the run keeps, if all labels are theirs; if not, other images join
    them. A table that knows its images by their rows alone is one of the images given.
    """
    from gmvae_lib.data.identity import is_set, match_labels
    from gmvae_lib.vae.embedding import joined, load_embedding

    learned = load_embedding(run)
    same = learned is not None and (
        images is None or is_set(images, {"digest": learned.set_digest})
    )
    by_row = any(entry.path is None and entry.digest is None for entry in labels.entries)
    if same or learned is None or by_row:
        collection = collection_of(args, run, None if same else images, learned=learned)
        set_labels(args, collection, *collection.match(labels))
        return collection
    found = match_labels(labels, joined(learned, images), learned_from(run))
    all_kept = found[0].max() < len(learned)
    collection = collection_of(args, run, None if all_kept else images, not all_kept, learned)
    set_labels(args, collection, *found)
    return collection


def set_labels(args, collection, rows, y, at_random, notes, marked=None) -> None:
    """Give a collection its labels, and ``args.notes`` what is odd about them."""
    import numpy as np

    from gmvae_lib.data.labels import AT_RANDOM

    if args.labels_at_random:
        at_random = np.ones_like(at_random)
        marked = {row: f"{reason}; {AT_RANDOM}" for row, reason in (marked or {}).items()}
    collection.set_labels(rows, y, at_random, marked)
    if len(set(y)) == 1:
        notes = [*notes, f"found only the label {str(y[0])!r}; every image gets it"]
    args.notes = [f"{args.labels}: {note}" for note in notes]  # said once the output is written


def checked_device(name):
    """The device's name, once torch has shown that it can compute there; None is the default."""
    if name is None:
        return None
    from gmvae_lib.vae.device import usable

    if not usable(name):
        raise InputError(
            f"--device: found {name!r}, expected one that torch can use here, like cpu"
        )
    return name


# ------------------------------------------------------------------------------ output


def output(args, path, command, *inputs, argument="--out") -> Path:
    """A path that may be written to, see `data.outputs`; not over any input."""
    from gmvae_lib.data.outputs import output_path

    images = args.images or pictures_of(args.run)
    inputs = [path for path in (images, *inputs) if isinstance(path, Path)]
    return output_path(path, command, argument, inputs, args.run, args.force)


def pictures_of(run) -> Path | None:
    """Where the pictures lie that a run learned from, if that can be told before it is read."""
    try:
        about = json.loads((run / "provenance.json").read_text(encoding="utf-8"))
        return Path(about["data"]["source"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def progress() -> bool:
    """Whether there is a terminal to show progress on."""
    return sys.stderr is not None and sys.stderr.isatty()


def warn(*notes) -> None:
    """Print warnings, but for None."""
    for note in filter(None, notes):
        say(f"gmvae: warning: {note}", sys.stderr)


def say(line, stream=None) -> None:
    """Print a line; nothing is lost where nobody listens, since outputs are files."""
    stream = sys.stdout if stream is None else stream
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        pass
