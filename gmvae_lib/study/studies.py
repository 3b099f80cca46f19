"""Many trainings for one table: seeds, held-out use, ablation, K, MNIST, speed.

``python -m gmvae_lib.study.studies --studies seeds ablation`` trains what is missing, one training
a core, and writes results/studies.csv; it resumes after an interruption. Labels are read only after
a training has ended, to describe it.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from gmvae_lib.data.images import load_images
from gmvae_lib.data.storage import write_atomically
from gmvae_lib.errors import InputError
from gmvae_lib.label.choosing import max_herding, one_a_cluster, suggest
from gmvae_lib.label.decoding import GraphDecoder, cluster_affinity, decoders
from gmvae_lib.label.neighbours import (
    NEIGHBOURS,
    NeighbourDecoder,
    neighbour_decoder,
    smooth_posterior,
)
from gmvae_lib.study.experiments import draw_labelled
from gmvae_lib.study.latent_maps import latent_means
from gmvae_lib.study.metrics import components_in_use, purity
from gmvae_lib.vae.config import GMVAEConfig, TrainConfig, preset
from gmvae_lib.vae.runs import environment, load_run

DEVELOPMENT_DATA = "../shared/data/emnist-letters-100k/images-idx3-ubyte.gz"
SEEDS = range(10)  # of the model
LABEL_SEEDS = range(5)
LABELS = (73, 100, 291, 728)
HELD_OUT = 0.2
CHOSEN = (20, 40, 73, 100, 200, 300)  # labels, where rules of choice are compared
ABLATION_EPOCHS = 2  # a third of the recipe; a table of full trainings would take days
PAPER = "plain GMVAE, preset paper, 1 of 450 epochs"  # a quarter of an hour: one seed
GRID = (26, 50, 100, 200, 400)


@dataclass(frozen=True)
class Trial:
    """One training, or one clustering without a network, and what it is to be called."""

    study: str
    variant: str
    seed: int
    model: GMVAEConfig
    training: TrainConfig
    held_out: bool = False  # train on 80 % of the images, measure the ELBO on the others
    after: str = "q"  # what clusters: the model's q(c|x), or a key of WITHOUT_Q
    data: str = "letters"
    neighbours: bool = False  # measure also the decoders that ask neighbours; a minute or two

    @property
    def name(self) -> str:
        words = "".join(c if c.isalnum() else " " for c in self.variant).split()
        return f"{self.study}-{'-'.join(words)}-{self.seed}"


def _changed(model_changes: dict, training_changes: dict, epochs=None, name="best"):
    model, training = preset(name, epochs=epochs)
    return replace(model, **model_changes), replace(training, **training_changes)


def trials(study: str) -> list[Trial]:
    """The trainings of a study, those of the first seed first."""
    if study == "seeds":
        return [
            Trial(study, "full recipe", seed, *preset("best", seed=seed), neighbours=True)
            for seed in SEEDS
        ]
    if study == "held-out":
        recipe = preset("best")
        return [
            Trial(study, "full recipe", 0, *recipe, held_out=True, neighbours=True),
            Trial(study, "plain GMVAE, equal compute", 0, *plain(recipe[1].epochs), held_out=True),
        ]
    if study == "speed":
        # the search for neighbours pays later than in the first two epochs
        return [
            Trial(study, "two epochs", seed, *preset("best", epochs=2, seed=seed, neighbours=0))
            for seed in range(3)
        ]
    if study == "mnist":
        model, training = _changed({"K": 30}, {}, ABLATION_EPOCHS)
        return [Trial(study, "K = 30", 0, model, training, data="mnist", neighbours=True)]
    if study == "K":
        return [
            Trial(study, f"K = {K}", 0, *_changed({"K": K}, {}, ABLATION_EPOCHS), held_out=True)
            for K in GRID
            if K != 100  # "the recipe" of the ablation, see component_grid
        ]
    if study == "ablation":
        return [
            Trial(
                study, variant, seed, model, replace(training, seed=seed), True, after,
                neighbours=variant == "the recipe",
            )
            for seed in range(3)
            for variant, (model, training, after) in ablation().items()
            if seed == 0 or variant != PAPER
        ]  # fmt: skip
    raise InputError(f"study: found {study!r}, expected one of {', '.join(STUDIES)}")


STUDIES = ("seeds", "held-out", "ablation", "K", "mnist", "speed")


def plain(epochs: int) -> tuple[GMVAEConfig, TrainConfig]:
    """The model of the recipe trained by the ELBO alone, for at least as long as ``epochs`` of it.

    Without views an epoch takes less than half the time, and there is no second stage: four epochs
    for one are generous.
    """
    return _changed(
        {"auxiliary": (), "projection": 0},
        {
            "elbo_weight": 1.0, "consistency_weight": 0.0, "contrast_weight": 0.0,
            "neighbours": 0, "generative_epochs": 0,
        },
        4 * epochs,
    )  # fmt: skip


def ablation() -> dict[str, tuple[GMVAEConfig, TrainConfig, str]]:
    """Rows of the ablation table: name to (model, training, what clusters)."""

    def row(model_changes=(), training_changes=(), epochs=ABLATION_EPOCHS):
        return *_changed(dict(model_changes), dict(training_changes), epochs), "q"

    alone = plain(ABLATION_EPOCHS)
    vae = replace(alone[0], K=1), alone[1]
    return {
        "the recipe": row(),
        "without contrast": row({"projection": 0}, {"contrast_weight": 0.0}),
        # without it nothing but the ELBO moves q(c|x)
        "without mutual information": row({}, {"consistency_weight": 0.0, "elbo_weight": 0.05}),
        "plain GMVAE, equal compute": (*alone, "q"),
        "plain VAE, then Gaussian mixture": (*vae, "mixture of z"),
        "k-means on 50 principal components": (*vae, "k-means of components"),
        "Gaussian mixture on 50 principal components": (*vae, "mixture of components"),
        "without thickness and intensity": row({}, {"views": ("affine", "elastic")}),
        "affine views only": row({}, {"views": ("affine",)}),
        "without auxiliary head": row({"auxiliary": ()}),
        "MLP encoder": row({"encoder": "mlp", "encoder_hidden": (768, 768, 768, 256)}),
        "without neighbours": row({}, {"neighbours": 0}),
        "k-means on pixels": (*vae, "k-means of pixels"),
        "Gaussian mixture on pixels": (*vae, "mixture of pixels"),
        "ELBO moves q(c|x)": row({}, {"elbo_weight": 0.05}),
        "q(z|x) does not read the pixels": row({"style": 0}),
        "without elastic views": row({}, {"views": ("affine", "thickness", "intensity")}),
        "uniform mixture weights": row({"learn_weights": False}),
        PAPER: (*_changed({}, {}, 1, "paper"), "q"),
    }


# ---- clusterings without q(c|x) ----------------------------------------------------------------


def _k_means(x, rest, seed, K=100):
    from sklearn.cluster import KMeans

    fitted = KMeans(K, n_init=1, random_state=seed).fit(x)
    return [np.eye(K, dtype=np.float32)[fitted.predict(part)] for part in (x, rest)]


def _mixture(x, rest, seed, K=100):
    from sklearn.mixture import GaussianMixture

    fitted = GaussianMixture(
        K, covariance_type="diag", reg_covar=1e-3, max_iter=50, random_state=seed
    ).fit(x)
    return [fitted.predict_proba(part).astype(np.float32) for part in (x, rest)]


def _principal(x, rest, seed):
    from sklearn.decomposition import PCA

    fitted = PCA(50, random_state=seed).fit(x)
    return fitted.transform(x), fitted.transform(rest)


WITHOUT_Q = {
    "k-means of pixels": lambda x, rest, seed: _k_means(x, rest, seed),
    "k-means of components": lambda x, rest, seed: _k_means(*_principal(x, rest, seed), seed),
    "mixture of pixels": lambda x, rest, seed: _mixture(x, rest, seed),
    "mixture of components": lambda x, rest, seed: _mixture(*_principal(x, rest, seed), seed),
}


# ---- one trial ---------------------------------------------------------------------------------


@cache
def _images(data: str, data_dir: str | None):
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
        images = _images(*source)
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
    """What is known without labels; q, and the encoder's features where there is an encoder, each
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
        del known["agreement"]  # of q(c|x), which is not what clusters here
        z = [latent_means(run.model, part) for part in (pictures, others)]
        return known, _mixture(*z, trial.seed), None
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

    methods : by name (decoder, what it sees of the images trained on, and of the held-out ones).
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

    ``seen`` is what the decoder sees of all images; it stays fitted.
    """
    unlabelled = np.ones(len(y), dtype=bool)
    unlabelled[labelled] = False
    right = decoder.fit(seen[labelled], y[labelled]).predict(seen) == y
    return float(right[unlabelled].mean())


# ---- which images to label ---------------------------------------------------------------------


def compare_choices(work: Path, source, out: Path):
    """Write the table of `rules_of_choice` for every finished model seed; seeds in it stay."""
    import pandas as pd

    from gmvae_lib.vae.model import embed
    from gmvae_lib.vae.nearest import nearest

    tables = [pd.read_csv(out)] if out.is_file() else []
    known = {seed for table in tables for seed in table["model_seed"]}
    images = _images(*source)
    for seed, trial in enumerate(trials("seeds")):
        if seed in known or not (work / trial.name / "provenance.json").is_file():
            continue
        q, features = embed(seed_run(work, seed).model, images)
        found = rules_of_choice(q, features, nearest(features, NEIGHBOURS), images.labels)
        tables.append(found.assign(model_seed=seed))
        table = pd.concat(tables).sort_values("model_seed", kind="stable")
        write_atomically(out, lambda p, table=table: table.to_csv(p, index=False))


def rules_of_choice(q, features, neighbours, y):
    """Accuracy on the images not labelled, by rule of choice, decoder and number of labels.

    q [N, K], features [N, F] and neighbours [N, n] are of one model; y [N] are the true labels.

    Returns
    -------
    DataFrame
        rule ("random" is the mean of 5 draws), decoder, n_labels, accuracy, letters (different ones
        among the labels; their mean).
    """
    import pandas as pd

    most, rows = max(CHOSEN), np.arange(len(q))
    length = np.linalg.norm(features, axis=1, keepdims=True)
    # by the features, every 20th image is a candidate: all would take hours
    rules = {
        "suggest": [suggest(q, most, neighbours)["index"].to_numpy()],
        "suggest, q alone": [suggest(q, most)["index"].to_numpy()],
        "one a cluster": [one_a_cluster(q, most)],
        "features": [max_herding(features / length, rows[::20], most)],
        "random": [draw_labelled(len(q), most, seed) for seed in LABEL_SEEDS],
    }
    on_neighbours = neighbour_decoder(q, neighbours)
    smoothed = on_neighbours.q
    methods = {
        "smoothed": (GraphDecoder(cluster_affinity(smoothed)), smoothed),
        "neighbours": (on_neighbours, rows),
    }
    found = []
    for rule, orders in rules.items():
        # seconds a fit: not for all rules; random draws have it in the table of the studies
        slow = ["neighbours"] if rule in ("suggest", "one a cluster") else []
        for decoder in ["smoothed", *slow]:
            for n in CHOSEN:
                scores = [accuracy_with(*methods[decoder], y, order[:n]) for order in orders]
                letters = [len(np.unique(y[order[:n]])) for order in orders]
                found.append((rule, decoder, n, round(np.mean(scores), 5), np.mean(letters)))
    return pd.DataFrame(found, columns=["rule", "decoder", "n_labels", "accuracy", "letters"])


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
    write_atomically(out, lambda p: table.to_csv(p, index=False))
    return table


def chosen_seed(table) -> int:
    """The model seed to publish: the one whose views agree most, which no label has touched."""
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


def run_studies(names, source, work: Path, out: Path, mnist_dir=None, seeds=10, jobs=2, threads=1):
    """Run what is missing of the studies, ``jobs`` trainings side by side; the table of all.

    source : (data, data_dir) of the letters, as for load_images.
    """
    from joblib import Parallel, delayed

    work.mkdir(parents=True, exist_ok=True)
    sources = {"letters": source, "mnist": ("mnist", mnist_dir)}
    wanted = [trial for name in names for trial in trials(name) if trial.seed < seeds]
    # one at a time to each worker: trainings differ in length, and a kill should lose few
    Parallel(n_jobs=jobs, batch_size=1, pre_dispatch=jobs)(
        delayed(_finish)(trial, sources[trial.data], work, threads) for trial in wanted
    )
    return collect(work, out)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.studies",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m gmvae_lib.study.studies --studies speed --jobs 1 --threads 2",
    )
    parser.add_argument("--studies", nargs="+", choices=STUDIES, default=STUDIES)
    parser.add_argument("--data", default=DEVELOPMENT_DATA, help="letters (default: %(default)s)")
    parser.add_argument("--data-dir", help="folder that holds the data, for torchvision's sets")
    parser.add_argument("--mnist-dir", default="../shared/data", help="folder that holds MNIST")
    parser.add_argument("--work", type=Path, default=Path("runs/studies"), help="trainings go here")
    parser.add_argument("--out", type=Path, default=Path("results/studies.csv"))
    parser.add_argument("--seeds", type=int, default=10, help="model seeds at most")
    parser.add_argument("--jobs", type=int, default=2, help="trainings side by side")
    parser.add_argument("--threads", type=int, default=1, help="threads of each")
    args = parser.parse_args(argv)
    try:
        table = run_studies(
            args.studies, (args.data, args.data_dir), args.work, args.out, args.mnist_dir,
            args.seeds, args.jobs, args.threads,
        )  # fmt: skip
    except (InputError, OSError) as error:
        print(f"studies: error: {error}", file=sys.stderr)
        return 2
    print(f"{args.out}: {len(table)} trials")
    return 0


if __name__ == "__main__":
    # by its own name: workers could not find what is defined in __main__
    from gmvae_lib.study.studies import main

    sys.exit(main())
