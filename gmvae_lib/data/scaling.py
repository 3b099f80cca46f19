"""Arrays and tables as a model sees them: bytes, shares from 0 to 1, or standardised columns."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gmvae_lib.data.identity import digest_of, row_digests
from gmvae_lib.errors import InputError

FAR = 4.0  # standard deviations: a row that is so far off on average is on another scale
BLOCK = 2**18  # numbers that are scaled at a time


@dataclass(frozen=True)
class Scale:
    """How the numbers of X become those that a model takes: (X - offset) / scale.

    Bytes are kept as they are, since a model reads them as shares of 255. Other images are brought
    to [0, 1] by the range seen in `fit`, and so are features within [0, 1] already; other features
    are standardised. Values beyond [0, 1] are cut off, but for standardised ones.

    Parameters
    ----------
    offset, scale : numbers, or arrays [D] of standardised columns
    """

    offset: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, X, likelihood="auto") -> "Scale":
        """The scale of an array of images or features [N, ...].

        Examples
        --------
        >>> Scale.of(np.array([[[0, 200]]], np.uint8))
        Scale(offset=array(0.), scale=array(255.))
        """
        low, high = float(X.min()), float(X.max())
        if X.dtype == np.uint8 and high > 1:  # masks hold 0 and 1 only
            low, high = 0.0, 255.0
        elif low >= 0 and high <= 1:
            low, high = 0.0, 1.0
        bounded = (low, high) == (0, 1) or X.dtype == np.uint8
        if X.ndim == 2 and (likelihood == "gaussian" or not bounded):
            if likelihood == "bernoulli":
                raise InputError(
                    f"X: found values {low:.4g} to {high:.4g}, expected 0 to 1 for "
                    "likelihood='bernoulli'"
                )
            spread = X.std(axis=0, dtype=np.float64)
            return cls(X.mean(axis=0, dtype=np.float64), np.where(spread > 0, spread, 1.0))
        return cls(np.array(low), np.array(high - low or 1.0))

    @classmethod
    def of_bytes(cls) -> "Scale":
        return cls(np.array(0.0), np.array(255.0))

    @property
    def standardised(self) -> bool:
        return np.ndim(self.offset) == 1

    def apply(self, X) -> np.ndarray:
        """X as the model sees it: uint8 as it is, or float32."""
        of_bytes = self.scale.ndim == 0 and self.offset == 0 and self.scale == 255
        if of_bytes and X.dtype == np.uint8:
            return X
        out = np.empty(X.shape, np.float32)
        rows = max(1, BLOCK // max(1, X[:1].size))
        for start in range(0, len(X), rows):
            part = (X[start : start + rows] - self.offset) / self.scale
            out[start : start + rows] = part if self.standardised else part.clip(0, 1)
        return out

    def matched(self, X):
        """X on the scale of `of`, as far as that can be told, and a note if it is on another.

        Images as bytes and as shares of 255 are taken for the same, whichever were seen first.

        Returns
        -------
        (scale, note) : the Scale to apply to X, and a sentence or None.
        """
        if self.standardised:
            off = np.abs((X - self.offset) / self.scale).mean()
            if off > FAR:
                return self, (
                    f"X: found values {off:.3g} standard deviations from the means seen in fit, on "
                    "average; expected values on the same scale"
                )
            return self, None
        low, high = float(X.min()), float(X.max())
        first, last = float(self.offset), float(self.offset + self.scale)
        bytes_, shares = (Scale(np.array(0.0), np.array(top)) for top in (255.0, 1.0))
        if X.ndim > 2 and (first, last) == (0, 1) and X.dtype == np.uint8 and high > 1:
            return bytes_, None
        if X.ndim > 2 and (first, last) == (0, 255) and X.dtype != np.uint8 and 0 < high <= 1:
            return shares, (
                f"X: found values {low:.4g} to {high:.4g}, expected 0 to 255 as in fit; they are "
                "taken for shares of 255"
            )
        margin = 0.1 * (last - first)
        if low < first - margin or high > last + margin:
            return self, (
                f"X: found values {low:.4g} to {high:.4g}, expected {first:.4g} to {last:.4g} as "
                "in fit; those beyond are cut off"
            )
        return self, None


class Rows:
    """Rows of an array on a model's scale, with what identifies them: what an `ImageSet` has.

    Parameters
    ----------
    X : array [N, ...], as given. scale : Scale.
    """

    paths = None

    def __init__(self, X, scale: Scale):
        self.raw, self.images = X, scale.apply(X)

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def digests(self) -> np.ndarray:
        return row_digests(self.raw)

    @cached_property
    def set_digest(self) -> str:
        return digest_of("".join(self.digests).encode())

    @property
    def provenance(self) -> dict:
        shape = list(self.raw.shape)
        return {"name": "array", "source": "an array", "n": len(self), "shape": shape}
