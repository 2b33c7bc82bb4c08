//! The contract of what concerns tenants as a whole: listing them and erasing one.

use std::slice;

use super::{
    lease::{TTL, granted},
    log::batch,
    subject::{StorageSubject, assert_refused},
};
use crate::{
    error::{ErrorKind, Result},
    runtime::Context,
    storage::{Append, Erased, Expect, Scan, Storage},
    testing::conformance::{Case, case::cases},
    types::TenantId,
};

pub(super) fn cases() -> Vec<Case<StorageSubject>> {
    cases![
        tenants_yields_those_that_have_a_key_or_a_stream_in_byte_order_after_a_name_up_to_its_limit,
        a_tenant_without_a_key_or_a_stream_is_not_listed,
        erase_forgets_every_key_stream_and_lease_of_its_tenant_and_says_how_many,
        erase_of_a_tenant_that_has_nothing_forgets_nothing,
        after_erase_an_older_fence_is_conflict_also_when_the_lease_is_granted_again,
        after_erase_versions_and_tokens_go_on_growing,
        what_was_erased_is_gone_also_after_the_store_is_opened_again: "durable",
        another_handle_goes_on_with_an_erased_tenant: "durable": "shared",
    ]
}

fn names(tenants: &[TenantId]) -> Vec<&str> {
    tenants.iter().map(TenantId::as_str).collect()
}

/// Leaves two keys, a stream of three records and a lease in the context's tenant.
async fn fill(ctx: &Context, storage: &Storage) -> Result<()> {
    for key in ["a", "b"] {
        storage.put(ctx, key, "value", Expect::Any).await?;
    }
    storage.append(ctx, batch("stream", 3)).await?;
    granted(ctx, storage, "owner").await?;
    Ok(())
}

async fn assert_empty(ctx: &Context, storage: &Storage) -> Result<()> {
    assert_eq!(storage.scan(ctx, Scan { prefix: "", after: None, limit: 9 }).await?, []);
    assert_eq!(storage.streams(ctx, "", None, 9).await?, Vec::<String>::new());
    assert_eq!(storage.get(ctx, "a").await?, None);
    assert_eq!(storage.read(ctx, "stream", 0, 9).await?, []);
    assert_eq!(storage.length(ctx, "stream").await?, 0);
    Ok(())
}

async fn tenants_yields_those_that_have_a_key_or_a_stream_in_byte_order_after_a_name_up_to_its_limit(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    assert!(storage.tenants(&ctx, None, 9).await?.is_empty());
    let expected = ["A", "B", "a", "a b", "a%", "é", "\u{10ffff}"];
    for (number, name) in expected.iter().rev().enumerate() {
        let ctx = ctx.with_tenant(name.parse()?);
        if number % 2 == 0 {
            storage.put(&ctx, "key", "value", Expect::Any).await?;
        } else {
            storage.append(&ctx, batch("stream", 1)).await?;
        }
    }
    assert_eq!(names(&storage.tenants(&ctx, None, 99).await?), expected);
    assert_eq!(names(&storage.tenants(&ctx, None, 2).await?), ["A", "B"]);
    assert!(storage.tenants(&ctx, None, 0).await?.is_empty());
    let (mut walked, mut after) = (Vec::new(), None);
    while let [tenant] = storage.tenants(&ctx, after.as_ref(), 1).await?.as_slice() {
        walked.push(tenant.clone());
        after = Some(tenant.clone());
    }
    assert_eq!(names(&walked), expected);
    // Between two of them, and whoever asks.
    let other = ctx.with_tenant("B".parse()?);
    assert_eq!(names(&storage.tenants(&other, Some(&"Z".parse()?), 2).await?), ["a", "a b"]);
    Ok(())
}

async fn a_tenant_without_a_key_or_a_stream_is_not_listed(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    granted(&ctx, &storage, "owner").await?;
    storage.append(&ctx, Append::to("stream")).await?;
    assert!(storage.tenants(&ctx, None, 9).await?.is_empty());
    storage.put(&ctx, "key", "value", Expect::Any).await?;
    storage.append(&ctx, batch("stream", 1)).await?;
    assert_eq!(storage.tenants(&ctx, None, 9).await?, slice::from_ref(ctx.tenant()));
    storage.delete(&ctx, "key", Expect::Any).await?;
    assert_eq!(storage.tenants(&ctx, None, 9).await?, slice::from_ref(ctx.tenant()));
    storage.remove(&ctx, "stream").await?;
    assert!(storage.tenants(&ctx, None, 9).await?.is_empty());
    Ok(())
}

