#!/usr/bin/env python3
"""Fails if a file of src/, outside src/sync.rs, has locks, atomics, channels, threads or the time from elsewhere.

A model checker does not know of a step that does not go through src/sync.rs, and finds nothing wrong with it. Unit tests
may use what they like.
"""

import re
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src"
# Not what is no step: reference counts, which no checker has in full, whether a thread panics, how memory is laid out.
ELSEWHERE = re.compile(
    r"\b(parking_lot|crossbeam_channel|crossbeam_utils(?!::CachePadded\b)|arc_swap|core::sync"
    r"|std::sync::(?!Arc\b|Weak\b|\{Arc, Weak\})|std::thread(?!::panicking\b)|std::thread_local)"
    r"|\bstd::time::(\{[^}]*)?(Instant|SystemTime)\b"
)

found = []
files = [file for file in sorted(SOURCE.rglob("*.rs")) if file.relative_to(SOURCE).parts[0] not in ("sync", "sync.rs")]
for file in files:
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip() == "#[cfg(test)]":
            break
        if not line.lstrip().startswith("//") and ELSEWHERE.search(line):
            found.append(f"{file.relative_to(SOURCE.parent)}:{number}: {line.strip()}")
if found:
    sys.exit("not through src/sync.rs:\n" + "\n".join(found))
print(f"{len(files)} files, all through src/sync.rs")
