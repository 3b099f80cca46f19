"""What the commands of the study share: how they end, and the labelled images they read."""

import sys
from functools import wraps

from gmvae_lib.data.images import load_images
from gmvae_lib.errors import InputError


def program(name):
    """Decorator of a ``main(argv)``: it returns the exit code, 2 after bad input.

    The line on bad input, ``name: error: ...``, goes to stderr. What main returns is the code of
    other endings, None being 0.

    Examples
    --------
    >>> @program("count")
    ... def main(argv=None):
    ...     print(len(argv))
    >>> main(["a", "b"])
    2
    0
    """

    def decorate(main):
        @wraps(main)
        def run(argv=None) -> int:
            try:
                return main(argv) or 0
            except (InputError, OSError) as error:
                print(f"{name}: error: {error}", file=sys.stderr)
                return 2

        return run

    return decorate


def labelled_images(source, data_dir=None, transpose="auto", what="to measure accuracy"):
    """The images of `load_images`, refused without labels, which are needed for ``what``."""
    images = load_images(source, data_dir=data_dir, transpose=transpose)
    if images.labels is None:
        raise InputError(f"{source}: found no labels, expected them {what}")
    return images
