"""Convolutional networks: from labels alone, from a decoder's answers, and FixMatch.

All have the shape of the GMVAE's encoder and see images through its random views. Weights, batches
and views are drawn from the seed; no setting was chosen with labels of the evaluated images.
"""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from gmvae_lib.study.rivals import TransductiveClassifier
from gmvae_lib.vae.config import VIEWS
from gmvae_lib.vae.device import default_device, fast_bf16
from gmvae_lib.vae.views import as_planes, random_view

LEARNING_RATE, WEIGHT_DECAY, BATCH = 2e-3, 1e-4, 100  # the rates are the GMVAE's
STEPS, FEW, MOST_STEPS = 1000, 1500, 4000


def steps_for(n_labels: int) -> int:
    """Steps of a network that is trained on labels alone: a rule fixed before any was measured.

    1,000 up to 1,500 labels; beyond, growing as their square root, 4,000 at most.

    Examples
    --------
    >>> [steps_for(n) for n in (7, 1500, 6000, 50_000)]
    [1000, 1000, 2000, 4000]
    """
    return min(MOST_STEPS, round(STEPS * max(1.0, n_labels / FEW) ** 0.5))


class ConvolutionalNetwork(ClassifierMixin, BaseEstimator):
    """A network like the GMVAE's encoder, trained on random views of the labelled images alone.

    Parameters
    ----------
    config : GMVAEConfig, for the shape of images and encoder.
    steps : of Adam, each on 100 views. seed : of weights, batches and views.
    views : kinds of random views (`views.random_view`).
    """

    def __init__(self, config, steps=STEPS, seed=0, views=VIEWS):
        self.config = config
        self.steps = steps
        self.seed = seed
        self.views = views

    def fit(self, X, y):
        """Fit on pixels X, float [n, P] in [0, 1], and labels y [n]."""
        self.classes_, index = np.unique(y, return_inverse=True)
        network = _new_network(self.config, len(self.classes_), self.seed)
        shape, views = self.config.image_shape, self.views
        self.network_ = _learn(network, shape, X, index, self.steps, self.seed, views=views)
        return self

    def predict(self, X):
        """Labels [N] of pixels X [N, H*W]."""
        check_is_fitted(self)
        return self.classes_[_logits(self.network_, X).argmax(axis=1)]


class PseudoLabels(TransductiveClassifier):
    """The GMVAE's encoder, fine-tuned on random views with the confident labels of a decoder.

    Parameters
    ----------
    pixels : float32 [N, H*W] in [0, 1], of all images.
    model : GMVAE, trained; its encoder initialises the network.
    decoder : unfitted classifier of row numbers with `predict_proba`.
    threshold : of the decoder's probability, above which its label is used.
    steps : of Adam, each on 100 views. seed : of the last layer, batches and views.
    """

    def __init__(self, pixels, model, decoder, threshold=0.9, steps=STEPS, seed=0):
        self.pixels = pixels
        self.model = model
        self.decoder = decoder
        self.threshold = threshold
        self.steps = steps
        self.seed = seed

    def _n_images(self):
        return len(self.pixels)

    def _score(self, rows, index):
        proba = clone(self.decoder).fit(rows, index).predict_proba(np.arange(len(self.pixels)))
        target, sure = proba.argmax(axis=1), proba.max(axis=1) > self.threshold
        target[rows], sure[rows] = index, True
        network = _with_head(self.model, proba.shape[1], self.seed)
        shape = self.model.config.image_shape
        sure = np.flatnonzero(sure)
        _learn(network, shape, self.pixels, target, self.steps, self.seed, among=sure)
        return _logits(network, self.pixels)


