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


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def dependencies(*flags):
    """The packages that the library needs when it is built with these flags, by name and version."""
    # Not from the metadata: there the other packages of the workspace switch features of the library on.
    tree = ["cargo", "tree", "--locked", "-p", ours["name"], "-e", "normal", "--target", "all", "--prefix", "none"]
    lines = output(*tree, "--format", "{p}", *models, *flags).splitlines()
    names = {tuple(line.split()[:2]) for line in lines if line}
    return {(name, version.removeprefix("v")) for name, version in names} - {(ours["name"], ours["version"])}


metadata = json.loads(output("cargo", "metadata", "--locked", "--format-version", "1", "--all-features"))
packages = {(package["name"], package["version"]): package for package in metadata["packages"]}
ours = packages["tramline", next(version for name, version in packages if name == "tramline")]
models = [f"--prune={dependency['name']}" for dependency in ours["dependencies"] if dependency["target"] in MODELS]

needed_by = {node: "every build" for node in dependencies()}
for feature in ours["features"]:
    if feature != "default":
        for node in dependencies("--features", feature):
            needed_by.setdefault(node, feature)
all_packages = {node: packages[node] for node in needed_by}

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
