"""The book's figures: one function each, from results to a matplotlib Figure.

Each takes `width`, in pixels of the page; ``figures.show(figures.letter_counts, counts)`` shows one
in a notebook, as an SVG that follows the page's theme and fits a phone (`figures.vector`). Colours
hold for the colour-blind, and line style or text tells apart whatever colour does.
"""

from gmvae_lib.study.figures.as_given import labels_as_given
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
    MOST_LINES,
    confusion,
    figure_3,
    figure_3_by_model,
    gain_by_letter,
    letter_scatter,
    rivals,
    spread,
)
from gmvae_lib.study.figures.letters import letter_counts, letter_sheet, look_alikes
from gmvae_lib.study.figures.model import (
    bound_gaps,
    gap_against_sharpness,
    latent_clouds,
    truncation_loss,
)
from gmvae_lib.study.figures.style import COLUMN, METHODS, PHONE
from gmvae_lib.study.figures.theory import (
    agreement_by_rank,
    coverage_curves,
    floor_and_prediction,
    labels_needed,
    missing_mass_and_coverage,
)
from gmvae_lib.study.figures.training import (
    course,
    criterion_against_accuracy,
    grid_of_components,
    growth,
    model_seeds,
    training_curves,
)
from gmvae_lib.study.figures.vector import for_page, save, show, show_saved, svg

__all__ = [
    "COLUMN",
    "METHODS",
    "MOST_LINES",
    "PHONE",
    "accuracy_against_coverage",
    "accuracy_of_the_confident",
    "agreement_by_rank",
    "bound_gaps",
    "chosen_against_random",
    "components_per_letter",
    "confusion",
    "course",
    "coverage_curves",
    "criterion_against_accuracy",
    "distances_between_means",
    "figure_1",
    "figure_2",
    "figure_3",
    "figure_3_by_model",
    "floor_and_prediction",
    "for_page",
    "gain_by_letter",
    "gap_against_sharpness",
    "gap_parts",
    "grid_of_components",
    "growth",
    "hesitation_by_letter",
    "image_grid",
    "labels_as_given",
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
    "save",
    "show",
    "show_saved",
    "spread",
    "svg",
    "training_curves",
    "truncation_loss",
    "verdicts",
]
