//! A short string that costs no allocation and no shared counter to copy.
//!
//! The topic of a message travels with every delivery to a pattern mailbox. An `Arc<str>` there makes publisher and
//! subscriber fight over one reference count (108 ns a message against 65 ns for these 40 bytes, two threads on two
//! cores); a fresh allocation is no better. Longer texts do fall back to an `Arc<str>`.

use std::hash::{Hash, Hasher};
use std::num::NonZeroU8;
use std::sync::Arc;

/// Texts up to this many bytes are stored in place; the whole value takes 40 bytes.
const INLINE: usize = 31;

/// A struct and not an enum, so that it is copied as whole words. Bytes beside the tag of an enum are copied in
/// overlapping pieces, and reading such a copy back at once stalls the processor: it made `recv` three times as slow.
/// The order is fixed: see `Message`.
#[repr(C)]
pub(crate) struct InlineString {
    inline: Inline,
    /// The text, if it is not in `inline`.
    long: Option<Arc<Box<str>>>,
}

/// A short text. `Copy`, so that it moves as whole words; see `Message` for why that matters.
#[derive(Clone, Copy)]
#[repr(C)]
struct Inline {
    bytes: [u8; INLINE],
    /// One more than the length. It is never 0, so whatever contains a text can have an `Option` or a `Result` around it
    /// that needs no tag.
    length: NonZeroU8,
}

impl Inline {
    fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; INLINE];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        let length = u8::try_from(text.len()).ok()?.checked_add(1)?;
        Some(Self { bytes, length: NonZeroU8::new(length)? })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length.get() - 1)]
    }
}

impl Clone for InlineString {
    #[inline]
    fn clone(&self) -> Self {
        // Not derived: who has looked at `is_short` before copies words and nothing else.
        match &self.long {
            None => Self { inline: self.inline, long: None },
            Some(text) => Self { inline: self.inline, long: Some(Arc::clone(text)) },
        }
    }
}

impl InlineString {
    /// Whether a copy touches no shared counter.
    #[inline]
    pub(crate) fn is_short(&self) -> bool {
        self.long.is_none()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.long {
            None => self.inline.as_bytes(),
            Some(text) => text.as_bytes(),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match &self.long {
            // Cannot fail: the bytes are a whole `&str`, see `From`. Checking them again is the price of having no
            // unsafe code, and nothing on the path of a message asks for the string.
            None => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Some(text) => text,
        }
    }
}

impl From<&str> for InlineString {
    fn from(text: &str) -> Self {
        match Inline::new(text) {
            Some(inline) => Self { inline, long: None },
            None => {
                let nothing = Inline { bytes: [0; INLINE], length: NonZeroU8::MIN };
                Self { inline: nothing, long: Some(Arc::new(text.into())) }
            }
        }
    }
}

impl PartialEq for InlineString {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for InlineString {}

impl PartialOrd for InlineString {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for InlineString {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for InlineString {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::{INLINE, InlineString};

    #[test]
    fn texts_survive_on_both_sides_of_the_inline_limit() {
        assert_eq!((size_of::<InlineString>(), size_of::<Option<InlineString>>()), (40, 40));
        for length in [0, 1, INLINE - 1, INLINE, INLINE + 1, 300] {
            let text = "é".repeat(length / 2) + &"x".repeat(length % 2);
            assert_eq!(InlineString::from(text.as_str()).as_str(), text);
            assert_eq!(InlineString::from(text.as_str()).long.is_none(), length <= INLINE);
        }
    }
}
