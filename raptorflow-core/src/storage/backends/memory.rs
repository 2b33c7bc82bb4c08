//! `MemoryStore`: the three traits over maps in this process; the reference, and the store of unit tests.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    error::Result,
    runtime::Context,
    storage::{
        Append, Capability, Erased, Expect, Fence, Grant, KeyValue, Lease, Log, Record, Scan, Versioned,
        check_fence, check_length, check_name, check_version, scan_start,
    },
    types::{TenantId, Timestamp},
};

/// Keys, streams and leases in memory; cloning shares them, and they end with the last clone.
///
/// Nothing waits: every call is a short critical section of one lock, so a future of it is done at its first poll.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<BTreeMap<TenantId, Tenant>>>);

#[derive(Default)]
struct Tenant {
    keys: BTreeMap<Box<str>, Versioned>,
    /// The newest version that a removed key had: a key made later starts above it.
    version_floor: u64,
    /// Streams and leases: a run's have one name, and an append finds both at once.
    named: HashMap<Arc<str>, Named>,
    /// The names of streams in byte order: an append finds its stream by hash, a listing by order.
    streams: BTreeSet<Arc<str>>,
    /// The newest token that a released lease had: a later grant of any name starts above it.
    token_floor: u64,
}

#[derive(Default)]
struct Named {
    /// None where there is no stream.
    records: Vec<Bytes>,
    held: Option<Held>,
}

struct Held {
    token: u64,
    owner: Arc<str>,
    expires: Timestamp,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// [`Log::append`] without a boxed future.
    pub(in crate::storage) fn append_now(&self, ctx: &Context, append: Append<'_>) -> Result<u64> {
        check_name("storage.append", "stream", append.stream)?;
        self.write(ctx, |tenant| tenant.append(append))
    }

    /// [`Log::append`] of one record to a stream of a length, without a boxed future and without a list.
    pub(in crate::storage) fn append_one_now(
        &self,
        ctx: &Context,
        stream: &str,
        expected: u64,
        record: Bytes,
    ) -> Result<u64> {
        check_name("storage.append", "stream", stream)?;
        self.write(ctx, |tenant| match tenant.named.get_mut(stream) {
            Some(Named { records, .. }) if !records.is_empty() => {
                check_length("storage.append", stream, Some(expected), records.len() as u64)?;
                records.push(record);
                Ok(records.len() as u64)
            }
            _ => {
                let append = Append { expected: Some(expected), records: vec![record], ..Append::to(stream) };
                tenant.append(append)
            }
        })
    }

    /// [`Log::append`] of one record to the stream that has the name of its owner's lease, without a list.
    pub(in crate::storage) fn append_owned_now(
        &self,
        ctx: &Context,
        fence: &Fence,
        record: Bytes,
    ) -> Result<u64> {
        check_name("storage.append", "stream", &fence.lease)?;
        self.write(ctx, |tenant| match tenant.named.get_mut(&*fence.lease) {
            Some(named) if !named.records.is_empty() => {
                check_fence("storage.append", fence, token(Some(named)))?;
                named.records.push(record);
                Ok(named.records.len() as u64)
            }
            _ => {
                let append = Append { fence: Some(fence), records: vec![record], ..Append::to(&fence.lease) };
                tenant.append(append)
            }
        })
    }

    /// [`Lease::acquire`] without a boxed future.
    pub(in crate::storage) fn acquire_now(
        &self,
        ctx: &Context,
        name: &str,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<Grant>> {
        check_name("storage.acquire", "lease", name)?;
        check_name("storage.acquire", "owner", owner)?;
        let now = ctx.now();
        let expires = now.plus(ttl);
        Ok(self.write(ctx, |tenant| tenant.acquire(name, owner, now, expires)))
    }

    /// [`Lease::release`] without a boxed future.
    pub(in crate::storage) fn release_now(&self, ctx: &Context, grant: &Grant) {
        self.write(ctx, |tenant| tenant.release(&grant.fence));
    }

    // A std mutex: no await happens while it is held. Every change is complete before a panic could come.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TenantId, Tenant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T: Default>(&self, ctx: &Context, work: impl FnOnce(&Tenant) -> T) -> T {
        self.lock().get(ctx.tenant().as_str()).map_or_else(T::default, work)
    }

    fn write<T>(&self, ctx: &Context, work: impl FnOnce(&mut Tenant) -> T) -> T {
        let mut tenants = self.lock();
        // Not `entry`, which would clone the tenant's name on every call.
        if let Some(tenant) = tenants.get_mut(ctx.tenant().as_str()) {
            return work(tenant);
        }
        work(tenants.entry(ctx.tenant().clone()).or_default())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("tenants", &self.lock().len()).finish()
    }
}

