#!/usr/bin/env python3
"""Checks what the library depends on, in the default build and with each feature: every crate allows our licence and our
minimum Rust version, and none is an async runtime, unless it is the gateway's.

Run from the project's root: python3 scripts/dependencies.py
"""
import json
import subprocess
import sys

PERMISSIVE = {"MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Unicode-3.0", "Unlicense", "Zlib"}
# Of builds that nobody but `scripts/models` makes.
MODELS = {"cfg(loom)", "cfg(shuttle)"}
RUNTIMES = {"tokio", "smol", "async-std", "async-executor", "async-io"}


def version(text):
    return tuple(int(part) for part in text.split("."))[:2]


def allows(licence):
    """Whether some choice of the licence expression is permissive. Good enough for the expressions in use."""
    choices = licence.replace("/", " OR ").replace("(", " ").replace(")", " ").split(" AND ")
    return all(any(term.strip() in PERMISSIVE for term in choice.split(" OR ")) for choice in choices)


def is_needed(kind):
    return kind["kind"] is None and kind["target"] not in MODELS


def dependencies(*flags):
    """The packages that the library needs when it is built with these flags, and what it promises itself."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", *flags]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    needed, todo = set(), [root]
    while todo:
        node = todo.pop()
        if node not in needed:
            needed.add(node)
            normal = [d for d in nodes[node]["deps"] if any(is_needed(kind) for kind in d["dep_kinds"])]
            todo += [dependency["pkg"] for dependency in normal]
    return packages[root], {node: packages[node] for node in needed - {root}}


ours, default_build = dependencies()
features = [feature for feature in ours["features"] if feature != "default"]
needed_by = {node: "every build" for node in default_build}
all_packages = dict(default_build)
for feature in features:
    for node, package in dependencies("--features", feature)[1].items():
        needed_by.setdefault(node, feature)
        all_packages[node] = package

wrong = []
for node, package in sorted(all_packages.items(), key=lambda item: (needed_by[item[0]] != "every build", item[1]["name"])):
    name = f"{package['name']} {package['version']}"
    print(f"{name}: {needed_by[node]}, Rust {package['rust_version'] or 'not stated'}, {package['license']}")
    if version(package["rust_version"] or "0.0") > version(ours["rust_version"]):
        wrong.append(f"{name} needs Rust {package['rust_version']}, this crate promises {ours['rust_version']}")
    if not allows(package["license"] or ""):
        wrong.append(f"{name} has the licence {package['license']}")
    if package["name"] in RUNTIMES and needed_by[node] != "gateway":
        wrong.append(f"{name} is an async runtime, which the library must not need")
for line in wrong:
    print(line, file=sys.stderr)
sys.exit(bool(wrong))
