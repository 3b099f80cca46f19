"""Recomputes everything in results/ from pixels; run by ``make reproduce``.

Steps, in order: train, posterior, studies, choosing, decoders, baselines, rivals, prediction,
claims, pictures. Each can be run alone, and the long ones resume where they were stopped.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from gmvae_lib.data.outputs import write_table
from gmvae_lib.data.storage import write_atomically
from gmvae_lib.errors import InputError
from gmvae_lib.label.neighbours import NEIGHBOURS
from gmvae_lib.study import claims, figures, ratios, studies
from gmvae_lib.study.article import PUBLIC as ARTICLE
from gmvae_lib.study.choice_rules import compare_choices
from gmvae_lib.study.disagreement import draw_disagreements
from gmvae_lib.study.experiments import (
    decoded,
    draw_labelled,
    drop_methods,
    label_counts,
    summarise,
    sweep,
)
from gmvae_lib.study.interactive import draw_clusters, draw_letters
from gmvae_lib.study.labeller import draw_thumbnails
from gmvae_lib.study.latent_maps import make_maps, save_maps
from gmvae_lib.study.prediction import predicted_and_measured
from gmvae_lib.study.programs import labelled_images, program
from gmvae_lib.study.published import CHOOSING, PREDICTION, STUDIES, write_claims
from gmvae_lib.study.styles import caption, figure_1_components, style_table
from gmvae_lib.vae.runs import load_run, save_run

STEPS = (
    "train", "posterior", "studies", "choosing", "decoders", "baselines", "rivals", "prediction",
    "claims", "pictures",
)  # fmt: skip
PUBLISHED = Path("results")
RUN = "letters100k"
SEEDS = range(20)  # draws of the labels
BASELINE_SEEDS = range(5)  # of them, for baselines: some take minutes a cell


def train(images, results: Path, work: Path, args):
    """Train the preset `best` with several seeds and publish the one whose views agree most.

    No label takes part in the choice. Published are half-precision weights and the posterior.
    """
    table = studies.run_studies(
        ["seeds"], (args.data, args.data_dir), work, results / STUDIES,
        seeds=args.model_seeds, jobs=args.jobs,
    )  # fmt: skip
    run = studies.seed_run(work, studies.chosen_seed(table))
    run.provenance["data"] = dict(images.provenance)
    # half precision halves the file; the posterior is computed from the rounded weights, so that
    # weights and posterior agree
    state = {
        name: value.astype(np.float16) if value.dtype == np.float32 else value
        for name, value in run.state.items()
    }
    run = replace(run, state=state)  # a new Run, so that its model is made of the rounded weights
    posterior(images, results, not args.quiet, run)


def posterior(images, results: Path, progress: bool, run=None):
    """Compute the published run's q(c|x), and store it with the true labels for evaluation."""
    from gmvae_lib.vae.model import embed
    from gmvae_lib.vae.nearest import nearest

    run = run or load_run(results / RUN)
    run.posterior, features = embed(run.model, images, progress=progress)
    run.labels, run.class_names = images.labels, images.class_names
    run.extra = {name: value for name, value in images.extra.items() if name == "case"}
    run.extra["neighbours"] = np.sort(nearest(features, NEIGHBOURS), axis=1)
    save_run(run, results / RUN)


def write_prediction(results: Path, n_jobs: int):
    """Write prediction.csv: accuracy predicted from the clusters, and accuracy measured."""
    import pandas as pd

    run = load_run(results / RUN)
    summary = summarise(pd.read_csv(results / "sweep.csv"))
    table = predicted_and_measured(run.posterior, run.labels, summary, n_jobs)
    write_table(results / PREDICTION, table)


def draw_pictures(images, results: Path):
    """Write the figures that need pixels, which are committed instead of the raw data."""
    folder = results / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    figures.save(folder / "letters.svg", figures.letter_sheet, images)
    run = load_run(results / RUN)
    draw_figure_2(run, images, results, "figure2")
    if (results / ARTICLE).is_dir():
        draw_figure_2(load_run(results / ARTICLE), images, results, "figure2_article")
    draw_components(run, images, folder)
    draw_gallery(run, images, folder)
    draw_errors(run, images, folder)
    (folder / "live").mkdir(exist_ok=True)
    draw_thumbnails(run, images, folder / "live")
    maps = make_maps(run, images)
    save_maps(maps, results / "latent_maps.npz")
    draw_clusters(run, folder / "live")
    draw_letters(run, maps, images, folder / "live")


