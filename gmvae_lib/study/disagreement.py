"""The image of Figure 2: soft decoding right, hard decoding wrong."""

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
