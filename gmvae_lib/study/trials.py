"""The trainings behind the book's tables: seeds, held-out use, ablation, K, MNIST, speed."""

from dataclasses import dataclass, replace

from gmvae_lib.errors import InputError
from gmvae_lib.vae.config import GMVAEConfig, TrainConfig, preset

STUDIES = ("seeds", "held-out", "ablation", "K", "mnist", "speed")
SEEDS = range(10)  # of the model
ABLATION_EPOCHS = 2  # a third of the recipe; a table of full trainings would take days
PAPER = "plain GMVAE, preset paper, 1 of 450 epochs"  # a quarter of an hour: one seed
GRID = (26, 50, 100, 200, 400)


@dataclass(frozen=True)
class Trial:
    """One training, or one clustering without a network, and its name."""

    study: str
    variant: str
    seed: int
    model: GMVAEConfig
    training: TrainConfig
    held_out: bool = False  # train on 80 % of the images, measure the ELBO on the others
    after: str = "q"  # what clusters: the model's q(c|x), or a key of WITHOUT_Q
    data: str = "letters"
    neighbours: bool = False  # also measure the decoders that use neighbours; a minute or two

    @property
    def name(self) -> str:
        words = "".join(c if c.isalnum() else " " for c in self.variant).split()
        return f"{self.study}-{'-'.join(words)}-{self.seed}"


def _changed(model_changes: dict, training_changes: dict, epochs=None, name="best"):
    model, training = preset(name, epochs=epochs)
    return replace(model, **model_changes), replace(training, **training_changes)


def trials(study: str) -> list[Trial]:
    """The trainings of a study, those of the first seed first."""
    if study == "seeds":
        return [
            Trial(study, "full recipe", seed, *preset("best", seed=seed), neighbours=True)
            for seed in SEEDS
        ]
    if study == "held-out":
        recipe = preset("best")
        return [
            Trial(study, "full recipe", 0, *recipe, held_out=True, neighbours=True),
            Trial(study, "plain GMVAE, equal compute", 0, *plain(recipe[1].epochs), held_out=True),
        ]
    if study == "speed":
        # the search for neighbours helps only after the first two epochs
        return [
            Trial(study, "two epochs", seed, *preset("best", epochs=2, seed=seed, neighbours=0))
            for seed in range(3)
        ]
    if study == "mnist":
        model, training = _changed({"K": 30}, {}, ABLATION_EPOCHS)
        return [Trial(study, "K = 30", 0, model, training, data="mnist", neighbours=True)]
    if study == "K":
        return [
            Trial(study, f"K = {K}", 0, *_changed({"K": K}, {}, ABLATION_EPOCHS), held_out=True)
            for K in GRID
            if K != 100  # "the recipe" of the ablation, see component_grid
        ]
    if study == "ablation":
        return [
            Trial(
                study, variant, seed, model, replace(training, seed=seed), True, after,
                neighbours=variant == "the recipe",
            )
            for seed in range(3)
            for variant, (model, training, after) in ablation_rows().items()
            if seed == 0 or variant != PAPER
        ]  # fmt: skip
    raise InputError(f"study: found {study!r}, expected one of {', '.join(STUDIES)}")


def plain(epochs: int) -> tuple[GMVAEConfig, TrainConfig]:
    """The model of the recipe trained by the ELBO alone, for at least as long as ``epochs`` epochs.

    Without views an epoch takes less than half the time, and there is no second stage: four epochs
    for one are generous.
    """
    return _changed(
        {"auxiliary": (), "projection": 0},
        {
            "elbo_weight": 1.0, "consistency_weight": 0.0, "contrast_weight": 0.0,
            "neighbours": 0, "generative_epochs": 0,
        },
        4 * epochs,
    )  # fmt: skip


def ablation_rows() -> dict[str, tuple[GMVAEConfig, TrainConfig, str]]:
    """Rows of the ablation table: name to (model, training, what clusters)."""

    def row(model_changes=(), training_changes=(), epochs=ABLATION_EPOCHS):
        return *_changed(dict(model_changes), dict(training_changes), epochs), "q"

    alone = plain(ABLATION_EPOCHS)
    vae = replace(alone[0], K=1), alone[1]
    return {
        "the recipe": row(),
        "without contrast": row({"projection": 0}, {"contrast_weight": 0.0}),
        # without it nothing but the ELBO moves q(c|x)
        "without mutual information": row({}, {"consistency_weight": 0.0, "elbo_weight": 0.05}),
        "plain GMVAE, equal compute": (*alone, "q"),
        "plain VAE, then Gaussian mixture": (*vae, "mixture of z"),
        "k-means on 50 principal components": (*vae, "k-means of components"),
        "Gaussian mixture on 50 principal components": (*vae, "mixture of components"),
        "without thickness and intensity": row({}, {"views": ("affine", "elastic")}),
        "affine views only": row({}, {"views": ("affine",)}),
        "without auxiliary head": row({"auxiliary": ()}),
        "MLP encoder": row({"encoder": "mlp", "encoder_hidden": (768, 768, 768, 256)}),
        "without neighbours": row({}, {"neighbours": 0}),
        "k-means on pixels": (*vae, "k-means of pixels"),
        "Gaussian mixture on pixels": (*vae, "mixture of pixels"),
        "ELBO moves q(c|x)": row({}, {"elbo_weight": 0.05}),
        "q(z|x) does not read the pixels": row({"style": 0}),
        "without elastic views": row({}, {"views": ("affine", "thickness", "intensity")}),
        "uniform mixture weights": row({"learn_weights": False}),
        PAPER: (*_changed({}, {}, 1, "paper-relu"), "q"),
    }
