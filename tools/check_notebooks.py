"""Check the committed chapters: executed from the top, with outputs, without errors or noise.

`python tools/check_notebooks.py` prints one line per fault and exits with 1 if there is any.
"""

import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
MAX_BYTES = 2_000_000


def notebook_faults(path: Path) -> list[str]:
    """Return one line for each fault of the notebook at `path`."""
    faults = []
    if path.stat().st_size > MAX_BYTES:
        megabytes = path.stat().st_size / 1e6
        faults.append(f"{megabytes:.1f} MB, expected at most {MAX_BYTES / 1e6:.0f} MB")
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        return [*faults, f"not a valid notebook: {str(error).splitlines()[0]}"]

    cells = [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]
    counts = [c.execution_count for c in cells]
    if counts != list(range(1, len(cells) + 1)):
        faults.append(f"execution counts {counts}, expected 1 to {len(cells)} in order")
    if not any(c.outputs for c in cells):
        faults.append("no outputs, expected a chapter committed with its outputs")
    for number, cell in enumerate(cells, start=1):
        if "nbval-ignore-output" in cell.metadata.get("tags", []) and "assert " not in cell.source:
            faults.append(f"code cell {number} ignores its outputs and asserts nothing")
        for output in cell.outputs:
            if output.output_type == "error":
                faults.append(f"code cell {number} raised {output.ename}: {output.evalue}")
            if output.output_type == "stream" and output.name == "stderr":
                first = output.text.strip().partition("\n")[0]
                faults.append(f"code cell {number} wrote to stderr: {first}")
    return faults


def main(folder: Path = ROOT / "notebooks") -> int:
    """Check every notebook of `folder`; return the exit code."""
    paths = sorted(folder.glob("*.ipynb"))
    faults = [f"{p.name}: {fault}" for p in paths for fault in notebook_faults(p)]
    if not paths:
        faults.append(f"{folder}: no notebooks found")
    print("\n".join(faults) if faults else f"{len(paths)} chapters executed in order, no faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
