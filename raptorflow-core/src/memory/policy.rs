//! How memories fade, which go first, and which are taken into a number of tokens; pure functions.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use crate::{
    economics::text_tokens,
    memory::{MemoryItem, Recall, Recalled},
    types::Timestamp,
};

/// What is left of a weight with each day since the last access.
const DAILY: f64 = 0.99;
/// The weight below which nothing fades.
pub const FLOOR: f64 = 0.1;
const SECONDS_A_DAY: f64 = 86_400.0;

/// The weight of something that was last accessed at a time: 0.99 to the power of the days since, and at least
/// [`FLOOR`].
///
/// ```
/// use std::time::Duration;
/// use raptorflow_core::{memory::decay, types::Timestamp};
/// let then = Timestamp::default();
/// let after = |days: u64| decay(then, then.plus(Duration::from_secs(days * 86_400)));
/// assert_eq!((after(0), after(1)), (1.0, 0.99));
/// assert!((after(69) - 0.5).abs() < 0.001);
/// assert_eq!(after(1_000), 0.1);
/// ```
#[must_use]
pub fn decay(accessed: Timestamp, now: Timestamp) -> f64 {
    DAILY.powf(now.since(accessed).as_secs_f64() / SECONDS_A_DAY).max(FLOOR)
}

/// The weight of an item: pinned ones do not fade.
pub(super) fn weight(item: &MemoryItem, now: Timestamp) -> f64 {
    if item.pinned { 1.0 } else { decay(item.accessed, now) }
}

/// Later kept is newer, and of two at one time the one of the greater id.
fn newer(left: &MemoryItem, right: &MemoryItem) -> Ordering {
    left.created.cmp(&right.created).then_with(|| left.id.cmp(&right.id))
}

/// For each item whether a newer one of its kind and subject has replaced it.
pub(super) fn replaced(items: &[MemoryItem]) -> Vec<bool> {
    let mut newest: HashMap<_, &MemoryItem> = HashMap::new();
    for item in items {
        if let Some(subject) = &item.subject {
            let known = newest.entry((item.kind, Arc::clone(subject))).or_insert(item);
            if newer(item, known).is_gt() {
                *known = item;
            }
        }
    }
    let is_replaced = |item: &MemoryItem| {
        let subject = item.subject.as_ref()?;
        newest.get(&(item.kind, Arc::clone(subject))).map(|newest| newest.id != item.id)
    };
    items.iter().map(|item| is_replaced(item).unwrap_or(false)).collect()
}

/// The items that go so that at most `max` are left: what was replaced first, then what has faded most, then the oldest;
/// pinned ones stay.
pub(super) fn surplus(items: &[MemoryItem], max: usize, now: Timestamp) -> Vec<&MemoryItem> {
    let over = items.len().saturating_sub(max);
    let replaced = replaced(items);
    let mut going: Vec<(&MemoryItem, bool)> =
        items.iter().zip(replaced).filter(|(item, _)| !item.pinned).collect();
    going.sort_by(|(left, old), (right, other)| {
        let faded = || weight(left, now).total_cmp(&weight(right, now));
        other.cmp(old).then_with(faded).then_with(|| newer(left, right))
    });
    going.into_iter().take(over).map(|(item, _)| item).collect()
}

/// The items in the order of their scores, pinned ones first, within the number and the tokens that are wanted.
///
/// `relevance` is in the order of `items`; `None` is what does not bear on the text.
/// One that does not fit is left out, and the next one is looked at.
pub(super) fn select(
    items: Vec<MemoryItem>,
    relevance: &[Option<f64>],
    recall: &Recall,
    now: Timestamp,
) -> Vec<Recalled> {
    let mut found: Vec<Recalled> = items
        .into_iter()
        .zip(relevance)
        .filter(|(item, relevance)| relevance.is_some() || item.pinned)
        .map(|(item, relevance)| {
            let (relevance, weight) = (relevance.unwrap_or(0.0), weight(&item, now));
            Recalled { item, score: relevance * weight, relevance, weight }
        })
        .collect();
    found.sort_by(|left, right| {
        let pinned = right.item.pinned.cmp(&left.item.pinned);
        pinned.then_with(|| right.score.total_cmp(&left.score)).then_with(|| newer(&right.item, &left.item))
    });
    let mut left = recall.max_tokens.map_or(u64::MAX, |tokens| tokens as u64);
    found.retain(|recalled| {
        let tokens = text_tokens(&recalled.item.text);
        let fits = tokens <= left;
        left -= if fits { tokens } else { 0 };
        fits
    });
    found.truncate(recall.limit);
    found
}
