//! Two processes over one file: what one says to a run the other hears, and tails tell it.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::json;

use crate::{
    journal::{
        JournalConfig, Journals,
        tests::support::{completed, settle, started},
    },
    runtime::{Context, Runtime, Tasks},
    storage::Storage,
    testing::ManualClock,
};

#[tokio::test]
async fn what_is_said_through_another_handle_of_the_same_file_is_heard_and_told_by_tails() {
    let folder = tempfile::tempdir().unwrap();
    let uri = format!("sqlite:{}", folder.path().join("runs.db").display());
    let clock = ManualClock::new();
    let runtime = Runtime::new(Arc::new(clock.clone()), Tasks::current().unwrap());
    // The time moves on as often as the file is looked at; the lease must not lapse by that.
    let hour = Duration::from_secs(3600);
    let config = JournalConfig { lease_ttl: hour, heartbeat: hour, ..JournalConfig::default() };
    let process = async || {
        let storage = Storage::open(&uri).await.unwrap();
        Journals::new(storage, runtime.clone(), config.clone())
    };
    let (owner, other) = (process().await, process().await);
    let poll = async || {
        settle().await;
        clock.advance(Duration::from_millis(200));
    };

    let ctx = Context::new(&runtime);
    let journal = owner.create(&ctx, &[started()]).await.unwrap();
    let watched = journal.clone();
    let watch = runtime.tasks().spawn("watch", async move { watched.watch().await });
    let tail = other.tail(&ctx, ctx.run_id(), 0).collect::<Vec<_>>();
    let tail = runtime.tasks().spawn("tail", tail);
    other.signal(&ctx, ctx.run_id(), "yes", json!(1), None).await.unwrap();
    let mut heard = Box::pin(journal.signalled("yes"));
    while (&mut heard).now_or_never().is_none() {
        poll().await;
    }
    journal.finish(&ctx, &[completed()]).await.unwrap();
    while !tail.is_finished() {
        poll().await;
    }
    assert_eq!(tail.await.unwrap().len(), 3);
    watch.abort();
}
