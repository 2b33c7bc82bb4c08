//! `AnswerCache`: answers by tenant and skill, found by the same request or by one that means the same.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::cache_index::Index;
use crate::{
    model::StreamPart,
    types::{Digest, TenantId},
};

/// How many tenants with their skills have answers at once; the one that was used longest ago makes room.
const GROUPS: usize = 4096;

/// Settings of an [`AnswerCache`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CacheConfig {
    /// From which cosine on two questions mean the same; 0.92 by default.
    pub cosine: f32,
    /// How long an answer is good; an hour by default.
    #[serde(rename = "ttl_seconds", with = "crate::types::seconds")]
    pub ttl: Duration,
    /// How many answers a tenant has for a skill; 100 by default, and the one that was used longest ago makes room.
    pub entries: usize,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { cosine: 0.92, ttl: Duration::from_secs(60 * 60), entries: 100 }
    }
}

/// How often a cache had an answer, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CacheStats {
    /// The same request was answered before.
    pub exact_hits: u64,
    /// A request that means the same was answered before.
    pub semantic_hits: u64,
    /// The model was asked.
    pub misses: u64,
    /// Questions whose vector could not be had, and that were therefore only compared as they are.
    pub unembedded: u64,
    /// Answers that are kept now, those included whose time is over and whose room nobody needed yet.
    pub entries: u64,
}

impl CacheStats {
    /// The part of the requests that were answered without the model, from 0 to 1; 0 when there were none.
    #[must_use]
    pub fn hit_rate(&self) -> f64 {
        let hits = self.exact_hits.saturating_add(self.semantic_hits);
        let all = hits.saturating_add(self.misses);
        if all == 0 { 0.0 } else { hits as f64 / all as f64 }
    }
}

/// What was answered, by tenant and skill; cloning shares it.
///
/// ```
/// use raptorflow_core::model::{AnswerCache, CacheConfig};
/// let cache = AnswerCache::new(CacheConfig::default());
/// assert_eq!(cache.stats().hit_rate(), 0.0);
/// cache.clear();
/// ```
#[derive(Clone)]
pub struct AnswerCache(Arc<Shared>);

struct Shared {
    config: CacheConfig,
    // A std mutex: no await happens while it is held.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    groups: HashMap<(TenantId, Arc<str>), Group>,
    stats: CacheStats,
    /// Counts up with each use, so that what was used longest ago is known.
    ticks: u64,
}

/// The answers of one tenant and skill.
#[derive(Default)]
struct Group {
    entries: Vec<Entry>,
    /// Their places by request.
    places: HashMap<Digest, usize>,
    /// The vectors of the entries, in the same order.
    index: Index,
    used: u64,
}

struct Entry {
    request: Digest,
    /// Everything of the request but the question, where that was asked for.
    around: Option<Digest>,
    expires: Duration,
    used: u64,
    parts: Arc<[StreamPart]>,
}

/// What a request is looked up by.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) tenant: TenantId,
    pub(super) skill: Arc<str>,
    pub(super) request: Digest,
    /// Everything of the request but the question; only needed with a vector.
    pub(super) around: Option<Digest>,
}

/// Why an answer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hit {
    Exact,
    Semantic,
}

impl AnswerCache {
    /// An empty cache.
    #[must_use]
    pub fn new(config: CacheConfig) -> Self {
        Self(Arc::new(Shared { config, state: Mutex::default() }))
    }

