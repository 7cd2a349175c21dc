//! The headers of a message: a few short pairs of strings, in one piece of memory as long as they are short.

use std::fmt;

use super::HeaderError;

/// The bytes of names and values that need no memory of their own.
const IN_PLACE: usize = 126;

/// The headers of a message: up to 16 pairs of a name and a value, each a string of up to 256 bytes.
///
/// A [`MessageBuilder`](crate::MessageBuilder) sets them, and every copy of the message has them: at subscribers and
/// handlers ([`Message::headers`](crate::Message::headers)), at responders, and in dead letters
/// ([`DeadLetter::headers`](crate::DeadLetter::headers)). A bare message has none, and pays nothing for that.
///
/// All copies of a message share one piece of memory. Names are compared as they are: `Tenant` is not `tenant`. A name
/// comes once; setting it again replaces its value. A clone has memory of its own.
///
/// Headers that come from outside the program, such as those of an HTTP request, need a look before they are set: one that is
/// too long fails the whole publish, and no character is refused, line breaks among them. Take the names that you know, and cut
/// or refuse values that are too long.
///
/// # Examples
///
/// ```
/// let bus = tramline::Bus::<u32>::new();
/// let orders = bus.subscribe("orders.*")?;
/// bus.message("orders.new", 7).header("tenant", "acme").header("user", "42").publish()?;
///
/// let order = orders.recv()?;
/// assert_eq!(order.headers().get("tenant"), Some("acme"));
/// let all: Vec<_> = order.headers().iter().collect();
/// assert_eq!(all, [("tenant", "acme"), ("user", "42")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Headers {
    text: Text,
    /// Where each name and each value ends in the text, in turn.
    ends: [u16; 2 * Headers::MAX_LEN],
    len: u8,
}

#[derive(Clone)]
enum Text {
    InPlace([u8; IN_PLACE]),
    Apart(Vec<u8>),
}

static NONE: Headers = Headers::new();

impl Headers {
    /// The most headers of a message.
    pub const MAX_LEN: usize = 16;

    /// The most bytes of a name, and of a value.
    pub const MAX_BYTES: usize = 256;

    const fn new() -> Self {
        Self { text: Text::InPlace([0; IN_PLACE]), ends: [0; 2 * Self::MAX_LEN], len: 0 }
    }

