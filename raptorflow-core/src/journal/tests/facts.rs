//! Facts are durable, steps run once, tails have no gap and no double.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, future::join_all};
use serde_json::json;

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{Entry, Fact, Journal, JournalConfig, Journals, Opened, RunFilter, RunStatus},
    runtime::{Context, Runtime},
    storage::{Append, Log, MemoryStore, Record, Storage},
    types::Finish,
};

fn started() -> Fact {
    Fact::ExecutionStarted {
        target: "test".into(),
        input: json!({ "x": 0.1 }),
        capability: None,
        background: None,
        user: None,
    }
}

fn completed() -> Fact {
    Fact::ExecutionCompleted { output: json!("done"), finish: Finish::Complete }
}

fn signal(number: usize) -> Fact {
    Fact::StepCompleted { value: number.to_string().into(), took: None }
}

fn setup() -> (Context, Storage, Journals) {
    let runtime = Runtime::current().unwrap();
    let storage = Storage::memory();
    (Context::new(&runtime), storage.clone(), Journals::new(storage, runtime, JournalConfig::default()))
}

fn running(opened: Opened) -> (Journal, Arc<[Entry]>) {
    match opened {
        Opened::Running { journal, entries } => (journal, entries),
        Opened::Ended { summary, .. } => panic!("ended: {summary:?}"),
    }
}

fn facts(entries: &[Entry]) -> Vec<Fact> {
    entries.iter().map(|entry| entry.fact.clone()).collect()
}

