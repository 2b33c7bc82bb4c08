//! The contract of `KeyValue`.

use bytes::Bytes;
use futures_util::{future::join_all, poll};

use super::subject::{StorageSubject, assert_refused, bad_names, good_names};
use crate::{
    error::{ErrorKind, Result},
    runtime::Context,
    storage::{Expect, Scan, Storage, Versioned},
    testing::conformance::{Case, case::cases},
};

pub(super) fn cases() -> Vec<Case<StorageSubject>> {
    cases![
        get_of_a_missing_key_is_none,
        put_then_get_gives_the_value_and_the_version_that_put_returned,
        a_value_is_any_bytes,
        versions_of_one_key_grow_also_over_a_delete,
        put_with_absent_on_an_existing_key_is_conflict_and_changes_nothing,
        put_with_version_on_another_version_is_conflict_and_changes_nothing,
        of_concurrent_puts_with_one_expected_version_exactly_one_succeeds,
        delete_says_whether_the_key_existed,
        delete_with_an_expectation_that_does_not_hold_is_conflict_and_changes_nothing,
        scan_yields_keys_in_byte_order,
        scan_goes_on_after_a_key_up_to_its_limit,
        scan_takes_its_prefix_literally,
        a_read_sees_every_write_that_returned_before_it_began,
        keys_of_one_tenant_are_invisible_to_another,
        a_key_is_1_to_1024_bytes_without_nul,
        a_dropped_put_has_happened_or_has_not,
        values_are_there_after_the_store_is_opened_again: "durable",
        a_second_handle_sees_the_same_keys: "durable": "shared",
        a_damaged_value_is_corrupt_and_never_served: "damage",
        close_may_be_called_twice,
    ]
}

async fn put(ctx: &Context, storage: &Storage, key: &str, value: &'static str) -> Result<u64> {
    storage.put(ctx, key, value, Expect::Any).await
}

async fn value(ctx: &Context, storage: &Storage, key: &str) -> Result<Option<Bytes>> {
    Ok(storage.get(ctx, key).await?.map(|found| found.value))
}

async fn keys(ctx: &Context, storage: &Storage, scan: Scan<'_>) -> Result<Vec<String>> {
    Ok(storage.scan(ctx, scan).await?.into_iter().map(|(key, _)| key).collect())
}

async fn get_of_a_missing_key_is_none(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    assert_eq!(storage.get(&ctx, "key").await?, None);
    put(&ctx, &storage, "other", "1").await?;
    assert_eq!(storage.get(&ctx, "key").await?, None);
    Ok(())
}

async fn put_then_get_gives_the_value_and_the_version_that_put_returned(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    for text in ["one", "two"] {
        let version = put(&ctx, &storage, "key", text).await?;
        assert_ne!(version, 0);
        assert_eq!(storage.get(&ctx, "key").await?, Some(Versioned { value: text.into(), version }));
    }
    Ok(())
}

async fn a_value_is_any_bytes(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let every: Vec<u8> = (0..=255).collect();
    for bytes in [Vec::new(), vec![0], every.clone(), every.repeat(4096)] {
        storage.put(&ctx, "key", bytes.clone(), Expect::Any).await?;
        assert_eq!(value(&ctx, &storage, "key").await?, Some(bytes.into()));
    }
    Ok(())
}

async fn versions_of_one_key_grow_also_over_a_delete(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let mut last = 0;
    for round in 0..6 {
        let version = put(&ctx, &storage, "key", "value").await?;
        assert!(version > last, "{version} is not above {last}");
        last = version;
        if round % 2 == 0 {
            storage.delete(&ctx, "key", Expect::Any).await?;
        }
    }
    Ok(())
}

async fn put_with_absent_on_an_existing_key_is_conflict_and_changes_nothing(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let version = storage.put(&ctx, "key", "old", Expect::Absent).await?;
    assert_refused(storage.put(&ctx, "key", "new", Expect::Absent).await, ErrorKind::Conflict);
    assert_eq!(storage.get(&ctx, "key").await?, Some(Versioned { value: "old".into(), version }));
    Ok(())
}

async fn put_with_version_on_another_version_is_conflict_and_changes_nothing(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    assert_refused(storage.put(&ctx, "key", "new", Expect::Version(1)).await, ErrorKind::Conflict);
    assert_eq!(storage.get(&ctx, "key").await?, None);
    let old = put(&ctx, &storage, "key", "old").await?;
    let version = storage.put(&ctx, "key", "newer", Expect::Version(old)).await?;
    for wrong in [old, version + 1, 0, u64::MAX] {
        assert_refused(storage.put(&ctx, "key", "new", Expect::Version(wrong)).await, ErrorKind::Conflict);
    }
    assert_eq!(storage.get(&ctx, "key").await?, Some(Versioned { value: "newer".into(), version }));
    Ok(())
}