async fn erase_forgets_every_key_stream_and_lease_of_its_tenant_and_says_how_many(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let other = ctx.with_tenant("other".parse()?);
    fill(&ctx, &storage).await?;
    fill(&other, &storage).await?;
    assert_eq!(storage.erase(&ctx).await?, Erased { keys: 2, streams: 1, leases: 1 });
    assert_empty(&ctx, &storage).await?;
    assert_eq!(storage.tenants(&ctx, None, 9).await?, slice::from_ref(other.tenant()));
    // The lease is free, and that of the other tenant is not.
    granted(&ctx, &storage, "newcomer").await?;
    assert_eq!(storage.acquire(&other, "lease", "newcomer", TTL).await?, None);
    assert_eq!(storage.scan(&other, Scan { prefix: "", after: None, limit: 9 }).await?.len(), 2);
    assert_eq!(storage.read(&other, "stream", 0, 9).await?.len(), 3);
    Ok(())
}

async fn erase_of_a_tenant_that_has_nothing_forgets_nothing(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    assert_eq!(storage.erase(&ctx).await?, Erased::default());
    fill(&ctx, &storage).await?;
    storage.erase(&ctx).await?;
    assert_eq!(storage.erase(&ctx).await?, Erased::default());
    Ok(())
}

async fn after_erase_an_older_fence_is_conflict_also_when_the_lease_is_granted_again(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let old = granted(&ctx, &storage, "owner").await?;
    let under = |fence| storage.append(&ctx, Append { fence: Some(fence), ..batch("stream", 1) });
    assert_eq!(under(&old.fence).await?, 1);
    storage.erase(&ctx).await?;
    assert_refused(under(&old.fence).await, ErrorKind::Conflict);
    assert_refused(storage.renew(&ctx, &old, TTL).await, ErrorKind::Conflict);
    let new = granted(&ctx, &storage, "owner").await?;
    assert_refused(under(&old.fence).await, ErrorKind::Conflict);
    assert_eq!(under(&new.fence).await?, 1);
    Ok(())
}

async fn after_erase_versions_and_tokens_go_on_growing(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let (mut version, mut token) = (0, 0);
    for _ in 0..3 {
        for _ in 0..3 {
            let next = storage.put(&ctx, "key", "value", Expect::Any).await?;
            assert!(next > version, "{next} is not above {version}");
            version = next;
        }
        for _ in 0..3 {
            let next = granted(&ctx, &storage, "owner").await?.fence.token;
            assert!(next > token, "{next} is not above {token}");
            token = next;
        }
        storage.erase(&ctx).await?;
    }
    Ok(())
}

async fn what_was_erased_is_gone_also_after_the_store_is_opened_again(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    fill(&ctx, &storage).await?;
    let old = granted(&ctx, &storage, "owner").await?;
    storage.erase(&ctx).await?;
    // Not closed: whoever opens it next must find nothing.
    drop(storage);
    let (ctx, storage) = subject.open().await?;
    assert_empty(&ctx, &storage).await?;
    assert!(storage.tenants(&ctx, None, 9).await?.is_empty());
    assert!(granted(&ctx, &storage, "owner").await?.fence.token > old.fence.token);
    Ok(())
}

async fn another_handle_goes_on_with_an_erased_tenant(subject: StorageSubject) -> Result<()> {
    let (ctx, one) = subject.open().await?;
    let (_, two) = subject.open().await?;
    let other = ctx.with_tenant("other".parse()?);
    fill(&ctx, &two).await?;
    one.erase(&ctx).await?;
    assert_empty(&ctx, &two).await?;
    // A tenant that is made now must not be taken for the one that the second handle knows.
    fill(&other, &one).await?;
    two.put(&ctx, "late", "value", Expect::Absent).await?;
    two.append(&ctx, batch("late", 2)).await?;
    assert_eq!(one.get(&ctx, "late").await?.map(|found| found.value), Some("value".into()));
    assert_eq!(one.length(&ctx, "late").await?, 2);
    assert_eq!(one.get(&other, "late").await?, None);
    assert_eq!(one.streams(&other, "", None, 9).await?, ["stream"]);
    Ok(())
}
