//! Random operations of every kind, done to a bus and to a model that is nothing but queues and counters; after each, all
//! that can be seen has to agree.
//!
//! - `model.rs` is the model: what a bus is to do.
//! - `operations.rs` has the operations, and decodes them from bytes.
//! - `comparison.rs` does them to both and compares. `terms.rs` has the types that both are compared in, and
//!   `translation.rs` translates the results of a bus into them.
//! - `topics.rs` does the same for the strings of topics and patterns.
//!
//! The operations are those of one thread, and of handlers, which the comparison waits for after each. A call that would
//! wait forever is done in its form that does not wait. Tasks have a model of their own, in
//! `tests/async/reference_model.rs`.
//!
//! ```console
//! cargo test --test reference_model                                   # 10,000 sequences of up to 40 operations
//! PROPTEST_CASES=1000000 PROPTEST_RNG_SEED=7 MODEL_OPERATIONS=200 \
//!     cargo test --release --test reference_model random              # a long run with another seed, and long sequences
//! ```
//!
//! Without a seed the sequences are always the same. One that fails is made shorter and printed, an operation a line.
//! What the fuzzer has found worth keeping (`scripts/fuzz`) is done here too, every time.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod comparison;
mod model;
mod operations;
#[path = "../support/mod.rs"]
mod support;
mod terms;
mod topics;
mod translation;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, fs, thread};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestError, TestRunner};

use operations::{Operation, SIZE, Setup, decode};
use support::{LONG, naive, within_limit};

fn from_environment(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |value| value.parse().expect(name))
}

fn listing(bytes: &[u8]) -> String {
    let (setup, operations) = decode(bytes);
    let line = |(number, operation): (usize, &Operation)| format!("{number:>4}  {operation:?}\n");
    format!("   0  {setup:?}\n{}", (1..).zip(&operations).map(line).collect::<String>())
}

fn run(bytes: &[u8], patience: Duration) -> Result<(), String> {
    let (setup, operations): (Setup, Vec<Operation>) = decode(bytes);
    comparison::run(setup, &operations, patience)
}

/// What is being done, to be told if it hangs.
type Current = Arc<Mutex<(u64, Vec<u8>)>>;

/// Runs this on a thread of its own, and fails if one of the sequences that it does takes longer than [`LONG`].
fn watch(test: impl FnOnce(&Current) + Send + 'static) {
    let current = Current::default();
    let (done, ended) = channel::<()>();
    let doing = Arc::clone(&current);
    let test = thread::spawn(move || {
        let _done = done;
        test(&doing);
    });
    let mut before = u64::MAX;
    // A sequence takes its time where handlers do not do what they should, once for each operation that is left out.
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(2 * LONG) {
        let (number, bytes) = current.lock().unwrap().clone();
        assert!(number != before, "this hangs:\n{}", listing(&bytes));
        before = number;
    }
    test.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
fn random_operations_agree_with_the_model() {
    watch(|current| {
        let config = ProptestConfig::default();
        let config = ProptestConfig {
            cases: u32::try_from(from_environment("PROPTEST_CASES", 10_000)).unwrap(),
            rng_seed: if env::var_os("PROPTEST_RNG_SEED").is_some() { config.rng_seed } else { RngSeed::Fixed(20) },
            failure_persistence: None,
            max_shrink_iters: 20_000,
            max_shrink_time: 60_000,
            ..config
        };
        let most = from_environment("MODEL_OPERATIONS", 40);
        // One more, which says how the bus is made.
        let sequences = vec(any::<[u8; SIZE]>(), 1..=most + 1).prop_map(|operations| operations.concat());
        // Once it is known to fail, nobody has to be patient any more.
        let patience = Cell::new(LONG);
        let outcome = TestRunner::new(config).run(&sequences, |bytes| {
            let mut doing = current.lock().unwrap();
            *doing = (doing.0 + 1, bytes.clone());
            drop(doing);
            run(&bytes, patience.get()).map_err(|error| {
                patience.set(Duration::from_millis(200));
                TestCaseError::fail(error)
            })
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(why, bytes)) => panic!("{why}\n{}", listing(&bytes)),
            Err(error) => panic!("{error}"),
        }
    });
}

/// The files that the fuzzer keeps. A package of the crate comes without them.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if !fuzz.exists() {
        return Vec::new();
    }
    let files = fs::read_dir(fuzz.join("corpus").join(target)).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    assert!(!paths.is_empty(), "the corpus of {target} is empty");
    paths.sort_unstable();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn the_corpus_of_operations_agrees_with_the_model() {
    watch(|current| {
        for (path, bytes) in corpus("operations") {
            let mut doing = current.lock().unwrap();
            *doing = (doing.0 + 1, bytes.clone());
            drop(doing);
            run(&bytes, LONG).unwrap_or_else(|error| panic!("{}: {error}\n{}", path.display(), listing(&bytes)));
        }
    });
}

#[test]
fn the_corpus_of_topics_agrees_with_the_rules() {
    within_limit(|| {
        for (path, bytes) in corpus("topics") {
            // A panic inside does not tell which it is.
            println!("{}", path.display());
            topics::check(&bytes);
        }
    });
}
