"""Versions that are written in two places agree."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.M))


@pytest.mark.parametrize("tool", ["ruff", "codespell"])
def test_the_hooks_use_the_tested_version(tool):
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    revisions = {repo["repo"].split("/")[-1]: repo.get("rev") for repo in hooks["repos"]}
    assert revisions[{"ruff": "ruff-pre-commit"}.get(tool, tool)] == f"v{PINNED[tool]}"


def test_every_declared_dependency_is_pinned_to_a_version_it_allows():
    project = PYPROJECT["project"]
    extras = dict(project["optional-dependencies"])
    del extras["peers"]  # needs a C compiler, which `make setup` does not ask for
    declared = project["dependencies"] + sum(extras.values(), [])
    for requirement in map(Requirement, declared):
        if requirement.name == project["name"]:  # an extra that includes another
            continue
        assert requirement.name in PINNED, f"{requirement.name} is not in requirements.txt"
        assert requirement.specifier.contains(PINNED[requirement.name]), str(requirement)


def test_the_matrix_starts_at_the_lowest_python_that_the_project_allows():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "core.yml").read_text())["jobs"]
    pythons = jobs["tests"]["strategy"]["matrix"]["python"]
    assert PYPROJECT["project"]["requires-python"] == f">={pythons[0]}"
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{pythons[0].replace('.', '')}"
