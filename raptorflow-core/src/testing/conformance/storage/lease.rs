//! The contract of `Lease`.

use std::time::Duration;

use futures_util::future::join_all;

use super::subject::{StorageSubject, assert_refused, bad_names, good_names};
use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Context,
    storage::{Grant, Storage},
    testing::conformance::{Case, case::cases},
};

pub(super) const TTL: Duration = Duration::from_secs(30);

pub(super) fn cases() -> Vec<Case<StorageSubject>> {
    cases![
        a_free_lease_is_granted_and_a_second_owner_gets_none,
        the_same_owner_that_acquires_again_gets_a_newer_grant,
        tokens_of_one_name_grow_with_every_grant_also_over_a_release,
        a_lapsed_lease_is_granted_to_the_next_who_asks,
        renew_of_the_current_grant_moves_its_end,
        renew_of_a_passed_or_released_grant_is_conflict,
        renew_of_a_lapsed_grant_that_nobody_was_granted_since_moves_its_end,
        release_of_the_current_grant_frees_the_name,
        release_of_any_other_grant_changes_nothing,
        of_concurrent_owners_exactly_one_is_granted,
        leases_of_one_tenant_are_invisible_to_another,
        lease_names_and_owners_are_1_to_1024_bytes_without_nul,
        tokens_grow_also_after_the_store_is_opened_again: "durable",
    ]
}

async fn acquire(ctx: &Context, storage: &Storage, owner: &str) -> Result<Option<Grant>> {
    storage.acquire(ctx, "lease", owner, TTL).await
}

/// Grants a lease that must be free.
pub(super) async fn granted(ctx: &Context, storage: &Storage, owner: &str) -> Result<Grant> {
    let free = || Error::new(ErrorKind::Internal, "conformance.lease", "the lease should be free");
    acquire(ctx, storage, owner).await?.ok_or_else(free)
}

async fn a_free_lease_is_granted_and_a_second_owner_gets_none(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let grant = granted(&ctx, &storage, "one").await?;
    assert_eq!((&*grant.fence.lease, &*grant.owner), ("lease", "one"));
    assert_eq!(grant.expires, ctx.now().plus(TTL));
    assert_ne!(grant.fence.token, 0);
    assert_eq!(acquire(&ctx, &storage, "two").await?, None);
    subject.clock.advance(TTL - Duration::from_micros(1));
    assert_eq!(acquire(&ctx, &storage, "two").await?, None);
    assert!(storage.acquire(&ctx, "other", "two", TTL).await?.is_some());
    Ok(())
}

async fn the_same_owner_that_acquires_again_gets_a_newer_grant(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let old = granted(&ctx, &storage, "one").await?;
    let new = granted(&ctx, &storage, "one").await?;
    assert!(new.fence.token > old.fence.token);
    assert_refused(storage.renew(&ctx, &old, TTL).await, ErrorKind::Conflict);
    storage.renew(&ctx, &new, TTL).await?;
    Ok(())
}

async fn tokens_of_one_name_grow_with_every_grant_also_over_a_release(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let mut last = 0;
    for round in 0..6 {
        let grant = granted(&ctx, &storage, if round % 2 == 0 { "one" } else { "two" }).await?;
        assert!(grant.fence.token > last, "{} is not above {last}", grant.fence.token);
        last = grant.fence.token;
        if round % 3 == 0 {
            subject.clock.advance(TTL);
        } else {
            storage.release(&ctx, &grant).await?;
        }
    }
    Ok(())
}

async fn a_lapsed_lease_is_granted_to_the_next_who_asks(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    granted(&ctx, &storage, "one").await?;
    subject.clock.advance(TTL);
    let grant = granted(&ctx, &storage, "two").await?;
    assert_eq!(&*grant.owner, "two");
    assert_eq!(acquire(&ctx, &storage, "one").await?, None);
    Ok(())
}

