//! Archives over every backend: what one store wrote, each other reads.

use std::{collections::BTreeMap, path::PathBuf};

use bytes::Bytes;
use futures_util::future::try_join_all;
use raptorflow_core::{
    error::{ErrorKind, Result},
    runtime::Context,
    storage::{Append, Expect, Scan, Storage},
    testing::conformance::{Case, StorageSubject},
};
use tempfile::TempDir;

pub(crate) fn cases() -> Vec<Case<StorageSubject>> {
    vec![
        Case::new("an_export_is_imported_by_another_kind_of_store_and_by_another_tenant", &[], |subject| {
            Box::pin(exports_and_imports(subject))
        }),
        Case::new("a_snapshot_is_restored_after_everything_was_erased", &[], |subject| {
            Box::pin(snapshots_and_restores(subject))
        }),
        Case::new("an_import_into_a_tenant_with_data_is_refused_and_changes_nothing", &[], |subject| {
            Box::pin(refuses_a_tenant_with_data(subject))
        }),
    ]
}

type Held = (BTreeMap<String, Bytes>, BTreeMap<String, Vec<Bytes>>);

/// Payloads of each form, more of them than a page has, and some that are larger than a page.
async fn fill(ctx: &Context, storage: &Storage) -> Result<()> {
    let every: Vec<u8> = (0..=255).collect();
    let payloads =
        [b"".to_vec(), b"{\"n\": 1.50}".to_vec(), "naïve \n".into(), every.clone(), every.repeat(4_200)];
    // Together, so that a store with group commit syncs once for many.
    let puts = (0..600).map(|number| {
        let value = payloads[number % 4].clone();
        async move { storage.put(ctx, &format!("key/{number:04}"), value, Expect::Absent).await }
    });
    try_join_all(puts).await?;
    storage.put(ctx, "a/b:c%_*?[']\"\u{10ffff}", payloads[3].clone(), Expect::Absent).await?;
    for (name, times) in [("long", 1_000), ("short", 1)] {
        let records = payloads.iter().take(4).cycle().take(4 * times).cloned().map(Bytes::from);
        storage.append(ctx, Append { records: records.collect(), ..Append::to(name) }).await?;
    }
    let records = vec![Bytes::from(payloads[4].clone()); 2];
    storage.append(ctx, Append { records, ..Append::to("large") }).await?;
    Ok(())
}

async fn held(ctx: &Context, storage: &Storage) -> Result<Held> {
    let (mut keys, mut streams) = (BTreeMap::new(), BTreeMap::new());
    for (key, found) in storage.scan(ctx, Scan { prefix: "", after: None, limit: 10_000 }).await? {
        keys.insert(key, found.value);
    }
    for name in storage.streams(ctx, "", None, 10_000).await? {
        let records = storage.read(ctx, &name, 0, 10_000).await?;
        streams.insert(name, records.into_iter().map(|record| record.data).collect());
    }
    Ok((keys, streams))
}

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("archive.jsonl");
    (folder, file)
}

async fn exports_and_imports(subject: StorageSubject) -> Result<()> {
    let ((ctx, storage), (_folder, file)) = (subject.open().await?, place());
    fill(&ctx, &storage).await?;
    let written = storage.export(&ctx, &file).await?;
    assert_eq!((written.tenants, written.keys, written.streams, written.records), (1, 601, 3, 4_006));

    let other = Storage::memory();
    assert_eq!(other.import(&ctx, &file).await?, written);
    assert_eq!(held(&ctx, &other).await?, held(&ctx, &storage).await?);

    // And back, into a tenant of another name.
    let second = ctx.with_tenant("second".parse()?);
    assert_eq!(other.export(&ctx, &file).await?, written);
    assert_eq!(storage.import(&second, &file).await?, written);
    assert_eq!(held(&second, &storage).await?, held(&ctx, &storage).await?);
    // What was read back is used like anything else.
    assert_eq!(storage.append(&second, Append { expected: Some(4), ..Append::to("short") }).await?, 4);
    storage.put(&second, "key/0000", "new", Expect::Any).await?;
    Ok(())
}

async fn snapshots_and_restores(subject: StorageSubject) -> Result<()> {
    let ((ctx, storage), (_folder, file)) = (subject.open().await?, place());
    let tenants = [ctx.with_tenant("one".parse()?), ctx.with_tenant("two".parse()?)];
    let mut before = Vec::new();
    for tenant in &tenants {
        fill(tenant, &storage).await?;
        before.push(held(tenant, &storage).await?);
    }
    let written = storage.snapshot(&ctx, &file).await?;
    assert_eq!(storage.restore(&ctx, &file).await.unwrap_err().kind(), ErrorKind::Conflict);
    for tenant in &tenants {
        storage.erase(tenant).await?;
    }
    assert_eq!(storage.restore(&ctx, &file).await?, written);
    for (tenant, before) in tenants.iter().zip(&before) {
        assert_eq!(&held(tenant, &storage).await?, before);
    }
    assert_eq!(storage.tenants(&ctx, None, 9).await?.len(), 2);
    Ok(())
}

async fn refuses_a_tenant_with_data(subject: StorageSubject) -> Result<()> {
    let ((ctx, storage), (_folder, file)) = (subject.open().await?, place());
    let other = ctx.with_tenant("other".parse()?);
    storage.append(&ctx, Append { records: vec!["first".into()], ..Append::to("stream") }).await?;
    storage.export(&ctx, &file).await?;
    storage.put(&other, "key", "value", Expect::Absent).await?;
    for there in [&ctx, &other] {
        let before = held(there, &storage).await?;
        assert_eq!(storage.import(there, &file).await.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(held(there, &storage).await?, before);
    }
    Ok(())
}
