"""The command ``sweep`` of the command line."""

import gmvae_lib.commands as core
from gmvae_lib.cli import IMAGES_HELP, counts, images, path, whole_number
from gmvae_lib.errors import InputError


def add_sweep(command) -> None:
    """Add the command by the function with which the command line adds its own."""
    sub = command(
        sweep,
        "--run runs/letters --data letters.npz --n-labels 73,291 --seeds 5 --out sweep.csv",
        "The same command resumes a sweep that was interrupted.",
    )
    sub.set_defaults(force=True)  # an existing table is continued, and any other refused
    sub.add_argument("--run", type=path, required=True, help="folder that train wrote")
    sub.add_argument(
        *("--data", "--images"),
        dest="images",
        type=images,
        required=True,
        metavar="PATH",
        help=f"with labels: {IMAGES_HELP}",
    )
    sub.add_argument("--n-labels", type=counts, required=True, metavar="N,N,...")
    sub.add_argument("--seeds", type=whole_number(1, 1000), default=5, help="draws (default: 5)")
    sub.add_argument("--pixels", action="store_true", help="add the classifiers on pixels (slow)")
    sub.add_argument("--out", type=path, required=True, metavar="CSV")


def sweep(args) -> None:
    """Measure accuracy against the number of labels, on data whose labels are known."""
    out = core.output(args, args.out, "sweep")
    run, images = core.run_and_images(args)
    if images.labels is None or (images.labels < 0).all():
        raise InputError(
            f"{args.images}: found no labels, expected true labels to evaluate against"
        )
    import joblib

    from gmvae_lib.label.decoding import decoders
    from gmvae_lib.study.baselines import pixel_baselines
    from gmvae_lib.study.experiments import summarise
    from gmvae_lib.study.experiments import sweep as run_sweep
    from gmvae_lib.vae.model import cluster_posterior

    device = core.checked_device(args.device)
    q = cluster_posterior(run, images, device=device, progress=core.progress())
    known = images.labels >= 0
    features, methods = {"q": q[known]}, {"q": decoders(q[known])}
    if args.pixels:
        features["pixels"], methods["pixels"] = images.pixels()[known], pixel_baselines()
    table = run_sweep(
        features,
        images.labels[known],
        methods,
        args.n_labels,
        range(args.seeds),
        out=out,
        n_jobs=joblib.cpu_count() if args.pixels else 1,  # the decoders take milliseconds
    )
    core.say(summarise(table).round(4).to_string(index=False))
