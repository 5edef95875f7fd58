"""What GitHub reads: workflows, forms for issues, the notes of a release."""

import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import yaml

from tests.makefile import TARGETS
from tests.site.conftest import serve
from tools.release import notes

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = [GITHUB / "ISSUE_TEMPLATE" / name for name in ("chapter.yml", "question.yml")]
SCHEMAS = {
    "citation-file-format": [ROOT / "CITATION.cff"],
    "dependabot": [GITHUB / "dependabot.yml"],
    "github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
    "github-issue-forms": FORMS,
    "github-workflows": WORKFLOWS,
}


def load(path):
    return yaml.safe_load(path.read_text())


# Each file is what its published schema says.


def fit(files, schema):
    command = [sys.executable, "-m", "check_jsonschema", *files]
    command += ["--builtin-schema", f"vendor.{schema}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_every_file_for_github_has_a_schema():
    files = [ROOT / "CITATION.cff", *GITHUB.rglob("*.yml"), *GITHUB.rglob("*.yaml")]
    assert sorted(files) == sorted(chain(*SCHEMAS.values()))


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_files_fit_their_schema_and_a_spoiled_one_does_not(schema, tmp_path):
    files = SCHEMAS[schema]
    assert fit(files, schema)
    spoiled = tmp_path / "spoiled.yml"
    spoiled.write_text(files[0].read_text() + "\nsurprise: [1]\n")
    assert not fit([spoiled], schema)


# Workflows: few rights, actions that cannot change, commands that exist.


def workflow_problems(workflow):
    found = []
    rights = workflow.get("permissions")
    if rights is None:
        found.append("the rights are not limited")
    elif "write" in rights.values() and len(workflow["jobs"]) > 1:
        found.append("every job may write")
    for job in workflow["jobs"].values():
        if "timeout-minutes" not in job:
            found.append("no time limit")
        for step in job["steps"]:
            action, command = step.get("uses"), step.get("run", "")
            if action and not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action):
                found.append(f"{action} is not pinned to a commit")
            found += [f"{what} does not exist" for what in missing(command)]
    return found


def missing(command):
    """List the targets, tools and scripts of a command that are not in the project."""
    for target in re.findall(r"\bmake (\S+)", command):
        if target not in TARGETS:
            yield f"make {target}"
    for module in re.findall(r"-m ([\w.]+)", command):
        if not (ROOT / module.replace(".", "/")).with_suffix(".py").is_file():
            yield module
    for script in re.findall(r"^\.ci/\S+", command):
        if not (ROOT / script).is_file():
            yield script


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_workflow_is_sound(path):
    assert workflow_problems(load(path)) == []


def step(**parts):
    return {"permissions": {}, "jobs": {"a": {"timeout-minutes": 1, "steps": [parts]}}}


@pytest.mark.parametrize(
    ("workflow", "problem"),
    [
        ({"jobs": {}}, "not limited"),
        ({"permissions": {"pages": "write"}, "jobs": {"a": {}, "b": {}}}, "may write"),
        ({"permissions": {}, "jobs": {"a": {"steps": []}}}, "no time limit"),
        (step(uses="actions/checkout@v6"), "not pinned"),
        (step(run="make bok"), "make bok does not exist"),
        (step(run="python3 -m tools.gone"), "tools.gone does not exist"),
        (step(run=".ci/gone"), ".ci/gone does not exist"),
    ],
)
def test_an_unsound_workflow_is_noticed(workflow, problem):
    for job in workflow["jobs"].values():
        job.setdefault("steps", [])
    assert problem in workflow_problems(workflow)[0]


def publishing_jobs():
    for path in WORKFLOWS:
        for job in load(path)["jobs"].values():
            if any("deploy-pages" in s.get("uses", "") for s in job["steps"]):
                yield path, job


def test_only_what_passed_the_tests_on_main_is_published():
    [(path, job)] = publishing_jobs()
    assert job["if"] == "github.ref == 'refs/heads/main'"
    steps = load(path)["jobs"][job["needs"]]["steps"]
    tested = [s.get("run") for s in steps].index(".ci/run")
    [upload] = [s for s in steps if "upload-pages-artifact" in s.get("uses", "")]
    assert steps.index(upload) > tested
    assert upload["with"]["path"] == "_build/html"


# The check of links, on a book with one link to this machine.


@pytest.mark.parametrize(("target", "status"), [("there.html", 0), ("gone.html", 1)])
def test_the_link_check_of_the_workflow_finds_a_dead_link(target, status, tmp_path):
    [command] = [
        s["run"]
        for s in load(GITHUB / "workflows" / "links.yml")["jobs"]["links"]["steps"]
        if "linkcheck" in s.get("run", "")
    ]
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "there.html").write_text("<p>Here</p>")
    book = tmp_path / "book"
    book.mkdir()
    (book / "_config.yml").write_text("title: Links\nonly_build_toc_files: true\n")
    (book / "_toc.yml").write_text("format: jb-book\nroot: home\n")
    with serve(tmp_path / "site") as address:
        (book / "home.md").write_text(f"# Home\n\n[there]({address}/{target})\n")
        command = command.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
        run = subprocess.run(
            command.split(), cwd=book, capture_output=True, check=False
        )
    assert run.returncode == status, run.stdout


# Forms for issues.


def test_the_form_lists_the_pages_of_the_book():
    toc = load(ROOT / "_toc.yml")
    pages = [page["file"] for part in toc["parts"] for page in part["chapters"]]
    [field] = [f for f in load(FORMS[0])["body"] if f["id"] == "chapter"]
    assert field["attributes"]["options"] == [toc["root"], *pages]


def test_the_form_asks_for_what_a_report_needs():
    needed = {
        field["id"]
        for field in load(FORMS[0])["body"]
        if field.get("validations", {}).get("required")
    }
    assert needed == {"chapter", "place", "expected", "got", "version", "run"}


# Notes of a release.


@pytest.fixture
def project(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.0.0"\n')
    (tmp_path / "CITATION.cff").write_text("cff-version: 1.2.0\nversion: 1.0.0\n")
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## Unreleased\n\n- Later.\n\n## 1.0.0 (2026-12-01)\n\n"
        "- First.\n\n### Numbers\n\n- None.\n\n## 0.9.0\n\n- Before.\n"
    )
    return tmp_path


def test_the_notes_are_the_section_of_the_version(project):
    assert notes("1.0.0", project) == "- First.\n\n### Numbers\n\n- None."


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("pyproject.toml", "1.0.0", "1.0.1", "pyproject.toml says version 1.0.1"),
        ("CITATION.cff", "1.0.0", "0.1.0", "CITATION.cff says version 0.1.0"),
        ("CHANGELOG.md", "## 1.0.0", "## 1.0", "no section for version 1.0.0"),
        ("CHANGELOG.md", "## 1.0.0", "## 1.0.0\n## 0.9.9", "no section for version"),
    ],
)
def test_a_release_that_is_not_ready_has_no_notes(project, file, old, new, message):
    path = project / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        notes("1.0.0", project)


def test_the_project_states_one_version():
    version = re.search(
        r'(?m)^version = "(.+)"$', (ROOT / "pyproject.toml").read_text()
    )
    assert load(ROOT / "CITATION.cff")["version"] == version[1]


@pytest.mark.parametrize("file", ["LICENSE", "LICENSE-docs", "CITATION.cff"])
def test_the_files_that_github_shows_exist(file):
    assert (ROOT / file).read_text().strip()