    /// Those of a bare message.
    pub(crate) fn none() -> &'static Self {
        &NONE
    }

    /// Sets a header.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), HeaderError> {
        let limit = Self::MAX_BYTES;
        if name.is_empty() {
            return Err(HeaderError::EmptyName);
        }
        if name.len() > limit {
            return Err(HeaderError::NameTooLong { bytes: name.len(), limit });
        }
        if value.len() > limit {
            return Err(HeaderError::ValueTooLong { name: name.to_owned(), bytes: value.len(), limit });
        }
        if self.get(name).is_some() {
            let before = std::mem::take(self);
            for (other, its) in before.iter() {
                self.push(other, if other == name { value } else { its });
            }
            return Ok(());
        }
        if self.len() == Self::MAX_LEN {
            return Err(HeaderError::TooMany { limit: Self::MAX_LEN });
        }
        self.push(name, value);
        Ok(())
    }

    /// Adds a header that is valid and new.
    fn push(&mut self, name: &str, value: &str) {
        let index = 2 * self.len();
        for (index, part) in [(index, name), (index + 1, value)] {
            let (start, end) = (self.end(index), self.end(index) + part.len());
            match &mut self.text {
                Text::InPlace(bytes) if end <= IN_PLACE => bytes[start..end].copy_from_slice(part.as_bytes()),
                Text::InPlace(bytes) => {
                    let mut apart = Vec::with_capacity(end.max(2 * IN_PLACE));
                    apart.extend_from_slice(&bytes[..start]);
                    apart.extend_from_slice(part.as_bytes());
                    self.text = Text::Apart(apart);
                }
                Text::Apart(bytes) => bytes.extend_from_slice(part.as_bytes()),
            }
            // 16 pairs of 256 bytes fit.
            self.ends[index] = end as u16;
        }
        self.len += 1;
    }

    /// Where the part before this one ends.
    fn end(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| usize::from(self.ends[before]))
    }

    fn part(&self, index: usize) -> &str {
        let bytes = match &self.text {
            Text::InPlace(bytes) => &bytes[..],
            Text::Apart(bytes) => bytes,
        };
        // It was a string.
        std::str::from_utf8(&bytes[self.end(index)..self.end(index + 1)]).unwrap_or_default()
    }

    /// Returns the value of a header; `None` if the message does not have it.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// bus.message("orders.new", 7).header("tenant", "acme").publish()?;
    /// let order = orders.recv()?;
    /// assert_eq!(order.headers().get("tenant"), Some("acme"));
    /// assert_eq!(order.headers().get("user"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(other, value)| (other == name).then_some(value))
    }

    /// Returns an iterator over the names and values, in the order in which they were first set.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// bus.message("orders.new", 7).header("tenant", "acme").header("user", "42").publish()?;
    /// let order = orders.recv()?;
    /// assert_eq!(order.headers().iter().map(|(name, _)| name).collect::<Vec<_>>(), ["tenant", "user"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        (0..self.len()).map(|pair| (self.part(2 * pair), self.part(2 * pair + 1)))
    }

    /// Returns the number of headers.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// bus.message("orders.new", 7).header("tenant", "acme").header("tenant", "globex").publish()?;
    /// assert_eq!(orders.recv()?.headers().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Returns `true` if there are no headers.
    ///
    /// # Examples
    ///
    /// ```
    /// let bus = tramline::Bus::<u32>::new();
    /// let orders = bus.subscribe("orders.new")?;
    /// bus.publish("orders.new", 7)?;
    /// assert!(orders.recv()?.headers().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Default for Headers {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{HeaderError, Headers, IN_PLACE};

    #[test]
    fn long_headers_are_the_same_as_short_ones() {
        let mut headers = Headers::new();
        for n in 0..Headers::MAX_LEN {
            headers.set(&format!("{n}"), &"é".repeat(8 * n)).expect("it is valid");
            let expected = (0..=n).map(|n| (format!("{n}"), "é".repeat(8 * n)));
            assert!(headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).eq(expected));
        }
        assert_eq!(headers.set("17", ""), Err(HeaderError::TooMany { limit: 16 }));
        headers.set("3", &"x".repeat(256)).expect("it replaces another");
        assert_eq!(
            (headers.len(), headers.get("3").map(str::len), headers.get("15").map(str::len)),
            (16, Some(256), Some(240))
        );
    }

    #[test]
    fn the_longest_headers_fit() {
        let (mut headers, value) = (Headers::new(), "v".repeat(Headers::MAX_BYTES));
        let names: Vec<_> = (0..Headers::MAX_LEN).map(|n| format!("{n:0>256}")).collect();
        names.iter().for_each(|name| headers.set(name, &value).expect("it is valid"));
        assert!(names.iter().all(|name| headers.get(name) == Some(&value)));
        assert_eq!(headers.set(&"n".repeat(257), ""), Err(HeaderError::NameTooLong { bytes: 257, limit: 256 }));
        assert!(headers.set("n", &"v".repeat(257)).is_err_and(|error| error.is_too_long()));
    }

    #[test]
    fn headers_that_fill_their_place_are_whole() {
        for spare in [0, 1, 2] {
            let mut headers = Headers::new();
            headers.set("n", &"v".repeat(IN_PLACE - spare)).expect("it is valid");
            headers.set("m", "w").expect("it is valid");
            assert_eq!((headers.get("n").map(str::len), headers.get("m")), (Some(IN_PLACE - spare), Some("w")));
        }
    }
}
