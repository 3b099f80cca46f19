"""How many labels: coverage of the clusters, missing mass, and the accuracy that follows.

A label is drawn at random and falls in cluster c with probability pi_c (`weights`), so covering
every cluster is the coupon collector's problem with unequal probabilities (Boneh & Hofri 1997;
Flajolet, Gardy & Thimonier 1992). Everything here needs the cluster table only, never an image.

`weights` is an int K (K equal clusters) or the array pi [K]. `population` is None (labels drawn
with replacement: images without number), the number N of images (drawn without replacement; the
cluster sizes are N * pi by largest remainder), or the int array of cluster sizes [K].

That labels are worth one cluster each is the cluster assumption (Rigollet 2007); that K log K of
them are needed to name K mixture components, Dan et al. 2018. `coverage_probability` and what rests
on it say nothing of impurity; `expected_hard_accuracy` and `expected_soft_accuracy` do.
"""

from gmvae_lib.label.bounds.accuracy import (
    ClusterTable,
    PosteriorCells,
    cluster_table,
    expected_graph_accuracy,
    expected_hard_accuracy,
    expected_soft_accuracy,
)
from gmvae_lib.label.bounds.arguments import FALLBACKS, METHODS, cluster_sizes
from gmvae_lib.label.bounds.chosen import (
    allocation_bound,
    best_allocation,
    expected_stratified_accuracy,
)
from gmvae_lib.label.bounds.coverage import (
    cover_times,
    coverage_fraction,
    coverage_probability,
    expected_labels_to_cover,
    expected_missing_mass,
    labels_if_chosen,
    labels_to_cover,
    labels_to_cover_mass,
    missing_mass_bound,
)
from gmvae_lib.label.bounds.floor import accuracy_ceiling, best_accuracy, fano_labels
from gmvae_lib.label.bounds.votes import labels_for_majority, majority_probability

__all__ = [
    "ClusterTable",
    "FALLBACKS",
    "METHODS",
    "PosteriorCells",
    "accuracy_ceiling",
    "allocation_bound",
    "best_accuracy",
    "best_allocation",
    "cluster_sizes",
    "cluster_table",
    "cover_times",
    "coverage_fraction",
    "coverage_probability",
    "expected_graph_accuracy",
    "expected_hard_accuracy",
    "expected_labels_to_cover",
    "expected_missing_mass",
    "expected_soft_accuracy",
    "expected_stratified_accuracy",
    "fano_labels",
    "labels_for_majority",
    "labels_if_chosen",
    "labels_to_cover",
    "labels_to_cover_mass",
    "majority_probability",
    "missing_mass_bound",
]
