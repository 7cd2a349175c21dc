//! The examples of README.md, compiled and run as documentation tests: with the features that they show.
#![cfg_attr(all(feature = "gateway", feature = "testkit"), doc = include_str!("../../README.md"))]