def draw_figure_2(run, images, results: Path, name: str):
    """The image of Figure 2, and a record of which one it is, for the chapter that shows it."""
    from matplotlib.image import imsave

    index = claims.figure_2_example(run).index
    picture = results / "figures" / f"{name}_letter.png"
    imsave(picture, images.images[index], cmap="gray", vmin=0, vmax=255)
    about = json.dumps({"index": index, "data": run.provenance["data"]}, indent=1) + "\n"
    write_atomically(results / f"{name}.json", lambda p: p.write_text(about))


def draw_components(run, images, folder: Path, seed: int = 0):
    """Images of the components of Figure 1 beside samples, and an image of each letter redrawn."""
    rng = np.random.default_rng(seed)
    cluster = run.posterior.argmax(axis=1)
    case = run.extra.get("case", np.zeros_like(run.labels))  # 0: unknown
    styles = style_table(run.posterior, run.labels, case, run.class_names)
    rows, n = [], 7
    for component in figure_1_components(styles).values():
        held = images.images[rng.choice(np.flatnonzero(cluster == component), n, replace=False)]
        samples = run.model.sample(component, n=n, seed=component)
        rows.append((caption(styles, component), held, samples))
    figures.save(folder / "figure1_images.svg", figures.real_and_generated, rows)
    classes = range(len(run.class_names))
    index = [rng.choice(np.flatnonzero(run.labels == label)) for label in classes]
    originals = images.images[index]
    figures.save(
        folder / "reconstructions.svg",
        figures.originals_and_reconstructions,
        originals,
        run.model.reconstruct(originals),
        run.class_names,
    )


def draw_gallery(run, images, folder: Path):
    """Images on which one of the hard and the soft rule is right, and the other wrong."""
    labelled = draw_labelled(len(run.labels), claims.FIGURE_2_LABELS, seed=0)
    table = draw_disagreements(run.posterior, run.labels, labelled, n=8)
    names = run.class_names

    def row(right, heading):
        mine = table[table["right"] == right]
        captions = [
            f"is {names[r.truth]}\nhard: {names[r.hard]}\nsoft: {names[r.soft]}"
            for r in mine.itertuples()
        ]
        return heading, images.images[mine["index"]], captions

    rows = [row("soft", "soft right, hard wrong"), row("hard", "hard right, soft wrong")]
    figures.save(folder / "gallery.svg", figures.verdicts, rows)
    # for the chapter, which shows the picture only if it is of the same images
    about = json.dumps({"index": table["index"].tolist()}) + "\n"
    write_atomically(folder / "gallery.json", lambda p: p.write_text(about))


def draw_errors(run, images, folder: Path, n_labels: int = 291, n_pairs: int = 5, n: int = 8):
    """The most confident errors of the neighbour decoder in its most frequent confusions."""
    features, methods = decoded(run.posterior, run.extra["neighbours"])
    labelled = draw_labelled(len(run.labels), n_labels, seed=0)
    y, names = run.labels, run.class_names
    decoder = methods["rows"]["neighbours"].fit(features["rows"][labelled], y[labelled])
    answer = decoder.classes_[decoder.proba_.argmax(axis=1)]
    answer[labelled] = y[labelled]
    surest = np.argsort(-decoder.proba_.max(axis=1), kind="stable")
    wrong = surest[answer[surest] != y[surest]]
    pair = y[wrong] * len(names) + answer[wrong]
    commonest = np.argsort(-np.bincount(pair), kind="stable")[:n_pairs]
    index = np.concatenate([wrong[pair == each][:n] for each in commonest])
    titles = [f"{names[y[i]]}, called {names[answer[i]]}" for i in index]
    figures.save(
        folder / "errors.svg",
        figures.image_grid,
        images.images[index],
        titles,
        n_columns=n,
        narrow_columns=n // 2,
    )


