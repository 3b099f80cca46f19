"""Many trainings for one table: seeds, held-out use, ablation, K, MNIST, speed.

``python -m gmvae_lib.study.studies --studies seeds ablation`` trains what is missing, one training
a core, and writes results/studies.csv; it resumes after an interruption. Labels are read only after
a training has ended, to evaluate it.
"""

import argparse
import json
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np

from gmvae_lib.data.images import load_images
from gmvae_lib.data.outputs import write_table
from gmvae_lib.data.storage import write_atomically
from gmvae_lib.errors import InputError
from gmvae_lib.label.decoding import GraphDecoder, cluster_affinity, decoders
from gmvae_lib.label.neighbours import (
    NEIGHBOURS,
    NeighbourDecoder,
    neighbour_decoder,
    smooth_posterior,
)
from gmvae_lib.study.clusterings import WITHOUT_Q, mixture_cluster
from gmvae_lib.study.experiments import draw_labelled
from gmvae_lib.study.latent_maps import latent_means
from gmvae_lib.study.metrics import components_in_use, purity
from gmvae_lib.study.programs import program
from gmvae_lib.study.trials import STUDIES, Trial, trials
from gmvae_lib.vae.runs import environment, load_run

DATA = "emnist-letters"
LABEL_SEEDS = range(5)
LABELS = (73, 100, 291, 728)
HELD_OUT = 0.2


# ---- one trial ---------------------------------------------------------------------------------


@cache
def images_of(data: str, data_dir: str | None):
    return load_images(data, data_dir=data_dir)


