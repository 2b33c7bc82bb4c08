//! The contract of `Log`.

use bytes::Bytes;
use futures_util::{future::join_all, poll};

use super::{
    lease::{TTL, granted},
    subject::{StorageSubject, assert_refused, bad_names, good_names},
};
use crate::{
    error::{ErrorKind, Result},
    runtime::Context,
    storage::{Append, Expect, Fence, Storage},
    testing::conformance::{Case, case::cases},
};

pub(super) fn cases() -> Vec<Case<StorageSubject>> {
    cases![
        a_stream_that_was_never_written_has_length_0_and_no_records,
        append_returns_the_new_length_and_sequences_have_no_gaps,
        a_record_is_any_bytes,
        append_is_durable_before_it_returns: "durable",
        append_with_another_expected_length_is_conflict_and_writes_nothing,
        append_under_a_fence_that_a_newer_grant_has_passed_is_conflict_and_writes_nothing,
        append_under_a_fence_that_was_released_is_conflict_and_writes_nothing,
        append_under_a_lapsed_fence_that_nobody_was_granted_since_is_written,
        concurrent_appends_all_land_and_each_batch_together,
        a_second_handle_appends_to_the_same_streams: "durable": "shared",
        an_append_whose_future_is_dropped_leaves_all_of_its_records_or_none,
        read_yields_records_in_order_from_an_offset_up_to_its_limit,
        a_damaged_record_is_corrupt_and_never_served: "damage",
        streams_yields_names_in_byte_order_after_a_name_up_to_its_limit,
        remove_forgets_the_records_and_says_whether_there_were_any,
        an_append_without_records_checks_its_conditions_and_makes_no_stream,
        streams_of_one_tenant_are_invisible_to_another,
        a_stream_name_is_1_to_1024_bytes_without_nul,
    ]
}

/// An append of `count` records that hold their place in the batch.
pub(super) fn batch(stream: &str, count: u8) -> Append<'_> {
    let mut append = Append::to(stream);
    append.records = (0..count).map(|number| Bytes::from(vec![number])).collect();
    append
}

async fn data(ctx: &Context, storage: &Storage, stream: &str) -> Result<Vec<Bytes>> {
    let records = storage.read(ctx, stream, 0, usize::MAX).await?;
    assert!(records.iter().map(|record| record.sequence).eq(0..records.len() as u64), "{records:?}");
    assert_eq!(storage.length(ctx, stream).await?, records.len() as u64);
    Ok(records.into_iter().map(|record| record.data).collect())
}

async fn append_under(ctx: &Context, storage: &Storage, fence: &Fence) -> Result<u64> {
    storage.append(ctx, Append { fence: Some(fence), ..batch("stream", 1) }).await
}

async fn a_stream_that_was_never_written_has_length_0_and_no_records(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    assert_eq!(data(&ctx, &storage, "stream").await?, Vec::<Bytes>::new());
    assert_eq!(storage.streams(&ctx, "", None, 9).await?, Vec::<String>::new());
    assert!(!storage.remove(&ctx, "stream").await?);
    Ok(())
}

async fn append_returns_the_new_length_and_sequences_have_no_gaps(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    assert_eq!(storage.append(&ctx, batch("stream", 2)).await?, 2);
    assert_eq!(storage.append(&ctx, batch("other", 1)).await?, 1);
    assert_eq!(storage.append(&ctx, batch("stream", 3)).await?, 5);
    assert_eq!(data(&ctx, &storage, "stream").await?, [[0], [1], [0], [1], [2]].map(Bytes::from_owner));
    Ok(())
}

async fn a_record_is_any_bytes(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let every: Vec<u8> = (0..=255).collect();
    let records: Vec<Bytes> = [vec![], vec![0], every.clone(), every.repeat(4096)].map(Bytes::from).into();
    storage.append(&ctx, Append { records: records.clone(), ..Append::to("stream") }).await?;
    assert_eq!(data(&ctx, &storage, "stream").await?, records);
    Ok(())
}

async fn append_is_durable_before_it_returns(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    for length in 1..=3 {
        assert_eq!(storage.append(&ctx, batch("stream", 1)).await?, length);
    }
    // Not closed: whoever opens it next must find what was acknowledged.
    drop(storage);
    let (ctx, storage) = subject.open().await?;
    assert_eq!(storage.length(&ctx, "stream").await?, 3);
    assert_eq!(storage.append(&ctx, batch("stream", 1)).await?, 4);
    Ok(())
}

async fn append_with_another_expected_length_is_conflict_and_writes_nothing(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let expecting = |expected| Append { expected: Some(expected), ..batch("stream", 2) };
    assert_refused(storage.append(&ctx, expecting(1)).await, ErrorKind::Conflict);
    assert_eq!(storage.append(&ctx, expecting(0)).await?, 2);
    for wrong in [0, 1, 3, u64::MAX] {
        assert_refused(storage.append(&ctx, expecting(wrong)).await, ErrorKind::Conflict);
    }
    assert_eq!(data(&ctx, &storage, "stream").await?.len(), 2);
    assert_eq!(storage.append(&ctx, expecting(2)).await?, 4);
    Ok(())
}

