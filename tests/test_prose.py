"""The words of the book: spelling, terms, references and symbols."""

import re
from pathlib import Path

import codespell_lib
import pytest

from tools.prose import (
    code_of,
    comments,
    formulas,
    mentions,
    prose,
    script_comments,
    terms,
    text_of,
)

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = [*sorted(BOOK.glob("*.md")), *NOTEBOOKS]
CHAPTERS = [BOOK / "playground.md", *sorted(BOOK.glob("theory*.md")), *NOTEBOOKS]
GLOSSARY = (BOOK / "glossary.md").read_text()
TERMS = terms(GLOSSARY)
NOTATION = (BOOK / "notation.md").read_text()
BIBLIOGRAPHY = (BOOK / "references.bib").read_text()


# Spelling. `make lint` runs codespell on all but pictures. Words that are right in
# American English only are looked for here, in what people read.


def codespell(folder, capsys):
    """Return what codespell says of a folder, by the settings of the project."""
    codespell_lib.main("--toml", str(ROOT / "pyproject.toml"), str(folder))
    return capsys.readouterr().out


@pytest.mark.parametrize("folder", ["book", "moe_lib", "notebooks", "tools"])
def test_nothing_is_misspelt(folder, capsys):
    assert "==>" not in codespell(ROOT / folder, capsys)


MISTAKE = "teh"  # codespell:ignore


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("page.md", f"All of {MISTAKE} examples."),
        ("module.py", f'"""Return {MISTAKE} loss."""'),
        ("page.js", f"// Draw {MISTAKE} map."),
        ("chapter.ipynb", f'"source": ["All of {MISTAKE} examples."]'),
    ],
)
def test_a_misspelling_is_noticed(name, text, tmp_path, capsys):
    (tmp_path / name).write_text(text)
    assert f"{MISTAKE} ==> the" in codespell(tmp_path, capsys)


def test_letters_of_a_picture_are_no_words(tmp_path, capsys):
    (tmp_path / "chapter.ipynb").write_text(f'"image/png": "iVBOR/{MISTAKE}/w"')
    assert "==>" not in codespell(tmp_path, capsys)


def american():
    """Return each American spelling that codespell knows, with the British one."""
    data = Path(codespell_lib.__file__).parent / "data"
    lines = (data / "dictionary_en-GB_to_en-US.txt").read_text().split()
    pairs = [line.split("->") for line in lines if "->" in line]
    return {us: gb for gb, us in pairs if us not in BRITISH_TOO}


# Words with a British meaning, too; the last is in the title of a paper.
BRITISH_TOO = {"licensed", "program", "routing", "stories", "story", "generalization"}
AMERICAN = american()


def americanisms(text):
    """List the American spellings of a text, with the British ones."""
    words = re.findall(r"[A-Za-z]+", text)
    return [f"{w}: {AMERICAN[w.lower()]}" for w in words if w.lower() in AMERICAN]


def read_text():
    """Yield each name of a file with the words in it that people read."""
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        yield name, prose((ROOT / name).read_text())
    for path in PAGES:
        yield path.name, prose(text_of(path))
    for path in [*NOTEBOOKS, *sorted((ROOT / "moe_lib").glob("*.py"))]:
        yield f"code of {path.name}", comments(code_of(path))
    for path in sorted((BOOK / "_static").glob("**/*.js")):
        yield path.name, script_comments(path.read_text())


def test_spelling_is_british():
    found = {name: americanisms(text) for name, text in read_text()}
    assert {name: words for name, words in found.items() if words} == {}


def test_american_spelling_is_noticed_in_words_and_not_in_code():
    page = "The color of `color` and [color](color.md), normalized.\n\n```\ncolor\n```"
    found = ["color: colour", "color: colour", "normalized: normalised"]
    assert americanisms(prose(page)) == found
    code = (
        'center = "color"  # in color\n\n\ndef f(center):\n    """The center.\n\n    '
    )
    code += 'Parameters\n    ----------\n    center : Tensor\n    """\n'
    assert americanisms(comments(code)) == ["color: colour", "center: centre"]
    script = 'const color = "gray"; // a color\nsay("No color here");'
    assert americanisms(script_comments(script)) == ["color: colour"] * 2


# The glossary. In each chapter, the first mention of a term leads there.

EVERYDAY = {"run": "also a verb"}


def undefined(text):
    """List the links of a page to terms that the glossary does not have."""
    found = [(entry, match) for entry, match, link in mentions(text, TERMS) if link]
    return [match[0] for entry, match in found if not entry]


