"""Read the prose of the book: what is running words, and which of them are terms.

What is no prose is blanked, not cut out, so that every word keeps its place.
"""

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

FENCE = re.compile(r"\s*(`{3,}|~{3,}|:{3,})(\S*)")
NO_PROSE = re.compile(  # math, roles, code, where links go, tags
    r"\$\$.*?\$\$|\$[^$]+\$|\{[\w:-]+\}`[^`]*`|`[^`]*`|(?<=\])\([^)]*\)|<[a-z/!][^>]*>",
    re.S,
)
NO_ROLES = re.compile(  # where no role can stand: headings, texts of links, settings
    r"^#[^\n]*|<a\s.*?</a>|\[[^\]]*\](?=\()|^\([\w-]+\)=$|^:[\w-]+:[^\n]*|\A---$.*?^---$",
    re.S | re.M,
)
APART = ("{exercise}", "{solution}", "{figure}", "{raw}", "{bibliography}")
EXERCISES = re.compile(r"^## Exercises$.*?(?=^## |\Z)", re.S | re.M)
TERM = re.compile(r"\{term\}`(?:[^`<]*<)?([^`<>]+)>?`")
ARGUMENT = re.compile(r"^[\w*, ]+ : .*$", re.M)  # in a docstring
JS_PROSE = re.compile(
    r"""/\*.*?\*/|(?<!:)//[^\n]*|"[^"\n]* [^"\n]*"|`[^`]* [^`]*`""", re.S
)


def text_of(path: Path) -> str:
    """Return a page, or the markdown of a notebook."""
    if path.suffix != ".ipynb":
        return path.read_text()
    cells = json.loads(path.read_text())["cells"]
    prose = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
    return "\n\n".join(prose)


def code_of(path: Path) -> str:
    """Return the code of a file, or of a notebook."""
    if path.suffix != ".ipynb":
        return path.read_text()
    cells = json.loads(path.read_text())["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")


def _blank(found: re.Match | str) -> str:
    return "\0" * len(found if isinstance(found, str) else found[0])


def outside_code(text: str, apart: tuple[str, ...] = ()) -> str:
    """Blank blocks of code, and directives that stand apart."""
    lines: list[str] = []
    fences: list[tuple[str, bool]] = []
    for line in text.splitlines():
        inside = any(code for _, code in fences)
        mark, kind = match.groups() if (match := FENCE.match(line)) else ("", "")
        if mark and fences and not kind and mark.startswith(fences[-1][0]):
            fences.pop()
        elif mark and not inside:
            code = not kind.startswith("{") or kind.startswith(("{math}", "{code"))
            fences.append((mark, code or kind in apart))
        lines.append(_blank(line) if mark or inside else line)
    return "\n".join(lines)


def prose(text: str, apart: tuple[str, ...] = ()) -> str:
    """Blank code, math, roles and targets of links, and directives that stand apart."""
    return NO_PROSE.sub(_blank, outside_code(text, apart))


def formulas(text: str) -> list[str]:
    """Return the math of a chapter without its exercises."""
    chapter = outside_code(EXERCISES.sub(_blank, text), APART)
    return [m[0] for m in NO_PROSE.finditer(chapter) if m[0].startswith("$")]


def comments(source: str) -> str:
    """Return comments and docstrings of Python code, without the names of arguments."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    words = [token.string for token in tokens if token.type == tokenize.COMMENT]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            words.append(ast.get_docstring(node) or "")
    return prose(ARGUMENT.sub("", "\n".join(words)))


def script_comments(source: str) -> str:
    """Return comments and strings of several words of JavaScript."""
    return prose("\n".join(JS_PROSE.findall(source)))


def stem(name: str) -> str:
    """Return a term as it is looked up: in small letters, singular, in one line."""
    return re.sub(r"(?<!s)s$", "", " ".join(name.lower().split()))


def terms(glossary: str) -> dict[str, str]:
    """Return for each name in a glossary the first name of its entry."""
    body = glossary.split("```{glossary}")[1].split("```")[0]
    found: dict[str, str] = {}
    for entry in re.findall(r"(?:^\S.*\n)+(?=^ )", body, re.M):
        names = entry.splitlines()
        found |= {stem(name): names[0] for name in names}
    return found


def pattern(names: Iterable[str]) -> re.Pattern:
    """Match any of the names, the longest that fits, in singular or plural."""
    words = sorted((re.escape(name) for name in names), key=len)
    either = "|".join(words[::-1]).replace(r"\ ", r"\s+")
    return re.compile(rf"(?<![\w-])({either})(?:e?s)?(?![\w-])", re.I)


def mentions(
    text: str, names: dict[str, str]
) -> Iterator[tuple[str | None, re.Match, bool]]:
    """Yield each mention of a term in a chapter: its entry, where, if as a link."""
    chapter = NO_ROLES.sub(_blank, EXERCISES.sub(_blank, text))
    plain = prose(chapter, APART)
    found = [(m, False) for m in pattern(names).finditer(plain)]
    found += [(m, True) for m in TERM.finditer(text)]
    for match, link in sorted(found, key=lambda f: f[0].start()):
        yield names.get(stem(match[1])), match, link
