"""Letters and case of each component, and the components that Figure 1 shows.

True letters and cases are read here to describe a trained model, never to train it.
"""

import numpy as np
import pandas as pd

from gmvae_lib.errors import InputError
from gmvae_lib.study.metrics import component_table

UNKNOWN, UPPER, LOWER = 0, 1, 2  # of an image's "case"
MIX_LETTERS, MIX_SHARE = 3, 0.05  # a mix names that many letters at most, with that share at least


def style_table(q, y, case, class_names):
    """The component table with the letters and the case of each component's images.

    Parameters
    ----------
    q : array [N, K]
    y : int array [N]
    case : int array [N]
        0 unknown, 1 upper case, 2 lower case.
    class_names : sequence of str, [C]

    Returns
    -------
    DataFrame of K rows
        The columns of `metrics.component_table`; letter (the commonest; nan if none); second (share
        of the second commonest); mix (its up to three letters of at least 5 %, such as "t 71 %,
        j 25 %"); known (images of known case); upper (share of upper case among those; nan if
        none).
    """
    table = component_table(q, y, class_names)
    if np.shape(case) != np.shape(y):
        raise InputError(f"case: found shape {np.shape(case)}; expected that of y, {np.shape(y)}")
    cluster = np.argmax(q, axis=1)
    counts = np.zeros((len(table), len(class_names)))
    np.add.at(counts, (cluster, y), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    order = np.argsort(-share, axis=1, kind="stable")
    mixes = []
    for row, best in zip(share, order, strict=True):
        named = [i for i in best[:MIX_LETTERS] if row[i] >= MIX_SHARE]
        mixes.append(", ".join(f"{class_names[i]} {100 * row[i]:.0f} %" for i in named))
    known = np.bincount(cluster[case != UNKNOWN], minlength=len(table))
    upper = np.bincount(cluster[case == UPPER], minlength=len(table))
    letter = pd.Series([class_names[i] for i in order[:, 0]], dtype=object)
    return table.assign(
        letter=letter.where(table["size"] > 0),
        second=np.take_along_axis(share, order[:, 1:2], axis=1)[:, 0],
        mix=mixes,
        known=known,
        upper=np.divide(upper, known, out=np.full(len(table), np.nan), where=known > 0),
    )


def case_contrast(styles, min_known=200, min_purity=0.8):
    """For each letter, its components with the largest and the smallest share of upper case.

    Only components with at least `min_known` images of known case and a purity of at least
    `min_purity` are considered.

    Returns
    -------
    DataFrame, one row a letter that has such a component
        most, least (components); upper_most, upper_least (their shares of upper case).
    """
    clear = styles[(styles["known"] >= min_known) & (styles["purity"] >= min_purity)]
    groups = clear.set_index("component").groupby("letter")["upper"]
    return groups.agg(most="idxmax", least="idxmin", upper_most="max", upper_least="min")


def figure_1_components(styles, letter="f", min_size=200):
    """The components that Figure 1 shows, chosen by rule.

    Parameters
    ----------
    styles : DataFrame, from `style_table`
    letter : str
        The letter shown whatever its contrast (the article shows f).
    min_size : int
        Images that an impure component must hold.

    Returns
    -------
    dict of str to int
        widest upper, widest lower: of the letter whose two components of `case_contrast` differ
        most, the first in the alphabet if several do; letter upper, letter lower: the same of
        `letter`; pair: the largest second letter; impure: the lowest purity. What no component
        fulfils is left out, and so is a component already there.
    """
    contrast = case_contrast(styles, min_size)
    rules = {}
    if len(contrast):
        widest = contrast.loc[(contrast["upper_most"] - contrast["upper_least"]).idxmax()]
        rules |= {"widest upper": widest["most"], "widest lower": widest["least"]}
    if letter in contrast.index:
        own = contrast.loc[letter]
        rules |= {"letter upper": own["most"], "letter lower": own["least"]}
    large = styles[styles["size"] >= min_size].set_index("component")
    if len(large):
        rules |= {"pair": large["second"].idxmax(), "impure": large["purity"].idxmin()}
    chosen = {}
    for rule, component in rules.items():
        if component not in chosen.values():
            chosen[rule] = int(component)
    return chosen


def caption(styles, component):
    """One line on a component: number, letters, share of upper case, purity."""
    row = styles.set_index("component").loc[component]
    upper = "unknown" if np.isnan(row["upper"]) else f"{100 * row['upper']:.0f} %"
    parts = row["mix"], f"upper case {upper}", f"purity {100 * row['purity']:.0f} %"
    return f"c = {component}:  {'  |  '.join(parts)}"
