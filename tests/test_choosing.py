"""Which images to label."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmvae_lib.choosing import suggest
from gmvae_lib.errors import InputError

# three components of weight 2.2, 1.9 and 0.9 over five images; nothing falls to the fourth
Q = np.array(
    [
        [0.6, 0.3, 0.1, 0.0],
        [0.9, 0.1, 0.0, 0.0],
        [0.5, 0.4, 0.1, 0.0],
        [0.1, 0.9, 0.0, 0.0],
        [0.1, 0.2, 0.7, 0.0],
    ]
)


def posterior(n, k, seed):
    return np.random.default_rng(seed).dirichlet(np.full(k, 0.2), size=n).astype(np.float32)


def test_first_round_is_the_most_typical_image_of_each_component_heaviest_first():
    table = suggest(Q, 3)
    assert list(table.columns) == ["index", "cluster", "reason"]
    assert table["index"].tolist() == [1, 3, 4]
    assert table["cluster"].tolist() == [0, 1, 2]
    assert table["reason"][0] == "most typical of cluster 0 (44.0% of the images)"


def test_later_rounds_are_typical_but_different():
    rest = [[0.6, 0.2, 0.2], [0.7, 0.2, 0.1], [0.7, 0.0, 0.3], [0.4, 0.3, 0.3], [0.5, 0.5, 0.0]]
    q = np.array([[0.9, 0.1, 0.0], *rest])
    table = suggest(q, 6)
    # of the typical half (rows 0, 2, 3), row 3 differs from row 0 by 0.3 and row 2 by 0.2; then
    # the half is used up, and the rest come by typicality
    assert table["index"].tolist() == [0, 3, 2, 1, 5, 4]
    assert table["reason"][1].endswith("unlike those chosen before")


def test_images_without_any_difference_come_by_typicality_then_by_position():
    q = np.array([[0.7, 0.3], [0.7, 0.3], [0.7, 0.3]])
    assert suggest(q, 3)["index"].tolist() == [0, 1, 2]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 10), st.data())
def test_rows_are_distinct_nested_and_in_rounds(n, k, seed, data):
    q = posterior(n, k, seed)
    budget = data.draw(st.integers(1, n))
    table, everything = suggest(q, budget), suggest(q, n)
    assert len(table) == budget and table["index"].is_unique
    assert table.equals(everything.head(budget))
    assert (q.argmax(1)[everything["index"]] == everything["cluster"]).all()
    in_use = len(np.unique(q.argmax(1)))
    first = everything.head(in_use)
    assert first["cluster"].is_unique
    assert (np.diff(q.sum(0, dtype=np.float64)[first["cluster"]]) <= 0).all()


def test_covers_all_components_with_as_many_labels():
    q = posterior(2000, 50, seed=0)
    assert suggest(q, 50)["cluster"].nunique() == 50


@pytest.mark.parametrize(
    ("q", "budget", "message"),
    [
        (Q, 6, "budget: found 6, expected 1 to 5"),
        (Q, 0, "budget: found 0, expected 1 to 5"),
        (Q, 2.0, "budget: found 2.0, expected a whole number"),
        (Q, True, "budget: found True"),
        (Q[0], 1, "q: found float64 [4]"),
        (Q[:0], 1, "q: found float64 [0, 4]"),
        (Q > 0.5, 1, "q: found bool"),
        (Q * 2, 1, "q: found row 0 with the sum 2"),
        (np.where(Q == 0.7, np.nan, Q), 1, "q: found row 4 with the sum nan"),
        (Q - [[0.2, -0.2, 0, 0]], 1, "q: found row 3 with the sum 1 and the least entry -0.1"),
    ],
)
def test_bad_input(q, budget, message):
    with pytest.raises(InputError) as caught:
        suggest(q, budget)
    assert message in str(caught.value) and "\n" not in str(caught.value)
