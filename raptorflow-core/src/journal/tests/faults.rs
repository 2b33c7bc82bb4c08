//! A run that fails at any append, before or after the write, goes on to the same end.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use serde_json::json;

use crate::{
    error::{ErrorKind, Result},
    journal::{Entry, Fact, Journal, JournalConfig, Journals, Opened},
    runtime::{Context, Runtime, Tasks},
    storage::MemoryStore,
    testing::{Fault, FaultyLog, ManualClock},
    types::{Finish, RunId, Timestamp},
};

const STEPS: usize = 4;

/// What the world saw of the steps.
#[derive(Default)]
struct Effects {
    /// The idempotency key of each execution, by step.
    executed: [Mutex<Vec<String>>; STEPS],
    /// How often a step was executed when its caller first got the value.
    acknowledged: [Mutex<Option<usize>>; STEPS],
    children: Mutex<BTreeSet<RunId>>,
}

impl Effects {
    fn count(&self, step: usize) -> usize {
        self.executed[step].lock().unwrap().len()
    }
}

/// Carries the run on from wherever it is.
async fn attempt(journals: &Journals, ctx: &Context, effects: &Effects) -> Result<Vec<i64>> {
    let journal = match journals.open(ctx).await {
        Ok(Opened::Running { journal, .. }) => journal,
        Ok(Opened::Ended { entries, .. }) => return Ok(output(&entries)),
        Err(err) if err.kind() == ErrorKind::NotFound => {
            let started = Fact::ExecutionStarted {
                target: "test".into(),
                input: json!(null),
                capability: None,
                background: None,
                user: None,
            };
            journals.create(ctx, &[started]).await?
        }
        Err(err) => return Err(err),
    };
    let mut values = Vec::new();
    for step in 0..STEPS {
        values.push(work(&journal, ctx, effects, step).await?);
    }
    let child = journal.child(&ctx.child("child"), "other").await?;
    effects.children.lock().unwrap().insert(child);
    let answer = match journal.signal("go") {
        Some(answer) => answer,
        None => {
            let given = journals.signal(ctx, ctx.run_id(), "go", json!("yes"), None).await;
            // It may have been written by the attempt before, whose answer was lost.
            if let Err(err) = given.as_ref()
                && err.kind() != ErrorKind::Conflict
            {
                return Err(err.clone());
            }
            journal.signalled("go").await
        }
    };
    assert_eq!(answer, json!("yes"));
    // Its time has come when the first attempt begins, and every one sets the same.
    journal.timer(&ctx.child("timer"), Timestamp::default()).await?;
    journal
        .finish(ctx, &[Fact::ExecutionCompleted { output: json!(values), finish: Finish::Complete }])
        .await?;
    Ok(values)
}

async fn work(journal: &Journal, ctx: &Context, effects: &Effects, step: usize) -> Result<i64> {
    let call = |ctx: Context| async move {
        let mut executed = effects.executed[step].lock().unwrap();
        executed.push(ctx.idempotency_key().unwrap().to_owned());
        Ok(i64::try_from(10 * step + executed.len()).unwrap())
    };
    let value = journal.step(ctx, &format!("step-{step}"), call).await?;
    effects.acknowledged[step].lock().unwrap().get_or_insert(effects.count(step));
    Ok(value)
}

fn output(entries: &[Entry]) -> Vec<i64> {
    match entries.last().map(|entry| &entry.fact) {
        Some(Fact::ExecutionCompleted { output, .. }) => serde_json::from_value(output.clone()).unwrap(),
        other => panic!("ended with {other:?}"),
    }
}

proptest! {
    #[test]
    fn faults_at_any_append_repeat_no_acknowledged_step_and_change_no_value(
        faults in proptest::collection::btree_map(0..32_usize, proptest::sample::select(&[Fault::Before, Fault::After][..]), 0..6),
        restart in any::<bool>(),
    ) {
        let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let effects = Effects::default();
        let (values, entries, run) = tokio.block_on(async {
            let store = MemoryStore::new();
            let (storage, _) = FaultyLog::storage(&store, faults);
            let clock = ManualClock::new();
            let runtime = Runtime::new(Arc::new(clock.clone()), Tasks::current().unwrap());
            let journals = || Journals::new(storage.clone(), runtime.clone(), JournalConfig::default());
            let (mut process, first) = (journals(), Context::new(&runtime));
            loop {
                let ctx = Context::for_run(&runtime, first.run_id());
                match attempt(&process, &ctx, &effects).await {
                    Ok(values) => {
                        let entries = process.read(&ctx, ctx.run_id(), 0, usize::MAX).await.unwrap();
                        break (values, entries, ctx.run_id());
                    }
                    Err(err) => assert_eq!(err.kind(), ErrorKind::Unavailable),
                }
                if restart {
                    process = journals();
                    clock.advance(JournalConfig::default().lease_ttl);
                }
            }
        });
        prop_assert_eq!(&output(&entries), &values);
        for step in 0..STEPS {
            let executed = effects.executed[step].lock().unwrap();
            prop_assert_eq!(Some(executed.len()), *effects.acknowledged[step].lock().unwrap());
            let key = format!("{run}/step-{step}");
            prop_assert!(executed.iter().all(|found| *found == key));
            let recorded = entries.iter().filter(|entry| *entry.path == format!("step-{step}"));
            prop_assert_eq!(recorded.count(), 1);
        }
        prop_assert_eq!(effects.children.lock().unwrap().len(), 1);
        let count = |wanted: fn(&Fact) -> bool| entries.iter().filter(|entry| wanted(&entry.fact)).count();
        prop_assert_eq!(count(|fact| matches!(fact, Fact::ChildStarted { .. })), 1);
        prop_assert_eq!(count(|fact| matches!(fact, Fact::SignalReceived { .. })), 1);
        prop_assert_eq!(count(|fact| matches!(fact, Fact::TimerSet { .. })), 1);
        prop_assert_eq!(count(|fact| matches!(fact, Fact::TimerFired)), 1);
        prop_assert!(entries.iter().zip(0..).all(|(entry, sequence)| entry.sequence == sequence));
        prop_assert_eq!(entries.iter().filter(|entry| entry.fact.is_end()).count(), 1);
    }
}