impl Tenant {
    fn put(&mut self, key: &str, value: Bytes, expect: Expect) -> Result<u64> {
        if let Some(entry) = self.keys.get_mut(key) {
            check_version("storage.put", key, expect, Some(entry.version))?;
            entry.version += 1;
            entry.value = value;
            return Ok(entry.version);
        }
        check_version("storage.put", key, expect, None)?;
        let version = self.version_floor + 1;
        self.keys.insert(Box::from(key), Versioned { value, version });
        Ok(version)
    }

    fn delete(&mut self, key: &str, expect: Expect) -> Result<bool> {
        let found = self.keys.get(key).map(|entry| entry.version);
        check_version("storage.delete", key, expect, found)?;
        self.keys.remove(key);
        self.version_floor = self.version_floor.max(found.unwrap_or(0));
        Ok(found.is_some())
    }

    fn append(&mut self, append: Append<'_>) -> Result<u64> {
        const OPERATION: &str = "storage.append";
        let Self { named, streams, .. } = self;
        let Append { stream, expected, fence, mut records } = append;
        // A run's lease has the name of its stream, and is found with it.
        let apart = fence.filter(|fence| *fence.lease != *stream);
        if let Some(fence) = apart {
            check_fence(OPERATION, fence, token(named.get(&*fence.lease)))?;
        }
        let found = named.get_mut(stream);
        if let (Some(fence), None) = (fence, apart) {
            check_fence(OPERATION, fence, token(found.as_deref()))?;
        }
        let known = found.as_ref().map_or(0, |named| named.records.len() as u64);
        check_length(OPERATION, stream, expected, known)?;
        let length = known + records.len() as u64;
        if known > 0 {
            found.into_iter().for_each(|named| named.records.append(&mut records));
            return Ok(length);
        }
        if length > 0 {
            let name = match fence {
                Some(fence) if apart.is_none() => Arc::clone(&fence.lease),
                _ => Arc::from(stream),
            };
            streams.insert(Arc::clone(&name));
            match found {
                Some(named) => named.records = records,
                None => drop(named.insert(name, Named { records, held: None })),
            }
        }
        Ok(length)
    }

    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.streams.is_empty()
    }

    /// Forgets everything but what versions and tokens grow from.
    fn erase(&mut self) -> Erased {
        let version = self.keys.values().map(|entry| entry.version).max();
        let leases = || self.named.values().filter_map(|named| named.held.as_ref());
        let token = leases().map(|held| held.token).max();
        let erased = Erased {
            keys: self.keys.len() as u64,
            streams: self.streams.len() as u64,
            leases: leases().count() as u64,
        };
        *self = Self {
            version_floor: self.version_floor.max(version.unwrap_or(0)),
            token_floor: self.token_floor.max(token.unwrap_or(0)),
            ..Self::default()
        };
        erased
    }

    fn acquire(&mut self, name: &str, owner: &str, now: Timestamp, expires: Timestamp) -> Option<Grant> {
        let (lease, known) = match self.named.get_key_value(name) {
            Some((lease, Named { held: Some(held), .. })) => {
                if held.expires > now && *held.owner != *owner {
                    return None;
                }
                (Arc::clone(lease), held.token)
            }
            Some((lease, Named { held: None, .. })) => (Arc::clone(lease), self.token_floor),
            None => (Arc::from(name), self.token_floor),
        };
        let (token, owner) = (known + 1, Arc::<str>::from(owner));
        let held = Held { token, owner: Arc::clone(&owner), expires };
        self.named.entry(Arc::clone(&lease)).or_default().held = Some(held);
        Some(Grant { fence: Fence { lease, token }, owner, expires })
    }

    fn renew(&mut self, fence: &Fence, expires: Timestamp) -> Result<()> {
        let named = self.named.get_mut(&*fence.lease);
        check_fence("storage.renew", fence, token(named.as_deref()))?;
        if let Some(held) = named.and_then(|named| named.held.as_mut()) {
            held.expires = expires;
        }
        Ok(())
    }

    fn release(&mut self, fence: &Fence) {
        let Some(named) = self.named.get_mut(&*fence.lease) else { return };
        if named.held.take_if(|held| held.token == fence.token).is_none() {
            return;
        }
        if named.records.is_empty() {
            self.named.remove(&*fence.lease);
        }
        self.token_floor = self.token_floor.max(fence.token);
    }

    /// Forgets a stream, and says whether there was one.
    fn remove(&mut self, stream: &str) -> bool {
        if !self.streams.remove(stream) {
            return false;
        }
        if let Some(named) = self.named.get_mut(stream) {
            named.records = Vec::new();
            if named.held.is_none() {
                self.named.remove(stream);
            }
        }
        true
    }

    fn records(&self, stream: &str) -> &[Bytes] {
        self.named.get(stream).map_or(&[][..], |named| &named.records)
    }
}

