"""The book's playground: one script file with all data that its page needs.

The page (book/playground.md, book/_extra/playground/playground.js) runs q(c|x), the two decoders
of the article and the graph decoder in the reader's browser. `export` writes what it needs as a
script that sets one variable, since a page opened from a file may load scripts but may not fetch
data.
"""

import base64
import json
from pathlib import Path

import numpy as np

from gmvae_lib.data.images import rendered_letters
from gmvae_lib.data.storage import write_atomically
from gmvae_lib.errors import InputError
from gmvae_lib.label.decoding import (
    GraphDecoder,
    HardDecoder,
    SoftDecoder,
    cluster_affinity,
)
from gmvae_lib.study.experiments import draw_labelled, label_counts
from gmvae_lib.study.metrics import posterior_entropy
from gmvae_lib.study.styles import style_table

VARIABLE = "playgroundData"
LABEL_SEED = 0  # of the draw of labels, the one of Figure 2
MOST_LABELS = 14_560
RULES = ("hard", "soft", "graph")
N_SAMPLES = 5  # of each component
N_HESITANT = 13  # samples in the gallery, in addition to one rendered letter a class

# How the page turns strokes into an image, from the medians over EMNIST letters, which
# tests/test_playground.py measures. `side` px is the longest side of the ink. Over `edge` px,
# symmetric about a stroke's outline, the intensity rises from none to full, as a cubic. With a pen
# of `width` px, letters are as wide as EMNIST's 3.4, which the places where strokes meet widen.
PEN = {"side": 24.0, "width": 3.1, "edge": 3.0}


def fold_encoder(model):
    """q(c|x) as a list of plain layers, each batch normalisation folded into the layer before it.

    Returns
    -------
    list of dict
        kind ("conv" or "dense"); weight float64 [out, in, k, k] or [out, in]; bias float64 [out];
        stride (1 for "dense"; a convolution is padded by k // 2); relu (bool). A dense layer reads
        its input flattened in the order channel, row, column; a softmax follows the last layer.
    """
    from torch import nn

    if model.config.residual:
        raise InputError("run: found residual blocks, expected an encoder of plain layers")
    layers = []
    for module in [*model.encoder.modules(), model.cluster]:
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = module.weight.detach().cpu().double().numpy()
            bias = np.zeros(len(weight))
            if module.bias is not None:
                bias = module.bias.detach().cpu().double().numpy()
            conv = isinstance(module, nn.Conv2d)
            layers.append(
                {
                    "kind": "conv" if conv else "dense",
                    "weight": weight,
                    "bias": bias,
                    "stride": module.stride[0] if conv else 1,
                    "relu": False,
                }
            )
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            mean, variance, gain, shift = (
                values.detach().cpu().double().numpy()
                for values in (module.running_mean, module.running_var, module.weight, module.bias)
            )
            scale = gain / np.sqrt(variance + module.eps)
            last = layers[-1]
            last["weight"] = last["weight"] * scale.reshape(-1, *[1] * (last["weight"].ndim - 1))
            last["bias"] = (last["bias"] - mean) * scale + shift
        elif isinstance(module, nn.ReLU):
            layers[-1]["relu"] = True
    return layers


def export(run, path, sweep=None, picture=None, truth=None, n_labels=73) -> dict:
    """Write the playground's data to `path`, a script that sets `window.playgroundData`.

    Parameters
    ----------
    run : Run with posterior and labels.
    path : of the script.
    sweep : DataFrame, optional
        sweep.csv, whose draws are those of the page: each rule's accuracy with the labels of one.
    picture : uint8 [H, W], optional
        The image behind the page's Figure 2 button, with the letter it shows, `truth`, and the
        number of labels, `n_labels`, at which the rules differ on it.

    Returns
    -------
    dict
        What the page's text says of it: bytes (of the script), n_weights, label_counts.
    """
    path = Path(path)
    if run.posterior is None or run.labels is None:
        raise InputError("run: found no posterior and labels, expected those of a published run")
    if path.suffix != ".js":
        raise InputError(f"{path}: found the suffix {path.suffix!r}, expected '.js'")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: not found, expected the folder of the book's scripts")
    shape = run.model_config.image_shape
    if picture is not None and (np.shape(picture) != shape or picture.dtype != np.uint8):
        raise InputError(
            f"picture: found {picture.dtype} {np.shape(picture)}, expected uint8 {shape}"
        )

    affinity = cluster_affinity(run.posterior)
    layers = fold_encoder(run.model)
    samples = draw_samples(run)
    counts = [n for n in label_counts(len(run.labels)) if n <= MOST_LABELS]
    data = {
        "image_shape": shape,
        "pen": PEN,
        "n_images": len(run.labels),
        "label_seed": LABEL_SEED,
        "class_names": run.class_names,
        "layers": [_packed_layer(layer) for layer in layers],
        "samples": pack(samples),
        "contents": _contents(run),
        "draws": [
            _packed_draw(run, n, affinity) | {"accuracy": _accuracy(sweep, n)} for n in counts
        ],
        "letters": _rendered(run),
        "hesitant": most_hesitant(run, samples),
        "example": None
        if picture is None
        else {"image": pack(picture), "truth": truth, "n_labels": n_labels},
    }
    text = f"window.{VARIABLE} = {json.dumps(data, separators=(',', ':'))};\n"
    write_atomically(path, lambda p: p.write_text(text, encoding="utf-8"))
    return {
        "bytes": len(text.encode()),
        "n_weights": sum(layer["weight"].size + layer["bias"].size for layer in layers),
        "label_counts": counts,
    }


