#!/usr/bin/env python3
"""Fails if a file of src/, outside the room sync, has locks, atomics, channels, threads or the time from elsewhere.

A model checker does not see a step that does not go through the room sync, and finds nothing wrong with it. Unit tests
may use anything.
"""

import re
import sys

from rust_source import SOURCE, files, is_in_facade

# Exempt is what is not a step: reference counts, which no checker models in full; asking whether a thread panics; the
# layout of memory.
ELSEWHERE = re.compile(
    r"\b(parking_lot|futures_timer|crossbeam_channel|crossbeam_utils(?!::CachePadded\b)|arc_swap|core::sync"
    r"|std::sync::(?!Arc\b|Weak\b|\{Arc, Weak\})|std::thread(?!::panicking\b)|std::thread_local)"
    r"|\bstd::time::(\{[^}]*)?(Instant|SystemTime)\b"
    # `WriteOnce` is what a model sees of it.
    r"|\bspin::"
)
# Not in the room of the log: there a reader goes from one chunk to the next, under no lock, while that is added and others
# leave. `WeakLink`, `WriteOnce` and `InitOnce` are steps of a model.
IN_LOGS = re.compile(r"\b(Weak|OnceLock|downgrade)\b")

found = []
outside = {file: code for file, code in files().items() if not is_in_facade(file)}
for file, code in outside.items():
    in_logs = IN_LOGS.finditer(code) if file.relative_to(SOURCE).parts[0] == "log" else ()
    for match in [*ELSEWHERE.finditer(code), *in_logs]:
        line = code.count("\n", 0, match.start()) + 1
        text = file.read_text(encoding="utf-8").splitlines()[line - 1].strip()
        found.append(f"{file.relative_to(SOURCE.parent)}:{line}: {text}")
if found:
    sys.exit("not through the room sync:\n" + "\n".join(found))
print(f"{len(outside)} files, all through the room sync")
