"""What the preset "auto" chooses without labels: preset, K, and the kind of random views."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from gmvae_lib.data.storage import write_atomically
from gmvae_lib.errors import InputError
from gmvae_lib.vae.config import MADE_FOR, VIEWS, VIEWS_OF, preset, with_components
from gmvae_lib.vae.config import PER_COMPONENT as AT_LEAST

SAMPLE = 2_500  # pictures of a trial
STEPS = 150  # of a trial
ENOUGH = 0.9  # of the largest agreement
PER_COMPONENT, FEWEST, LARGEST = 50, 20, 100  # pictures a component; limits of K
MANY = 20_000  # pictures from which "best" is trained
FILE = "auto.json"  # in the folder of a run


@dataclass(frozen=True)
class Choice:
    """What was chosen: name of the ``preset``, ``K``, ``views``, and a ``sentence`` on why."""

    preset: str
    K: int
    views: tuple[str, ...]
    sentence: str


def components(n: int) -> int:
    """K for n pictures: one component for each fifty, at least 20 and at most 100.

    Of very few pictures, a fifth.

    Examples
    --------
    >>> [components(n) for n in (60, 600, 1800, 5000, 100_000)]
    [12, 20, 36, 100, 100]
    """
    return min(max(FEWEST, min(LARGEST, n // PER_COMPONENT)), max(2, n // AT_LEAST))


def choose(images, seed=0, out=None, resume=False, device=None, progress=False) -> Choice:
    """Choose how to train on images, or on features of them, without a label.

    The kind of random views is that of `choose_views`, found by three short trials. Features have
    views of their own and the preset "features"; 20,000 images and more get "best", fewer "quick".

    Parameters
    ----------
    images : ImageSet, FeatureSet, or any object with ``images`` [N, ...]
    out, resume : folder of the run. The choice is kept there, and a training that resumes keeps it.
    """
    from gmvae_lib.vae.training import refuse_used

    pictures = images.images
    n, features = len(pictures), pictures.ndim == 2
    if out is not None:
        out = Path(out).expanduser()
        refuse_used(out, resume)
        if resume and (out / FILE).is_file():
            return _stored(out / FILE)
    if features:
        K = components(n)
        choice = Choice("features", K, VIEWS, f"preset features and K {K} for {n:,} rows")
    else:
        name = "best" if n >= MANY else "quick"
        K = components(n)
        agreement = agreement_by_kind(pictures, seed, device, progress)
        kind = choose_views(agreement)
        found = ", ".join(f"{key} {value:.2f}" for key, value in agreement.items())
        choice = Choice(
            *(name, K, VIEWS_OF[kind]),
            f"views for a {kind}, the strongest within a tenth of the best agreement in nats "
            f"({found}); preset {name} and K {K} for {n:,} images",
        )
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(choice), indent=1) + "\n"
        write_atomically(out / FILE, lambda path: path.write_text(text, encoding="utf-8"))
    return choice


def _stored(path) -> Choice:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["preset"] not in MADE_FOR:
            raise ValueError(stored["preset"])
        views, K = tuple(map(str, stored["views"])), int(stored["K"])
        return Choice(stored["preset"], K, views, str(stored["sentence"]))
    except (ValueError, TypeError, LookupError) as error:
        raise InputError(
            f"{path}: found no choice ({type(error).__name__}: {error}), expected what --preset "
            "auto wrote; without the file it chooses again"
        ) from None


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


def agreement_by_kind(pictures, seed=0, device=None, progress=False) -> dict[str, float]:
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
        run = fit(some, model, training, device=device, progress=progress)
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
        first, second = (torch.cat(part) for part in views)
        return mutual_information(first, second).item()
