"""The data of the book's interactive figures, from results/: one dict a figure, ready for JSON.

Each figure's script (book/_extra/figures/NAME.js) computes from these in the reader's browser what
the library computes; tests/tools/test_interactive.py compares the two.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from gmvae_lib.data.storage import write_atomically
from gmvae_lib.label import bounds
from gmvae_lib.study.evidence import CONVOLUTIONAL, Evidence, evidence, over_trainings
from gmvae_lib.study.experiments import summarise
from gmvae_lib.study.labeller import COLUMNS, asked_letters, labeller_data, write_sheet
from gmvae_lib.study.latent_maps import load_maps
from gmvae_lib.study.playground import pack

# Chapter 6's small example: posteriors of three labelled images, and of two new ones.
EXAMPLE = {
    "q": [[0.60, 0.20, 0.20], [0.10, 0.85, 0.05], [0.10, 0.75, 0.15]],
    "y": ["c", "e", "e"],
    "new": [[0.42, 0.40, 0.18], [0.10, 0.30, 0.60]],
}
# Figure 3's curves: method of sweep.csv, its short name, and whether it is drawn at the start.
FRONT = {
    "neighbours": ("graph and neighbours", True),
    "soft": ("soft", True),
    "hard": ("hard", False),
    "hard (no fallback)": ("hard, no fallback", False),
    CONVOLUTIONAL: ("network", True),
    "mlp": ("MLP", False),
    "logistic regression": ("logistic regression", False),
    "xgboost": ("XGBoost", True),
}
LETTERS = "map-letters.png"  # real ones; its record beside it
ANY_K = "graph"  # the decoder that was measured at every K


def figure_data(results) -> dict:
    """The data of all figures: {name of the figure: dict}."""
    results = Path(results)
    ev = evidence(results)
    asked = asked_letters(ev.run, results / "figures" / "live")
    return {
        "labeller": labeller_data(ev.run, ev.sweep, asked),
        "collector": collector_data(ev.run),
        "triangle": EXAMPLE,
        "front": front_data(ev, pd.read_csv(results / "studies.csv")),
        "floor": floor_data(pd.read_csv(results / "theory.csv")),
        "map": map_data(ev.run, load_maps(results / "latent_maps.npz", ev.run)),
    }


def collector_data(run) -> dict:
    """Shares of the clusters, the letters in each, and the labels that cover all with 95 %."""
    table = bounds.cluster_table(run.posterior, run.labels)
    shares = np.asarray(table.weights, dtype=np.float64)
    letters = np.asarray(table.label_given_cluster, dtype=np.float32)  # [K, C]
    return {
        "class_names": list(run.class_names),
        "shares": shares.round(7).tolist(),
        "letters": pack(letters),
        "cover": {
            "equal": int(bounds.labels_to_cover(len(shares))),
            "real": int(bounds.labels_to_cover(shares)),
        },
    }


def front_data(ev: Evidence, studies) -> dict:
    """Figure 3's curves with their intervals, and the accuracy of clusterings with other K."""
    curves = []
    tables = {method: (ev.sweep, method, *look) for method, look in FRONT.items()}
    if ev.article is not None:
        public = over_trainings(ev.article)
        tables["article"] = (public, "soft", "article’s model", True)
    for key, (table, method, name, shown) in tables.items():
        rows = table[table["method"] == method]
        if len(rows):
            curves.append({"method": key, "name": name, "shown": shown} | _curve(rows))
    rows = studies[studies["study"].isin(["K", "seeds"])]
    counts = [73, 100, 291, 728]
    by_K = rows.groupby("K")[[f"{ANY_K} {n}" for n in counts]].mean()
    return {
        "curves": curves,
        "n_images": len(ev.run.labels),
        "own_K": ev.run.model_config.K,
        "K": [
            {"K": int(K), "n": counts, "mean": row.round(5).tolist()} for K, row in by_K.iterrows()
        ],
    }


def _curve(rows):
    """Means and intervals over draws, by the number of labels; None where there is no interval."""
    rows = summarise(rows).sort_values("n_labels")
    found = rows[["mean", "low", "high"]].astype(float).round(5)
    columns = {name: found[name].replace({np.nan: None}).tolist() for name in found}
    return {"n": rows["n_labels"].astype(int).tolist()} | columns


def map_data(run, maps) -> dict:
    """The letters of the latent maps: places on each map, neighbours in z, clusters, true letters.

    "typical" is the point of each cluster with the highest posterior, the largest clusters first.
    """
    q, y = run.posterior[maps.index], run.labels[maps.index]
    cluster = q.argmax(axis=1)
    found, sizes = np.unique(cluster, return_counts=True)
    order = found[np.argsort(-sizes, kind="stable")]
    typical = typical_letters(run, maps)
    return {
        "class_names": list(run.class_names),
        "maps": [pack(_in_a_box(points)) for points in (maps.pca, maps.umap, maps.tsne)],
        "neighbours": pack(maps.neighbours.astype(np.uint16)),
        "truth": pack(y.astype(np.uint8)),
        "cluster": pack(cluster.astype(np.uint8)),
        "typical": typical[order].tolist(),
        "n_clusters": run.model_config.K,
        "columns": COLUMNS,
    }


def typical_letters(run, maps) -> np.ndarray:
    """Row in the maps of each cluster's letter with the highest posterior, -1 for none: int [K]."""
    q = run.posterior[maps.index]
    cluster = q.argmax(axis=1)
    best = np.full(q.shape[1], -1)
    for c in np.unique(cluster):
        best[c] = np.where(cluster == c, q[:, c], -1).argmax()
    return best


def draw_letters(run, maps, images, folder):
    """Write map-letters.png, the typical letter of each cluster, dark on white, and their rows."""
    typical = typical_letters(run, maps)
    index = np.where(typical < 0, -1, maps.index[typical])
    blank = np.zeros_like(images.images[:1])
    write_sheet(np.concatenate([images.images, blank])[index], Path(folder) / LETTERS)
    about = json.dumps({"index": index.tolist(), "columns": COLUMNS}) + "\n"
    write_atomically(
        (Path(folder) / LETTERS).with_suffix(".json"), lambda path: path.write_text(about)
    )


def draw_clusters(run, folder):
    """Write map-clusters.png: what the model draws at the mean of each cluster, dark on white."""
    pictures = np.stack([_drawn_at_mean(run, c) for c in range(run.model_config.K)])
    write_sheet(np.rint(255 * pictures).astype(np.uint8), Path(folder) / "map-clusters.png")


def _drawn_at_mean(run, c, n=64):
    """The mean of samples of a cluster, whose strokes are those that its letters share."""
    return run.model.sample(c, n, seed=c).mean(axis=0)


def _in_a_box(points):
    """Points [M, 2] in 16 bits between the 0.2 and 99.8 percentiles; outliers on the edge."""
    low, high = np.percentile(points, [0.2, 99.8], axis=0)
    return np.rint(65535 * ((points - low) / (high - low)).clip(0, 1)).astype(np.uint16)


def floor_data(theory) -> dict:
    """Predicted and measured accuracy, by model and rule: {model: {"n", kind: {rule: {...}}}}."""
    found = {}
    for model, rows in theory.groupby("model", sort=False):
        counts = sorted(rows["n_labels"].unique())
        of = {"n": [int(n) for n in counts], "predicted": {}, "measured": {}}
        for (kind, rule), curve in rows.groupby(["kind", "rule"], sort=False):
            curve = curve.set_index("n_labels").loc[counts, ["value", "low", "high"]]
            of[kind][rule] = {name: curve[name].round(5).tolist() for name in curve}
        found[model] = of
    return found
