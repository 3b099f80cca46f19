"""Write .zenodo.json, what Zenodo reads when a release is archived under a DOI, from CITATION.cff.

`python tools/zenodo.py` after CITATION.cff or the version changed; a test compares.
"""

import json
import sys

import yaml
from check_book import ROOT


def metadata(citation: dict) -> dict:
    """Zenodo's metadata from the fields of CITATION.cff."""
    cited = [work for work in citation.get("references", []) if "doi" in work or "url" in work]
    return {
        "title": citation["title"],
        "upload_type": citation["type"],
        "description": citation["message"],
        "version": citation["version"],
        "creators": [{"name": _name(author)} for author in citation["authors"]],
        "license": citation["license"].lower(),
        "keywords": citation["keywords"],
        "related_identifiers": [
            {"identifier": work.get("doi", work.get("url")), "relation": "cites"} for work in cited
        ],
    }


def _name(author):
    if "name" in author:
        return author["name"]
    return f"{author['family-names']}, {author['given-names']}"


def text(citation: dict) -> str:
    return json.dumps(metadata(citation), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    (ROOT / ".zenodo.json").write_text(text(citation), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