class FixMatch(TransductiveClassifier):
    """FixMatch (Sohn et al. 2020): a network trained on labels and on its own confident guesses.

    A step takes a batch of labelled images in weak views and ``ratio`` times as many of all images,
    each in a weak and in a strong view. Where the guess for the weak view is above the threshold,
    it is the target of the strong view, with the same weight as the labels. The threshold 0.95 and
    the weight are the paper's. Ours are the network and its optimiser, the views (weak: affine;
    strong: all four kinds), a ratio of 4 instead of 7, and a falling learning rate in place of the
    average of weights.

    Parameters
    ----------
    pixels : float32 [N, H*W] in [0, 1], of all images.
    config : GMVAEConfig, for the shape of images and encoder.
    steps : of Adam. seed : of weights, batches and views.
    batch : labelled images of a step. ratio : unlabelled ones for each of them.
    threshold : of the guess's probability.
    """

    def __init__(self, pixels, config, steps=2000, seed=0, batch=50, ratio=4, threshold=0.95):
        self.pixels = pixels
        self.config = config
        self.steps = steps
        self.seed = seed
        self.batch = batch
        self.ratio = ratio
        self.threshold = threshold

    def _n_images(self):
        return len(self.pixels)

    def _score(self, rows, index):
        network = _new_network(self.config, index.max() + 1, self.seed)
        self.sure_, self.network_ = self._train(network, rows, torch.from_numpy(index))
        return _logits(network, self.pixels)

    def _train(self, network, rows, index):
        """The share of guesses above the threshold at each step, and the network, trained."""
        device, shape = default_device(), self.config.image_shape
        network.to(device).train()
        generator = torch.Generator().manual_seed(self.seed)
        optimizer, schedule = _optimizer(network, self.steps)
        sure_at = np.empty(self.steps)
        for step in range(self.steps):
            drawn = torch.randint(len(rows), (self.batch,), generator=generator)
            others = torch.randint(
                len(self.pixels), (self.batch * self.ratio,), generator=generator
            )
            x = _planes(self.pixels[rows[drawn.numpy()]], shape, device)
            u = _planes(self.pixels[others.numpy()], shape, device)
            weak = random_view(torch.cat([x, u]), generator, ("affine",))
            strong = random_view(u, generator)
            with torch.autocast(device.type, torch.bfloat16, enabled=fast_bf16(device)):
                # one pass, so that labelled and other images share the statistics of the batch
                logits = network(torch.cat([weak, strong]).flatten(1)).float()
            labelled, guess, answer = logits.split([len(x), len(u), len(u)])
            probability, target = guess.detach().softmax(1).max(1)
            sure = (probability >= self.threshold).float()
            loss = F.cross_entropy(labelled, index[drawn].to(device))
            loss = loss + (F.cross_entropy(answer, target, reduction="none") * sure).mean()
            _advance(loss, optimizer, schedule)
            sure_at[step] = sure.mean().item()
        return sure_at, network.eval()


def _new_network(config, n_classes, seed):
    """A network of the encoder's shape with random weights."""
    from gmvae_lib.vae.model import GMVAE

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = GMVAE(config)
    return _with_head(model, n_classes, seed)


def _with_head(model, n_classes, seed):
    """A copy of a GMVAE's encoder with a new last layer for the classes."""
    from copy import deepcopy

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = torch.nn.Linear(model.cluster.in_features, n_classes)
    return torch.nn.Sequential(deepcopy(model.encoder), head)


def _planes(pixels, shape, device):
    return as_planes(torch.from_numpy(pixels).to(device), shape)


def _optimizer(network, steps):
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
    )
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps
    )


def _advance(loss, optimizer, schedule):
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    schedule.step()


def _learn(network, shape, pixels, target, steps, seed, among=None, views=VIEWS):
    """Train a network on random views of pixels [n, P], or of some rows of them, in place."""
    device = default_device()
    network.to(device).train()
    generator = torch.Generator().manual_seed(seed)
    among = np.arange(len(pixels)) if among is None else among
    optimizer, schedule = _optimizer(network, steps)
    for _ in range(steps):
        rows = among[torch.randint(len(among), (BATCH,), generator=generator).numpy()]
        view = random_view(_planes(pixels[rows], shape, device), generator, views)
        view = view.permute(0, 2, 3, 1).flatten(1) if len(shape) == 3 else view.flatten(1)
        wanted = torch.from_numpy(target[rows]).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast_bf16(device)):
            loss = F.cross_entropy(network(view), wanted)
        _advance(loss, optimizer, schedule)
    return network.eval()


@torch.no_grad()
def _logits(network, pixels, batch=1000):
    """The network's outputs for pixels [N, H*W], in order: float32 [N, C]."""
    device = next(network.parameters()).device
    network.eval()
    parts = []
    with torch.autocast(device.type, torch.bfloat16, enabled=fast_bf16(device)):
        for i in range(0, len(pixels), batch):
            found = network(torch.from_numpy(pixels[i : i + batch]).to(device))
            parts.append(found.float().cpu().numpy())
    return np.concatenate(parts)


# ---- the table ----------------------------------------------------------------------------------


def from_labels(config):
    """The network on labels alone, which takes pixels: factories by name."""

    def factory(n_labels, seed, n_threads):
        return ConvolutionalNetwork(config, steps_for(n_labels), seed)

    return {"convolutional net": factory}


def semi_supervised(pixels, config, steps=2000):
    """FixMatch, which takes row numbers: factories by name."""

    def factory(n_labels, seed, n_threads):
        return FixMatch(pixels, config, steps, seed)

    return {"fixmatch": factory}


def fine_tuned(pixels, model, decoder):
    """The encoder fine-tuned on a decoder's answers; it takes row numbers: factories by name."""

    def factory(n_labels, seed, n_threads):
        return PseudoLabels(pixels, model, decoder, seed=seed)

    return {"pseudo-labels": factory}
