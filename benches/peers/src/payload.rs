//! What is sent: a number, alone or in 64 bytes.

use std::fmt::Debug;

/// A message that carries a number.
pub(crate) trait Payload: Copy + Debug + Default + Send + Sync + 'static {
    /// The message as bytes, for a bus that carries nothing else.
    type Bytes: AsRef<[u8]> + Send + Sync;

    fn new(number: u64) -> Self;

    fn number(self) -> u64;

    fn to_bytes(self) -> Self::Bytes;

    /// The number of a message that travelled as bytes.
    fn number_in(bytes: &[u8]) -> u64 {
        let last = bytes.last_chunk().expect("a message has eight bytes or more");
        u64::from_le_bytes(*last)
    }
}

impl Payload for u64 {
    type Bytes = [u8; 8];

    fn new(number: u64) -> Self {
        number
    }

    fn number(self) -> u64 {
        self
    }

    fn to_bytes(self) -> Self::Bytes {
        self.to_le_bytes()
    }
}

impl Payload for [u64; 8] {
    type Bytes = [u8; 64];

    fn new(number: u64) -> Self {
        [number; 8]
    }

    fn number(self) -> u64 {
        self[7]
    }

    fn to_bytes(self) -> Self::Bytes {
        let mut bytes = [0; 64];
        for (part, word) in bytes.chunks_exact_mut(8).zip(self) {
            part.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}
