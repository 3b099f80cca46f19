"""Temperature calibration of a decoder from its few labels."""

import numpy as np
from sklearn.base import clone

TEMPERATURES = np.geomspace(0.1, 10, 101)  # what `temperature` chooses from


def temperature(decoder, features, y, n_folds=20):
    """Temperature that calibrates a decoder, from the labelled points at hand alone.

    Every point is predicted by a decoder fitted without its fold; the temperature is the one at
    which these predictions make the labels most probable (Guo et al. 2017). Points whose label
    occurs in no other fold are left out, since no decoder could have predicted it.

    Parameters
    ----------
    decoder : unfitted classifier with predict_proba
    features, y : arrays [n, ...] and [n], of the labelled points
    n_folds : int
        Every n_folds-th point is in one fold; n leaves out one point at a time.

    Returns
    -------
    float
        For `at_temperature`. Above 1: the decoder is overconfident. 1 where nothing can be
        predicted.

    Examples
    --------
    >>> import numpy as np
    >>> from gmvae_lib import SoftDecoder
    >>> q = np.repeat([[0.6, 0.4], [0.4, 0.6]], 10, axis=0)
    >>> temperature(SoftDecoder(), q, np.repeat(["a", "b"], 10)) < 0.2  # underconfident here
    True
    """
    proba, known = held_out_proba(decoder, features, y, n_folds)
    return fit_temperature(proba, known, y)


def held_out_proba(decoder, features, y, n_folds=20, progress=False):
    """Label probabilities of every labelled point by a decoder fitted without its fold.

    Parameters: see `temperature`.

    Returns
    -------
    proba : float [n, C], columns in the order of np.unique(y)
        Zeros for a point without any other to learn from.
    known : bool [n]
        Whether the point's label occurs outside its fold; if not, it cannot be predicted.

    Examples
    --------
    >>> import numpy as np
    >>> from gmvae_lib import HardDecoder
    >>> q = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
    >>> proba, known = held_out_proba(HardDecoder(), q, ["a", "a", "b"], n_folds=3)
    >>> proba.tolist(), known.tolist()
    ([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]], [True, True, False])
    """
    from tqdm import tqdm

    features, (classes, label) = np.asarray(features), np.unique(y, return_inverse=True)
    fold = np.arange(len(label)) % n_folds
    proba, known = np.zeros((len(label), len(classes))), np.zeros(len(label), dtype=bool)
    folds = range(min(n_folds, len(label)))
    for left_out in tqdm(folds, desc="cross-validation", unit="fold", disable=not progress):
        out = fold == left_out
        if out.all():
            continue
        fitted = clone(decoder).fit(features[~out], label[~out])
        proba[np.ix_(out, fitted.classes_)] = fitted.predict_proba(features[out])
        known[out] = np.isin(label[out], fitted.classes_)
    return proba, known


def fit_temperature(proba, known, y, doubt=np.inf):
    """The temperature at which held-out probabilities make the known labels most probable.

    proba [n, C], known [n]: from `held_out_proba`. y [n]. ``doubt``: standard deviation of a normal
    prior on log(temperature) about 0, for few points; inf for none.

    Examples
    --------
    Nine of ten predictions are right, as their probabilities say:

    >>> import numpy as np
    >>> proba, y = np.tile([0.9, 0.1], (10, 1)), [0] * 9 + [1]
    >>> fit_temperature(proba, np.ones(10, dtype=bool), y)
    1.0
    """
    if not known.any():
        return 1.0
    label = np.unique(y, return_inverse=True)[1]
    proba, truth = proba[known], label[known]

    def log_likelihood(t):
        likelihood = at_temperature(proba, t)[np.arange(len(truth)), truth]
        return np.log(likelihood).sum() - (np.log(t) / doubt) ** 2 / 2

    return float(max(TEMPERATURES, key=log_likelihood))


def at_temperature(proba, temperature):
    """Rows of proba [N, C] to the power 1 / temperature, rescaled to sum to 1.

    Above 1 the probabilities become more alike; the most probable label stays the same. Zeros count
    as 1e-6.

    Examples
    --------
    >>> import numpy as np
    >>> at_temperature(np.array([[0.8, 0.2]]), 2.0).round(3).tolist()
    [[0.667, 0.333]]
    """
    power = np.maximum(proba, 1e-6) ** (1 / temperature)
    return power / power.sum(axis=1, keepdims=True)
