//! A store that fails at any call, or for good from any call on.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;

use super::place::{Held, Place};
use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Context,
    storage::{
        Append, Capability, Erased, Expect, KeyValue, Log, MemoryStore, Record, Scan, Storage, Versioned,
    },
    types::TenantId,
};

/// Which calls fail, counted from 0.
#[derive(Clone, Copy, Debug)]
enum Plan {
    /// One, before it does anything.
    Before(usize),
    /// One, after it was done.
    After(usize),
    /// All from one on, before they do anything: the process is gone.
    From(usize),
}

/// Keys and streams of a store that fails by a plan.
#[derive(Clone, Debug)]
struct Failing {
    inner: MemoryStore,
    calls: Arc<AtomicUsize>,
    plan: Plan,
}

impl Failing {
    fn storage(inner: &MemoryStore, plan: Plan) -> (Storage, Arc<AtomicUsize>) {
        let calls = Arc::<AtomicUsize>::default();
        let store = Arc::new(Self { inner: inner.clone(), calls: Arc::clone(&calls), plan });
        (Storage::from_parts(Arc::clone(&store) as _, store, Arc::new(inner.clone())), calls)
    }

    async fn call<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let gone = || Err(Error::new(ErrorKind::Unavailable, "test.call", "the disk is gone"));
        match self.plan {
            Plan::Before(at) if at == call => gone(),
            Plan::From(at) if at <= call => gone(),
            Plan::After(at) if at == call => {
                work.await?;
                gone()
            }
            Plan::Before(_) | Plan::After(_) | Plan::From(_) => work.await,
        }
    }
}

#[async_trait]
impl KeyValue for Failing {
    fn capability(&self) -> Capability {
        self.inner.capability()
    }

    async fn get(&self, ctx: &Context, key: &str) -> Result<Option<Versioned>> {
        self.call(self.inner.get(ctx, key)).await
    }

    async fn put(&self, ctx: &Context, key: &str, value: Bytes, expect: Expect) -> Result<u64> {
        self.call(self.inner.put(ctx, key, value, expect)).await
    }

    async fn delete(&self, ctx: &Context, key: &str, expect: Expect) -> Result<bool> {
        self.call(self.inner.delete(ctx, key, expect)).await
    }

    async fn scan(&self, ctx: &Context, scan: Scan<'_>) -> Result<Vec<(String, Versioned)>> {
        self.call(self.inner.scan(ctx, scan)).await
    }
}

#[async_trait]
impl Log for Failing {
    async fn append(&self, ctx: &Context, append: Append<'_>) -> Result<u64> {
        self.call(self.inner.append(ctx, append)).await
    }

    async fn read(&self, ctx: &Context, stream: &str, from: u64, limit: usize) -> Result<Vec<Record>> {
        self.call(Log::read(&self.inner, ctx, stream, from, limit)).await
    }

    async fn length(&self, ctx: &Context, stream: &str) -> Result<u64> {
        self.call(self.inner.length(ctx, stream)).await
    }

