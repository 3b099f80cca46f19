"""The book's figures: one function each, from results to a matplotlib Figure.

The figures belong to pyplot, so that ``plt.show()`` shows them in a notebook. White background,
Okabe-Ito colours, and line style or text wherever colour carries meaning.
"""

from gmvae_lib.study.figures.choosing import (
    accuracy_of_the_confident,
    chosen_against_random,
    rules_of_choice,
)
from gmvae_lib.study.figures.clusters import (
    components_per_letter,
    distances_between_means,
    figure_1,
    hesitation_by_letter,
    image_grid,
    latent_map,
    originals_and_reconstructions,
    purity_against_weight,
    real_and_generated,
    sample_sheet,
)
from gmvae_lib.study.figures.decoding import (
    accuracy_against_coverage,
    figure_2,
    gap_parts,
    reliability_curves,
    verdicts,
)
from gmvae_lib.study.figures.efficiency import (
    confusion,
    figure_3,
    gain_by_letter,
    letter_scatter,
    rivals,
)
from gmvae_lib.study.figures.letters import letter_counts, letter_sheet, look_alikes
from gmvae_lib.study.figures.model import (
    bound_gaps,
    gap_against_sharpness,
    latent_clouds,
    truncation_loss,
)
from gmvae_lib.study.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    METHODS,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VERMILION,
    WIDTH,
    WINE,
    YELLOW,
)
from gmvae_lib.study.figures.theory import (
    agreement_by_rank,
    coverage_curves,
    floor_and_prediction,
    labels_needed,
    missing_mass_and_coverage,
)
from gmvae_lib.study.figures.training import (
    criterion_against_accuracy,
    grid_of_components,
    growth,
    model_seeds,
    training_curves,
)

__all__ = [
    "BLACK",
    "BLUE",
    "GREEN",
    "GREY",
    "METHODS",
    "ORANGE",
    "PURPLE",
    "SKY",
    "STYLE",
    "VERMILION",
    "WIDTH",
    "WINE",
    "YELLOW",
    "accuracy_against_coverage",
    "accuracy_of_the_confident",
    "agreement_by_rank",
    "bound_gaps",
    "chosen_against_random",
    "components_per_letter",
    "confusion",
    "coverage_curves",
    "criterion_against_accuracy",
    "distances_between_means",
    "figure_1",
    "figure_2",
    "figure_3",
    "floor_and_prediction",
    "gain_by_letter",
    "gap_against_sharpness",
    "gap_parts",
    "grid_of_components",
    "growth",
    "hesitation_by_letter",
    "image_grid",
    "labels_needed",
    "latent_clouds",
    "latent_map",
    "letter_counts",
    "letter_scatter",
    "letter_sheet",
    "look_alikes",
    "missing_mass_and_coverage",
    "model_seeds",
    "originals_and_reconstructions",
    "purity_against_weight",
    "real_and_generated",
    "reliability_curves",
    "rivals",
    "rules_of_choice",
    "sample_sheet",
    "training_curves",
    "truncation_loss",
    "verdicts",
]
