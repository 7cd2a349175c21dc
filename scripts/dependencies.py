#!/usr/bin/env python3
"""Checks what the library depends on: every crate of the default build allows our licence and our minimum Rust version.

Run from the project's root: python3 scripts/dependencies.py
"""
import json
import subprocess
import sys

PERMISSIVE = {"MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Unicode-3.0", "Unlicense", "Zlib"}


def version(text):
    return tuple(int(part) for part in text.split("."))[:2]


def allows(licence):
    """Whether some choice of the licence expression is permissive. Good enough for the expressions in use."""
    choices = licence.replace("/", " OR ").replace("(", " ").replace(")", " ").split(" AND ")
    return all(any(term.strip() in PERMISSIVE for term in choice.split(" OR ")) for choice in choices)


command = ["cargo", "metadata", "--locked", "--format-version", "1"]
metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
root = metadata["resolve"]["root"]
ours = packages[root]["rust_version"]

default_build, todo = set(), [root]
while todo:
    node = todo.pop()
    if node not in default_build:
        default_build.add(node)
        normal = [d for d in nodes[node]["deps"] if any(kind["kind"] is None for kind in d["dep_kinds"])]
        todo += [dependency["pkg"] for dependency in normal]

wrong = []
for package in sorted((packages[node] for node in default_build - {root}), key=lambda package: package["name"]):
    name = f"{package['name']} {package['version']}"
    print(f"{name}: Rust {package['rust_version'] or 'not stated'}, {package['license']}")
    if version(package["rust_version"] or "0.0") > version(ours):
        wrong.append(f"{name} needs Rust {package['rust_version']}, this crate promises {ours}")
    if not allows(package["license"] or ""):
        wrong.append(f"{name} has the licence {package['license']}")
for line in wrong:
    print(line, file=sys.stderr)
sys.exit(bool(wrong))
