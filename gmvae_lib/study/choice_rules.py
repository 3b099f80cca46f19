"""Rules for choosing which images to label, compared on the models of all seeds."""

from pathlib import Path

import numpy as np
import pandas as pd

from gmvae_lib.data.outputs import write_table
from gmvae_lib.label.choosing import max_herding, one_a_cluster, suggest
from gmvae_lib.label.decoding import GraphDecoder, cluster_affinity
from gmvae_lib.label.neighbours import NEIGHBOURS, neighbour_decoder
from gmvae_lib.study import studies
from gmvae_lib.study.experiments import draw_labelled
from gmvae_lib.study.studies import accuracy_with, seed_run
from gmvae_lib.study.trials import trials
from gmvae_lib.vae.nearest import nearest

CHOSEN = (20, 40, 73, 100, 200, 300)  # labels


def compare_choices(work: Path, source, out: Path):
    """Write the table of `rules_of_choice` for every finished model seed; seeds in it stay."""
    from gmvae_lib.vae.model import embed

    tables = [pd.read_csv(out)] if out.is_file() else []
    known = {seed for table in tables for seed in table["model_seed"]}
    images = studies.images_of(*source)
    for seed, trial in enumerate(trials("seeds")):
        if seed in known or not (work / trial.name / "provenance.json").is_file():
            continue
        q, features = embed(seed_run(work, seed).model, images)
        found = rules_of_choice(q, features, nearest(features, NEIGHBOURS), images.labels)
        tables.append(found.assign(model_seed=seed))
        table = pd.concat(tables).sort_values("model_seed", kind="stable")
        write_table(out, table)


def rules_of_choice(q, features, neighbours, y):
    """Accuracy on the images not labelled, by rule of choice, decoder and number of labels.

    q [N, K], features [N, F] and neighbours [N, n] are of one model; y [N] are the true labels.

    Returns
    -------
    DataFrame
        rule ("random" is the mean of 5 draws), decoder, n_labels, accuracy, letters (different ones
        among the labels; their mean).
    """
    most, rows = max(CHOSEN), np.arange(len(q))
    length = np.linalg.norm(features, axis=1, keepdims=True)
    # by features, only every 20th image is a candidate: all would take hours
    rules = {
        "suggest": [suggest(q, most, neighbours)["index"].to_numpy()],
        "suggest, q alone": [suggest(q, most)["index"].to_numpy()],
        "one a cluster": [one_a_cluster(q, most)],
        "features": [max_herding(features / length, rows[::20], most)],
        "random": [draw_labelled(len(q), most, seed) for seed in studies.LABEL_SEEDS],
    }
    on_neighbours = neighbour_decoder(q, neighbours)
    smoothed = on_neighbours.q
    methods = {
        "smoothed": (GraphDecoder(cluster_affinity(smoothed)), smoothed),
        "neighbours": (on_neighbours, rows),
    }
    found = []
    for rule, orders in rules.items():
        # takes seconds a fit, so not for all rules; random draws are in the table of the studies
        slow = ["neighbours"] if rule in ("suggest", "one a cluster") else []
        for decoder in ["smoothed", *slow]:
            for n in CHOSEN:
                scores = [accuracy_with(*methods[decoder], y, order[:n]) for order in orders]
                letters = [len(np.unique(y[order[:n]])) for order in orders]
                found.append((rule, decoder, n, round(np.mean(scores), 5), np.mean(letters)))
    return pd.DataFrame(found, columns=["rule", "decoder", "n_labels", "accuracy", "letters"])
