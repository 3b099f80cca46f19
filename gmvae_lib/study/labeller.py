"""The first page's *You are the labeller*: the letters it asks for, and what their names are worth.

The page names letters in the order of `suggest` and shows at once how many of the others the graph
decoder gets right. It runs in the reader's browser, on a sample of the posteriors: three clusters
each, in 8 bits. On the published run that is within half a point of the accuracy on all letters.
"""

import base64
import json
from pathlib import Path

import numpy as np

from gmvae_lib.data.storage import write_atomically
from gmvae_lib.errors import InputError
from gmvae_lib.label.choosing import suggest
from gmvae_lib.label.decoding import cluster_affinity
from gmvae_lib.label.neighbours import smooth_posterior
from gmvae_lib.study.evidence import CONVOLUTIONAL
from gmvae_lib.study.playground import pack

N_ASKED = 100
N_SAMPLE = 10_000
COLUMNS = 20  # of the sheet of thumbnails
KEPT, KEPT_ASKED = 3, 8  # clusters of a posterior: of the sample, and of the letters asked for
SHEET, RECORD = "labeller.png", "labeller.json"
BASELINES = {"network": CONVOLUTIONAL, "xgboost": "xgboost"}


def draw_thumbnails(run, images, folder) -> np.ndarray:
    """Write the sheet of the letters that are asked for, dark on white, and their row numbers."""
    index = suggest(run.posterior, N_ASKED, run.extra["neighbours"])["index"].to_numpy()
    write_sheet(images.images[index], Path(folder) / SHEET)
    about = json.dumps({"index": index.tolist(), "columns": COLUMNS}) + "\n"
    write_atomically(Path(folder) / RECORD, lambda p: p.write_text(about))
    return index


def write_sheet(pictures, path):
    """Write pictures, uint8 [n, H, W] with n a multiple of COLUMNS, as one, dark on white."""
    from PIL import Image

    height, width = pictures.shape[1:]
    sheet = (255 - pictures).reshape(-1, COLUMNS, height, width).swapaxes(1, 2)
    # sixteen greys are enough, at half of the size
    grey = np.rint(sheet.reshape(-1, COLUMNS * width) / 17).astype(np.uint8) * 17
    write_atomically(
        path, lambda p: Image.fromarray(grey).quantize(16).save(p, format="PNG", optimize=True)
    )


def asked_letters(run, folder) -> np.ndarray:
    """Row numbers of the letters on the sheet, in the order in which they are asked for."""
    path = Path(folder) / RECORD
    if not path.is_file():
        raise InputError(f"{path}: not found, expected what `reproduce --steps pictures` writes")
    index = np.asarray(json.loads(path.read_text())["index"])
    if index.ndim != 1 or len(set(index.tolist())) != len(index) or index.max() >= len(run.labels):
        raise InputError(f"{path}: expected distinct row numbers below {len(run.labels)}")
    return index


def labeller_data(run, sweep, index, n_sample=N_SAMPLE) -> dict:
    """What the page's script needs, ready for JSON.

    Parameters
    ----------
    run : Run with posterior, labels and neighbours. sweep : DataFrame, sweep.csv.
    index : int [n], rows of the letters asked for.
    """
    q, y = smooth_posterior(run.posterior, run.extra["neighbours"]), run.labels
    others = np.setdiff1d(np.arange(len(y)), index)
    sample = np.sort(
        np.random.default_rng(0).choice(others, min(n_sample, len(others)), replace=False)
    )
    affinity = cluster_affinity(q)
    return {
        "class_names": list(run.class_names),
        "n_images": len(y),
        "n_sample": len(sample),
        "columns": COLUMNS,
        "size": list(run.model_config.image_shape),
        "sample": _largest(q[sample], KEPT, np.uint8) | {"truth": pack(y[sample].astype(np.uint8))},
        "asked": _largest(q[index], KEPT_ASKED, np.uint16)
        | {"truth": pack(y[index].astype(np.uint8)), "home": pack(_uint8(q[index].argmax(axis=1)))},
        # roots, so that small shares survive 16 bits; only ratios matter
        "affinity": pack(np.rint(65535 * np.sqrt(affinity / affinity.max())).astype(np.uint16)),
        "share": q.mean(axis=0, dtype=np.float64).round(5).tolist(),
        "baselines": {name: _curve(sweep, method) for name, method in BASELINES.items()},
    }


def unpacked_posterior(packed, K) -> np.ndarray:
    """The posteriors as the page reads them: float64 [n, K] of what `_largest` packed."""
    cluster, weight = (unpack(packed[key]) for key in ("cluster", "weight"))
    q = np.zeros((len(cluster), K))
    np.put_along_axis(q, cluster.astype(int), weight / np.iinfo(weight.dtype).max, axis=1)
    return q


def unpacked_affinity(packed) -> np.ndarray:
    """The affinity as the page reads it, up to a factor: float64 [K, K]."""
    return (unpack(packed) / 65535.0) ** 2


def _largest(q, n, dtype):
    """The n largest entries of each row for JSON: cluster uint8 [N, n], weight [N, n]."""
    cluster = np.argsort(-q, axis=1, kind="stable")[:, :n]
    weight = np.take_along_axis(q, cluster, axis=1).clip(0, 1)
    most = np.iinfo(dtype).max
    return {
        "cluster": pack(_uint8(cluster)),
        "weight": pack(np.rint(most * weight).astype(dtype)),
    }


def _uint8(cluster):
    if cluster.max() > 255:
        raise InputError(f"run: found {cluster.max() + 1} clusters, expected at most 256")
    return cluster.astype(np.uint8)


def unpack(packed) -> np.ndarray:
    """The array that `playground.pack` packed, without a scale."""
    dtype = np.dtype(packed["dtype"]).newbyteorder("<")
    return np.frombuffer(base64.b64decode(packed["data"]), dtype).reshape(packed["shape"])


def _curve(sweep, method):
    """Mean accuracy over the draws, by the number of labels: {"n", "accuracy", "draws"}."""
    rows = sweep[sweep["method"] == method].groupby("n_labels")["accuracy"]
    mean = rows.mean()
    return {
        "n": [int(n) for n in mean.index],
        "accuracy": mean.round(5).tolist(),
        "draws": int(rows.size().max()),
    }
