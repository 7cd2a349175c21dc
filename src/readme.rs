//! The examples of README.md, compiled and run as documentation tests: with the features that they show.
#![cfg_attr(feature = "async", doc = include_str!("../README.md"))]
