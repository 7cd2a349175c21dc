//! What a subscription is to those who publish.

/// What a subscription is to those who publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It counts, and may answer.
    Subscriber,
    /// The same, but it is offered messages before the others.
    #[cfg(feature = "gateway")]
    Feed,
    /// It is offered messages before the others, does not count, and may not answer.
    Observer,
    /// An observer of the test kit, which statistics do not show.
    #[cfg(feature = "testkit")]
    Recorder,
}

impl Role {
    /// Whether it is offered messages before those that do not come first.
    pub(crate) fn comes_first(self) -> bool {
        self != Self::Subscriber
    }

    /// Whether it does not count, and may not answer.
    #[inline]
    pub(crate) fn is_observer(self) -> bool {
        match self {
            Self::Subscriber => false,
            #[cfg(feature = "gateway")]
            Self::Feed => false,
            Self::Observer => true,
            #[cfg(feature = "testkit")]
            Self::Recorder => true,
        }
    }

    /// Whether it is among those that a message is for.
    pub(crate) fn counts(self) -> bool {
        !self.is_observer()
    }

    /// Whether statistics show it.
    pub(crate) fn is_listed(self) -> bool {
        #[cfg(feature = "testkit")]
        if self == Self::Recorder {
            return false;
        }
        true
    }
}