def split(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows held out, the same for every trial."""
    order = np.random.default_rng(0).permutation(n)
    held_out = round(HELD_OUT * n)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def run_trial(trial: Trial, source: tuple[str, str | None], work: Path, threads: int) -> dict:
    """Train (or resume, or read the finished run) and measure: one row of the table."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        images = images_of(*source)
        train, rest = split(len(images)) if trial.held_out else (slice(None), slice(0, 0))
        pictures = images.images[train]
        others = images.images[rest]
        unsupervised, posteriors, features = _cluster(trial, pictures, others, work)
        labels = (images.labels[train], images.labels[rest])
        row = {
            "study": trial.study,
            "variant": trial.variant,
            "seed": trial.seed,
            "K": posteriors[0].shape[1],
            "n": len(pictures),
            "threads": threads,
            **unsupervised,
            "purity": purity(posteriors[0].argmax(1), labels[0]),
            "in_use": components_in_use(posteriors[0]),
            **accuracies(
                {name: (decoder, *posteriors) for name, decoder in decoders(posteriors[0]).items()},
                labels,
            ),
            **(neighbour_accuracies(posteriors, features, labels) if trial.neighbours else {}),
            "data": images.provenance["name"],
            "date": environment()["date"][:10],
        }
    return {name: round(v, 5) if isinstance(v, float) else v for name, v in row.items()}


def _cluster(trial, pictures, others, work):
    """Measures that need no label, q, and the features where there is an encoder: the latter two
    of the images trained on and of the held-out ones."""
    from gmvae_lib.vae.model import embed
    from gmvae_lib.vae.training import fit

    started = time.perf_counter()
    if trial.after in WITHOUT_Q:
        x, rest = (part.reshape(len(part), -1) / np.float32(255) for part in (pictures, others))
        posteriors = WITHOUT_Q[trial.after](x, rest, trial.seed)
        return {"minutes": (time.perf_counter() - started) / 60}, posteriors, None
    run = fit(pictures, trial.model, trial.training, out=work / trial.name, resume=True)
    known = {
        "epochs": trial.training.epochs,
        "minutes": sum(row["seconds"] for row in run.history) / 60,
        "loss": run.history[-1]["loss"],
        **criteria(run.model, others if len(others) else pictures),
    }
    if trial.after == "mixture of z":
        del known["agreement"]  # of q(c|x), which is not the clustering here
        z = [latent_means(run.model, part) for part in (pictures, others)]
        return known, mixture_cluster(*z, trial.seed), None
    q, features = embed(run.model, pictures)
    rest = embed(run.model, others) if len(others) else (q[:0], features[:0])
    return known, [q, rest[0]], [features, rest[1]]


def criteria(model, pictures, n: int = 5000, seed: int = 0) -> dict[str, float]:
    """ELBO and agreement of two views, in nats, of the first n images: no label is needed.

    The agreement is the plain mutual information I(c; c') of q(c|x) over two random views, the
    same views for every model; at most log K.
    """
    import torch

    from gmvae_lib.vae.model import as_batch
    from gmvae_lib.vae.objective import elbo, mutual_information
    from gmvae_lib.vae.views import flat_view

    generator = torch.Generator().manual_seed(seed)
    model.eval()
    pictures, size = pictures[:n], 100 if model.config.posterior == "heads" else 1000
    bound, views = [], ([], [])
    with torch.no_grad():
        for start in range(0, len(pictures), size):
            x = as_batch(pictures[start : start + size], model.config)
            bound.append(elbo(model, x, model.encode(x), generator).elbo)
            for part in views:
                view = flat_view(x, model.config.image_shape, generator)
                part.append(model.encode(view).logits.softmax(1))
        agreement = mutual_information(*(torch.cat(part) for part in views))
    return {"elbo": torch.cat(bound).mean().item(), "agreement": agreement.item()}


def neighbour_accuracies(posteriors, features, labels):
    """Accuracy of the two decoders that use neighbours, and purity of smoothed posteriors."""
    from gmvae_lib.vae.nearest import nearest

    decoder = neighbour_decoder(posteriors[0], nearest(features[0], NEIGHBOURS))
    n, graph = len(decoder.q), GraphDecoder(cluster_affinity(decoder.q))
    if len(posteriors[1]):
        later = nearest(features[1], NEIGHBOURS, pool=features[0])
        decoder = with_later_images(decoder, posteriors[1], later)
    smoothed, rows = decoder.q, np.arange(len(decoder.q))
    methods = {
        "smoothed": (graph, smoothed[:n], smoothed[n:]),
        "neighbours": (decoder, rows[:n], rows[n:]),
    }
    pure = purity(smoothed[:n].argmax(1), labels[0])
    return {"smoothed purity": pure, **accuracies(methods, labels)}


def with_later_images(decoder, q, later) -> NeighbourDecoder:
    """The decoder over its N images and M later ones, rows N to N + M - 1.

    Edges lead only from earlier to later images, so the later ones change no result of the earlier.

    q : array [M, K], not smoothed. later : int array [M, n], the nearest of the N images to each.
    """
    from scipy.sparse import block_array, csr_array

    m, n = later.shape
    links = np.arange(0, later.size + 1, n)
    mean = csr_array(
        (np.full(later.size, 1 / n, np.float32), later.ravel(), links), shape=(m, len(decoder.q))
    )
    smoothed = smooth_posterior(q, later, others=decoder.q)
    graph = block_array([[decoder.graph, None], [mean, csr_array((m, m))]])
    return NeighbourDecoder(
        np.concatenate([decoder.q, smoothed], dtype=np.float32), csr_array(graph)
    )


def accuracies(methods, labels) -> dict[str, float]:
    """Mean accuracy over the label seeds by decoder and label count, "graph 291" and so on.

    methods : by name (decoder, its input for the images trained on, and for the held-out ones).
    labels : of both. The images trained on get the labels, and the accuracy is that on the others
        of them; "held-out graph 291" is that on the held-out ones, where there are any.
    """
    (y, y_rest), found = labels, {}
    for n_labels in LABELS:
        for seed in LABEL_SEEDS:
            labelled = draw_labelled(len(y), n_labels, seed)
            for name, (decoder, seen, seen_rest) in methods.items():
                score = accuracy_with(decoder, seen, y, labelled)
                found.setdefault(f"{name} {n_labels}", []).append(score)
                if len(y_rest):
                    score = (decoder.predict(seen_rest) == y_rest).mean()
                    found.setdefault(f"held-out {name} {n_labels}", []).append(score)
    return {name: float(np.mean(values)) for name, values in found.items()}


def accuracy_with(decoder, seen, y, labelled) -> float:
    """Fit the decoder on the labels of some images; its accuracy on the others.

    ``seen`` is the decoder's input for all images; the decoder stays fitted.
    """
    unlabelled = np.ones(len(y), dtype=bool)
    unlabelled[labelled] = False
    right = decoder.fit(seen[labelled], y[labelled]).predict(seen) == y
    return float(right[unlabelled].mean())


# ---- all trials --------------------------------------------------------------------------------


def _finish(trial, source, work, threads):
    """The trial's row, from its file when it is finished."""
    path = work / f"{trial.name}.json"
    if path.is_file():
        return json.loads(path.read_text())
    row = run_trial(trial, source, work, threads)
    write_atomically(path, lambda p: p.write_text(json.dumps(row, indent=1) + "\n"))
    print(f"{trial.name}: {row['minutes']:.1f} min, purity {row['purity']:.3f}", flush=True)
    return row


def collect(work: Path, out: Path):
    """Write the table of all finished trials, in the order of the studies."""
    import pandas as pd

    rows = []
    for trial in (trial for study in STUDIES for trial in trials(study)):
        path = work / f"{trial.name}.json"
        if path.is_file():
            rows.append(json.loads(path.read_text()))
    table = pd.DataFrame(rows)
    write_table(out, table)
    return table


def chosen_seed(table) -> int:
    """The model seed to publish: that of the largest agreement, a criterion without labels."""
    seeds = table[table["study"] == "seeds"]
    if seeds.empty:
        raise InputError("studies.csv: found no row of the study seeds, expected at least one")
    return int(seeds.loc[seeds["agreement"].idxmax(), "seed"])


def component_grid(table):
    """The rows of the grid of K, ascending; that of K = 100 is the ablation's recipe."""
    same = (table["variant"] == "the recipe") & (table["seed"] == 0)
    return table[(table["study"] == "K") | same].sort_values("K")


def seed_run(work: Path, seed: int):
    """The finished run of one seed."""
    return load_run(work / trials("seeds")[seed].name)


def run_studies(names, source, work: Path, out: Path, seeds=10, jobs=2, threads=1):
    """Run what is missing of the studies, ``jobs`` trainings side by side; the table of all.

    source : (data, data_dir) of the letters, as for load_images; MNIST is in the same folder.
    """
    from joblib import Parallel, delayed

    work.mkdir(parents=True, exist_ok=True)
    sources = {"letters": source, "mnist": ("mnist", source[1])}
    wanted = [trial for name in names for trial in trials(name) if trial.seed < seeds]
    # one at a time to each worker: trainings differ in length, and an interruption should lose few
    Parallel(n_jobs=jobs, batch_size=1, pre_dispatch=jobs)(
        delayed(_finish)(trial, sources[trial.data], work, threads) for trial in wanted
    )
    return collect(work, out)


@program("studies")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.studies",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m gmvae_lib.study.studies --studies speed --jobs 1 --threads 2",
    )
    parser.add_argument("--studies", nargs="+", choices=STUDIES, default=STUDIES)
    parser.add_argument("--data", default=DATA, help="letters (default: %(default)s)")
    parser.add_argument("--data-dir", help="folder that holds EMNIST and MNIST, for torchvision")
    parser.add_argument("--work", type=Path, default=Path("runs/studies"), help="trainings go here")
    parser.add_argument("--out", type=Path, default=Path("results/studies.csv"))
    parser.add_argument("--seeds", type=int, default=10, help="model seeds at most")
    parser.add_argument("--jobs", type=int, default=2, help="trainings side by side")
    parser.add_argument("--threads", type=int, default=1, help="threads of each")
    args = parser.parse_args(argv)
    table = run_studies(
        args.studies, (args.data, args.data_dir), args.work, args.out,
        args.seeds, args.jobs, args.threads,
    )  # fmt: skip
    print(f"{args.out}: {len(table)} trials")


if __name__ == "__main__":
    # imported by name: workers could not find functions that are defined in __main__
    from gmvae_lib.study.studies import main

    sys.exit(main())
