"""What more labels would add: simulated over truths that fit the labels at hand."""

import numpy as np
import pandas as pd

from gmvae_lib.label.decoding import ALPHAS, GraphDecoder, cluster_affinity, log_evidence
from gmvae_lib.label.forecast import labels_for_accuracy

MORE = (10, 25, 50, 100, 200)  # further labels
CONCENTRATION = 0.3  # prior mean of how mixed a cluster's labels are; see `simulate_gain`
TRUTHS = 30  # simulated
WANTED = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)  # accuracies; the next three are shown


def simulate_gain(smoothed, index, given, chosen=(), more=MORE, seed=0):
    """What more labels would add to the accuracy, over truths that fit the labels at hand.

    A truth gives each cluster a distribution over labels, drawn from a Dirichlet distribution with
    parameters (votes + a p(l|c)): p(l|c) is the decoder's own estimate, and a, how mixed clusters
    are, the most probable value given the votes (decoding.log_evidence) under an exponential prior
    of mean `CONCENTRATION`. Further images are labelled by the truth of their cluster, the graph
    decoder is fitted again, and accuracy is then sum_c w_c p(l(c)|c), with w_c the share of cluster
    c and l(c) its name: every image is taken for a typical one of its cluster. (The predictions of
    `bounds` are of this kind, but for labels all at random and p(l|c) known.)

    Parameters
    ----------
    smoothed : float [N, K]. index, given : int [n], labelled images and their labels, 0 .. C - 1.
    chosen : int [m], the images to label next, in this order.
    more : counts of further labels. seed : of truths and draws.

    Returns
    -------
    gain : DataFrame
        more (0 first), random, random_low, random_high, chosen, chosen_low, chosen_high: mean of
        the added accuracy and the middle 95 % of the truths, for images drawn at random and for
        ``chosen``. nan where there are too few images.
    spread : float
        Standard deviation over the truths of the accuracy now.
    """
    chosen = np.asarray(chosen, dtype=np.int64)
    rng = np.random.default_rng(seed)
    n_images, n_components = smoothed.shape
    components = np.arange(n_components)
    affinity, top = cluster_affinity(smoothed), smoothed.argmax(axis=1)
    weights = np.bincount(top, minlength=n_components) / n_images
    hard = np.eye(n_components, dtype=np.float32)[top]

    def named(rows, y):
        decoder = GraphDecoder(affinity).fit(hard[rows], y)
        return decoder.label_given_component_.clip(1e-9)

    votes = np.zeros((int(given.max()) + 1, n_components))
    np.add.at(votes, (given, top[index]), 1)
    evidence = log_evidence(votes, ALPHAS, np.full(len(votes), 1 / len(votes)))
    log_prior = np.log(ALPHAS) - ALPHAS / CONCENTRATION  # as a density over log(a)
    a = ALPHAS[np.argmax(evidence + log_prior)]
    estimate = named(index, given)
    rest = np.setdiff1d(np.arange(n_images), index)
    counts = [0, *more]
    found = np.full((2, TRUTHS, len(counts)), np.nan)
    for draw in range(TRUTHS):
        truth = _dirichlet(votes + a * estimate / estimate.sum(axis=0), rng)  # [C, K]
        for way, queue in enumerate((rng.permutation(rest)[: max(counts)], chosen)):
            labels = _labels_by(truth[:, top[queue]].T, rng)
            for j, n in enumerate(counts):
                if n > len(queue):
                    break
                rows = np.concatenate([index, queue[:n]])
                names = named(rows, np.concatenate([given, labels[:n]])).argmax(axis=0)
                found[way, draw, j] = weights @ truth[names, components]
    spread = found[0, :, 0].std(ddof=1)
    found -= found[:, :, :1]
    gain = {"more": counts}
    for way, name in enumerate(("random", "chosen")):
        gain[name] = found[way].mean(axis=0)
        # nan where there are too few images, for every truth alike
        gain[f"{name}_low"], gain[f"{name}_high"] = np.quantile(found[way], [0.025, 0.975], 0)
    return pd.DataFrame(gain), float(spread)


def labels_wanted(gain, accuracy, n_labels, targets=WANTED) -> pd.DataFrame:
    """How many further labels the next three accuracies take, as `simulate_gain` expects.

    The band contains the interval of the accuracy now and the truths behind the gain, added as
    independent errors. Nothing is extrapolated: what the simulated labels do not reach is inf.

    Parameters
    ----------
    gain : DataFrame of `simulate_gain`. accuracy : Accuracy, now, with ``n_labels`` labels.

    Returns
    -------
    DataFrame
        accuracy; chosen, chosen_low, chosen_high, random, random_low, random_high: further labels.

    Examples
    --------
    >>> ways = [f"{way}{end}" for way in ("random", "chosen") for end in ("", "_low", "_high")]
    >>> more = {"more": [0, 50, 100]} | dict.fromkeys(ways, [0, 0.1, 0.22])
    >>> from gmvae_lib.report.findings import Accuracy
    >>> now = Accuracy(0.7, 0.65, 0.75, 50, "random")
    >>> labels_wanted(pd.DataFrame(more), now, n_labels=50)[["accuracy", "random", "random_high"]]
       accuracy  random  random_high
    0      0.80    50.0         68.0
    1      0.85    68.0         90.0
    2      0.90    90.0          inf
    """
    rows = []
    below, above = accuracy.value - accuracy.low, accuracy.high - accuracy.value
    for target in [wanted for wanted in targets if wanted > accuracy.value][:3]:
        row = {"accuracy": target}
        for way in ("chosen", "random"):
            mean, low, high = (gain[f"{way}{end}"] for end in ("", "_low", "_high"))
            curve = pd.DataFrame(
                {
                    "n_labels": n_labels + gain["more"],  # read off over the logarithm of all
                    "accuracy": accuracy.value + mean,
                    "low": accuracy.value + mean - np.hypot(below, mean - low),
                    "high": accuracy.value + mean + np.hypot(above, high - mean),
                }
            ).dropna()
            needed = labels_for_accuracy(curve, target)
            columns = way, f"{way}_low", f"{way}_high"
            row |= {name: n - n_labels for name, n in zip(columns, needed, strict=True)}
        rows.append(row)
    ways = [f"{way}{end}" for way in ("chosen", "random") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["accuracy", *ways])


def _dirichlet(parameters, rng):
    """Columns drawn from Dirichlet distributions, in logarithms: parameters may be tiny."""
    # gamma(a) = gamma(a + 1) U^(1/a), which does not vanish
    log_gamma = (
        np.log(rng.gamma(parameters + 1)) + np.log(rng.random(parameters.shape)) / parameters
    )
    drawn = np.exp(log_gamma - log_gamma.max(axis=0))
    return drawn / drawn.sum(axis=0)


def _labels_by(p, rng):
    """A label for each row of p [M, C], drawn by it."""
    total = p.cumsum(axis=1)
    return (rng.random((len(p), 1)) * total[:, -1:] > total).sum(axis=1).clip(max=p.shape[1] - 1)
