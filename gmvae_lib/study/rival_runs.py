"""Measures the rivals of chapter 7, a part at a time; each part resumes where it was stopped.

embedding    rivals on the published run's features, other clusterings, tuned baselines
contrast     features of the recipe's contrast alone, without mutual information
fixmatch     a network trained with the labels and all images
network      a convolutional network on the labels alone, draw by draw
article-mlp  the article's multilayer perceptron
boosting     XGBoost at half of the images
"""

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from gmvae_lib.data.storage import array_digest, write_npz
from gmvae_lib.errors import InputError
from gmvae_lib.label.decoding import HardDecoder
from gmvae_lib.label.neighbours import NEIGHBOURS, adjacency, neighbour_decoder
from gmvae_lib.study import networks, rivals
from gmvae_lib.study.baselines import article_mlp, gradient_boosting, tuned_baselines
from gmvae_lib.study.clusterings import kmeans_posterior, mixture_posterior, principal_components
from gmvae_lib.study.experiments import decoded, label_counts, sweep
from gmvae_lib.study.programs import labelled_images, program
from gmvae_lib.vae.config import preset
from gmvae_lib.vae.runs import load_run

FIVE, THREE = range(5), range(3)  # draws of the labels
SEMI_SUPERVISED = (73, 100, 291, 728)  # labels of the rivals that see all images
MANY = 1000  # labels from which on the network has five draws in place of twenty


# ---- the published run's features ---------------------------------------------------------------


def embedding(images, run, work: Path, how: dict):
    """Rivals on the features of the published run, clusterings without it, tuned baselines."""
    from gmvae_lib.vae.model import embed

    features, decoders_ = decoded(run.posterior, run.extra["neighbours"])
    pixels = images.pixels()
    # intermediate files are stored by the digest of the posterior they belong to
    work = work / array_digest(run.posterior)[:12]
    points = _kept(
        work / "embedding.npz",
        lambda: rivals.unit_length(embed(run.model, images, progress=how["progress"])[1]),
    )
    graph = adjacency(run.extra["neighbours"])
    tuned = tuned_baselines()
    boosting = {"xgboost, tuned": tuned.pop("xgboost, tuned")}
    seen = {"pixels": pixels, "embedding": points, "rows": features["rows"]}

    def measure(methods, n_labels, seeds=FIVE):
        sweep(seen, run.labels, methods, n_labels, seeds, **how)

    for counts in ((73, 291), (728,), (2912,)):
        measure({"embedding": rivals.on_embedding()}, counts)
        measure({"rows": rivals.on_graph(graph)}, counts)
        measure({"pixels": tuned}, counts)
    for name, cluster in rivals.clusterings(pixels, points, run.model_config.K).items():
        seen[name] = _kept(work / f"{name.replace(' ', '-')}.npz", cluster)
        measure({name: {name: HardDecoder()}}, (73, 291, 728, 2912))
    # the slowest methods come last, with fewer draws
    measure({"rows": rivals.by_self_training(points)}, (73, 291, 728), THREE)
    fine_tuned = networks.fine_tuned(pixels, run.model, decoders_["rows"]["neighbours"])
    measure({"rows": fine_tuned}, (73, 291), THREE)
    measure({"pixels": boosting}, (73, 291, 728), THREE)


