"""Clusterings without the GMVAE, as posteriors: k-means and Gaussian mixtures."""

import numpy as np

from gmvae_lib.errors import InputError


def principal_components(points, *others, n: int = 50, seed: int = 0) -> list[np.ndarray]:
    """The first n principal components (or fewer) of points [N, D], and those of others on them."""
    from sklearn.decomposition import PCA

    fitted = PCA(min(n, *np.shape(points)), random_state=seed).fit(points)
    return [fitted.transform(part) for part in (points, *others)]


def fit_kmeans(points, K: int, seed: int = 0):
    """scikit-learn's k-means, fitted to points [N, D]."""
    from sklearn.cluster import KMeans

    _check_enough(points, K)
    return KMeans(K, n_init=1, random_state=seed).fit(points)


def fit_mixture(points, K: int, covariance: str, seed: int = 0, **settings):
    """scikit-learn's Gaussian mixture, fitted to points [N, D] by EM from k-means."""
    from sklearn.mixture import GaussianMixture

    _check_enough(points, K)
    return GaussianMixture(
        K, covariance_type=covariance, reg_covar=1e-3, random_state=seed, **settings
    ).fit(points)


def _check_enough(points, K):
    if np.ndim(points) != 2 or len(points) < K:
        raise InputError(f"points: found shape {np.shape(points)}; expected [N, D], N at least {K}")


# ---- soft posteriors, for decoders with a fallback ----------------------------------------------


def kmeans_posterior(points, K: int = 100, seed: int = 0) -> np.ndarray:
    """How near each point [N, D] is to the centroids of k-means: float32 [N, K], rows sum to 1.

    exp(-d^2 / mean d^2 to the nearest centroid), normalised: it ranks the centroids by distance, so
    that cluster-then-label can fall back to the nearest one that has a label.
    """
    from scipy.special import softmax

    squared = fit_kmeans(points, K, seed).transform(points) ** 2
    scale = squared.min(axis=1).mean() or 1.0  # 0: every point is a centroid
    return softmax(-squared / scale, axis=1).astype(np.float32)


def mixture_posterior(points, K: int = 100, covariance: str = "full", seed: int = 0) -> np.ndarray:
    """Tempered responsibilities of a Gaussian mixture: float32 [N, K], rows sum to 1.

    They are raised to 1 / D: in hundreds of dimensions all of them but one are 0 in float32, and
    cluster-then-label could not fall back to the next component. Tempering keeps their order.
    """
    # EM stops when a step gains less than this, in nats an image: enough for a clustering
    q = fit_mixture(points, K, covariance, seed, tol=0.05).predict_proba(points)
    q **= 1 / points.shape[1]
    return (q / q.sum(axis=1, keepdims=True)).astype(np.float32)


# ---- rows of the ablation table: posteriors of the images clustered, and of held-out ones --------


def kmeans_cluster(points, others, seed: int = 0, K: int = 100) -> list[np.ndarray]:
    """One-hot clusters of k-means: float32 [N, K] of points [N, D], and those of others."""
    fitted = fit_kmeans(points, K, seed)
    return [np.eye(K, dtype=np.float32)[fitted.predict(part)] for part in (points, others)]


def mixture_cluster(points, others, seed: int = 0, K: int = 100) -> list[np.ndarray]:
    """Responsibilities of a mixture of axis-parallel Gaussians, of points and others likewise."""
    fitted = fit_mixture(points, K, "diag", seed, max_iter=50)
    return [fitted.predict_proba(part).astype(np.float32) for part in (points, others)]


def _of_components(cluster):
    return lambda points, others, seed: cluster(
        *principal_components(points, others, seed=seed), seed
    )


WITHOUT_Q = {  # by name: function (points [N, D], others [M, D], seed) to both posteriors
    "k-means of pixels": kmeans_cluster,
    "k-means of components": _of_components(kmeans_cluster),
    "mixture of pixels": mixture_cluster,
    "mixture of components": _of_components(mixture_cluster),
}
