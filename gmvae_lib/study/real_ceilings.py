"""What the true labels say of the inputs of real sets: why a method wins there, or does not.

``python -m gmvae_lib.study.real_ceilings FOLDER...`` writes results/real_ceilings.csv, by the runs
that `real_sets` kept. It reads all labels, and is for explanations only: nothing was chosen by it.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.preprocessing import StandardScaler

from gmvae_lib.classifier import GMVAEClassifier
from gmvae_lib.label.neighbours import NEIGHBOURS
from gmvae_lib.study.latent_maps import euclidean_neighbours, label_agreement
from gmvae_lib.study.metrics import purity
from gmvae_lib.study.programs import program
from gmvae_lib.study.real_sets import INPUTS, read_set, write_rows

OUT = Path("results/real_ceilings.csv")
COLUMNS = "set input near_input near_encoder purity sure all_labels".split()


def explained(X, model, y) -> dict:
    """Measures of an input X [N, D] and of the model trained on it, by the true labels y [N].

    Returns
    -------
    dict
        near_input, near_encoder: share of the ten nearest neighbours that have a picture's class,
        in X and in the encoder's features; purity of the clusters; sure: mean of the largest
        q(c|x); all_labels: accuracy of logistic regression on X with two thirds of all labels.
    """
    scaled = StandardScaler().fit_transform(X.astype(np.float64)).astype(np.float32)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    regression = LogisticRegression(C=0.01, max_iter=300)  # many labels: a stronger penalty
    q, near = model.posterior_, euclidean_neighbours(X, NEIGHBOURS)
    return {
        "near_input": label_agreement(near, y),
        "near_encoder": label_agreement(model.neighbours_, y),
        "purity": purity(q.argmax(axis=1), y),
        "sure": float(q.max(axis=1).mean()),
        "all_labels": float(cross_val_score(regression, scaled, y, cv=folds).mean()),
    }


@program("real_ceilings")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.real_ceilings",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=OUT, help="table (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=Path("runs/real_sets"), help="of the runs")
    args = parser.parse_args(argv)
    rows = pd.read_csv(args.out).to_dict("records") if args.out.is_file() else []
    done = {(row["set"], row["input"]) for row in rows}
    for folder in args.folders:
        for kind in INPUTS:
            run = args.work / f"{folder.name}-{kind}"
            if (folder.name, kind) in done or not (run / "row.json").is_file():
                continue
            images = read_set(folder, kind)
            X = images.pixels() if kind == "pixels" else images.images
            found = explained(X, GMVAEClassifier.load(run), images.labels)
            found = {name: round(value, 4) for name, value in found.items()}
            rows.append({"set": folder.name, "input": kind} | found)
            write_rows(args.out, rows, COLUMNS)
            print(rows[-1], flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
