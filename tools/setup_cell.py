"""Write the setup cell of the chapters: the first code cell, by which they run in Colab.

`python tools/setup_cell.py [CHAPTER ...]` puts it into every chapter, or brings it up to date. In a
clone of the repository the cell does nothing. Elsewhere it fetches the repository whose address
stands in it: that of BOOK_REPOSITORY, the setting that tools/address.py reads too; without one it
says what to do by hand. Execute a chapter afterwards, since its cells are numbered anew.
"""

import sys
from pathlib import Path

import nbformat
from address import repository
from nbformat.v4 import new_code_cell

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
SOURCE = """\
# Outside a clone of the book's repository, in Colab say: fetch it and install the library.
from importlib.util import find_spec

if find_spec("gmvae_lib") is None:
    REPOSITORY = "{address}"
    if not REPOSITORY:
        raise ModuleNotFoundError(
            "found no gmvae_lib: clone the book's repository, run `pip install .` in it, "
            "and open this chapter from its folder notebooks"
        )
    !git clone --quiet --depth 1 {{REPOSITORY}} book
    %pip install --quiet ./book
    %cd book/notebooks"""
TAG = "remove-cell"  # the book's pages do without it


def setup_source(address: str) -> str:
    """The cell's text for a repository's address, "" for none."""
    return SOURCE.format(address=address)


def is_setup(cell) -> bool:
    """Whether a cell is the setup cell, whatever its address."""
    return cell.cell_type == "code" and cell.source.startswith(SOURCE.partition("\n")[0])


def write_setup(path: Path, address: str) -> bool:
    """Put the setup cell into the chapter at ``path``; return whether that changed the file."""
    notebook = nbformat.read(path, as_version=4)
    before = nbformat.writes(notebook)
    found = [cell for cell in notebook.cells if is_setup(cell)]
    if found:
        found[0].source = setup_source(address)
    else:
        first = next(i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code")
        cell = new_code_cell(setup_source(address), id=f"{path.stem[:2]}-setup")
        cell.metadata.tags = [TAG]
        notebook.cells.insert(first, cell)
    after = nbformat.writes(notebook)
    if after != before:
        path.write_text(after + "\n", encoding="utf-8")
    return after != before


def main(names) -> int:
    """Write the cell into the chapters named; return the exit code."""
    paths = [Path(name) for name in names] or sorted(NOTEBOOKS.glob("*.ipynb"))
    for path in paths:
        print(f"{path.name}: {'written' if write_setup(path, repository()) else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
