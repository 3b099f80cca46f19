"""The loss of a batch in both phases of a training.

A batch is a dictionary of tensors with everything that a step needs, its random draws included:

x         images or rows [B, P], uint8 or floats
other     what the second view shows, [B, P], where that is not x
first.*   random numbers of the two views (`views.draw_view`); likewise second.*
noise     standard normal draws behind z (`objective.noise_shape`)
q         q(c|x) [B, K] and, as ``features``, the encoder's features [B, F]: in the generative phase
"""

from collections.abc import Callable
from functools import cache

import torch

from gmvae_lib.vae.config import GMVAEConfig, TrainConfig
from gmvae_lib.vae.distributed import Share, draw, gather
from gmvae_lib.vae.model import GMVAE, scaled
from gmvae_lib.vae.objective import consistency, contrast, elbo, noise_shape, plain_elbo
from gmvae_lib.vae.views import draw_view, view_of


def draws(
    model: GMVAEConfig, config: TrainConfig, n: int, generator, generative: bool
) -> dict[str, torch.Tensor]:
    """The random numbers of a batch of n images, on generator's device."""
    found: dict[str, torch.Tensor] = {}
    if not generative and (config.consistency_weight or config.contrast_weight):
        for view in ("first", "second"):
            numbers = draw_view(n, model.image_shape, generator, config.views)
            found |= {f"{view}.{name}": value for name, value in numbers.items()}
    if generative or config.elbo_weight:
        found["noise"] = draw(torch.randn, noise_shape(model, n), generator)
    return found


class Loss(torch.nn.Module):
    """Batch to (loss, numbers for the history), a module so that DistributedDataParallel wraps it.

    `compile_plain` replaces the ELBO of K heads by its compiled plain form.
    """

    def __init__(self, model: GMVAE, config: TrainConfig, share: Share):
        super().__init__()
        self.model, self.config, self.share = model, config, share
        self.plain: Callable | None = None  # see `compile_plain`

    def compile_plain(self) -> None:
        """Compile the ELBO, where it is all of the loss and `objective.plain_elbo` computes it."""
        config, model = self.config, self.model.config
        views = config.consistency_weight or config.contrast_weight
        if model.posterior == "heads" and model.likelihood == "bernoulli" and not views:
            self.plain = _compiled()

    def forward(self, batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, log = (self.generative if "q" in batch else self.joint)(batch)
        return loss, {name: value.detach() for name, value in log.items()}

    def joint(self, batch):
        """ELBO, consistency and contrast, by their weights."""
        config, model, dtype = self.config, self.model, self.model.prior_mean.dtype
        loss, log = torch.zeros((), device=batch["x"].device, dtype=dtype), {}
        x = scaled(batch["x"], dtype)
        views = self._views(batch, x)
        if self.plain is not None and not views:
            reconstruction, kl_z, kl_c, likeliest = self.plain(model, x, batch["noise"])
            value, log = _logged(reconstruction, kl_z, kl_c)
            loss = loss - config.elbo_weight * value
            return loss, {"loss": loss, **log, "components_in_batch": self._used(likeliest)}
        # one pass for all parts: batch statistics in training are then those of clean and
        # altered images together, which the running statistics of evaluation stand for
        parts = [x if config.elbo_weight else x[:0], *views]
        h, *views = model.encoder(torch.cat(parts)).split([len(part) for part in parts])
        if config.elbo_weight:
            value, log = self._elbo(x, model.posterior(x, h), batch["noise"])
            loss = loss - config.elbo_weight * value
        if self.share.world > 1:  # these terms compare each image with all others
            views = [gather(view) for view in views]
        if views:
            value, information = consistency(model, views[0], views[1])
            loss = loss - config.consistency_weight * value
            log |= {"mutual_information": information}
        if config.contrast_weight:
            value = contrast(model, views[0], views[1])
            loss = loss - config.contrast_weight * value
            log |= {"contrast": value}
        likeliest = model.cluster((views[0] if views else h).detach()).argmax(1)
        if self.share.world > 1 and not views:
            likeliest = gather(likeliest)
        return loss, {"loss": loss, **log, "components_in_batch": self._used(likeliest)}

    def generative(self, batch):
        """Minus the ELBO, given q(c|x) and features that no longer change."""
        model, dtype = self.model, self.model.prior_mean.dtype
        logits = batch["q"].clamp_min(torch.finfo(batch["q"].dtype).tiny).log()
        x = scaled(batch["x"], dtype)
        encoded = model.posterior(x, batch["features"].to(dtype), logits)
        value, log = self._elbo(x, encoded, batch["noise"])
        return -value, {"loss": -value, **log}

    def _elbo(self, x, encoded, noise):
        """Mean ELBO of a batch, and its parts for the history."""
        terms = elbo(self.model, x, encoded, noise=noise)
        log = {
            "elbo": terms.elbo.mean(),
            "reconstruction": terms.reconstruction.mean(),
            "kl_z": terms.kl_z.mean(),
            "kl_c": terms.kl_c.mean(),
        }
        return log["elbo"], log

    def _views(self, batch, x) -> list[torch.Tensor]:
        """The two views of each image, [B, P] each, or none."""
        config, shape = self.config, self.model.config.image_shape
        if not (config.consistency_weight or config.contrast_weight):
            return []
        other = scaled(batch["other"], x.dtype) if "other" in batch else x
        return [
            view_of(picture, shape, below(batch, name), config.views, self.share.world)
            for name, picture in (("first.", x), ("second.", other))
        ]

    def _used(self, likeliest) -> torch.Tensor:
        """How many components are the likeliest one of some image of the batch."""
        found = torch.zeros(self.model.config.K, device=likeliest.device)
        return found.index_fill_(0, likeliest, 1.0).sum()


@cache
def _compiled():
    """One for all models: those of the same sizes share what was compiled."""
    return torch.compile(_plain_means, dynamic=False)


def _plain_means(model, x, noise):
    """`objective.plain_elbo` as means over the batch, and the likeliest components [B]."""
    logits, terms = plain_elbo(model, x, noise)
    parts = terms.reconstruction.mean(), terms.kl_z.mean(), terms.kl_c.mean()
    return *parts, logits.detach().argmax(1)


def _logged(reconstruction, kl_z, kl_c):
    value = reconstruction - kl_z - kl_c
    log = {"elbo": value, "reconstruction": reconstruction, "kl_z": kl_z, "kl_c": kl_c}
    return value, log


def below(tensors: dict, prefix: str) -> dict:
    """The entries whose names start with a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
