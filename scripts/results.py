#!/usr/bin/env python3
"""Runs all benchmarks, and writes what they print into benches/RESULTS.md and README.md, with a plot beside.

    scripts/results.py          about 45 minutes; leave the machine alone meanwhile

Only what stands between a pair of markers, `<!-- NAME -->` and `<!-- end of NAME -->`, is replaced.
"""

import datetime
import os
import platform
import re
import subprocess
import sys

PEERS = "benches/peers/Cargo.toml"
PLOT = "benches/peers.svg"
# What README shows of the peers: heading, column, and what it is called there.
IN_README = [
    ("W1", "u64 to 1", "1 subscriber"),
    ("W1", "u64 to 8", "8 subscribers"),
    ("W4", "from 4", "4 publishers"),
    ("W3", "64 in flight", "requests, 64 in flight"),
]


def output(*command):
    """What the command prints on its standard output; its errors and its progress go to ours."""
    print("running:", " ".join(command), file=sys.stderr)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def table(text, first_cell, of_journals=False):
    """The rows of the table that begins with this cell: those of journals, or the others."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first_cell} |"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        if len(rows) < 2 or line.startswith("| J") == of_journals:
            rows.append(line)
    return "\n".join(rows)


def cells(row):
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    return f"{os.cpu_count()} cores of {model.group(1) if model else platform.machine()}, {platform.system()}"


def conditions():
    commit = output("git", "rev-parse", "--short", "HEAD").strip()
    changed = " with changes" if output("git", "status", "--porcelain", "--", "src", "benches/limits").strip() else ""
    rust = output("rustc", "--version").split()[1]
    return f"{machine()}, Rust {rust}, commit {commit}{changed}, {datetime.date.today()}."


def sections(peers):
    """The printed sections by the name of their workload: heading and tables."""
    found = re.split(r"^## ", peers, flags=re.MULTILINE)[1:]
    return {section.split(":")[0]: section.strip() for section in found}


def joined(sections):
    return "\n\n".join(f"### {section}" for section in sections)


def bars(found):
    """What each section says of its bars, in one table."""
    rows = []
    for name, section in found.items():
        first, lines, *found_rows = table(section, "tramline, a journal | beside").splitlines()
        rows = rows or [f"| workload {first}", f"| --- {lines}"]
        rows += [f"| {name} {row}" for row in found_rows]
    return "\n".join(rows)


def comparison(found):
    """A row for each system with its ratio to ours in each column of README; the quickest with eight subscribers first."""
    systems, place = {}, [name for _, _, name in IN_README].index("8 subscribers")
    for column, (workload, name, _) in enumerate(IN_README):
        rows = table(found[workload], "system").splitlines()
        at = cells(rows[0]).index(name)
        for row in rows[2:]:
            ratio = re.search(r", ([0-9.]+)x$", cells(row)[at])
            systems.setdefault(cells(row)[0], ["-"] * len(IN_README))[column] = ratio.group(1) if ratio else "-"
    number = lambda text: float(text) if text != "-" else float("inf")
    rows = sorted(systems.items(), key=lambda system: [number(system[1][place]), number(system[1][-1])])
    head = f"| time, tramline's is 1 | {' | '.join(name for _, _, name in IN_README)} |\n| --- |{' ---: |' * len(IN_README)}\n"
    ours = lambda name: f"**{name}**" if name == "tramline" else name
    return head + "\n".join(f"| {ours(name)} | {' | '.join(figures)} |" for name, figures in rows)


def replace(path, name, text):
    with open(path, encoding="utf-8") as file:
        before = file.read()
    between = re.compile(f"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    if not between.search(before):
        sys.exit(f"{path} has no place for {name}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(between.sub(lambda match: f"{match.group(1)}{text}\n{match.group(2)}", before))


def main():
    os.chdir(os.path.join(os.path.dirname(__file__), ".."))
    when = conditions()
    limits = output("cargo", "bench", "--locked")
    one_unit = output("cargo", "bench", "--locked", "--profile", "one-unit", "--bench", "limits", "--", "W2|J")
    tasks = output("cargo", "bench", "--locked", "--features", "async", "--bench", "tasks")
    peers = output("cargo", "bench", "--locked", "--manifest-path", PEERS)
    output("cargo", "run", "--locked", "--release", "--manifest-path", PEERS, "--bin", "plot", "--", PLOT)
    peers_one_unit = output("cargo", "bench", "--locked", "--manifest-path", PEERS, "--profile", "one-unit", "--", "J")
    found = sections(peers)
    journals = {name: found.pop(name) for name in list(found) if name.startswith("J")}
    replace("benches/RESULTS.md", "conditions", when)
    replace("benches/RESULTS.md", "limits", table(limits, "workload"))
    replace("benches/RESULTS.md", "one unit", table(one_unit, "workload"))
    replace("benches/RESULTS.md", "tasks", table(tasks, "workload"))
    replace("benches/RESULTS.md", "heap", table(limits, "bytes for each"))
    replace("benches/RESULTS.md", "peers", joined(found.values()))
    replace("benches/RESULTS.md", "journals", table(limits, "workload", of_journals=True))
    replace("benches/RESULTS.md", "journals, one unit", table(one_unit, "workload", of_journals=True))
    replace("benches/RESULTS.md", "journals on the heap", table(limits, "bytes of a journal"))
    replace("benches/RESULTS.md", "journals beside rings", joined(journals.values()))
    replace("benches/RESULTS.md", "journals beside rings, one unit", bars(sections(peers_one_unit)))
    replace("README.md", "peers", comparison(found))
    print("written")


if __name__ == "__main__":
    main()