/// The token of whoever holds it.
fn token(named: Option<&Named>) -> Option<u64> {
    named?.held.as_ref().map(|held| held.token)
}

#[async_trait]
impl KeyValue for MemoryStore {
    fn capability(&self) -> Capability {
        Capability::new(false, false)
    }

    async fn get(&self, ctx: &Context, key: &str) -> Result<Option<Versioned>> {
        check_name("storage.get", "key", key)?;
        Ok(self.read(ctx, |tenant| tenant.keys.get(key).cloned()))
    }

    async fn put(&self, ctx: &Context, key: &str, value: Bytes, expect: Expect) -> Result<u64> {
        check_name("storage.put", "key", key)?;
        self.write(ctx, |tenant| tenant.put(key, value, expect))
    }

    async fn delete(&self, ctx: &Context, key: &str, expect: Expect) -> Result<bool> {
        check_name("storage.delete", "key", key)?;
        self.write(ctx, |tenant| tenant.delete(key, expect))
    }

    async fn scan(&self, ctx: &Context, scan: Scan<'_>) -> Result<Vec<(String, Versioned)>> {
        let start = scan_start(scan.prefix, scan.after);
        Ok(self.read(ctx, |tenant| {
            tenant
                .keys
                .range::<str, _>((start, Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(scan.prefix))
                .take(scan.limit)
                .map(|(key, entry)| (key.to_string(), entry.clone()))
                .collect()
        }))
    }
}

#[async_trait]
impl Log for MemoryStore {
    async fn append(&self, ctx: &Context, append: Append<'_>) -> Result<u64> {
        self.append_now(ctx, append)
    }

    async fn read(&self, ctx: &Context, stream: &str, from: u64, limit: usize) -> Result<Vec<Record>> {
        check_name("storage.read", "stream", stream)?;
        Ok(self.read(ctx, |tenant| {
            let records = tenant.records(stream);
            let rest = usize::try_from(from).ok().and_then(|from| records.get(from..)).unwrap_or_default();
            // The data leads: the numbers behind the largest offset must not be counted.
            let record = |(data, sequence): (&Bytes, u64)| Record { sequence, data: data.clone() };
            rest.iter().take(limit).zip(from..).map(record).collect()
        }))
    }

    async fn length(&self, ctx: &Context, stream: &str) -> Result<u64> {
        check_name("storage.length", "stream", stream)?;
        Ok(self.read(ctx, |tenant| tenant.records(stream).len() as u64))
    }

    async fn streams(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>> {
        let start = scan_start(prefix, after);
        Ok(self.read(ctx, |tenant| {
            tenant
                .streams
                .range::<str, _>((start, Bound::Unbounded))
                .take_while(|name| name.starts_with(prefix))
                .take(limit)
                .map(ToString::to_string)
                .collect()
        }))
    }

    async fn remove(&self, ctx: &Context, stream: &str) -> Result<bool> {
        check_name("storage.remove", "stream", stream)?;
        Ok(self.write(ctx, |tenant| tenant.remove(stream)))
    }

    async fn tenants(&self, _ctx: &Context, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantId>> {
        let tenants = self.lock();
        let held = tenants.iter().filter(|(_, tenant)| !tenant.is_empty()).map(|(name, _)| name);
        Ok(held.filter(|name| after.is_none_or(|after| *name > after)).take(limit).cloned().collect())
    }

    async fn erase(&self, ctx: &Context) -> Result<Erased> {
        // Not `write`, which would make the tenant.
        Ok(self.lock().get_mut(ctx.tenant().as_str()).map(Tenant::erase).unwrap_or_default())
    }
}

#[async_trait]
impl Lease for MemoryStore {
    async fn acquire(&self, ctx: &Context, name: &str, owner: &str, ttl: Duration) -> Result<Option<Grant>> {
        self.acquire_now(ctx, name, owner, ttl)
    }

    async fn renew(&self, ctx: &Context, grant: &Grant, ttl: Duration) -> Result<Grant> {
        let expires = ctx.now().plus(ttl);
        self.write(ctx, |tenant| tenant.renew(&grant.fence, expires))?;
        Ok(Grant { expires, ..grant.clone() })
    }

    async fn release(&self, ctx: &Context, grant: &Grant) -> Result<()> {
        self.release_now(ctx, grant);
        Ok(())
    }
}