def linked(text):
    """Return the entries of the glossary to which a page has a link."""
    return {entry for entry, _, link in mentions(text, TERMS) if link}


def not_linked_at_first(text):
    """List the terms whose first mention in a chapter is no link."""
    first = {}
    for entry, match, link in mentions(text, TERMS):
        first.setdefault(entry, (match[0], link))
    wanted = [found for entry, found in first.items() if entry not in EVERYDAY]
    return [word for word, link in wanted if not link]


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_every_term_that_a_page_links_is_defined(path):
    assert undefined(text_of(path)) == []


def test_every_term_of_the_glossary_is_used():
    used = [linked(text_of(p)) for p in PAGES if p.name != "glossary.md"]
    assert set(TERMS.values()) - set().union(*used) == set()


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.name)
def test_the_first_mention_of_a_term_is_a_link(path):
    assert not_linked_at_first(text_of(path)) == []


def test_an_entry_may_have_several_names():
    page = "```{glossary}\ncat\nhouse tiger\n  An animal.\n\ndogs\n  Others.\n```\n"
    assert terms(page) == {"cat": "cat", "house tiger": "cat", "dog": "dogs"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("An expert, and {term}`experts <expert>`.", ["expert"]),
        ("Experts.", ["Experts"]),
        ("A cluster\ncentre.", ["cluster\ncentre"]),
        ("The losses: logistic losses.", ["logistic losses"]),
        ("```{admonition} Predict\nAn expert?\n```", ["expert"]),
        ("| expert |", ["expert"]),
        ("**Expert.**", ["Expert"]),
        ("{term}`expert` and {term}`expert`, an expert.", []),
        ("The {term}`decoy` is {term}`feature noise`; feature noise.", []),
        ("A {term}`single expert` is one.", []),
        ("# An expert\n\n`expert`, $expert$, {doc}`expert`, [the expert](page.md)", []),
        ("```\nexpert\n```\n\n```{figure} x.png\n:alt: expert\n\nAn expert.\n```", []),
        ("````{exercise} A\nAn expert.\n````\n\n## Exercises\n\nexpert", []),
        ("## Exercises\n\nexpert\n\n## Next\n\nA router.", ["router"]),
        ("A single-expert problem, expertise; it runs.", []),
    ],
)
def test_a_first_mention_without_a_link_is_noticed(text, problem):
    assert not_linked_at_first(text) == problem


def test_a_link_to_no_term_is_noticed():
    assert undefined("{term}`expert`, {term}`sages <sage>`") == ["{term}`sages <sage>`"]
    assert linked("{term}`experts <expert>`, a router") == {"expert"}


# References.

RESTS_ON = {  # what a page names, and what it then cites, or else the glossary
    r"[Tt]he paper\b|Chen et al|[Aa]uthors'": "chen2022towards",
    "Adam": "kingma2015adam",
    "Batch normalisation": "ioffe2015batch",
    "BERT": "devlin2019bert",
    "CIFAR-10": "krizhevsky2009learning",
    "MNIST": "lecun1998gradient",
    "MobileNet": "sandler2018mobilenetv2",
    "Nadeau": "nadeau2003inference",
    "ResNet": "he2016deep",
    "t-SNE": "vandermaaten2008tsne",
    "Wilson": "wilson1927probable",
}


def cited(text):
    """Return the keys of the references of a page."""
    roles = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text)
    return {key.strip() for role in roles for key in role.split(",")}


def entries(bibliography):
    """Return the keys of a bibliography."""
    return set(re.findall(r"^@\w+\{([^,]+),", bibliography, re.M))


def not_cited(text, elsewhere=frozenset()):
    """List the works on which a chapter rests without a reference."""
    keys = cited(text) | elsewhere
    named = [key for name, key in RESTS_ON.items() if re.search(name, prose(text))]
    return [key for key in named if key not in keys]


def test_every_reference_is_cited_and_every_citation_is_a_reference():
    assert set().union(*(cited(text_of(p)) for p in PAGES)) == entries(BIBLIOGRAPHY)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.name)
def test_a_chapter_cites_what_it_rests_on(path):
    assert not_cited(text_of(path), cited(GLOSSARY)) == []