async fn of_concurrent_puts_with_one_expected_version_exactly_one_succeeds(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let mut expect = Expect::Absent;
    for _ in 0..8 {
        let tasks = (0..16).map(|number: u8| {
            let (ctx, storage) = (ctx.clone(), storage.clone());
            let tasks = ctx.runtime().tasks().clone();
            tasks.spawn("put", async move { (number, storage.put(&ctx, "key", vec![number], expect).await) })
        });
        let mut winners = Vec::new();
        for outcome in join_all(tasks).await {
            match outcome? {
                (number, Ok(version)) => winners.push(Versioned { value: vec![number].into(), version }),
                (_, lost) => assert_refused(lost, ErrorKind::Conflict),
            }
        }
        let found = storage.get(&ctx, "key").await?;
        assert_eq!(winners, Vec::from_iter(found.clone()));
        expect = found.map_or(Expect::Absent, |found| Expect::Version(found.version));
    }
    Ok(())
}

async fn delete_says_whether_the_key_existed(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    assert!(!storage.delete(&ctx, "key", Expect::Any).await?);
    assert!(!storage.delete(&ctx, "key", Expect::Absent).await?);
    let version = put(&ctx, &storage, "key", "value").await?;
    assert!(storage.delete(&ctx, "key", Expect::Version(version)).await?);
    assert_eq!(storage.get(&ctx, "key").await?, None);
    assert!(!storage.delete(&ctx, "key", Expect::Any).await?);
    Ok(())
}

async fn delete_with_an_expectation_that_does_not_hold_is_conflict_and_changes_nothing(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    assert_refused(storage.delete(&ctx, "key", Expect::Version(1)).await, ErrorKind::Conflict);
    let version = put(&ctx, &storage, "key", "value").await?;
    for expect in [Expect::Absent, Expect::Version(version + 1)] {
        assert_refused(storage.delete(&ctx, "key", expect).await, ErrorKind::Conflict);
    }
    assert_eq!(storage.get(&ctx, "key").await?, Some(Versioned { value: "value".into(), version }));
    Ok(())
}

async fn scan_yields_keys_in_byte_order(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let mut names =
        ["b", "a", "a/1", "a/10", "a/2", "B", "ä", "a\u{10ffff}", "a\u{7f}", "zz"].map(str::to_owned);
    for name in &names {
        storage.put(&ctx, name, name.clone(), Expect::Any).await?;
    }
    names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    let all = storage.scan(&ctx, Scan { prefix: "", after: None, limit: usize::MAX }).await?;
    assert!(all.iter().map(|(key, _)| key).eq(&names), "{all:?}");
    assert!(all.iter().all(|(key, found)| found.value == *key && found.version > 0), "{all:?}");
    Ok(())
}

async fn scan_goes_on_after_a_key_up_to_its_limit(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    for key in ["a", "run/1", "run/2", "run/3", "run0", "z"] {
        put(&ctx, &storage, key, "").await?;
    }
    let check = async |after, limit, expected: &[&str]| -> Result<()> {
        assert_eq!(keys(&ctx, &storage, Scan { prefix: "run/", after, limit }).await?, expected);
        Ok(())
    };
    check(None, 10, &["run/1", "run/2", "run/3"]).await?;
    check(None, 2, &["run/1", "run/2"]).await?;
    check(None, 0, &[]).await?;
    check(Some("run/1"), 1, &["run/2"]).await?;
    check(Some("run/15"), 10, &["run/2", "run/3"]).await?;
    check(Some("a"), 1, &["run/1"]).await?;
    check(Some("run/3"), 10, &[]).await?;
    check(Some("zzz"), 10, &[]).await
}

async fn scan_takes_its_prefix_literally(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    for key in ["%", "%a", "_", "a", "A", "a\u{10ffff}", "a\u{10ffff}b", "b"] {
        put(&ctx, &storage, key, "").await?;
    }
    for (prefix, expected) in [
        ("%", &["%", "%a"][..]),
        ("_", &["_"]),
        ("A", &["A"]),
        ("a\u{10ffff}", &["a\u{10ffff}", "a\u{10ffff}b"]),
    ] {
        assert_eq!(keys(&ctx, &storage, Scan { prefix, after: None, limit: 9 }).await?, expected);
    }
    Ok(())
}

