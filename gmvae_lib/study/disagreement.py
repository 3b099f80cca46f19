"""Where soft and hard decoding differ: the image of Figure 2, and counts over all images."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gmvae_lib.errors import InputError
from gmvae_lib.label.decoding import HardDecoder, SoftDecoder


@dataclass(frozen=True)
class Disagreement:
    """An image on which the soft rule is right and the hard rule wrong; see `find_disagreement`.

    The arrays run over the image's likeliest components, largest q(c|x) first.
    """

    index: int
    truth: int
    hard: int
    soft: int
    margin: float  # share of the similarity that goes to the truth, minus the hard answer's
    components: np.ndarray  # int [M]
    posterior: np.ndarray  # [M], q(c|x)
    votes: np.ndarray  # int [M, C], labelled images of each label in each component
    classes: np.ndarray  # int [C], the labels that the columns of votes count
    n_candidates: int  # images that satisfy the rule, of which this is the first


def find_disagreement(q, y, labelled, min_posterior=0.1, min_components=3, n_shown=5):
    """Choose the image of Figure 2 by a fixed rule.

    It is the one with the largest `margin` among the unlabelled images on which the hard rule
    (nearest fallback) is wrong and the soft rule right, whose most likely component has labels but
    less of q(c|x) than the components that vote for the truth, and on which at least
    `min_components` components have q(c|x) above `min_posterior`.

    Parameters
    ----------
    q : array [N, K]
    y : int array [N], true labels
    labelled : int array [n], the images whose labels both rules are fitted on
    min_posterior, min_components : see above
    n_shown : int
        Components to report.

    Raises
    ------
    InputError
        If no image satisfies the rule.
    """
    q, y = np.asarray(q), np.asarray(y)
    hard = HardDecoder(fallback="nearest").fit(q[labelled], y[labelled])
    soft = SoftDecoder().fit(q[labelled], y[labelled])
    says_hard, shares = hard.predict(q), soft.predict_proba(q)
    says_soft = soft.classes_[shares.argmax(axis=1)]
    has_votes = hard.component_count_.any(axis=0)
    vote = hard.classes_[hard.component_count_.argmax(axis=0)]
    for_truth = (q * (has_votes & (vote == y[:, None]))).sum(axis=1)
    kept = (says_hard != y) & (says_soft == y) & has_votes[q.argmax(axis=1)]
    kept &= for_truth > q.max(axis=1)
    kept &= (q > min_posterior).sum(axis=1) >= min_components
    kept[labelled] = False
    candidates = np.flatnonzero(kept)
    if len(candidates) == 0:
        raise InputError(
            f"q, y: found no image where soft is right, hard wrong, the truth's components outweigh"
            f" the top one, and {min_components} are above {min_posterior}; expected at least one"
        )
    rows = np.arange(len(candidates))
    truth, answer = (
        shares[candidates][rows, np.searchsorted(soft.classes_, labels[candidates])]
        for labels in (y, says_hard)
    )
    best = (truth - answer).argmax()
    index = candidates[best]
    components = np.argsort(-q[index], kind="stable")[:n_shown]
    return Disagreement(
        index=int(index),
        truth=int(y[index]),
        hard=int(says_hard[index]),
        soft=int(says_soft[index]),
        margin=float(truth[best] - answer[best]),
        components=components,
        posterior=q[index, components],
        votes=hard.component_count_[:, components].T.astype(np.int64),
        classes=hard.classes_,
        n_candidates=len(candidates),
    )


def count_disagreements(q, y, labelled, min_posterior=0.1, min_components=3) -> dict:
    """Unlabelled images on which one of the two rules is right, by what tells them apart.

    Hard has the nearest fallback. ``corrected`` are those on which soft is right and hard wrong,
    ``spoiled`` the reverse. Each is the sum of four parts that exclude each other:

    - ``_unlabelled``: the most likely component has no labelled image;
    - ``_mass``: it has, but holds less of q(c|x) than the components that vote for soft's answer.
      This is the article's explanation, and that of its Figure 2;
    - ``_tie``: otherwise, and two letters have equally many votes in it, of which hard takes the
      first in the alphabet;
    - ``_rate``: otherwise. Soft divides by the number of labels of a letter, hard does not.

    ``corrected_example`` counts those of ``corrected_mass`` that `find_disagreement` would accept,
    with ``min_components`` components above ``min_posterior``.

    Parameters
    ----------
    q : array [N, K]
    y : int array [N], true labels
    labelled : int array [n], the images whose labels both rules are fitted on
    """
    q, y = np.asarray(q), np.asarray(y)
    rows = np.setdiff1d(np.arange(len(y)), labelled)
    hard = HardDecoder(fallback="nearest").fit(q[labelled], y[labelled])
    soft = SoftDecoder().fit(q[labelled], y[labelled])
    says_hard, says_soft = hard.predict(q[rows]), soft.predict(q[rows])
    differ = (says_hard == y[rows]) != (says_soft == y[rows])
    rows, says_soft = rows[differ], says_soft[differ]
    q, corrected = q[rows], says_soft == y[rows]
    counts = hard.component_count_  # [C, K]
    has_votes, most = counts.any(axis=0), counts.max(axis=0)
    vote = hard.classes_[counts.argmax(axis=0)]
    top = q.argmax(axis=1)
    for_soft = (q * (has_votes & (vote == says_soft[:, None]))).sum(axis=1)
    tied = ((counts == most).sum(axis=0) > 1)[top]
    mass = has_votes[top] & (for_soft > q.max(axis=1)) & (vote[top] != says_soft)
    tie = has_votes[top] & ~mass & tied
    parts = {
        "unlabelled": ~has_votes[top],
        "mass": mass,
        "tie": tie,
        "rate": has_votes[top] & ~mass & ~tie,
    }
    example = mass & ((q > min_posterior).sum(axis=1) >= min_components)
    found = {}
    for name, those in (("corrected", corrected), ("spoiled", ~corrected)):
        found[name] = int(those.sum())
        found |= {f"{name}_{part}": int((those & mask).sum()) for part, mask in parts.items()}
    found["corrected_example"] = int((corrected & example).sum())
    return found


def draw_disagreements(q, y, labelled, n, seed=0):
    """Unlabelled images on which exactly one of the hard and the soft rule is right, at random.

    Parameters
    ----------
    q : array [N, K]
    y : int array [N], true labels
    labelled : int array [m], the images whose labels both rules are fitted on
    n : int
        Images of each kind, or all there are.
    seed : int

    Returns
    -------
    DataFrame
        right ("soft" in the first rows, then "hard"), index (row of q), truth, hard, soft.
    """
    q, y = np.asarray(q), np.asarray(y)
    says = {
        "hard": HardDecoder(fallback="nearest").fit(q[labelled], y[labelled]).predict(q),
        "soft": SoftDecoder().fit(q[labelled], y[labelled]).predict(q),
    }
    unlabelled = np.ones(len(y), dtype=bool)
    unlabelled[labelled] = False
    rng = np.random.default_rng(seed)
    tables = []
    for right, wrong in (("soft", "hard"), ("hard", "soft")):
        found = np.flatnonzero(unlabelled & (says[right] == y) & (says[wrong] != y))
        index = rng.permutation(found)[:n]
        columns = {"index": index, "truth": y[index], "hard": says["hard"][index]}
        tables.append(pd.DataFrame({"right": right, **columns, "soft": says["soft"][index]}))
    return pd.concat(tables, ignore_index=True)