    /// How often it had an answer.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let state = self.state();
        let entries = state.groups.values().map(|group| group.entries.len() as u64).sum();
        CacheStats { entries, ..state.stats }
    }

    /// Forgets the answers of a tenant, for one skill or for all, and says how many there were.
    ///
    /// Whoever changes what a skill says or what it rests on calls this.
    pub fn invalidate(&self, tenant: &TenantId, skill: Option<&str>) -> usize {
        let mut forgotten = 0;
        self.state().groups.retain(|(of, name), group| {
            let gone = of == tenant && skill.is_none_or(|skill| skill == &**name);
            forgotten += if gone { group.entries.len() } else { 0 };
            !gone
        });
        forgotten
    }

    /// Forgets every answer.
    pub fn clear(&self) {
        self.state().groups.clear();
    }

    /// The answer to the same request; the time is only asked for where there is one.
    pub(super) fn exact(&self, key: &Key, now: impl FnOnce() -> Duration) -> Option<Arc<[StreamPart]>> {
        let found = self.find(key, |group| {
            let place = *group.places.get(&key.request)?;
            group.entries.get(place).is_some_and(|entry| entry.expires > now()).then_some(place)
        })?;
        self.count(Some(Hit::Exact));
        Some(found)
    }

    /// The answer to the question that is nearest in meaning, if it is near enough.
    pub(super) fn semantic(&self, key: &Key, vector: &[f32], now: Duration) -> Option<Arc<[StreamPart]>> {
        let cosine = self.0.config.cosine;
        let found = self.find(key, |group| {
            let Group { entries, index, .. } = group;
            let good = |entry: &Entry| entry.around == key.around && entry.expires > now;
            let fits = |place: usize| entries.get(place).is_some_and(good);
            index.nearest(vector, cosine, fits)
        })?;
        self.count(Some(Hit::Semantic));
        Some(found)
    }

    fn find(&self, key: &Key, look: impl FnOnce(&Group) -> Option<usize>) -> Option<Arc<[StreamPart]>> {
        let mut state = self.state();
        state.ticks += 1;
        let tick = state.ticks;
        let group = state.groups.get_mut(&(key.tenant.clone(), Arc::clone(&key.skill)))?;
        group.used = tick;
        let place = look(group)?;
        let entry = group.entries.get_mut(place)?;
        entry.used = tick;
        Some(Arc::clone(&entry.parts))
    }

    /// Keeps an answer; `vector` is that of its question, where there is one.
    pub(super) fn keep(
        &self,
        key: &Key,
        vector: Option<&[f32]>,
        parts: Vec<StreamPart>,
        now: impl FnOnce() -> Duration,
    ) {
        let CacheConfig { ttl, entries, .. } = self.0.config;
        if entries == 0 {
            return;
        }
        let now = now();
        let mut state = self.state();
        state.ticks += 1;
        let tick = state.ticks;
        let name = (key.tenant.clone(), Arc::clone(&key.skill));
        if !state.groups.contains_key(&name) && state.groups.len() >= GROUPS {
            let oldest =
                state.groups.iter().min_by_key(|(_, group)| group.used).map(|(name, _)| name.clone());
            oldest.map(|name| state.groups.remove(&name));
        }
        let group = state.groups.entry(name).or_default();
        group.used = tick;
        // Somebody else may have asked the same meanwhile, or the answer before is no longer good.
        if let Some(place) = group.places.get(&key.request).copied() {
            group.remove(place);
        }
        if group.entries.len() >= entries {
            group.expire(now);
        }
        while group.entries.len() >= entries {
            let oldest = group.entries.iter().enumerate().min_by_key(|(_, entry)| entry.used);
            let Some(place) = oldest.map(|(place, _)| place) else { break };
            group.remove(place);
        }
        group.index.push(vector);
        group.places.insert(key.request, group.entries.len());
        group.entries.push(Entry {
            request: key.request,
            around: key.around,
            expires: now.saturating_add(ttl),
            used: tick,
            parts: parts.into(),
        });
    }

    pub(super) fn count(&self, hit: Option<Hit>) {
        let stats = &mut self.state().stats;
        match hit {
            Some(Hit::Exact) => stats.exact_hits += 1,
            Some(Hit::Semantic) => stats.semantic_hits += 1,
            None => stats.misses += 1,
        }
    }

    pub(super) fn count_unembedded(&self) {
        self.state().stats.unembedded += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    /// Forgets what is no longer good.
    fn expire(&mut self, now: Duration) {
        let mut place = 0;
        while let Some(entry) = self.entries.get(place) {
            if entry.expires <= now {
                self.remove(place);
            } else {
                place += 1;
            }
        }
    }

    /// Forgets an entry; the last one takes its place, here and in the index.
    fn remove(&mut self, place: usize) {
        let removed = self.entries.swap_remove(place);
        self.places.remove(&removed.request);
        if let Some(moved) = self.entries.get(place) {
            self.places.insert(moved.request, place);
        }
        self.index.swap_remove(place);
    }
}

impl fmt::Debug for AnswerCache {
    /// Without the answers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerCache")
            .field("config", &self.0.config)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
