//! loom's atomics, with `SeqCst` loads that see what `SeqCst` promises.
//!
//! Of two threads that each write one atomic and then load the other's, both `SeqCst`, one sees the other's write. loom
//! gives that for fences alone: a load may find the value that the atomic was made with. With a fence in front it does not.

use std::ops::Deref;

pub use loom::sync::atomic::{Ordering, fence};

macro_rules! atomics {
    ($($name:ident: $value:ty,)+) => {$(
        #[derive(Default)]
        pub struct $name(loom::sync::atomic::$name);

        impl $name {
            pub fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            pub fn load(&self, ordering: Ordering) -> $value {
                if ordering == Ordering::SeqCst {
                    fence(ordering);
                }
                self.0.load(ordering)
            }
        }

        impl Deref for $name {
            type Target = loom::sync::atomic::$name;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }
    )+};
}

atomics! {
    AtomicBool: bool,
    AtomicU8: u8,
    AtomicU64: u64,
    AtomicUsize: usize,
}
