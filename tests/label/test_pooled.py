"""The default decoder, and the pool of the soft rule with few neighbours."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmvae_lib.collection import Collection
from gmvae_lib.data.scaling import Rows, Scale
from gmvae_lib.errors import InputError
from gmvae_lib.label import pooled
from gmvae_lib.label.calibration import held_out_proba
from gmvae_lib.label.decoding import SoftDecoder
from gmvae_lib.label.neighbours import NeighbourDecoder
from gmvae_lib.vae.embedding import Embedding
from gmvae_lib.vae.nearest import nearest_in


def drawn(seed, n=40, K=5, n_classes=3):
    """(q, neighbours, features, labels) of groups that overlap."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, n_classes, n)
    features = np.eye(n_classes)[kind] + rng.normal(0, 0.5, (n, n_classes))
    logits = features @ rng.normal(0, 2, (n_classes, K)) + rng.normal(0, 0.5, (n, K))
    q = np.exp(logits - logits.max(axis=1, keepdims=True))
    near = nearest_in(features, features, 11)
    near = np.stack([row[row != i][:10] for i, row in enumerate(near)])
    return q / q.sum(axis=1, keepdims=True), near, features, kind


@given(st.integers(2, 10**6), st.integers(1, 2000))
def test_more_images_or_fewer_clusters_never_lead_back_to_the_pool(n, K):
    if pooled.default_name(n, K) == "neighbours":
        assert pooled.default_name(n + 1, K) == "neighbours"
        assert K == 1 or pooled.default_name(n, K - 1) == "neighbours"
    assert pooled.default_name(n, K) in pooled.default_reason(n, K)


def test_the_published_letters_keep_their_decoder():
    assert pooled.default_name(100_000, 100) == "neighbours"
    q, near, *_ = drawn(0, n=125)
    made = pooled.default_decoder(q, near)
    assert type(made) is NeighbourDecoder
    assert (made.weight, made.steps, made.background) == (0.99, 30, 1.0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20))
def test_the_pool_is_its_formula(seed, n_labels):
    q, near, features, kind = drawn(seed)
    decoder = pooled.decoder_on_rows("pooled", q, near, features)
    rows = np.random.default_rng(seed).permutation(len(q))[:n_labels]
    proba = decoder.fit(rows, kind[rows]).predict_proba(np.arange(len(q)))
    asked = NeighbourDecoder(decoder.q, decoder.graph).fit(rows, kind[rows])
    soft = SoftDecoder().fit(q[rows], kind[rows])
    expected = (asked.proba_.astype(np.float64) * soft.predict_proba(q)) ** 0.25
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(proba, expected, atol=1e-5)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_where_both_agree_the_pool_agrees(seed):
    q, near, features, kind = drawn(seed)
    decoder = pooled.decoder_on_rows("pooled", q, near, features).fit(np.arange(8), kind[:8])
    one = NeighbourDecoder(decoder.q, decoder.graph).fit(np.arange(8), kind[:8]).proba_
    other = decoder.soft_.predict_proba(q)
    same = one.argmax(axis=1) == other.argmax(axis=1)
    assert (decoder.proba_.argmax(axis=1) == one.argmax(axis=1))[same].all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 15))
def test_leaving_one_out_is_fitting_without_it(seed, n_labels):
    q, near, features, kind = drawn(seed)
    rows = np.random.default_rng(seed).permutation(len(q))[:n_labels]
    y = kind[rows]
    alone, known = held_out_proba(SoftDecoder(), q[rows], y, n_labels)
    np.testing.assert_allclose(pooled.soft_leave_one_out(q[rows], y), alone, atol=1e-8)
    decoder = pooled.decoder_on_rows("pooled", q, near, features)
    fitted, _ = held_out_proba(decoder, rows, y, n_labels)
    np.testing.assert_allclose(decoder.leave_one_out(rows, y)[known], fitted[known], atol=1e-4)


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_neighbours_in_any_order_are_put_in_that_of_the_features(seed):
    _, near, features, _ = drawn(seed)
    shuffled = np.random.default_rng(seed).permuted(near, axis=1)
    assert (pooled.nearest_first(shuffled, features) == near).all()
    assert (pooled.nearest_first(shuffled) == shuffled).all()


def test_other_names_and_shapes_are_refused():
    q, near, *_ = drawn(0)
    with pytest.raises(InputError, match="decoder: found 'knn', expected 'neighbours' or 'pooled'"):
        pooled.decoder_on_rows("knn", q, near)
    decoder = pooled.decoder_on_rows("pooled", q, near)
    with pytest.raises(InputError, match=r"posterior: found shape \(40, 4\); expected \(40, 5\)"):
        decoder.set_params(posterior=q[:, :4]).fit([0, 1], ["a", "b"])


# ---- in a collection


def collection(seed, decoder="auto", n=40):
    q, near, features, kind = drawn(seed, n)
    digests, goodness = np.array([f"{i:064x}" for i in range(n)]), np.zeros(n, np.float32)
    rows = Embedding(q.astype(np.float32), features, near, goodness, digests, None, {})
    made = Collection(SimpleNamespace(provenance={}), rows, decoder=decoder)
    made._embed = lambda pictures: (q[pictures], features[pictures], np.zeros(len(pictures)))
    return made, kind


@pytest.mark.parametrize("decoder", ["auto", "neighbours", "pooled", "graph", "soft"])
def test_a_label_given_by_hand_stands(decoder):
    made, kind = collection(3, decoder)
    y = kind[:12].copy()
    y[0] = (y[0] + 1) % 3  # wrong
    made.set_labels(np.arange(12), y)
    table = made.predictions()
    assert (table["label"][:12].astype(int) == y).all()
    assert (table["confidence"][:12] == 1).all()
    right = made.findings().predicted
    assert (made.classes_[right[:12]] == y).all()


@pytest.mark.parametrize("decoder", ["graph", "soft", "hard", "bayes"])
def test_a_label_that_its_cluster_contradicts_is_asked_about(decoder):
    made, _ = collection(0, decoder)
    made.embedding.q = np.repeat([[1, 0], [0, 1]], 20, axis=0).astype(np.float32)
    made.set_labels([0, 1, 2, 3, 20, 21, 22], list("aaababb"))
    assert made.overruled_.tolist() == [3, 20]
    assert made.predictions()["label"][[3, 20]].tolist() == ["b", "a"]
    said = "2 of 7 labelled images look like something else than their label says, which they keep"
    assert made.overruled_note() == f"{said}; is it right? image 3, image 20"


@pytest.mark.parametrize("decoder", ["neighbours", "pooled", "soft"])
def test_images_that_come_later_are_named_like_their_equals(decoder):
    made, kind = collection(5, decoder, n=120)
    made.set_labels(np.arange(0, 120, 3), kind[::3])
    pictures = Rows(np.arange(120), Scale.of_bytes())
    pictures.images = np.arange(120)
    later = made.predict_proba(pictures)[0]
    np.testing.assert_allclose(later.sum(axis=1), 1, atol=1e-5)
    agree = later.argmax(axis=1) == made.label_distributions_.argmax(axis=1)
    assert agree[np.arange(120) % 3 > 0].mean() > 0.9


def test_the_line_on_the_decoder_says_which_and_why():
    made, _ = collection(0)
    assert made.decoder_name == "pooled" and "8 images for each cluster" in made.decoder_note
    made.decoder = "graph"
    assert made.decoder_note == "decoder graph, as asked"
