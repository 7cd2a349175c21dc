# The list of commands. Each is one line that also runs without just: `just --list` shows them, `just NAME` runs one.

# Show this list
default:
    @just --list --unsorted

# Run every test that needs nothing but Rust
test *arguments:
    cargo test --workspace --all-features {{ arguments }}

# Run the airport, the real application: `just airport --help`
airport *arguments:
    cargo run --release -p airport -- {{ arguments }}

# Run the departures board, in a browser
airport-web *arguments:
    cargo run --release -p airport_web -- {{ arguments }}

# Format all code
format:
    cargo fmt --all

# Run clippy on everything
lint:
    cargo clippy --locked --workspace --all-targets --all-features -- -D warnings

# Build the documentation of the library and open it
doc:
    cargo doc --no-deps --all-features --open

# Check that the rooms of src/ import downwards only: `--table`, `--suggest`
layers *arguments:
    scripts/layers {{ arguments }}

# Check that locks, atomics and threads come through the room sync
facade:
    python3 scripts/sync_facade.py

# Check that each atomic ordering names its partner
orderings:
    scripts/orderings

# Check that tests/CASES.md lists every case
cases:
    scripts/cases

# Check licences and minimum Rust versions of the dependencies
dependencies:
    python3 scripts/dependencies.py

# Compare the public API with tests/public_api.txt: `--update`
api *arguments:
    scripts/public_api {{ arguments }}

# Run the models under loom and shuttle: `just models loom NAME`
models *arguments:
    scripts/models {{ arguments }}

# Run everything at once, with faults, every message accounted for: minutes, seed
soak minutes="10" *seed:
    scripts/soak {{ minutes }} {{ seed }}

# Run the tests under a sanitizer: thread or address
sanitize sanitizer="thread" *arguments:
    scripts/sanitize {{ sanitizer }} {{ arguments }}

# Fuzz each target for some seconds; `just fuzz keep` keeps what is new
fuzz *arguments:
    scripts/fuzz {{ arguments }}

# Run one benchmark: limits, tasks, memory or gateway
bench name="limits" *arguments:
    cargo bench --features async,gateway --bench {{ name }} {{ arguments }}

# Run the benchmarks beside other crates
peers *arguments:
    cargo bench --locked --manifest-path benches/peers/Cargo.toml {{ arguments }}

# Run all benchmarks and write benches/RESULTS.md, the plot and the table of README
results:
    scripts/results.py

# Count instructions with callgrind: `--against REV` compares with a commit
instructions *arguments:
    scripts/instructions {{ arguments }}

# Test the client for JavaScript, on Node
client:
    scripts/client

# Test the departures board in headless Chromium
browser:
    scripts/browser

# Make the package and check what is in it
package:
    scripts/package

# Install what the gate needs
setup:
    scripts/setup

# Run all that has to pass before a merge
gate:
    .ci/run
