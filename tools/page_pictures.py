"""Photograph the labelling page and the report for chapter 9, from a folder of `benchmarks.loop`.

`python -m benchmarks.loop --keep DIR`, then `python tools/page_pictures.py DIR`: writes
results/figures/label_page.png, after a few labels were typed, and report_page.png. Needs Chromium.
"""

import sys
from pathlib import Path

import pandas as pd
from check_book import ROOT, chromium, launched

FIGURES = ROOT / "results" / "figures"
VIEW = {"width": 1000, "height": 700}
TYPED = 7  # labels, so that the page has keys for some


def main(folder: Path) -> int:
    """Write the pictures; return the exit code."""
    program = chromium()
    pages = [folder / name for name in ("label.html", "report.html", "labels.csv")]
    missing = [path for path in pages if not path.is_file()]
    if missing or program is None:
        found = f"no {missing[0]}" if missing else "no Chromium"
        print(f"found {found}, expected what benchmarks.loop keeps and a browser", file=sys.stderr)
        return 2
    labels = pd.read_csv(folder / "labels.csv")["label"]
    with launched(program) as browser:
        page = browser.new_page(viewport=VIEW, color_scheme="light")
        page.goto((folder / "label.html").absolute().as_uri())
        for label in labels[:TYPED]:
            page.keyboard.type(str(label))
            page.keyboard.press("Enter")
        page.screenshot(path=FIGURES / "label_page.png")
        page.goto((folder / "report.html").absolute().as_uri())
        page.screenshot(path=FIGURES / "report_page.png")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
