//! A chunk: the places of some hundred entries, one allocation for all of them.

use std::sync::Arc;

use crate::metadata::Properties;
use crate::panic::catch;
use crate::sync::{InitOnce, WeakLink, WriteOnce};
use crate::topic::Topic;

/// What a log keeps of a message, on its way there or back.
pub(crate) struct Record<T> {
    pub(crate) payload: T,
    pub(crate) properties: Option<Arc<Properties>>,
}

/// Places that are written once each.
pub(super) enum Places<T> {
    /// All entries have this topic.
    OneTopic(Topic, Box<[WriteOnce<T>]>),
    ManyTopics(Box<[WriteOnce<(Topic, T)>]>),
}

impl<T> Places<T> {
    pub(super) fn new(topic: Option<&Topic>, len: usize) -> Self {
        match topic {
            Some(topic) => Self::OneTopic(topic.clone(), (0..len).map(|_| WriteOnce::new()).collect()),
            None => Self::ManyTopics((0..len).map(|_| WriteOnce::new()).collect()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::OneTopic(_, places) => places.len(),
            Self::ManyTopics(places) => places.len(),
        }
    }

    /// Empties all places. The payloads are dropped, which is user code.
    fn clear(&mut self) {
        match self {
            Self::OneTopic(_, places) => clear::<T, _>(places),
            Self::ManyTopics(places) => clear::<T, _>(places),
        }
    }
}

/// Each by itself: one whose `Drop` panics must not keep the others, nor hit a publisher or a reader that has nothing to do
/// with it.
fn clear<T, A>(places: &mut [WriteOnce<A>]) {
    for place in places {
        if const { std::mem::needs_drop::<T>() } {
            let entry = std::mem::replace(place, WriteOnce::new());
            let _ = catch(|| drop(entry));
        } else {
            *place = WriteOnce::new();
        }
    }
}

/// The entries from one offset on, as many as it has places.
pub(crate) struct Chunk<T> {
    base: u64,
    places: Places<T>,
    /// Of the entries that have any, which few do: then each has a place here too.
    properties: InitOnce<Box<[WriteOnce<Arc<Properties>>]>>,
    /// Weak: a reader that stopped in an old chunk keeps that chunk in memory, and none behind it.
    next: WriteOnce<WeakLink<Self>>,
}

impl<T> Chunk<T> {
    pub(super) fn new(base: u64, places: Places<T>) -> Self {
        Self { base, places, properties: InitOnce::new(), next: WriteOnce::new() }
    }

    /// The offset of the first entry.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// The offset behind the last entry.
    pub(super) fn end(&self) -> u64 {
        self.base + self.places.len() as u64
    }

    /// The index of the place of this entry, if it is here.
    #[inline(always)]
    pub(super) fn index(&self, offset: u64) -> Option<usize> {
        let index = usize::try_from(offset.wrapping_sub(self.base)).unwrap_or(usize::MAX);
        (index < self.places.len()).then_some(index)
    }

    /// The entry at this index, if it was written.
    #[inline(always)]
    pub(super) fn get(&self, index: usize) -> Option<(&Topic, &T)> {
        match &self.places {
            Places::OneTopic(topic, places) => Some((topic, places.get(index)?.get()?)),
            Places::ManyTopics(places) => places.get(index)?.get().map(|(topic, payload)| (topic, payload)),
        }
    }

    /// The properties of the entry at this index, which was written.
    #[inline(always)]
    pub(super) fn properties(&self, index: usize) -> Option<&Arc<Properties>> {
        self.properties.get()?.get(index)?.get()
    }

    /// Writes an entry. Whoever has claimed its offset calls this, once. Runs no user code.
    #[inline(always)]
    pub(super) fn write(&self, index: usize, topic: &Topic, record: Record<T>) {
        let Record { payload, properties } = record;
        if let Some(properties) = properties {
            self.write_properties(index, properties);
        }
        match &self.places {
            Places::OneTopic(_, places) => places[index].set(payload),
            Places::ManyTopics(places) => places[index].set((topic.clone(), payload)),
        }
    }

    /// Before the entry: who sees that sees these.
    #[cold]
    #[inline(never)]
    fn write_properties(&self, index: usize, properties: Arc<Properties>) {
        let all = self.properties.get_or_init(|| (0..self.places.len()).map(|_| WriteOnce::new()).collect());
        all[index].set(properties);
    }

    /// Links the chunk behind this one. Called once.
    pub(super) fn link(&self, next: &Arc<Self>) {
        self.next.set(WeakLink::new(next));
    }

    pub(super) fn has_next(&self) -> bool {
        self.next.get().is_some()
    }

    /// The chunk behind this one; `None` if there is none yet, `Some(None)` if it is gone.
    pub(super) fn next(&self) -> Option<Option<Arc<Self>>> {
        self.next.get().map(WeakLink::upgrade)
    }

    /// The places, to be used again. The payloads in them are dropped, which is user code.
    pub(super) fn into_empty_places(mut self) -> Places<T> {
        self.places.clear();
        std::mem::replace(&mut self.places, Places::ManyTopics(Box::default()))
    }
}

impl<T> Drop for Chunk<T> {
    fn drop(&mut self) {
        if const { std::mem::needs_drop::<T>() } {
            self.places.clear();
        }
    }
}
