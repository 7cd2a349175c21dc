#!/usr/bin/env python3
"""Prints every set of the crate's features, one a line, the empty one first: `async,metrics`.

Run from the project's root: python3 scripts/feature_sets.py
"""
import json
import subprocess
from itertools import chain, combinations

command = ["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"]
metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
library = next(package for package in metadata["packages"] if package["name"] == "tramline")
features = sorted(set(library["features"]) - {"default"})
sets = chain.from_iterable(combinations(features, size) for size in range(len(features) + 1))
print("\n".join(",".join(features) for features in sets))