def _kept(path: Path, make):
    """The array in a file .npz, which is computed and written the first time."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_npz(path, {"arr_0": make()}, compressed=False)
    return np.load(path, allow_pickle=False)["arr_0"]


# ---- contrast alone -----------------------------------------------------------------------------


def contrast_alone(seed: int = 0, **changes):
    """(model, training) of the published recipe without mutual information, and without an ELBO.

    What is left is SimCLR's loss (Chen et al. 2020) with the recipe's views and, from its third
    epoch on, near neighbours as second views. q(c|x) stays as it was drawn and is not used.
    """
    model, training = preset("best", seed=seed, **changes)
    training = replace(training, consistency_weight=0.0, generative_epochs=0)
    return replace(model, auxiliary=(), style=0), training


def contrast_methods(points, neighbours, K):
    """Methods that need features [N, F] at length 1 and their neighbours [N, n] alone.

    Returns
    -------
    (features, methods), as `experiments.sweep` takes them. The names of features are those of the
    clusterings, since their arrays differ from those of the published run.
    """
    named = "contrast only: {}".format
    clusterings = {
        "k-means": kmeans_posterior(points, K),
        "mixture": mixture_posterior(*principal_components(points), K),
    }
    features = {"contrast embedding": points, "contrast rows": np.arange(len(points))}
    methods = {
        "contrast embedding": {
            named("1-NN"): rivals.nearest_label,
            named("k-NN"): rivals.nearest_labels,
        },
        "contrast rows": {named("label spreading"): rivals.Spreading(adjacency(neighbours))},
    }
    for name, q in clusterings.items():
        features[f"contrast {name}"] = q
        methods[f"contrast {name}"] = {named(f"{name} + hard"): HardDecoder()}
        decoder = neighbour_decoder(q, neighbours)
        methods["contrast rows"][named(f"{name} + graph and neighbours")] = decoder
    return features, methods


def contrast(images, run, work: Path, how: dict, seed: int = 0):
    """Train the contrast alone, and measure what needs its features and no mixture VAE."""
    from gmvae_lib.vae.model import embed
    from gmvae_lib.vae.nearest import nearest
    from gmvae_lib.vae.training import fit

    trained = fit(
        images, *contrast_alone(seed), out=work / f"contrast-{seed}", resume=True,
        progress=how["progress"],
    )  # fmt: skip
    _, points = embed(trained.model, images, progress=how["progress"])
    points, neighbours = rivals.unit_length(points), nearest(points, NEIGHBOURS)
    features, methods = contrast_methods(points, neighbours, trained.model_config.K)
    sweep(features, images.labels, methods, SEMI_SUPERVISED, FIVE, **how)


# ---- networks and baselines ---------------------------------------------------------------------


def fixmatch(images, run, work: Path, how: dict, counts=SEMI_SUPERVISED, seeds=THREE, steps=2000):
    """FixMatch, draw by draw."""
    methods = {"rows": networks.semi_supervised(images.pixels(), preset("best")[0], steps)}
    one_by_one({"rows": np.arange(len(images))}, images.labels, methods, counts, seeds, how)


def network(images, run, work: Path, how: dict, counts=None, seeds=range(20)):
    """The network on labels alone, draw by draw: at the sweep's counts and at 100 by default."""
    counts = counts or {*label_counts(len(images)), 100}
    methods = {"pixels": networks.from_labels(preset("best")[0])}
    one_by_one({"pixels": images.pixels()}, images.labels, methods, counts, seeds, how)


def one_by_one(seen, y, methods, counts, seeds, how: dict):
    """`sweep`, draw by draw, so that what an interruption leaves is usable.

    Within a draw, counts near 200 come first, where the network crosses 80 %. Above `MANY` labels
    there are five draws.
    """
    for seed in seeds:
        for n in sorted(counts, key=lambda n: abs(math.log(n / 200))):
            if n < MANY or seed in FIVE:
                sweep(seen, y, methods, [n], [seed], **how)


def article_perceptron(images, run, work: Path, how: dict):
    """The article's multilayer perceptron at all counts of the sweep."""
    methods = {"pixels": {"mlp (article)": article_mlp}}
    counts = label_counts(len(images))
    sweep({"pixels": images.pixels()}, images.labels, methods, counts, FIVE, **how)


def boosting(images, run, work: Path, how: dict):
    """XGBoost with half of the images labelled, three draws."""
    methods, half = {"pixels": {"xgboost": gradient_boosting}}, label_counts(len(images))[-1:]
    sweep({"pixels": images.pixels()}, images.labels, methods, half, THREE, **how)


PARTS = {
    "embedding": embedding,
    "contrast": contrast,
    "fixmatch": fixmatch,
    "network": network,
    "article-mlp": article_perceptron,
    "boosting": boosting,
}


IN_SWEEP = ("network", "article-mlp", "boosting")  # see only labelled pixels, as the baselines do


def measure_all(images, run, work: Path, how: dict, results: Path):
    """Every part, into the tables that the book reads: sweep.csv and rivals.csv in ``results``."""
    for name, part in PARTS.items():
        table = "sweep.csv" if name in IN_SWEEP else "rivals.csv"
        part(images, run, work, how | {"out": results / table})


@program("rival_runs")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.rival_runs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m gmvae_lib.study.rival_runs contrast --out runs/contrast.csv",
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--data", default="emnist-letters", help="letters (default: %(default)s)")
    parser.add_argument("--transpose", action="store_true", help="the images lie on their side")
    parser.add_argument("--data-dir", help="folder that holds EMNIST, for torchvision")
    parser.add_argument("--run", default="results/letters100k", help="the published run")
    parser.add_argument("--work", type=Path, default=Path("runs/rivals"), help="trainings go here")
    parser.add_argument("--out", type=Path, required=True, help="table of the results, CSV")
    chosen = parser.add_argument_group("for fixmatch and network")
    chosen.add_argument("--counts", type=int, nargs="+", help="numbers of labels")
    chosen.add_argument("--draws", type=int, nargs="+", help="draws of the labels")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    args = parser.parse_args(argv)
    images = labelled_images(args.data, args.data_dir, args.transpose or "auto")
    how = {"out": args.out, "progress": not args.quiet}
    chosen = {"counts": args.counts, "seeds": args.draws}
    chosen = {name: value for name, value in chosen.items() if value}
    if chosen and args.part not in ("fixmatch", "network"):
        raise InputError(f"--counts, --draws: found for {args.part}, expected none")
    PARTS[args.part](images, load_run(args.run), args.work, how, **chosen)
    print(f"{args.out}: written")


if __name__ == "__main__":
    sys.exit(main())