@program("reproduce")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.reproduce",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m gmvae_lib.study.reproduce --data emnist-letters --model-seeds 1",
    )
    parser.add_argument(
        "--data", default=studies.DATA, help="as for load_images (default: %(default)s)"
    )
    parser.add_argument("--data-dir", help="folder that holds EMNIST and MNIST, for torchvision")
    parser.add_argument(
        "--results",
        type=Path,
        help="folder of the results (default: results for the data of the published run, and "
        "results-NAME for others)",
    )
    parser.add_argument(
        "--work", type=Path, help="folder of the checkpoints (default: runs, or runs/NAME)"
    )
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument(
        "--baseline-labels", type=int, help="leave out the pixel baselines above this many labels"
    )
    parser.add_argument("--model-seeds", type=int, default=10, help="trainings to choose from")
    parser.add_argument("--jobs", type=int, default=2, help="trainings or sweep cells at a time")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    args = parser.parse_args(argv)
    reproduce(args)


def folders(results, work, images) -> tuple[Path, Path]:
    """The folders of the results and of the checkpoints, where they are not given.

    Results of different data are never mixed: those of other data than the published run's have a
    folder of their own, and a folder that is given must not hold a run of other data.

    Raises
    ------
    InputError
        If ``results`` is given and holds a run of other data.
    """
    same = images is None or _is_of(PUBLISHED, images)
    name = "" if same else images.provenance["name"]
    if results is None:
        results = PUBLISHED if same else Path(f"{PUBLISHED}-{name}")
    elif images is not None and (results / RUN).is_dir() and not _is_of(results, images):
        raise InputError(
            f"{results / RUN}: found a run of other images, expected one of {name}; "
            "give another folder with --results"
        )
    return results, work or Path("runs") / name


def _is_of(results, images) -> bool:
    """Whether the run in a folder of results is of these images."""
    try:
        text = (results / RUN / "provenance.json").read_text(encoding="utf-8")
        return json.loads(text)["data"]["sha256"] == images.provenance["sha256"]
    except (OSError, ValueError, LookupError, TypeError):
        return False


def reproduce(args):
    progress = not args.quiet
    images = None
    if set(args.steps) - {"decoders", "prediction", "claims"}:
        images = labelled_images(args.data, args.data_dir)
    args.results, args.work = folders(args.results, args.work, images)
    args.results.mkdir(parents=True, exist_ok=True)
    print(f"results: {args.results}, checkpoints: {args.work}")
    if "train" in args.steps:
        train(images, args.results, args.work / "studies", args)
    elif "posterior" in args.steps:
        posterior(images, args.results, progress)
    if "studies" in args.steps:
        # seeds belong to the step train; MNIST is other data, and speed needs an idle machine
        others = [study for study in studies.STUDIES if study not in ("seeds", "mnist", "speed")]
        studies.run_studies(
            others, (args.data, args.data_dir), args.work / "studies", args.results / STUDIES,
            jobs=args.jobs,
        )  # fmt: skip
    if "choosing" in args.steps:
        source = args.data, args.data_dir
        compare_choices(args.work / "studies", source, args.results / CHOOSING)
    table = args.results / "sweep.csv"
    how = {"out": table, "n_jobs": args.jobs, "progress": progress}
    if "decoders" in args.steps:
        run = load_run(args.results / RUN)
        features, methods = decoded(run.posterior, run.extra["neighbours"])
        for kind, named in methods.items():
            drop_methods(table, kind, named)  # the posterior may be a new one
        counts = label_counts(len(run.labels))
        sweep(features, run.labels, methods, counts, SEEDS, **how)
    if "baselines" in args.steps:
        from gmvae_lib.study.baselines import pixel_baselines

        counts = label_counts(len(images))
        counts = [n for n in counts if n <= (args.baseline_labels or len(images))]
        methods = {"pixels": pixel_baselines()}
        sweep({"pixels": images.pixels()}, images.labels, methods, counts, BASELINE_SEEDS, **how)
    if "rivals" in args.steps:
        from gmvae_lib.study.rival_runs import measure_all

        measure_all(images, load_run(args.results / RUN), args.work / "rivals", how, args.results)
    if "prediction" in args.steps:
        write_prediction(args.results, args.jobs)
    if "claims" in args.steps:
        # only the published table belongs into README
        readme = Path("README.md") if args.results == PUBLISHED else None
        write_claims(args.results, readme)
        ratios.write(args.results)
    if "pictures" in args.steps:
        draw_pictures(images, args.results)


if __name__ == "__main__":
    sys.exit(main())