def test_references_are_read_and_a_missing_one_is_noticed():
    text = "The paper {cite:p}`chen2022towards, b2020`, {cite:t}`c`, Wilson's, `BERT`"
    assert cited(text) == {"chen2022towards", "b2020", "c"}
    assert entries("@article{one,\n  title = {@x},\n}\n\n@misc{two,\n}") == {
        "one",
        "two",
    }
    assert not_cited(text) == ["wilson1927probable"]
    assert not_cited(text, {"wilson1927probable"}) == []


# Symbols. What two pages use stands on the page of notation, and has one spelling.

SYMBOL = re.compile(
    r"\\(?:mathcal|mathbb|mathrm)\{\w+\}"
    r"|\\(?:[aA]lpha|[bB]eta|[gG]amma|[dD]elta|(?:var)?epsilon|zeta|eta|[tT]heta|iota"
    r"|kappa|[lL]ambda|mu|nu|[xX]i|[pP]i|rho|[sS]igma|tau|[uU]psilon|[pP]hi|chi|[pP]si"
    r"|[oO]mega|ell)(?![a-zA-Z])"
    r"|(?<![\\a-zA-Z])[a-zA-Z](?![a-zA-Z])"
)
COMPETING = {
    r"\\Pr\b|(?<![\\{a-zA-Z])P\s*\(": r"\mathbb{P}",
    r"(?<![\\{a-zA-Z])E\s*[\[(]": r"\mathbb{E}",
    r"\\mathbb\{1\}_": r"\mathbb{1}[\cdot]",
    r"\\(?:mathbf|boldsymbol|bm|vec)\b": "a plain letter",
    r"\\varepsilon\b": r"\epsilon",
    r"\\[lgn]eq\b": r"\le, \ge, \ne",
    r"w_\{mj": "w_{m,j}",
    r"(?<![\w{])M_[k\d]": r"\mathcal{M}_k",
    r"\\(?:mathrm|text)\{(?:softmax|sign|sigmoid)\}": r"\operatorname{...}",
    r"\\log\s*[(\d]": r"\ln",
    r"H\((?!\\text\{cluster\})": r"H(\text{cluster} \mid \text{expert})",
}


def symbols(text):
    """Return the letters in the math of a page: plain, Greek, calligraphic."""
    return {found for formula in formulas(text) for found in SYMBOL.findall(formula)}


def missing_symbols(texts, notation):
    """Return the symbols of several pages that the page of notation lacks."""
    used = [symbol for text in texts for symbol in symbols(text)]
    return {symbol for symbol in used if used.count(symbol) > 1} - symbols(notation)


def competing(text):
    """List the symbols that are spelt otherwise than in the rest of the book."""
    return [
        f"{match[0]}: {ours}"
        for formula in formulas(text)
        for theirs, ours in COMPETING.items()
        if (match := re.search(theirs, formula))
    ]


def test_shared_symbols_are_on_the_page_of_notation():
    assert missing_symbols(map(text_of, CHAPTERS), NOTATION) == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_a_symbol_has_one_spelling(path):
    assert competing(text_of(path)) == []


def test_a_shared_symbol_that_is_not_listed_is_noticed():
    pages = [r"$\zeta + \mathcal{Z} q_m + x$", r"$$\zeta \mathcal{Z} q_{m,j}$$ $\psi$"]
    assert missing_symbols(pages, r"$q_m$, $x$") == {r"\zeta", r"\mathcal{Z}"}
    assert missing_symbols(pages, r"$\zeta$, $\mathcal{Z}$") == {"q", "m"}
    assert missing_symbols(pages[:1], "") == set()
    assert symbols(r"`$\zeta$` and" + "\n```\n$\\zeta$\n```\n") == set()


@pytest.mark.parametrize(
    "formula",
    [
        r"P(m = 0)",
        r"\Pr[m]",
        r"E[\beta]",
        r"\mathbb{1}_{q=m}",
        r"\mathbf x",
        r"\varepsilon",
        r"x \leq y",
        r"w_{mj}",
        r"m \in M_k",
        r"\mathrm{softmax}(h)",
        r"\log(1 + e^{-z})",
        r"H(k \mid m)",
    ],
)
def test_a_competing_spelling_is_noticed(formula):
    assert len(competing(f"Here ${formula}$ is.")) == 1


def test_the_spelling_of_the_book_is_no_competitor():
    formula = (
        r"\mathbb{P}(m) = \mathbb{E}[x] \le \log\log d \log K, \mathcal{M}_k, O(1)"
    )
    assert competing(f"${formula}$ and `$P(x)$` and P(x).") == []