    async fn streams(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>> {
        self.call(self.inner.streams(ctx, prefix, after, limit)).await
    }

    async fn remove(&self, ctx: &Context, stream: &str) -> Result<bool> {
        self.call(self.inner.remove(ctx, stream)).await
    }

    async fn tenants(&self, ctx: &Context, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantId>> {
        self.call(self.inner.tenants(ctx, after, limit)).await
    }

    async fn erase(&self, ctx: &Context) -> Result<Erased> {
        self.call(self.inner.erase(ctx)).await
    }
}

/// A snapshot of two tenants.
async fn snapshot(place: &Place) {
    let storage = Storage::memory();
    for tenant in ["acme", "zenith"] {
        Held::sample().put_into(&storage, &place.of(tenant)).await;
    }
    storage.snapshot(&place.ctx, place.file("all")).await.unwrap();
}

/// What the two tenants hold.
async fn held(place: &Place, store: &MemoryStore) -> [Held; 2] {
    let storage = Storage::from_store(Arc::new(store.clone()));
    [Held::of(&storage, &place.of("acme")).await, Held::of(&storage, &place.of("zenith")).await]
}

fn full() -> [Held; 2] {
    [Held::sample(), Held::sample()]
}

#[tokio::test]
async fn a_restore_that_fails_at_any_call_leaves_all_or_nothing_and_can_be_done_again() {
    let place = Place::new();
    snapshot(&place).await;
    let (mut failures, mut unheard) = (0, 0);
    for make in [Plan::Before, Plan::After] {
        for at in 0.. {
            let store = MemoryStore::new();
            let (storage, calls) = Failing::storage(&store, make(at));
            let restored = storage.restore(&place.ctx, place.file("all")).await;
            if calls.load(Ordering::SeqCst) <= at {
                restored.unwrap();
                break;
            }
            let err = restored.unwrap_err();
            assert_eq!(err.kind(), ErrorKind::Unavailable, "{:?}: {err}", make(at));
            failures += 1;
            let left = held(&place, &store).await;
            if left != [Held::default(), Held::default()] {
                // The answer to the first write of a tenant was lost, and that is all it has.
                let keys: Vec<_> = left.iter().flat_map(|held| held.keys.keys()).collect();
                assert_eq!(keys, ["raptorflow/importing"], "{:?}: {left:?}", make(at));
                unheard += 1;
            }

            let storage = Storage::from_store(Arc::new(store.clone()));
            for tenant in storage.tenants(&place.ctx, None, 9).await.unwrap() {
                storage.erase(&place.ctx.with_tenant(tenant)).await.unwrap();
            }
            storage.restore(&place.ctx, place.file("all")).await.unwrap();
            assert_eq!(held(&place, &store).await, full());
        }
    }
    assert_eq!((failures > 30, unheard), (true, 2), "{failures} calls failed");
}

#[tokio::test]
async fn a_process_that_ends_at_any_call_of_a_restore_leaves_nothing_that_looks_whole() {
    let place = Place::new();
    snapshot(&place).await;
    let mut in_part = 0;
    for at in 0.. {
        let store = MemoryStore::new();
        let (storage, calls) = Failing::storage(&store, Plan::From(at));
        let restored = storage.restore(&place.ctx, place.file("all")).await;
        if calls.load(Ordering::SeqCst) <= at {
            restored.unwrap();
            break;
        }
        let storage = Storage::from_store(Arc::new(store.clone()));
        for (tenant, held) in ["acme", "zenith"].into_iter().zip(held(&place, &store).await) {
            let ctx = place.of(tenant);
            if held == Held::default() || held == Held::sample() {
                continue;
            }
            in_part += 1;
            for refused in [
                storage.export(&ctx, place.file("part")).await.unwrap_err(),
                storage.snapshot(&ctx, place.file("part")).await.unwrap_err(),
            ] {
                assert_eq!(refused.kind(), ErrorKind::Conflict);
                assert!(refused.message().contains("imported in part"), "{refused}");
            }
        }
        assert_eq!(place.files(), ["all"]);
    }
    assert!(in_part > 4, "only {in_part} tenants were left in part");
}

#[tokio::test]
async fn an_import_that_was_cut_short_is_refused_until_the_tenant_is_erased() {
    let place = Place::new();
    let (store, ctx) = (MemoryStore::new(), place.of("acme"));
    let whole = Storage::memory();
    Held::sample().put_into(&whole, &ctx).await;
    whole.export(&ctx, place.file("acme")).await.unwrap();
    // The first four calls look whether the tenant is free and take it.
    let (failing, _) = Failing::storage(&store, Plan::From(6));
    let err = failing.import(&ctx, place.file("acme")).await.unwrap_err();
    assert_eq!(err.get("left in part"), Some("acme"), "{err}");

    let storage = Storage::from_store(Arc::new(store));
    let err = storage.import(&ctx, place.file("acme")).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Conflict);
    assert!(err.message().contains("erase it first"), "{err}");
    storage.erase(&ctx).await.unwrap();
    storage.import(&ctx, place.file("acme")).await.unwrap();
    assert_eq!(Held::of(&storage, &ctx).await, Held::sample());
}

#[tokio::test]
async fn an_export_that_fails_at_any_call_leaves_the_file_that_was_there() {
    let place = Place::new();
    let store = MemoryStore::new();
    Held::sample().put_into(&Storage::from_store(Arc::new(store.clone())), &place.ctx).await;
    fs::write(place.file("a"), "the old one").unwrap();
    for at in 0.. {
        let (storage, calls) = Failing::storage(&store, Plan::Before(at));
        let written = storage.export(&place.ctx, place.file("a")).await;
        assert_eq!(place.files(), ["a"]);
        if calls.load(Ordering::SeqCst) <= at {
            written.unwrap();
            assert!(at > 4, "only {at} calls");
            break;
        }
        assert_eq!(written.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(fs::read(place.file("a")).unwrap(), b"the old one");
    }
    assert!(fs::read(place.file("a")).unwrap().starts_with(b"{\"raptorflow\":\"export\""));
}

#[tokio::test]
async fn a_cancelled_context_writes_neither_a_file_nor_a_tenant() {
    let place = Place::new();
    snapshot(&place).await;
    let storage = Storage::memory();
    place.ctx.cancel().cancel();
    for refused in [
        storage.export(&place.ctx, place.file("new")).await.unwrap_err(),
        storage.restore(&place.ctx, place.file("all")).await.unwrap_err(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::Cancelled);
    }
    assert_eq!(place.files(), ["all"]);
    assert!(storage.tenants(&place.ctx, None, 9).await.unwrap().is_empty());
}
