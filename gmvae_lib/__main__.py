"""``gmvae`` and ``python -m gmvae_lib``: the commands of the library and of the study."""

import sys

from gmvae_lib import cli
from gmvae_lib.study.command import add_sweep


def main(argv=None) -> int:
    """Run one command; return its exit code."""
    return cli.main(argv, more=(add_sweep,))


if __name__ == "__main__":
    sys.exit(main())
