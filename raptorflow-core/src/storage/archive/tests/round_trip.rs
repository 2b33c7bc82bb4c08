//! What is written is read back the same, whoever writes meanwhile.

use std::{collections::BTreeMap, fs, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use proptest::{
    collection::{btree_map, vec},
    prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest},
};

use super::place::{Held, Place};
use crate::{
    error::{ErrorKind, Result, Retry},
    runtime::Context,
    storage::{Append, Archive, Erased, Expect, Log, MemoryStore, Record, Storage},
    types::TenantId,
};

fn payload() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        vec(any::<u8>(), 0..40).prop_map(Bytes::from),
        "[ -~\n\u{e9}\u{1f600}]{0,30}".prop_map(Bytes::from),
        any::<i64>()
            .prop_map(|number| Bytes::from(format!("{{\"n\": {number}, \"list\": [null, 1.50, \"x\"]}}"))),
        (0..3_usize).prop_map(|size| Bytes::from(vec![b'7'; size * 100_000])),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("run/1".to_owned()), "[^\0]{1,12}", "[a-c]{1,2}"]
}

fn held() -> impl Strategy<Value = Held> {
    let records = prop_oneof![9 => vec(payload(), 1..6), 1 => vec(Just(Bytes::from("x")), 1..3_000)];
    (btree_map(name(), payload(), 0..12), btree_map(name(), records, 0..8))
        .prop_map(|(keys, streams)| Held { keys, streams })
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn an_export_that_is_imported_gives_an_equal_tenant_and_is_exported_the_same(held in held()) {
        let (again, archives, files) = block_on(async {
            let place = Place::new();
            let (old, new) = (Storage::memory(), Storage::memory());
            held.put_into(&old, &place.ctx).await;
            let written = old.export(&place.ctx, place.file("a")).await.unwrap();
            let read = new.import(&place.ctx, place.file("a")).await.unwrap();
            new.export(&place.ctx, place.file("b")).await.unwrap();
            let files = [fs::read(place.file("a")).unwrap(), fs::read(place.file("b")).unwrap()];
            (Held::of(&new, &place.ctx).await, (written, read), files)
        });
        prop_assert_eq!(&again, &held);
        prop_assert_eq!(archives.0, archives.1);
        prop_assert_eq!(archives.0.keys, held.keys.len() as u64);
        prop_assert_eq!(archives.0.records, held.streams.values().map(|records| records.len() as u64).sum::<u64>());
        prop_assert_eq!(&files[0], &files[1]);
    }

    #[test]
    fn a_snapshot_that_is_restored_gives_an_equal_store(
        tenants in btree_map("[a-z\u{e9}][a-z. ]{0,3}[a-z]", held(), 0..4),
    ) {
        let (again, archive) = block_on(async {
            let place = Place::new();
            let (old, new) = (Storage::memory(), Storage::memory());
            for (tenant, held) in &tenants {
                held.put_into(&old, &place.of(tenant)).await;
            }
            let archive = old.snapshot(&place.ctx, place.file("all")).await.unwrap();
            assert_eq!(new.restore(&place.ctx, place.file("all")).await.unwrap(), archive);
            let mut again = BTreeMap::new();
            for tenant in new.tenants(&place.ctx, None, usize::MAX).await.unwrap() {
                let held = Held::of(&new, &place.ctx.with_tenant(tenant.clone())).await;
                again.insert(tenant.as_str().to_owned(), held);
            }
            (again, archive)
        });
        let full = |(_, held): &(&String, &Held)| **held != Held::default();
        let expected: BTreeMap<_, _> = tenants.iter().filter(full).map(|(t, h)| (t.clone(), h.clone())).collect();
        prop_assert_eq!(archive.tenants, expected.len() as u64);
        prop_assert_eq!(again, expected);
    }
}