async fn append_under_a_fence_that_a_newer_grant_has_passed_is_conflict_and_writes_nothing(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let old = granted(&ctx, &storage, "old").await?;
    assert_eq!(append_under(&ctx, &storage, &old.fence).await?, 1);
    subject.clock.advance(TTL);
    let new = granted(&ctx, &storage, "new").await?;
    assert_refused(append_under(&ctx, &storage, &old.fence).await, ErrorKind::Conflict);
    let future = Fence { token: new.fence.token + 1, ..new.fence.clone() };
    assert_refused(append_under(&ctx, &storage, &future).await, ErrorKind::Conflict);
    assert_eq!(storage.length(&ctx, "stream").await?, 1);
    assert_eq!(append_under(&ctx, &storage, &new.fence).await?, 2);
    Ok(())
}

async fn append_under_a_fence_that_was_released_is_conflict_and_writes_nothing(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let grant = granted(&ctx, &storage, "owner").await?;
    storage.release(&ctx, &grant).await?;
    assert_refused(append_under(&ctx, &storage, &grant.fence).await, ErrorKind::Conflict);
    let unknown = Fence { lease: "unknown".into(), token: 1 };
    assert_refused(append_under(&ctx, &storage, &unknown).await, ErrorKind::Conflict);
    assert_eq!(storage.length(&ctx, "stream").await?, 0);
    Ok(())
}

async fn append_under_a_lapsed_fence_that_nobody_was_granted_since_is_written(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let grant = granted(&ctx, &storage, "owner").await?;
    subject.clock.advance(TTL * 2);
    assert_eq!(append_under(&ctx, &storage, &grant.fence).await?, 1);
    Ok(())
}

async fn concurrent_appends_all_land_and_each_batch_together(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    let tasks = (0..8_u8).map(|writer| {
        let (ctx, storage) = (ctx.clone(), storage.clone());
        let tasks = ctx.runtime().tasks().clone();
        tasks.spawn("append", async move {
            for round in 0..10_u8 {
                let records = (0..3).map(|place| Bytes::from(vec![writer, round, place])).collect();
                storage.append(&ctx, Append { records, ..Append::to("stream") }).await?;
            }
            Result::Ok(())
        })
    });
    for outcome in join_all(tasks).await {
        outcome??;
    }
    let records = data(&ctx, &storage, "stream").await?;
    let mut rounds = [0; 8];
    for batch in records.chunks(3) {
        let whole = batch.first().and_then(|record| {
            let [writer, round, 0] = **record else { return None };
            let whole: [Bytes; 3] = [0, 1, 2].map(|place| vec![writer, round, place].into());
            let next = rounds.get_mut(usize::from(writer))?;
            *next += 1;
            (batch == whole && round + 1 == *next).then_some(())
        });
        assert!(whole.is_some(), "a batch is torn or out of order: {batch:?}");
    }
    assert_eq!(rounds, [10; 8]);
    Ok(())
}

async fn a_second_handle_appends_to_the_same_streams(subject: StorageSubject) -> Result<()> {
    let (ctx, first) = subject.open().await?;
    let (_, second) = subject.open().await?;
    let write = async |storage: &Storage| -> Result<()> {
        for _ in 0..20 {
            storage.append(&ctx, batch("stream", 2)).await?;
        }
        Ok(())
    };
    let (one, two) = futures_util::join!(write(&first), write(&second));
    one.and(two)?;
    assert_eq!(data(&ctx, &first, "stream").await?, data(&ctx, &second, "stream").await?);
    assert_eq!(first.length(&ctx, "stream").await?, 80);
    let grant = granted(&ctx, &first, "owner").await?;
    assert_eq!(second.acquire(&ctx, "lease", "other", TTL).await?, None);
    assert_eq!(append_under(&ctx, &second, &grant.fence).await?, 81);
    Ok(())
}

async fn an_append_whose_future_is_dropped_leaves_all_of_its_records_or_none(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    for _ in 0..20 {
        let mut dropped = Box::pin(storage.append(&ctx, batch("stream", 3)));
        let _ = poll!(&mut dropped);
        drop(dropped);
    }
    storage.append(&ctx, batch("stream", 3)).await?;
    let records = data(&ctx, &storage, "stream").await?;
    assert!(records.chunks(3).all(|batch| batch == [[0], [1], [2]].map(Bytes::from_owner)), "{records:?}");
    Ok(())
}

async fn read_yields_records_in_order_from_an_offset_up_to_its_limit(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    storage.append(&ctx, batch("stream", 5)).await?;
    storage.append(&ctx, batch("streams", 5)).await?;
    let check = async |from, limit, expected: &[u64]| -> Result<()> {
        let records = storage.read(&ctx, "stream", from, limit).await?;
        let sequences: Vec<u64> = records.iter().map(|record| record.sequence).collect();
        assert_eq!(sequences, expected);
        assert!(records.iter().all(|record| *record.data == [record.sequence as u8]), "{records:?}");
        Ok(())
    };
    check(0, 10, &[0, 1, 2, 3, 4]).await?;
    check(0, 2, &[0, 1]).await?;
    check(3, usize::MAX, &[3, 4]).await?;
    check(2, 1, &[2]).await?;
    check(2, 0, &[]).await?;
    check(5, 10, &[]).await?;
    check(u64::MAX, 10, &[]).await
}

