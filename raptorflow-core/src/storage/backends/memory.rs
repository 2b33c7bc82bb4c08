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
pub struct MemoryStore(Arc<Mutex<HashMap<TenantId, Tenant>>>);

#[derive(Default)]
struct Tenant {
    keys: BTreeMap<Box<str>, Versioned>,
    /// The newest version that a removed key had: a key made later starts above it.
    version_floor: u64,
    streams: HashMap<Arc<str>, Vec<Bytes>>,
    /// The names of `streams` in byte order: an append finds its stream by hash, a listing by order.
    names: BTreeSet<Arc<str>>,
    leases: HashMap<Box<str>, Held>,
    /// The newest token that a released lease had: a later grant of any name starts above it.
    token_floor: u64,
}

struct Held {
    token: u64,
    owner: Box<str>,
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
        self.write(ctx, |tenant| match tenant.streams.get_mut(stream) {
            Some(records) => {
                check_length("storage.append", stream, Some(expected), records.len() as u64)?;
                records.push(record);
                Ok(records.len() as u64)
            }
            None => {
                let append = Append { expected: Some(expected), records: vec![record], ..Append::to(stream) };
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
        let token = self.write(ctx, |tenant| tenant.acquire(name, owner, now, expires));
        Ok(token.map(|token| Grant {
            fence: Fence { lease: name.to_owned(), token },
            owner: owner.to_owned(),
            expires,
        }))
    }

    /// [`Lease::release`] without a boxed future.
    pub(in crate::storage) fn release_now(&self, ctx: &Context, grant: &Grant) {
        self.write(ctx, |tenant| tenant.release(&grant.fence));
    }

    // A std mutex: no await happens while it is held. Every change is complete before a panic could come.
    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Tenant>> {
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
        if let Some(fence) = append.fence {
            let newest = self.leases.get(fence.lease.as_str()).map(|held| held.token);
            check_fence("storage.append", fence, newest)?;
        }
        if let Some(records) = self.streams.get_mut(append.stream) {
            check_length("storage.append", append.stream, append.expected, records.len() as u64)?;
            records.extend(append.records);
            return Ok(records.len() as u64);
        }
        check_length("storage.append", append.stream, append.expected, 0)?;
        let length = append.records.len() as u64;
        if length > 0 {
            let name: Arc<str> = Arc::from(append.stream);
            self.names.insert(Arc::clone(&name));
            self.streams.insert(name, append.records);
        }
        Ok(length)
    }

    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.streams.is_empty()
    }

    /// Forgets everything but what versions and tokens grow from.
    fn erase(&mut self) -> Erased {
        let version = self.keys.values().map(|entry| entry.version).max();
        let token = self.leases.values().map(|held| held.token).max();
        let erased = Erased {
            keys: self.keys.len() as u64,
            streams: self.streams.len() as u64,
            leases: self.leases.len() as u64,
        };
        *self = Self {
            version_floor: self.version_floor.max(version.unwrap_or(0)),
            token_floor: self.token_floor.max(token.unwrap_or(0)),
            ..Self::default()
        };
        erased
    }

    fn acquire(&mut self, name: &str, owner: &str, now: Timestamp, expires: Timestamp) -> Option<u64> {
        if let Some(held) = self.leases.get_mut(name) {
            if held.expires > now && *held.owner != *owner {
                return None;
            }
            held.token += 1;
            held.owner = Box::from(owner);
            held.expires = expires;
            return Some(held.token);
        }
        let token = self.token_floor + 1;
        self.leases.insert(Box::from(name), Held { token, owner: Box::from(owner), expires });
        Some(token)
    }

    fn renew(&mut self, fence: &Fence, expires: Timestamp) -> Result<()> {
        let held = self.leases.get_mut(fence.lease.as_str());
        check_fence("storage.renew", fence, held.as_ref().map(|held| held.token))?;
        if let Some(held) = held {
            held.expires = expires;
        }
        Ok(())
    }

    fn release(&mut self, fence: &Fence) {
        if self.leases.get(fence.lease.as_str()).is_some_and(|held| held.token == fence.token) {
            self.leases.remove(fence.lease.as_str());
            self.token_floor = self.token_floor.max(fence.token);
        }
    }
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
            let records = tenant.streams.get(stream).map_or(&[][..], Vec::as_slice);
            let rest = usize::try_from(from).ok().and_then(|from| records.get(from..)).unwrap_or_default();
            // The data leads: the numbers behind the largest offset must not be counted.
            let record = |(data, sequence): (&Bytes, u64)| Record { sequence, data: data.clone() };
            rest.iter().take(limit).zip(from..).map(record).collect()
        }))
    }

    async fn length(&self, ctx: &Context, stream: &str) -> Result<u64> {
        check_name("storage.length", "stream", stream)?;
        Ok(self.read(ctx, |tenant| tenant.streams.get(stream).map_or(0, |records| records.len() as u64)))
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
                .names
                .range::<str, _>((start, Bound::Unbounded))
                .take_while(|name| name.starts_with(prefix))
                .take(limit)
                .map(ToString::to_string)
                .collect()
        }))
    }

    async fn remove(&self, ctx: &Context, stream: &str) -> Result<bool> {
        check_name("storage.remove", "stream", stream)?;
        Ok(self.write(ctx, |tenant| {
            tenant.names.remove(stream);
            tenant.streams.remove(stream).is_some()
        }))
    }

    async fn tenants(&self, _ctx: &Context, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantId>> {
        let mut names: Vec<TenantId> = {
            let tenants = self.lock();
            let held = tenants.iter().filter(|(_, tenant)| !tenant.is_empty());
            held.map(|(name, _)| name)
                .filter(|name| after.is_none_or(|after| *name > after))
                .cloned()
                .collect()
        };
        names.sort_unstable();
        names.truncate(limit);
        Ok(names)
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