#[tokio::test]
async fn a_tenant_without_anything_is_exported_and_imported() {
    let place = Place::new();
    let storage = Storage::memory();
    let written = storage.export(&place.ctx, place.file("empty")).await.unwrap();
    assert_eq!(written, Archive { tenants: 1, digest: written.digest, ..Archive::EMPTY });
    assert_eq!(storage.import(&place.ctx, place.file("empty")).await.unwrap(), written);
    assert!(storage.tenants(&place.ctx, None, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_export_goes_to_the_tenant_of_the_context_and_to_no_other() {
    let place = Place::new();
    let storage = Storage::memory();
    let (acme, zenith) = (place.of("acme"), place.of("zenith"));
    Held::sample().put_into(&storage, &acme).await;
    storage.export(&acme, place.file("acme")).await.unwrap();
    storage.import(&zenith, place.file("acme")).await.unwrap();
    assert_eq!(Held::of(&storage, &zenith).await, Held::sample());
    let version = storage.put(&zenith, "note", "late", Expect::Any).await.unwrap();
    assert!(version > storage.get(&acme, "note").await.unwrap().unwrap().version);
}

/// A store in which somebody else does something to the stream `busy` whenever it is read.
#[derive(Debug)]
struct Busy {
    inner: MemoryStore,
    removes: bool,
}

#[async_trait]
impl Log for Busy {
    async fn append(&self, ctx: &Context, append: Append<'_>) -> Result<u64> {
        self.inner.append(ctx, append).await
    }

    async fn read(&self, ctx: &Context, stream: &str, from: u64, limit: usize) -> Result<Vec<Record>> {
        let records = self.inner.read(ctx, stream, from, limit).await?;
        if self.removes {
            self.inner.remove(ctx, stream).await?;
        } else {
            let more = vec![Bytes::from("more"); limit + 1];
            self.inner.append(ctx, Append { records: more, ..Append::to(stream) }).await?;
        }
        Ok(records)
    }

    async fn length(&self, ctx: &Context, stream: &str) -> Result<u64> {
        self.inner.length(ctx, stream).await
    }

    async fn streams(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>> {
        self.inner.streams(ctx, prefix, after, limit).await
    }

    async fn remove(&self, ctx: &Context, stream: &str) -> Result<bool> {
        self.inner.remove(ctx, stream).await
    }

    async fn tenants(&self, ctx: &Context, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantId>> {
        self.inner.tenants(ctx, after, limit).await
    }

    async fn erase(&self, ctx: &Context) -> Result<Erased> {
        self.inner.erase(ctx).await
    }
}

async fn busy(place: &Place, records: usize, removes: bool) -> Storage {
    let inner = MemoryStore::new();
    let first = Append { records: vec![Bytes::from("first"); records], ..Append::to("busy") };
    inner.append(&place.ctx, first).await.unwrap();
    let store = Arc::new(inner.clone());
    Storage::from_parts(Arc::clone(&store) as _, Arc::new(Busy { inner, removes }), store)
}

#[tokio::test]
async fn of_a_stream_that_grows_meanwhile_a_prefix_is_exported() {
    let place = Place::new();
    let written = busy(&place, 100, false).await.export(&place.ctx, place.file("a")).await.unwrap();
    let new = Storage::memory();
    new.import(&place.ctx, place.file("a")).await.unwrap();
    let held = Held::of(&new, &place.ctx).await;
    assert_eq!(written.records, 100);
    assert_eq!(held.streams["busy"].len() as u64, written.records);
    assert!(held.streams["busy"].iter().all(|record| record == "first"));
}

#[tokio::test]
async fn a_stream_that_is_removed_while_it_is_read_is_no_prefix_of_anything() {
    let place = Place::new();
    // Within one page it was there as a whole.
    let written = busy(&place, 3, true).await.export(&place.ctx, place.file("a")).await.unwrap();
    assert_eq!((written.streams, written.records), (1, 3));
    let err = busy(&place, 5_000, true).await.export(&place.ctx, place.file("b")).await.unwrap_err();
    assert_eq!(
        (err.kind(), err.retry(), err.get("stream")),
        (ErrorKind::Conflict, Retry::Soon, Some("busy"))
    );
    assert_eq!(place.files(), ["a"]);
}
