#!/usr/bin/env python3
"""Checks what the library depends on, in the default build and with each feature: every crate allows our licence and our
minimum Rust version, and none is an async runtime, unless it is the gateway's.

Run from the project's root: python3 scripts/dependencies.py
"""
import json
import subprocess
import sys

PERMISSIVE = {"MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Unicode-3.0", "Unlicense", "Zlib"}
# The model checkers are only in the builds of `scripts/models`.
MODELS = ["loom", "shuttle"]
RUNTIMES = {"tokio", "smol", "async-std", "async-executor", "async-io"}


def version(text):
    return tuple(int(part) for part in text.split("."))[:2]


def allows(licence):
    """Whether some choice of the licence expression is permissive. Good enough for the expressions in use."""
    choices = licence.replace("/", " OR ").replace("(", " ").replace(")", " ").split(" AND ")
    return all(any(term.strip() in PERMISSIVE for term in choice.split(" OR ")) for choice in choices)


def output(*command):
    return subprocess.run(["cargo", *command], check=True, capture_output=True, text=True).stdout


def dependencies(*flags):
    """Returns the packages that the library needs when it is built with these flags, on any platform.

    `cargo tree` and not `cargo metadata`, whose features are those of the whole workspace.
    """
    prune = [argument for name in MODELS for argument in ("--prune", name)]
    tree = ["tree", "--locked", "--package", "tramline", "--edges", "normal", "--target", "all", *prune]
    lines = output(*tree, "--prefix", "none", "--format", "{p}", *flags).splitlines()
    names = {tuple(line.split()[:2]) for line in lines if line}
    return {packages[name, version.removeprefix("v")]["id"] for name, version in names if name != "tramline"}


metadata = json.loads(output("metadata", "--locked", "--format-version", "1"))
packages = {(package["name"], package["version"]): package for package in metadata["packages"]}
by_id = {package["id"]: package for package in metadata["packages"]}
ours = by_id[metadata["resolve"]["root"]]
needed_by = {node: "every build" for node in dependencies()}
for feature in ours["features"]:
    for node in dependencies("--features", feature):
        needed_by.setdefault(node, feature)
all_packages = {node: by_id[node] for node in needed_by}

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
