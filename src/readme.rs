//! Compiles and runs the code of README.md.
#![doc = include_str!("../README.md")]
