"""The Rust code of src/, without its tests, documentation, comments and literals, for the scripts that look at it."""

import re
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src"


def blank(text):
    """The same text, with spaces for all but its line breaks."""
    return re.sub(r"[^\n]", " ", text)


# Only a quote that is closed after one character or one escape begins a literal; others begin a lifetime.
COMMENT_OR_LITERAL = re.compile(
    r"""//[^\n]* | /\* | \b(?:b|c)?r(?P<hashes>\#*)".*?"(?P=hashes)(?!\#) | "(?:\\.|[^"\\])*" | '(?:\\[^\n']+|\\'|[^\\'\n])'""",
    re.DOTALL | re.VERBOSE,
)


def code_of(text):
    """Blanks comments, among them documentation, and literals. Offsets and lines stay as they are."""
    out, at = [], 0
    while found := COMMENT_OR_LITERAL.search(text, at):
        end = found.end()
        if found.group() == "/*":
            depth = 1
            while depth and (mark := re.compile(r"/\*|\*/").search(text, end)):
                depth += 1 if mark.group() == "/*" else -1
                end = mark.end()
        out += [text[at : found.start()], blank(text[found.start() : end])]
        at = end
    return "".join(out) + text[at:]


def closing(code, opening):
    """The offset behind the bracket that closes the one at `opening`."""
    depth = 0
    for at in range(opening, len(code)):
        depth += (code[at] in "([{") - (code[at] in ")]}")
        if depth == 0:
            return at + 1
    return len(code)


def without_tests(code):
    """Blanks each item under `#[cfg(test)]`, and returns the names of test modules that have a file of their own."""
    modules = []
    while found := re.search(r"#\[cfg\((?:all\(\s*)?test\b", code):
        end = closing(code, found.start() + 1)
        # The item ends with its first block, or without one.
        while end < len(code) and code[end] not in "{;":
            end = closing(code, end) if code[end] in "([" else end + 1
        modules += re.findall(r"\bmod\s+(\w+)\s*$", code[found.start() : end])
        end = closing(code, end) if code[end : end + 1] == "{" else end + 1
        code = code[: found.start()] + blank(code[found.start() : end]) + code[end:]
    return code, modules


def files():
    """Returns the code of each file of src/ that is not a test. Offsets and lines are those of the file."""
    found, tests = {}, set()
    for file in sorted(SOURCE.rglob("*.rs")):
        found[file], modules = without_tests(code_of(file.read_text(encoding="utf-8")))
        folder = file.parent if file.stem in ("lib", "mod") else file.with_suffix("")
        tests.update(folder / name for name in modules)
    in_tests = lambda file: any(test in (file.with_suffix(""), *file.parents) for test in tests)
    return {file: code for file, code in found.items() if not in_tests(file)}


def is_in_facade(file):
    return file.relative_to(SOURCE).parts[0] in ("sync", "sync.rs")
