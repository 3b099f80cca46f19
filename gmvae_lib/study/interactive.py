"""The data of the book's interactive figures, from results/: one dict a figure, ready for JSON.

Each figure's script (book/_extra/figures/NAME.js) computes from these in the reader's browser what
the library computes; tests/tools/test_interactive.py compares the two.
"""

from pathlib import Path

from gmvae_lib.study.evidence import evidence
from gmvae_lib.study.labeller import asked_letters, labeller_data


def figure_data(results) -> dict:
    """The data of all figures: {name of the figure: dict}."""
    results = Path(results)
    ev = evidence(results)
    return {
        "labeller": labeller_data(
            ev.run, ev.sweep, asked_letters(ev.run, results / "figures" / "live")
        ),
    }