async fn a_read_sees_every_write_that_returned_before_it_began(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    for round in 0..50_u8 {
        storage.put(&ctx, "key", vec![round], Expect::Any).await?;
        let reads = (0..4).map(|_| value(&ctx, &storage, "key"));
        for found in join_all(reads).await {
            assert_eq!(found?, Some(vec![round].into()));
        }
    }
    Ok(())
}

async fn keys_of_one_tenant_are_invisible_to_another(subject: StorageSubject) -> Result<()> {
    let (one, storage) = subject.open().await?;
    let two = one.with_tenant("two".parse()?);
    let version = put(&one, &storage, "key", "one").await?;
    assert_eq!(storage.get(&two, "key").await?, None);
    assert_eq!(keys(&two, &storage, Scan { prefix: "", after: None, limit: 9 }).await?, Vec::<String>::new());
    assert!(!storage.delete(&two, "key", Expect::Any).await?);
    assert_refused(storage.put(&two, "key", "two", Expect::Version(version)).await, ErrorKind::Conflict);
    storage.put(&two, "key", "two", Expect::Absent).await?;
    assert_eq!(value(&one, &storage, "key").await?, Some("one".into()));
    Ok(())
}

async fn a_key_is_1_to_1024_bytes_without_nul(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    for bad in bad_names() {
        assert_refused(storage.get(&ctx, &bad).await, ErrorKind::InvalidInput);
        assert_refused(put(&ctx, &storage, &bad, "").await, ErrorKind::InvalidInput);
        assert_refused(storage.delete(&ctx, &bad, Expect::Any).await, ErrorKind::InvalidInput);
    }
    for good in good_names() {
        storage.put(&ctx, &good, good.clone(), Expect::Absent).await?;
        assert_eq!(value(&ctx, &storage, &good).await?, Some(good.into()));
    }
    Ok(())
}

async fn a_dropped_put_has_happened_or_has_not(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    for round in 0..20_u8 {
        let before = value(&ctx, &storage, "key").await?;
        let mut dropped = Box::pin(storage.put(&ctx, "key", vec![round], Expect::Any));
        let _ = poll!(&mut dropped);
        drop(dropped);
        // A later write of the same caller comes after it, or it never comes.
        put(&ctx, &storage, "fence", "").await?;
        let after = value(&ctx, &storage, "key").await?;
        assert!(after == before || after == Some(vec![round].into()), "{before:?} became {after:?}");
    }
    Ok(())
}

async fn values_are_there_after_the_store_is_opened_again(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let version = put(&ctx, &storage, "key", "value").await?;
    put(&ctx, &storage, "gone", "value").await?;
    storage.delete(&ctx, "gone", Expect::Any).await?;
    storage.close().await?;
    let (ctx, storage) = subject.open().await?;
    assert_eq!(storage.get(&ctx, "key").await?, Some(Versioned { value: "value".into(), version }));
    assert_eq!(storage.get(&ctx, "gone").await?, None);
    Ok(())
}

async fn a_second_handle_sees_the_same_keys(subject: StorageSubject) -> Result<()> {
    let (ctx, first) = subject.open().await?;
    let (_, second) = subject.open().await?;
    let version = put(&ctx, &first, "key", "first").await?;
    assert_eq!(value(&ctx, &second, "key").await?, Some("first".into()));
    second.put(&ctx, "key", "second", Expect::Version(version)).await?;
    assert_refused(first.put(&ctx, "key", "late", Expect::Version(version)).await, ErrorKind::Conflict);
    assert_eq!(value(&ctx, &first, "key").await?, Some("second".into()));
    Ok(())
}

async fn a_damaged_value_is_corrupt_and_never_served(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    put(&ctx, &storage, "damaged", "value").await?;
    put(&ctx, &storage, "sound", "value").await?;
    storage.append(&ctx, super::log::batch("damaged", 3)).await?;
    subject.damage().await?;
    assert_refused(storage.get(&ctx, "damaged").await, ErrorKind::Corrupt);
    assert_refused(storage.scan(&ctx, Scan { prefix: "", after: None, limit: 9 }).await, ErrorKind::Corrupt);
    assert_eq!(value(&ctx, &storage, "sound").await?, Some("value".into()));
    put(&ctx, &storage, "damaged", "again").await?;
    assert_eq!(value(&ctx, &storage, "damaged").await?, Some("again".into()));
    Ok(())
}

async fn close_may_be_called_twice(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    put(&ctx, &storage, "key", "value").await?;
    storage.close().await?;
    storage.close().await
}
