"""How good the labels at hand make a classifier: what `report` shows, as data.

No true label is read but those given. Accuracy is measured on labelled images that were drawn at
random, each predicted without its own label; where none was, it is what the decoder's confidence
says.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import beta

from gmvae_lib.data.labels import AT_RANDOM, FLAGS
from gmvae_lib.errors import InputError
from gmvae_lib.label.bounds.coverage import expected_missing_mass
from gmvae_lib.label.calibration import at_temperature, fit_temperature, held_out_proba
from gmvae_lib.label.choosing import suggest, typicality
from gmvae_lib.label.decoding import GraphDecoder, cluster_affinity
from gmvae_lib.label.neighbours import NeighbourDecoder
from gmvae_lib.label.outlook import outlook
from gmvae_lib.label.pooled import default_decoder, default_reason
from gmvae_lib.report.gain import MORE, labels_wanted, simulate_gain

MIN_RANDOM = 10  # labels drawn at random, from which on they measure the accuracy
DOUBT = 0.2  # of log(temperature), before any label was held out
MISFIT = 0.03  # by how much the mean confidence misses the accuracy: about that on the letters
UNNAMED = 0.1  # of the clusters with a label are less sure than one that is suspected
SHOWN = 24  # doubtful images, and images to label next


@dataclass(frozen=True)
class Accuracy:
    """An estimate of the share of unlabelled images that are predicted right.

    ``how``: "random", measured on ``n`` labelled images drawn at random; "cross-validated", on
    labelled images however chosen; "confidence", the mean confidence, ``n`` labels behind it.
    ``low``, ``high``: 95 % interval; Clopper & Pearson's for what is measured. ``none``: of ``n``,
    those that a person marked *none of these*, which no label fits: they count as wrong.
    ``unsure``: further ones drawn at random that a person marked *unsure*: they count as wrong for
    ``low`` and as right for ``high``.
    """

    value: float
    low: float
    high: float
    n: int
    how: str
    none: int = 0
    unsure: int = 0


@dataclass(frozen=True)
class Findings:
    """Everything that `report` shows. Labels are positions in ``classes``; N images, n labelled."""

    index: np.ndarray  # int [n]
    given: np.ndarray  # int [n], their labels
    at_random: np.ndarray  # bool [n]
    classes: np.ndarray  # [C]
    component: np.ndarray  # int [N], each image's cluster
    rank: np.ndarray  # int [N], its place in the cluster, 0 the most typical
    proba: np.ndarray  # float [N, C], tempered
    temperature: float
    accuracy: Accuracy
    cross_validated: Accuracy
    per_class: pd.DataFrame
    clusters: pd.DataFrame
    doubtful: np.ndarray  # int, the unlabelled images of the lowest confidence, lowest first
    contradicted: pd.DataFrame
    gain: pd.DataFrame
    wanted: pd.DataFrame
    next_to_label: np.ndarray  # int
    marked: dict[int, str]  # the reason of each image with a mark in place of a label
    warnings: list[str]
    decoder: str  # one line on which, and why

    @property
    def predicted(self) -> np.ndarray:
        return self.proba.argmax(axis=1)

    @property
    def confidence(self) -> np.ndarray:
        return self.proba.max(axis=1)


def examine(
    q, neighbours, index, y, at_random=None, marked=None, progress=False, decoder=None, note=None
) -> Findings:
    """Fit the decoder that asks neighbours and find out how far it can be trusted.

    Parameters
    ----------
    q : float [N, K]. neighbours : int [N, m], rows of the nearest images (training.nearest).
    index : int [n], the labelled images. y : array [n], their labels.
    at_random : bool [n], which of them were drawn uniformly at random; none, if not given.
    marked : {row: reason}, images marked *unsure* or *none of these*, as the reason says first.
    progress : show progress bars.
    decoder : unfitted, on row numbers; by default `pooled.default_decoder`. note : a line on it.
    """
    if len(q) < 2:
        raise InputError("images: found one, expected more to ask")
    index = np.asarray(index)
    at_random = np.zeros(len(index), bool) if at_random is None else np.asarray(at_random)
    if decoder is None:
        decoder, note = default_decoder(q, neighbours), default_reason(*q.shape)
    smoothed = decoder.q
    classes, given = np.unique(y, return_inverse=True)
    held_out, known = left_out(decoder, index, y, progress)
    temperature = max(1.0, fit_temperature(held_out, known & fair(at_random), y, DOUBT))
    held_out = at_temperature(held_out, temperature)
    proba = at_temperature(decoder.fit(index, y).predict_proba(np.arange(len(q))), temperature)
    proba[index] = np.eye(len(classes))[given]  # a label given by hand stands
    unlabelled = np.ones(len(q), bool)
    unlabelled[index] = False
    seen = np.append(index, list(marked or ())).astype(np.intp)  # by a person

    right = known & (held_out.argmax(axis=1) == given)
    order = suggest(q, min(len(q), len(seen) + max(MORE)), neighbours)["index"].to_numpy()
    order = order[~np.isin(order, seen)]
    gain, spread = simulate_gain(smoothed, index, given, chosen=order)
    confidence = proba.max(axis=1)
    told = confidence[unlabelled].mean() if unlabelled.any() else confidence.mean()
    drawn = [reason for reason in (marked or {}).values() if AT_RANDOM in reason]
    marks = [sum(reason.startswith(flag) for reason in drawn) for flag in FLAGS]
    accuracy = expected_accuracy(right, at_random, told, spread, *marks)
    component, rank = typicality(smoothed)
    clusters = cluster_names(smoothed, component, index, given, len(classes))
    sure = confidence.copy()
    sure[seen] = np.inf
    findings = {
        "index": index,
        "given": given,
        "at_random": at_random,
        "classes": classes,
        "component": component,
        "rank": rank,
        "proba": proba,
        "temperature": temperature,
        "accuracy": accuracy,
        "cross_validated": measured(right, "cross-validated"),
        "per_class": _per_class(given, right, at_random, proba.argmax(axis=1), len(classes)),
        "clusters": clusters,
        "doubtful": np.argsort(sure, kind="stable")[: min(SHOWN, len(q) - len(seen))],
        "contradicted": contradicted(index, given, held_out, known),
        "gain": gain.assign(unlabelled=_missed(clusters, len(index) + gain["more"])),
        "wanted": labels_wanted(gain, accuracy, len(index)),
        "next_to_label": order[:SHOWN],
        "marked": dict(marked or {}),
    }
    warnings = _warnings(q, neighbours, told, findings)
    return Findings(**findings, warnings=warnings, decoder=note)


# ------------------------------------------------------------------- accuracy


def fair(at_random):
    """The labelled images that measure anything, bool [n]: those at random, if enough."""
    return at_random if np.count_nonzero(at_random) >= MIN_RANDOM else np.zeros_like(at_random)


def random_temperature(decoder, features, y, at_random, progress=False) -> float:
    """Temperature that calibrates a decoder by the labelled points drawn at random; 1 without any.

    Chosen points are no guide: each is alone in its group, and held out, it makes the decoder look
    too bold. On the letters the decoder that asks neighbours is calibrated as it is when its labels
    are chosen ones, to 0.01 to 0.04.
    """
    if not fair(at_random).any():
        return 1.0
    held_out, known = left_out(decoder, features, y, progress)
    found = fit_temperature(held_out, known & at_random, y, DOUBT)
    # this decoder is never too timid; a few labels that all come out right would say that it is
    return max(1.0, found) if isinstance(decoder, NeighbourDecoder) else found


def left_out(decoder, features, y, progress=False):
    """What `held_out_proba` gives, each labelled point left out alone: accuracy hardly changes.

    With 20 folds of 100 random labels it is measured at 95 labels, on the letters a point less.
    """
    if isinstance(decoder, NeighbourDecoder):
        counts = pd.Series(y).map(pd.Series(y).value_counts()).to_numpy()
        return decoder.leave_one_out(features, y), counts > 1
    return held_out_proba(decoder, features, y, len(y), progress)


def measured(right, how, design=1.0) -> Accuracy:
    """Share of True in bool [n], with the interval of Clopper & Pearson 1934.

    It is exact for independent answers. ``design`` (Kish 1965) is by how much more the share
    scatters, as a variance, where they are not: the interval is then that of n / design answers.
    """
    n, k = len(right), int(np.count_nonzero(right))
    hits, misses = k / design, (n - k) / design
    low = beta.ppf(0.025, hits, misses + 1) if k else 0.0
    high = beta.ppf(0.975, hits + 1, misses) if k < n else 1.0
    return Accuracy(k / n, float(low), float(high), n, how)


def expected_accuracy(right, at_random, confidence, spread, unsure=0, none=0) -> Accuracy:
    """The accuracy to expect on unlabelled images.

    Parameters
    ----------
    right : bool [n], whether each labelled image was predicted right without its own label.
    at_random : bool [n]. With `MIN_RANDOM` of them or more, they decide: no bias but that of the
        labels held out. Labels that are tested also teach: two in a cluster are right together or
        wrong together. So answers count as 1 / (1 + their share of all labels). On the letters the
        variance was 1.7 to 2.6 times the binomial one with 40 to 200 labels, all at random, and
        1.0 to 1.3 times with 30 or 50 at random beside 50 or 100 chosen (`python -m
        benchmarks.coverage`). Chosen images say little by cross-validation, since each stands for a
        group that no other label stands for; where there are only such, the mean confidence
        decides.
    confidence : float, mean over the unlabelled images.
    spread : float, standard deviation of the accuracy over the truths that `simulate_gain` finds
        compatible with the labels.
    unsure, none : images drawn at random that got no label, but one of these marks; see `Accuracy`.
    """
    if fair(at_random).any():
        design, tested = 1 + np.mean(at_random), np.append(right[at_random], np.zeros(none, bool))
        found = measured(tested, "random", design)
        if unsure:
            worst, best = (
                measured(np.append(tested, np.full(unsure, value)), "random", design)
                for value in (False, True)
            )
            found = replace(found, low=worst.low, high=best.high)
        return replace(found, unsure=unsure, none=none)
    half = 1.96 * np.hypot(spread, MISFIT)
    low, high = confidence - half, confidence + half
    return Accuracy(
        float(confidence), float(max(low, 0)), float(min(high, 1)), len(right), "confidence"
    )


def _per_class(given, right, at_random, predicted, n_classes) -> pd.DataFrame:
    """label, labelled, predicted (images), checked, right, low, high: a row for each class.

    Checked are the labelled images drawn at random, or all, if fewer than `MIN_RANDOM` were.
    """
    checked = fair(at_random) if fair(at_random).any() else np.ones_like(at_random)
    rows = []
    for label in range(n_classes):
        own = right[checked & (given == label)]
        interval = measured(own, "") if len(own) else Accuracy(np.nan, np.nan, np.nan, 0, "")
        rows.append(
            (
                label,
                np.count_nonzero(given == label),
                np.count_nonzero(predicted == label),
                len(own),
                interval.value,
                interval.low,
                interval.high,
            )
        )
    columns = ["label", "labelled", "predicted", "checked", "right", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


# ------------------------------------------------------------------- clusters


def cluster_names(smoothed, component, index, given, n_classes) -> pd.DataFrame:
    """What each cluster holds, the heaviest first.

    Returns
    -------
    DataFrame
        component; weight (share of the images); labelled (images); votes (list of counts, [C]);
        name (position of its commonest label, or without labels the one that the clusters like it
        lend it); share (of its labels that are the commonest; nan without labels); state: "named",
        "mixed" (labels differ), "tied" or "unlabelled".
    """
    n_components = smoothed.shape[1]
    votes = np.zeros((n_components, n_classes), dtype=np.int64)
    np.add.at(votes, (component[index], given), 1)
    decoder = GraphDecoder(cluster_affinity(smoothed)).fit(smoothed[index], given)
    lent = decoder.classes_[decoder.label_given_component_.argmax(axis=0)]
    rows = []
    for c in range(n_components):
        n, most = int(votes[c].sum()), int(votes[c].max())
        if not n:
            state = "unlabelled"
        elif np.count_nonzero(votes[c] == most) > 1:
            state = "tied"
        else:
            state = "named" if most == n else "mixed"
        name = int(votes[c].argmax()) if n and state != "tied" else int(lent[c])
        share = most / n if n else np.nan
        rows.append((c, np.mean(component == c), n, votes[c].tolist(), name, share, state))
    columns = ["component", "weight", "labelled", "votes", "name", "share", "state"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("weight", ascending=False, kind="stable", ignore_index=True)


def unnamed_clusters(component, confidence, index) -> np.ndarray:
    """Clusters that may hold what no label names: without a label, and few are less sure.

    Their mean confidence is below that of nine in ten clusters with a label; the least sure first.

    component : int [N], each image's cluster. confidence : float [N]. index : labelled images.

    Examples
    --------
    >>> unnamed_clusters(np.array([0, 0, 1, 1, 2]), np.array([0.9, 0.9, 0.4, 0.5, 0.95]), [0])
    array([1])
    """
    images = np.bincount(component)
    sure = np.bincount(component, confidence) / np.maximum(images, 1)
    labelled = np.isin(np.arange(len(images)), component[index])
    limit = np.quantile(sure[labelled], UNNAMED)
    found = np.flatnonzero(~labelled & (images > 0) & (sure < limit))
    return found[np.argsort(sure[found], kind="stable")]


def contradicted(index, given, held_out, known) -> pd.DataFrame:
    """Labelled images that the others say are something else: labels to look at again.

    Parameters
    ----------
    index, given : int [n]. held_out : float [n, C], probabilities without the image's own label.
    known : bool [n], whether its label occurs elsewhere.

    Returns
    -------
    DataFrame
        index, given, says (label), p_given, p_says; at most `SHOWN`, the most contradicted first.
    """
    rows = np.arange(len(given))
    says = held_out.argmax(axis=1)
    table = pd.DataFrame(
        {
            "index": index,
            "given": given,
            "says": says,
            "p_given": held_out[rows, given],
            "p_says": held_out[rows, says],
        }
    )
    table = table[known & (says != given) & (table["p_says"] > 0.5)]
    return table.sort_values("p_given", kind="stable", ignore_index=True)[:SHOWN]


def _missed(clusters, counts) -> list[float]:
    """Share of images whose cluster gets no label, for numbers of labels drawn at random."""
    weights = clusters["weight"].to_numpy()
    weights = weights[weights > 0] / weights.sum()
    return [expected_missing_mass(weights, int(n)) for n in counts]


# -------------------------------------------------------------------- warnings


def _warnings(q, neighbours, told, findings) -> list[str]:
    """Sentences on what looks bad; `findings` as in `Findings`."""
    found = []
    classes, given, index = (findings[name] for name in ("classes", "given", "index"))
    n_labels, accuracy = len(given), findings["accuracy"]
    if accuracy.how != "random":
        found.append(
            "The accuracy was not measured: too few labelled images were drawn at random "
            f"({np.count_nonzero(findings['at_random'])}, at least {MIN_RANDOM} are needed). Label "
            "some that suggest --random draws."
        )
        before = outlook(q, neighbours)
        if not before.works:
            found.append(f"{before.sentence[0].upper()}{before.sentence[1:]}.")
    elif accuracy.high < told:
        found.append(
            f"The decoder is too sure of itself: its mean confidence is {told:.0%}, more than the "
            f"accuracy measured ({accuracy.low:.0%} to {accuracy.high:.0%})."
        )
    if len(classes) == 1:
        found.append("All labels are the same: nothing can be told apart.")
    used = np.exp(_entropy(q.mean(axis=0, dtype=np.float64)))
    if used < max(1.5, len(classes) / 2, q.shape[1] / 4):
        found.append(
            f"The images fall into few clusters: {used:.0f} are in use of {q.shape[1]}, for "
            f"{len(classes)} labels. Train again with another seed, or for more epochs."
        )
    surest = q.max(axis=1).mean(dtype=np.float64)
    if surest < 0.6:
        found.append(
            f"The model hesitates: the likeliest cluster of an image has {surest:.0%} of its "
            "posterior on average. Train for more epochs, or with fewer clusters."
        )
    single = [str(classes[c]) for c in np.flatnonzero(np.bincount(given) == 1)]
    if single:
        names = ", ".join(single[:10]) + (", …" if len(single) > 10 else "")
        found.append(f"Labels given once only, which nothing can be checked by: {names}.")
    clusters = findings["clusters"]
    bare = clusters[(clusters["state"] == "unlabelled") & (clusters["weight"] > 0)]
    if bare["weight"].sum() > 0.05:
        found.append(
            f"Clusters without a label, which take the names of others like them: {len(bare)}, "
            f"with {bare['weight'].sum():.0%} of the images."
        )
    suspects = unnamed_clusters(findings["component"], findings["proba"].max(axis=1), index)
    if len(suspects):
        share = np.isin(findings["component"], suspects).mean()
        numbers = ", ".join(map(str, suspects[:8])) + (", …" if len(suspects) > 8 else "")
        found.append(
            f"Clusters that may hold what no label names, with {share:.1%} of the images: "
            f"{numbers}. None has a label, and the decoder is less sure of them than of nine in "
            "ten that have one. Label an image of each."
        )
    undecided = clusters[clusters["state"] == "tied"]
    if undecided["weight"].sum() > 0.005:
        found.append(
            f"Clusters that got different labels equally often: {len(undecided)}, with "
            f"{undecided['weight'].sum():.0%} of the images. They hold more than one thing, or a "
            "label is wrong."
        )
    if accuracy.value < 0.7 and n_labels >= 2 * len(classes):
        found.append(
            f"Fewer than seven in ten images are expected right with {n_labels} labels: look at "
            "the clusters below, which may not be what your labels tell apart."
        )
    return found


def _entropy(p) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())