async fn a_damaged_record_is_corrupt_and_never_served(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    storage.append(&ctx, batch("damaged", 3)).await?;
    storage.put(&ctx, "damaged", "value", Expect::Any).await?;
    subject.damage().await?;
    assert_eq!(storage.read(&ctx, "damaged", 0, 1).await?.len(), 1);
    for from in [0, 1] {
        assert_refused(storage.read(&ctx, "damaged", from, 9).await, ErrorKind::Corrupt);
    }
    assert_eq!(storage.read(&ctx, "damaged", 2, 9).await?.len(), 1);
    Ok(())
}

async fn streams_yields_names_in_byte_order_after_a_name_up_to_its_limit(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    for name in ["z", "run/2", "run/10", "run/1", "run0", "Run/1", "run/ä"] {
        storage.append(&ctx, batch(name, 1)).await?;
    }
    let check = async |prefix, after, limit, expected: &[&str]| -> Result<()> {
        assert_eq!(storage.streams(&ctx, prefix, after, limit).await?, expected);
        Ok(())
    };
    check("", None, 99, &["Run/1", "run/1", "run/10", "run/2", "run/ä", "run0", "z"]).await?;
    check("run/", None, 99, &["run/1", "run/10", "run/2", "run/ä"]).await?;
    check("run/", None, 2, &["run/1", "run/10"]).await?;
    check("run/", Some("run/10"), 99, &["run/2", "run/ä"]).await?;
    check("run/", Some("a"), 1, &["run/1"]).await?;
    check("run/", Some("run0"), 99, &[]).await?;
    check("run/", None, 0, &[]).await
}

async fn remove_forgets_the_records_and_says_whether_there_were_any(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    storage.append(&ctx, batch("stream", 3)).await?;
    storage.append(&ctx, batch("other", 2)).await?;
    assert!(storage.remove(&ctx, "stream").await?);
    assert!(!storage.remove(&ctx, "stream").await?);
    assert_eq!(storage.streams(&ctx, "", None, 9).await?, ["other"]);
    assert_eq!(data(&ctx, &storage, "stream").await?, Vec::<Bytes>::new());
    assert_eq!(storage.append(&ctx, Append { expected: Some(0), ..batch("stream", 1) }).await?, 1);
    assert_eq!(data(&ctx, &storage, "stream").await?, [[0]].map(Bytes::from_owner));
    assert_eq!(data(&ctx, &storage, "other").await?.len(), 2);
    Ok(())
}

async fn an_append_without_records_checks_its_conditions_and_makes_no_stream(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    assert_eq!(storage.append(&ctx, Append::to("stream")).await?, 0);
    assert_eq!(storage.streams(&ctx, "", None, 9).await?, Vec::<String>::new());
    storage.append(&ctx, batch("stream", 2)).await?;
    assert_eq!(storage.append(&ctx, Append::to("stream")).await?, 2);
    let wrong = Append { expected: Some(1), ..Append::to("stream") };
    assert_refused(storage.append(&ctx, wrong).await, ErrorKind::Conflict);
    Ok(())
}

async fn streams_of_one_tenant_are_invisible_to_another(subject: StorageSubject) -> Result<()> {
    let (one, storage) = subject.open().await?;
    let two = one.with_tenant("two".parse()?);
    storage.append(&one, batch("stream", 3)).await?;
    assert_eq!(data(&two, &storage, "stream").await?, Vec::<Bytes>::new());
    assert_eq!(storage.streams(&two, "", None, 9).await?, Vec::<String>::new());
    assert!(!storage.remove(&two, "stream").await?);
    assert_eq!(storage.append(&two, batch("stream", 1)).await?, 1);
    assert_eq!(data(&one, &storage, "stream").await?.len(), 3);
    let grant = granted(&one, &storage, "owner").await?;
    assert_refused(append_under(&two, &storage, &grant.fence).await, ErrorKind::Conflict);
    Ok(())
}

async fn a_stream_name_is_1_to_1024_bytes_without_nul(subject: StorageSubject) -> Result<()> {
    let (ctx, storage) = subject.open().await?;
    for bad in bad_names() {
        assert_refused(storage.append(&ctx, batch(&bad, 1)).await, ErrorKind::InvalidInput);
        assert_refused(storage.read(&ctx, &bad, 0, 1).await, ErrorKind::InvalidInput);
        assert_refused(storage.length(&ctx, &bad).await, ErrorKind::InvalidInput);
        assert_refused(storage.remove(&ctx, &bad).await, ErrorKind::InvalidInput);
    }
    for good in good_names() {
        assert_eq!(storage.append(&ctx, batch(&good, 2)).await?, 2);
        assert_eq!(data(&ctx, &storage, &good).await?.len(), 2);
    }
    Ok(())
}