def draw_samples(run) -> np.ndarray:
    """N_SAMPLES images from p(x|c) of every component: uint8 [K, N_SAMPLES, H, W]."""
    samples = [run.model.sample(c, N_SAMPLES, seed=c) for c in range(run.model_config.K)]
    return np.rint(255 * np.stack(samples)).astype(np.uint8)


def most_hesitant(run, samples) -> list[list[int]]:
    """The samples whose q(c|x) has the largest entropy, one a component: [component, which]."""
    from gmvae_lib.vae.model import cluster_posterior

    q = cluster_posterior(run, samples.reshape(-1, *run.model_config.image_shape), device="cpu")
    entropy = posterior_entropy(q).reshape(samples.shape[:2])
    which = entropy.argmax(axis=1)
    components = np.argsort(-entropy.max(axis=1), kind="stable")[:N_HESITANT]
    return [[int(c), int(which[c])] for c in components]


def pack(array, scale=None) -> dict:
    """An array for JSON: shape, dtype, and its bytes in base64, low byte first.

    scale : float [n], by which the page multiplies each row of the array.
    """
    array = np.asarray(array)
    content = array.astype(array.dtype.newbyteorder("<")).tobytes()
    packed = {
        "shape": array.shape,
        "dtype": array.dtype.name,
        "data": base64.b64encode(content).decode(),
    }
    return packed if scale is None else packed | {"scale": pack(scale)}


def _packed_layer(layer):
    """A layer for JSON; dense weights, the bulk, as 16-bit integers with a scale a row.

    That halves the file and moves q(c|x) by about 1e-4 at most; float16 would move it by 6e-3.
    """
    weight = layer["weight"]
    if layer["kind"] == "dense":
        scale = np.abs(weight).max(axis=1) / np.iinfo(np.int16).max
        scale[scale == 0] = 1.0  # a row of zeros
        packed = pack(np.rint(weight / scale[:, None]).astype(np.int16), scale.astype(np.float32))
    else:
        packed = pack(weight.astype(np.float32))
    return layer | {"weight": packed, "bias": pack(layer["bias"].astype(np.float32))}


def _accuracy(sweep, n_labels):
    """Accuracy of each rule with the page's draw of so many labels: {rule: share}."""
    if sweep is None:
        return {}
    rows = sweep[(sweep["n_labels"] == n_labels) & (sweep["seed"] == LABEL_SEED)]
    found = rows.set_index("method")["accuracy"]
    return {rule: round(float(found[rule]), 4) for rule in RULES if rule in found}


def _packed_draw(run, n_labels, affinity):
    """State of the rules after n labels: counts over all classes, [C], and tables [C, K]."""
    index = draw_labelled(len(run.labels), n_labels, LABEL_SEED)
    q, y = run.posterior[index], run.labels[index]
    classes = np.arange(len(run.class_names))
    hard, soft = (rule().partial_fit(q, y, classes=classes) for rule in (HardDecoder, SoftDecoder))
    graph = GraphDecoder(affinity).fit(q, y)
    table = np.zeros((len(classes), run.model_config.K))
    table[graph.classes_] = graph.label_given_component_.clip(min=0)
    return {
        "n_labels": n_labels,
        "graph": pack(
            np.rint(table * np.iinfo(np.uint16).max).astype(np.uint16),
            np.full(len(classes), 1 / np.iinfo(np.uint16).max, dtype=np.float32),
        ),
        "class_count": soft.class_count_.tolist(),
        "votes": pack(hard.component_count_.astype(np.uint16)),
        "mean": pack(soft.class_mean_.astype(np.float32)),
    }


def _contents(run):
    """The letters of every component by their true labels, such as "t 71 %, j 25 %"."""
    case = np.zeros_like(run.labels)  # unknown, and not used
    return style_table(run.posterior, run.labels, case, run.class_names)["mix"].tolist()


def _rendered(run):
    """One letter drawn from a font for each class that is a letter: {"names", "images"}."""
    height, width = run.model_config.image_shape
    if height != width:
        raise InputError(f"run: found images of {height}x{width} pixels, expected square ones")
    letters = rendered_letters(n=26, seed=LABEL_SEED, size=height)
    order = np.argsort(letters.labels)
    names = [letters.class_names[i] for i in letters.labels[order]]
    return {"names": names, "images": pack(letters.images[order])}