async fn renew_of_the_current_grant_moves_its_end(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let mut grant = granted(&ctx, &storage, "one").await?;
    for _ in 0..3 {
        subject.clock.advance(TTL / 2);
        let renewed = storage.renew(&ctx, &grant, TTL).await?;
        assert_eq!(renewed, Grant { expires: ctx.now().plus(TTL), ..grant });
        grant = renewed;
    }
    assert_eq!(acquire(&ctx, &storage, "two").await?, None);
    subject.clock.advance(TTL);
    granted(&ctx, &storage, "two").await?;
    Ok(())
}

async fn renew_of_a_passed_or_released_grant_is_conflict(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let passed = granted(&ctx, &storage, "one").await?;
    subject.clock.advance(TTL);
    let current = granted(&ctx, &storage, "two").await?;
    assert_refused(storage.renew(&ctx, &passed, TTL).await, ErrorKind::Conflict);
    storage.release(&ctx, &current).await?;
    assert_refused(storage.renew(&ctx, &current, TTL).await, ErrorKind::Conflict);
    Ok(())
}

async fn renew_of_a_lapsed_grant_that_nobody_was_granted_since_moves_its_end(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let grant = granted(&ctx, &storage, "one").await?;
    subject.clock.advance(TTL * 2);
    storage.renew(&ctx, &grant, TTL).await?;
    assert_eq!(acquire(&ctx, &storage, "two").await?, None);
    Ok(())
}

async fn release_of_the_current_grant_frees_the_name(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let grant = granted(&ctx, &storage, "one").await?;
    storage.release(&ctx, &grant).await?;
    granted(&ctx, &storage, "two").await?;
    Ok(())
}

async fn release_of_any_other_grant_changes_nothing(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let passed = granted(&ctx, &storage, "one").await?;
    subject.clock.advance(TTL);
    let current = granted(&ctx, &storage, "two").await?;
    storage.release(&ctx, &passed).await?;
    assert_eq!(acquire(&ctx, &storage, "one").await?, None);
    storage.renew(&ctx, &current, TTL).await?;
    storage.release(&ctx, &current).await?;
    storage.release(&ctx, &current).await?;
    Ok(())
}

async fn of_concurrent_owners_exactly_one_is_granted(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    for _ in 0..4 {
        let tasks = (0..16).map(|number| {
            let (ctx, storage) = (ctx.clone(), storage.clone());
            let tasks = ctx.runtime().tasks().clone();
            tasks.spawn("acquire", async move { acquire(&ctx, &storage, &format!("owner-{number}")).await })
        });
        let mut grants = 0;
        for outcome in join_all(tasks).await {
            grants += usize::from(outcome??.is_some());
        }
        assert_eq!(grants, 1);
        subject.clock.advance(TTL);
    }
    Ok(())
}

async fn leases_of_one_tenant_are_invisible_to_another(subject: StorageSubject) -> Result<()> {
    let (one, storage) = subject.open().await?;
    let two = one.with_tenant("two".parse()?);
    let grant = granted(&one, &storage, "owner").await?;
    assert_refused(storage.renew(&two, &grant, TTL).await, ErrorKind::Conflict);
    storage.release(&two, &grant).await?;
    granted(&two, &storage, "other").await?;
    assert_eq!(acquire(&one, &storage, "other").await?, None);
    Ok(())
}

async fn lease_names_and_owners_are_1_to_1024_bytes_without_nul(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    for bad in bad_names() {
        assert_refused(storage.acquire(&ctx, &bad, "owner", TTL).await, ErrorKind::InvalidInput);
        assert_refused(storage.acquire(&ctx, "lease", &bad, TTL).await, ErrorKind::InvalidInput);
    }
    for good in good_names() {
        assert!(storage.acquire(&ctx, &good, &good, TTL).await?.is_some());
    }
    Ok(())
}

async fn tokens_grow_also_after_the_store_is_opened_again(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let first = granted(&ctx, &storage, "one").await?;
    storage.release(&ctx, &first).await?;
    storage.close().await?;
    let (ctx, storage) = subject.open().await?;
    let second = granted(&ctx, &storage, "one").await?;
    assert!(second.fence.token > first.fence.token);
    Ok(())
}
