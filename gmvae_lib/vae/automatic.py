"""What the preset "auto" chooses without labels: the kind of random views, and K."""

from dataclasses import replace

import numpy as np

from gmvae_lib.vae.config import VIEWS_OF, preset, with_components

SAMPLE = 2_500  # pictures of a trial
STEPS = 150  # of a trial
ENOUGH = 0.9  # of the largest agreement
PER_COMPONENT, FEWEST, LARGEST = 50, 20, 100  # pictures a component; limits of K


def components(n: int) -> int:
    """K for n pictures: one component for each fifty, at least 20 and at most 100.

    Examples
    --------
    >>> [components(n) for n in (600, 1800, 5000, 100_000)]
    [20, 36, 100, 100]
    """
    return max(FEWEST, min(LARGEST, n // PER_COMPONENT))


def choose_views(agreement: dict[str, float]) -> str:
    """The kind of pictures whose views change most at an agreement within a tenth of the best.

    What two views share falls as they change more. Where it hardly falls, what they change does not
    tell the clusters apart, and a model is better off without it.

    Parameters
    ----------
    agreement : nats, by kind of `config.VIEWS_OF`, from the mildest on.

    Examples
    --------
    >>> choose_views({"pen": 2.0, "photograph": 1.9, "texture": 1.2})
    'photograph'
    """
    enough = ENOUGH * max(agreement.values())
    return [kind for kind in VIEWS_OF if agreement.get(kind, -np.inf) >= enough][-1]


def agreement_by_kind(pictures, seed: int = 0, device=None) -> dict[str, float]:
    """Train a short trial with each kind of views; the mutual information of its clusters, in nats.

    It is I(c; c') over two views of that kind, of up to `SAMPLE` pictures in even steps.
    """
    from gmvae_lib.vae.training import fit

    rows = np.arange(0, len(pictures), -(-len(pictures) // SAMPLE))
    some = pictures[rows]
    found = {}
    for kind, views in VIEWS_OF.items():
        shape, changes = some.shape[1:], {"views": views, "seed": seed}
        model, training = preset("quick", len(some), 1, shape, **changes)
        batches = max(1, len(some) // training.batch_size)
        training = replace(training, epochs=max(1, STEPS // batches), generative_epochs=0)
        model = with_components(model, min(model.K, components(len(some))))
        run = fit(some, model, training, device=device)
        found[kind] = mutual_information_of_views(run.model, some, views, seed)
    return found


def mutual_information_of_views(model, pictures, kinds, seed: int = 0) -> float:
    """I(c; c') of q(c|x) over two random views of pictures [N, ...], in nats."""
    import torch

    from gmvae_lib.vae.model import as_batch
    from gmvae_lib.vae.objective import mutual_information
    from gmvae_lib.vae.views import flat_view

    generator = torch.Generator().manual_seed(seed)
    views: tuple[list, list] = ([], [])
    with torch.no_grad():
        for start in range(0, len(pictures), 500):
            x = as_batch(pictures[start : start + 500], model.config)
            for part in views:
                view = flat_view(x, model.config.image_shape, generator, kinds)
                part.append(model.cluster(model.encoder(view)).softmax(1))
        return mutual_information(*(torch.cat(part) for part in views)).item()