#[tokio::test]
async fn a_run_that_was_dropped_is_opened_with_all_that_was_recorded_and_one_that_ended_with_its_state() {
    let (ctx, _, journals) = setup();
    let journal = journals.create(&ctx, &[started()]).await.unwrap();
    let below = ctx.child("a");
    assert_eq!(journal.append(&below, &[signal(1), signal(2)]).await.unwrap(), 3);
    assert_eq!(journals.open(&ctx).await.unwrap_err().kind(), ErrorKind::Conflict);
    drop(journal);

    let (journal, entries) = running(journals.open(&ctx).await.unwrap());
    assert_eq!(facts(&entries), [started(), signal(1), signal(2)]);
    assert_eq!(facts(&journal.recorded("a")), [signal(1), signal(2)]);
    assert!(journal.recorded("b").is_empty());
    journal.finish(&ctx, &[completed()]).await.unwrap();
    assert_eq!(journal.append(&ctx, &[signal(3)]).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(!journal.cancel().is_cancelled());

    let Opened::Ended { summary, entries } = journals.open(&ctx).await.unwrap() else { panic!("it runs") };
    assert_eq!((summary.status, summary.entries), (RunStatus::Completed, 5));
    assert_eq!(entries[3].fact, Fact::ExecutionResumed);
}

#[tokio::test]
async fn runs_are_made_once_begin_with_a_start_and_end_with_an_end() {
    let (ctx, _, journals) = setup();
    let err = journals.create(&ctx, &[signal(1)]).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::InvalidInput);
    assert_eq!(journals.open(&ctx).await.unwrap_err().kind(), ErrorKind::NotFound);
    let journal = journals.create(&ctx, &[started()]).await.unwrap();
    assert_eq!(journals.create(&ctx, &[started()]).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(journal.finish(&ctx, &[signal(1)]).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    journal.finish(&ctx, &[completed()]).await.unwrap();
    assert_eq!(journals.create(&ctx, &[started()]).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn a_step_runs_once_over_calls_and_resumes_and_its_error_is_recorded_too() {
    let (ctx, _, journals) = setup();
    let runs = AtomicU32::new(0);
    let keys = std::sync::Mutex::new(Vec::new());
    let good = |ctx: Context| {
        runs.fetch_add(1, Ordering::SeqCst);
        keys.lock().unwrap().push(ctx.idempotency_key().unwrap().to_owned());
        async { Ok(0.1 + 0.2) }
    };
    let bad = |_: Context| {
        runs.fetch_add(1, Ordering::SeqCst);
        async { Err::<f64, _>(Error::new(ErrorKind::Callback, "test", "no")) }
    };
    let below = ctx.child("agent");
    let journal = journals.create(&ctx, &[started()]).await.unwrap();
    for _ in 0..2 {
        assert_eq!(journal.step(&below, "good", good).await.unwrap(), 0.1 + 0.2);
        assert_eq!(journal.step(&below, "bad", bad).await.unwrap_err().kind(), ErrorKind::Callback);
    }
    drop(journal);
    let (journal, _) = running(journals.open(&ctx).await.unwrap());
    assert_eq!(journal.step(&below, "good", good).await.unwrap(), 0.1 + 0.2);
    assert_eq!(journal.step(&below, "bad", bad).await.unwrap_err().message(), "no");
    assert_eq!(
        journal.step::<String, _, _>(&below, "good", |_| async { panic!("ran") }).await.unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert_eq!(*keys.lock().unwrap(), [format!("{}/agent/good", ctx.run_id())]);
}

#[tokio::test]
async fn a_step_under_way_refuses_its_twin_and_begins_again_after_a_drop_or_a_cancel() {
    let (ctx, _, journals) = setup();
    let journal = journals.create(&ctx, &[started()]).await.unwrap();
    let mut hanging = Box::pin(journal.step::<(), _, _>(&ctx, "a", |_| std::future::pending()));
    assert!((&mut hanging).now_or_never().is_none());
    let twin = journal.step(&ctx, "a", |_| async { Ok(()) }).await;
    assert_eq!(twin.unwrap_err().kind(), ErrorKind::Conflict);
    drop(hanging);

    let cancelled =
        journal.step::<u8, _, _>(&ctx, "a", |_| async { Err(Error::new(ErrorKind::Cancelled, "t", "c")) });
    assert_eq!(cancelled.await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(journal.step(&ctx, "a", |_| async { Ok(7) }).await.unwrap(), 7);
    assert_eq!(journals.summary(&ctx, ctx.run_id()).await.unwrap().entries, 2);
}

#[tokio::test]
async fn an_entry_of_a_newer_version_is_refused_by_its_sequence_and_a_newer_field_is_skipped() {
    let (ctx, storage, journals) = setup();
    let journal = journals.create(&ctx, &[started()]).await.unwrap();
    drop(journal);
    let stream = format!("run/{}", ctx.run_id());
    let mut append = Append::to(&stream);
    append.records = vec![
        r#"{"t":1,"z":2,"f":{"step_completed":{"value":"7","new":true}}}"#.into(),
        r#"{"t":1,"f":{"thought_read":{}}}"#.into(),
    ];
    storage.append(&ctx, append).await.unwrap();
    assert_eq!(facts(&journals.read(&ctx, ctx.run_id(), 1, 1).await.unwrap()), [signal(7)]);
    let err = journals.open(&ctx).await.unwrap_err();
    assert_eq!((err.kind(), err.get("sequence")), (ErrorKind::Corrupt, Some("2")));
}

#[tokio::test]
async fn a_tail_joins_history_to_concurrent_appends_without_gap_or_double_and_ends_with_the_run() {
    let (ctx, _, journals) = setup();
    let journal = journals.create(&ctx, &[started()]).await.unwrap();
    journal.append(&ctx, &[signal(0)]).await.unwrap();
    let tail = journals.tail(&ctx, ctx.run_id(), 1);
    let tail = ctx.runtime().tasks().spawn("tail", tail.collect::<Vec<_>>());
    let writers = (0..8).map(|writer| {
        let (ctx, journal) = (ctx.child(&writer.to_string()), journal.clone());
        let write = async move {
            for number in 0..40 {
                journal.append(&ctx, &[signal(number), signal(number)]).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        Runtime::current().unwrap().tasks().spawn("writer", write)
    });
    join_all(writers).await.into_iter().collect::<Result<()>>().unwrap();
    journal.finish(&ctx, &[completed()]).await.unwrap();

    let seen: Vec<Entry> = tail.await.unwrap().into_iter().collect::<Result<_>>().unwrap();
    let sequences: Vec<u64> = seen.iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequences, (1..=642).collect::<Vec<u64>>());
    assert!(
        seen.windows(2).filter(|pair| pair[0].fact == pair[1].fact && pair[0].path == pair[1].path).count()
            >= 320
    );
    let late: Vec<_> = journals.tail(&ctx, ctx.run_id(), 641).collect().await;
    assert_eq!(late.len(), 2);
    assert!(journals.tail(&ctx, ctx.run_id(), 643).next().await.is_none());
    let unknown = Context::new(ctx.runtime()).run_id();
    let err = journals.tail(&ctx, unknown, 0).next().await.unwrap().unwrap_err();
    assert_eq!(err.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_failed_run_ends_its_tail_and_taken_up_again_it_runs_and_is_told_to_its_end() {
    let (ctx, _, journals) = setup();
    let journal = journals.create(&ctx, &[started()]).await.unwrap();
    let failed = Fact::ExecutionFailed { error: Error::new(ErrorKind::Unavailable, "test", "gone") };
    journal.finish(&ctx, &[failed]).await.unwrap();
    assert_eq!(journals.tail(&ctx, ctx.run_id(), 0).collect::<Vec<_>>().await.len(), 2);
    let summary = journals.summary(&ctx, ctx.run_id()).await.unwrap();
    assert_eq!((summary.status, summary.error.is_some()), (RunStatus::Failed, true));

    let (journal, _) = running(journals.open(&ctx).await.unwrap());
    let summary = journals.summary(&ctx, ctx.run_id()).await.unwrap();
    assert_eq!((summary.status, summary.ended, summary.error), (RunStatus::Running, None, None));
    journal.finish(&ctx, &[completed()]).await.unwrap();
    assert_eq!(journals.tail(&ctx, ctx.run_id(), 0).collect::<Vec<_>>().await.len(), 4);
}

/// A log that is asked for a length and finds that the run has just ended.
#[derive(Debug)]
struct EndsMeanwhile(MemoryStore);

#[async_trait]
impl Log for EndsMeanwhile {
    async fn append(&self, ctx: &Context, append: Append<'_>) -> Result<u64> {
        self.0.append(ctx, append).await
    }

    async fn read(&self, ctx: &Context, stream: &str, from: u64, limit: usize) -> Result<Vec<Record>> {
        self.0.read(ctx, stream, from, limit).await
    }

    async fn length(&self, ctx: &Context, stream: &str) -> Result<u64> {
        let end = r#"{"t":1,"f":"execution_cancelled"}"#;
        self.0.append(ctx, Append { records: vec![end.into()], ..Append::to(stream) }).await
    }

    async fn streams(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>> {
        self.0.streams(ctx, prefix, after, limit).await
    }

    async fn remove(&self, ctx: &Context, stream: &str) -> Result<bool> {
        self.0.remove(ctx, stream).await
    }
}

#[tokio::test]
async fn a_tail_tells_an_end_that_comes_while_it_looks_for_one() {
    let (ctx, ..) = setup();
    let store = MemoryStore::new();
    let log = Arc::new(EndsMeanwhile(store.clone()));
    let storage = Storage::from_parts(Arc::new(store.clone()), log, Arc::new(store));
    let config = JournalConfig { poll: Duration::ZERO, ..JournalConfig::default() };
    let journals = Journals::new(storage, ctx.runtime().clone(), config);
    let _journal = journals.create(&ctx, &[started()]).await.unwrap();
    let told: Vec<_> = journals.tail(&ctx, ctx.run_id(), 1).collect().await;
    assert_eq!(
        told.into_iter().map(|entry| entry.unwrap().fact).collect::<Vec<_>>(),
        [Fact::ExecutionCancelled]
    );
}

#[tokio::test]
async fn runs_are_listed_by_birth_and_tenants_do_not_see_each_other() {
    let (ctx, _, journals) = setup();
    let mut runs = Vec::new();
    for _ in 0..5 {
        let ctx = Context::new(ctx.runtime());
        journals.create(&ctx, &[started()]).await.unwrap();
        runs.push(ctx.run_id());
    }
    let listed = |after, limit| {
        let (journals, ctx) = (journals.clone(), ctx.clone());
        async move {
            journals
                .list(&ctx, &RunFilter { after, limit, ..RunFilter::default() })
                .await
                .unwrap()
                .runs
                .into_iter()
                .map(|(run, _)| run)
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(listed(None, 3).await, runs[..3]);
    assert_eq!(listed(Some(runs[2]), 9).await, runs[3..]);
    let other = ctx.with_tenant("other".parse().unwrap());
    assert!(journals.list(&other, &RunFilter::default()).await.unwrap().runs.is_empty());
}
