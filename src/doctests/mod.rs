//! What only documentation tests compile.

mod must_not_compile;
mod readme;
