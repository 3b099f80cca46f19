"""Accuracy over models and over draws of the labels at once.

An interval over models that share their draws leaves out the draws, and one over draws of one model
leaves out the models. Here every model meets every draw:

    accuracy[m, d] = mean + model_m + draw_d + rest_md

``python -m gmvae_lib.study.two_way FOLDER --labels IDX`` reads the posteriors that the part
``models`` of ``benchmarks.gpu`` wrote, measures the decoders and writes results/two_way.csv, and
beside it two_way_cells.npz with the accuracy of every model and draw. It resumes after an
interruption.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t

from gmvae_lib.data.images import load_images
from gmvae_lib.data.outputs import write_table
from gmvae_lib.data.storage import read_npz, write_npz
from gmvae_lib.errors import InputError
from gmvae_lib.study.experiments import decoded, sweep
from gmvae_lib.study.metrics import labels_at_accuracy, purity
from gmvae_lib.vae.runs import unpack_posterior

N_LABELS = {  # by the decoders' input; the crossing of 80 % lies between 100 and 291
    "q": (73, 100, 146, 291, 728),
    "smoothed": (73, 100, 291, 728),
    "rows": (73, 100, 291, 728),
}
DRAWS = {"q": 100, "smoothed": 20, "rows": 20}  # of the labels; the last two take seconds a cell
FEW_MODELS = 5
OUT = Path("results/two_way.csv")
CELLS = "two_way_cells.npz"


class TwoWay(NamedTuple):
    """Crossed random effects: what varies, and the intervals that follow, all in accuracy.

    ``low`` to ``high`` covers the mean over all models and draws; ``one_low`` to ``one_high`` what
    one new model gives with one new draw, which is what a reader will see. Both are 95 % intervals
    unless another confidence was asked for.
    """

    mean: float
    low: float
    high: float
    one_low: float
    one_high: float
    sd_model: float
    sd_draw: float
    sd_rest: float


def two_way(accuracy, confidence=0.95) -> TwoWay:
    """Mean of a table [models, draws] with intervals that contain models and draws.

    The variance components are those of the analysis of variance, negative ones set to 0; degrees
    of freedom by Satterthwaite (1946).

    Raises
    ------
    InputError : fewer than two models or draws, or numbers that are not finite.

    Examples
    --------
    >>> found = two_way([[0.70, 0.80], [0.72, 0.82]])
    >>> round(found.mean, 3), round(found.sd_draw, 3)
    (0.76, 0.071)
    """
    table = np.asarray(accuracy, dtype=float)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise InputError(
            f"accuracy: found shape {table.shape}, expected finite numbers of two models and two "
            "draws at least"
        )
    M, D = table.shape
    mean, models, draws = table.mean(), table.mean(axis=1), table.mean(axis=0)
    rest = table - models[:, None] - draws + mean
    squares = {  # mean squares and their degrees of freedom
        "model": (D * models.var(ddof=1), M - 1),
        "draw": (M * draws.var(ddof=1), D - 1),
        "rest": ((rest**2).sum() / ((M - 1) * (D - 1)), (M - 1) * (D - 1)),
    }
    of_model, of_draw, of_rest = (value for value, _ in squares.values())
    # what is not above the rest but by rounding is none
    model, draw = (
        max(0.0, value - of_rest) / n if value > of_rest * (1 + 1e-9) + 1e-18 else 0.0
        for value, n in ((of_model, D), (of_draw, M))
    )

    def half(weights):
        """Half the interval of a variance that is a weighted sum of the mean squares."""
        parts = [(w * s, df) for w, (s, df) in zip(weights, squares.values(), strict=True)]
        variance = sum(part for part, _ in parts)
        if variance <= 0:
            return 0.0
        freedom = variance**2 / sum(part**2 / df for part, df in parts)
        return float(t.ppf((1 + confidence) / 2, max(1.0, freedom)) * np.sqrt(variance))

    # Var of the mean: model / M + draw / D + rest / (M D); a component set to 0 drops out
    w_model, w_draw = 1 / (M * D) * (model > 0), 1 / (M * D) * (draw > 0)
    of_mean = half((w_model, w_draw, 1 / (M * D) - w_model - w_draw))
    w_model, w_draw = (1 + 1 / M) / D * (model > 0), (1 + 1 / D) / M * (draw > 0)
    of_one = half((w_model, w_draw, 1 + 1 / (M * D) - w_model - w_draw))
    return TwoWay(
        float(mean),
        float(mean - of_mean),
        float(mean + of_mean),
        float(mean - of_one),
        float(mean + of_one),
        float(np.sqrt(model)),
        float(np.sqrt(draw)),
        float(np.sqrt(of_rest)),
    )


def models(folder, only=None):
    """Yield (model seed, q [N, K], neighbours [N, n]) of the files ``seeds*.npz`` in a folder.

    only : model seeds to read, instead of all.
    """
    paths = sorted(Path(folder).glob("seeds*.npz"))
    if not paths:
        raise InputError(f"{folder}: found no seeds*.npz, expected what benchmarks.gpu wrote")
    for path in paths:
        columns = read_npz(path, ())
        seeds = {int(name.partition(".")[0]) for name in columns}
        for seed in sorted(seeds if only is None else seeds.intersection(only)):
            own = {n.partition(".")[2]: v for n, v in columns.items() if n.startswith(f"{seed}.")}
            yield seed, unpack_posterior(own), own["neighbours"]


def measure(folder, y, work, n_labels=N_LABELS, draws=DRAWS, n_jobs=1, only=None) -> pd.DataFrame:
    """Accuracy of each decoder for every model and draw: model, method, n_labels, draw, accuracy.

    work : folder of one CSV for each model and kind of decoder, by which a repeated call resumes.
    """
    Path(work).mkdir(parents=True, exist_ok=True)
    tables = []
    for seed, q, neighbours in models(folder, only):
        features, methods = decoded(q, neighbours)
        for kind, n_draws in draws.items():
            table = sweep(
                {kind: features[kind]},
                y,
                {kind: methods[kind]},
                n_labels[kind],
                range(n_draws),
                out=Path(work) / f"model{seed}-{kind}.csv",
                n_jobs=n_jobs,
            )
            tables.append(table.assign(model=seed, purity=purity(q.argmax(axis=1), y)))
    found = pd.concat(tables, ignore_index=True).rename(columns={"seed": "draw"})
    return found[["model", "method", "n_labels", "draw", "accuracy", "purity"]]


def summary(measured: pd.DataFrame) -> pd.DataFrame:
    """One row for each method and number of labels: counts of models and draws, `TwoWay`."""
    rows = []
    for (method, n), table in cells(measured).items():
        counts = {"models": table.shape[0], "draws": table.shape[1]}
        rows.append({"method": method, "n_labels": n, **counts, **two_way(table)._asdict()})
    return pd.DataFrame(rows)


def cells(measured: pd.DataFrame) -> dict:
    """Accuracy [models, draws] by (method, number of labels), from the table of `measure`."""
    return {
        key: group.pivot(index="model", columns="draw", values="accuracy").to_numpy()
        for key, group in measured.groupby(["method", "n_labels"], sort=True)
    }


def save_cells(path, found: dict) -> None:
    """Write `cells` as float32, which holds an accuracy over 100,000 images to the last image."""
    columns = {f"{method} {n}": table.astype(np.float32) for (method, n), table in found.items()}
    write_npz(path, columns)


def load_cells(path) -> dict:
    """Inverse of `save_cells`: accuracy [models, draws] by (method, number of labels)."""
    found = {}
    for name, table in read_npz(path, ()).items():
        method, _, n = name.rpartition(" ")
        found[method, int(n)] = table.astype(float)
    return found


def crossing(found: dict, method: str, target: float, n_resamples=2000, seed=0) -> np.ndarray:
    """Labels at which a method's mean accuracy reaches a target, resampling models and draws.

    A bootstrap over fewer than `FEW_MODELS` models would leave out most of what a further one might
    give. Their mean is then moved by Student's t of M - 1 degrees of freedom, at all numbers of
    labels together.

    found : accuracy [M, D] by (method, number of labels), with the same M and D at every number.

    Returns
    -------
    float array [1 + n_resamples]
        First that of the data, then those of the bootstrap, in which models and draws are drawn
        with replacement each; inf where the target is not reached.
    """
    counts = sorted(n for name, n in found if name == method)
    tables = np.array([found[method, n] for n in counts])  # [C, M, D]
    _, M, D = tables.shape
    rng = np.random.default_rng(seed)
    curves = [tables.mean(axis=(1, 2))]
    for _ in range(n_resamples):
        drawn = tables[:, :, rng.integers(0, D, D)]
        if M >= FEW_MODELS:
            curves.append(drawn[:, rng.integers(0, M, M)].mean(axis=(1, 2)))
            continue
        mean, moved = drawn.mean(axis=(1, 2)), 0.0
        if M > 1:  # a normal combination of the deviations, over the root of chi-squared
            apart = drawn.mean(axis=2) - mean[:, None]  # [C, M], sums to 0
            moved = apart @ rng.normal(size=M) / np.sqrt(M * rng.chisquare(M - 1))
        curves.append(mean + moved)
    return np.nan_to_num([labels_at_accuracy(counts, c, target) for c in curves], nan=np.inf)


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.two_way", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("folder", help="of seeds*.npz, as benchmarks.gpu writes them")
    parser.add_argument("--labels", required=True, metavar="IDX", help="images file of the letters")
    parser.add_argument("--work", default="runs/two_way", help="folder to resume from")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--only", type=int, nargs="+", help="model seeds (default: all)")
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args(argv)
    y = load_images(args.labels, transpose=True).labels
    measured = measure(args.folder, y, args.work, n_jobs=args.jobs, only=args.only)
    table = summary(measured)
    write_table(args.out, table.round(6))
    save_cells(args.out.with_name(CELLS), cells(measured))
    print(table.round(4).to_string(index=False))
    purities = measured.groupby("model")["purity"].first()
    print(f"purity of {len(purities)} models: {purities.mean():.4f}, sd {purities.std():.4f}")


if __name__ == "__main__":
    main()
