//! How many feeds the clients of one address take part in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::sync::Mutex;

/// The feeds of each address.
///
/// A feed counts for the address of each of its members. So nobody can make it count for somebody else, and an address
/// cannot give its own away by having others join.
pub(super) struct Shares {
    most: usize,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Members of a feed from an address.
    members: HashMap<(IpAddr, u64), usize>,
    /// Feeds with members from an address.
    feeds: HashMap<IpAddr, usize>,
}

/// A member of a feed, as it counts for its address until it is dropped.
pub(super) struct Share {
    shares: Arc<Shares>,
    /// `None` if the address is not known.
    member: Option<(IpAddr, u64)>,
}

impl Shares {
    pub(super) fn new(most: usize) -> Self {
        Self { most, counts: Mutex::default() }
    }

    /// Counts one more member of a feed; `None` if its address has as many other feeds as it may have.
    pub(super) fn take(self: &Arc<Self>, network: Option<IpAddr>, feed: u64) -> Option<Share> {
        let member = network.map(|network| (network, feed));
        if let Some((network, _)) = member {
            let mut counts = self.counts.lock();
            let Counts { members, feeds } = &mut *counts;
            let others = feeds.get(&network).copied().unwrap_or(0);
            let is_new = !members.contains_key(&(network, feed));
            if is_new && others >= self.most {
                return None;
            }
            *members.entry((network, feed)).or_default() += 1;
            *feeds.entry(network).or_default() += usize::from(is_new);
        }
        Some(Share { shares: Arc::clone(self), member })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some(member) = self.member else { return };
        let mut counts = self.shares.counts.lock();
        let Counts { members, feeds } = &mut *counts;
        if decrease(members, &member) {
            decrease(feeds, &member.0);
        }
    }
}

/// Counts one less; `true` if none is left.
pub(super) fn decrease<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) -> bool {
    let Some(count) = counts.get_mut(key) else { return false };
    *count -= 1;
    let is_over = *count == 0;
    if is_over {
        counts.remove(key);
    }
    is_over
}
