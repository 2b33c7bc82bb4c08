//! A ledger whose store fails at any append, before or after the write, counts every settled call once.

use std::collections::BTreeSet;

use super::support::{Machine, call, reserve, stands, usd};
use crate::{
    economics::{BudgetConfig, Budgets, Decision, Reservation, Scope},
    error::{ErrorKind, Result},
    runtime::Context,
    storage::{MemoryStore, Storage},
    testing::{Fault, FaultyLog},
    types::{Currency, Timestamp, Usage},
};

const CALLS: i64 = 6;

fn config() -> BudgetConfig {
    BudgetConfig::unlimited(Currency::USD)
}

/// Six calls; a month begins in the middle.
async fn calls(machine: &Machine, budgets: &Budgets, ctx: &Context, done: &mut BTreeSet<i64>) -> Result<()> {
    for number in 0..CALLS {
        if number == CALLS / 2 {
            let february: Timestamp = "2026-02-01T00:00:00Z".parse()?;
            machine.clock.jump_to(february);
        }
        if done.contains(&number) {
            continue;
        }
        let ctx = ctx.with_idempotency_key(format!("call/{number}"));
        let decision = budgets.reserve(&ctx, call(1 << number, 1)).await?;
        decision.granted()?.settle(Some(Usage::new(1, 0)), Some(usd(1 << number))).await?;
        done.insert(number);
    }
    Ok(())
}

async fn sum(budgets: &Budgets, ctx: &Context) -> i64 {
    let spendings = budgets.spendings(ctx, None, None).await.unwrap();
    spendings.iter().filter_map(|spending| Some(spending.cost?.micros)).sum()
}

fn faulty(store: &MemoryStore, faults: &[(usize, Fault)]) -> (Machine, FaultyLog) {
    let (storage, log) = FaultyLog::storage(store, faults.iter().copied());
    (Machine::over(storage), log)
}

/// The process ends at the fault; another one goes on with the calls that were not acknowledged.
async fn crash_at(append: usize, fault: Fault) -> bool {
    let store = MemoryStore::new();
    let mut done = BTreeSet::new();
    let (machine, log) = faulty(&store, &[(append, fault)]);
    let ctx = machine.run();
    let ended = calls(&machine, &machine.open(config()), &ctx, &mut done).await;
    let hit = log.calls() > append;
    if let Err(err) = &ended {
        assert_eq!((err.kind(), fault), (ErrorKind::Unavailable, Fault::Before), "{append}: {err}");
    }
    let (machine, _) = faulty(&store, &[]);
    let budgets = machine.open(config());
    calls(&machine, &budgets, &ctx, &mut done).await.unwrap();
    assert_eq!(sum(&budgets, &ctx).await, (1 << CALLS) - 1, "{append} {fault:?}");
    let expected = ((1 << CALLS) - 1, 0);
    machine.clock.advance(machine_hold());
    assert_eq!(stands(&budgets, &ctx, &Scope::Tenant).await, expected, "{append} {fault:?}");
    assert_eq!(stands(&machine.open(config()), &ctx, &Scope::Tenant).await, expected);
    hit
}

fn machine_hold() -> std::time::Duration {
    config().hold
}

#[tokio::test]
async fn a_crash_at_any_append_loses_no_settled_call_and_doubles_none() {
    for fault in [Fault::Before, Fault::After] {
        let mut append = 0;
        while crash_at(append, fault).await {
            append += 1;
        }
        assert!(append > 12, "{append} appends were tried");
    }
}

async fn settle_until_it_works(reservation: &Reservation, micros: i64) -> usize {
    let mut tries = 0;
    loop {
        tries += 1;
        match reservation.settle(Some(Usage::new(1, 0)), Some(usd(micros))).await {
            Ok(_) => return tries,
            Err(err) => assert_eq!(err.kind(), ErrorKind::Unavailable),
        }
    }
}

#[tokio::test]
async fn settling_again_after_an_error_counts_once() {
    for fault in [Fault::Before, Fault::After] {
        // The root and the month take two appends, the reservation one.
        let (machine, _) = faulty(&MemoryStore::new(), &[(3, fault), (4, fault)]);
        let (budgets, ctx) = (machine.open(config()), machine.run());
        let reservation = reserve(&budgets, &ctx, 10).await.unwrap();
        let tries = settle_until_it_works(&reservation, 10).await;
        assert_eq!(tries, if fault == Fault::Before { 3 } else { 1 }, "what was written is found");
        assert_eq!((sum(&budgets, &ctx).await, stands(&budgets, &ctx, &Scope::Tenant).await), (10, (10, 0)));
    }
}

/// A log whose reads fail too, so that nobody can look whether an append was written.
mod blind {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use async_trait::async_trait;

    use crate::{
        error::{Error, ErrorKind, Result},
        runtime::Context,
        storage::{Append, Log, MemoryStore, Record},
    };

    #[derive(Clone, Debug)]
    pub(super) struct Blind(pub(super) MemoryStore, pub(super) Arc<AtomicBool>);

    impl Blind {
        fn check(&self) -> Result<()> {
            if self.1.load(Ordering::SeqCst) {
                return Err(Error::new(ErrorKind::Unavailable, "test.log", "out of reach"));
            }
            Ok(())
        }
    }

    #[async_trait]
    impl Log for Blind {
        async fn append(&self, ctx: &Context, append: Append<'_>) -> Result<u64> {
            let length = self.0.append(ctx, append).await?;
            self.check().map(|()| length)
        }

        async fn read(&self, ctx: &Context, stream: &str, from: u64, limit: usize) -> Result<Vec<Record>> {
            self.check()?;
            self.0.read(ctx, stream, from, limit).await
        }

        async fn length(&self, ctx: &Context, stream: &str) -> Result<u64> {
            self.check()?;
            self.0.length(ctx, stream).await
        }

        async fn streams(
            &self,
            ctx: &Context,
            prefix: &str,
            after: Option<&str>,
            limit: usize,
        ) -> Result<Vec<String>> {
            self.check()?;
            self.0.streams(ctx, prefix, after, limit).await
        }

        async fn remove(&self, ctx: &Context, stream: &str) -> Result<bool> {
            self.0.remove(ctx, stream).await
        }
    }
}

#[tokio::test]
async fn a_settlement_whose_outcome_nobody_could_see_counts_once_also_in_the_next_month() {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };
    let (store, dark) = (MemoryStore::new(), Arc::new(AtomicBool::new(false)));
    let log = blind::Blind(store.clone(), Arc::clone(&dark));
    let machine = Machine::over(Storage::from_parts(Arc::new(store.clone()), Arc::new(log), Arc::new(store)));
    let (budgets, ctx) = (machine.open(config()), machine.run());
    let reservation = reserve(&budgets, &ctx, 10).await.unwrap();
    dark.store(true, Ordering::SeqCst);
    assert!(reservation.settle(None, Some(usd(7))).await.is_err());
    assert!(reservation.settle(None, Some(usd(7))).await.is_err());
    dark.store(false, Ordering::SeqCst);
    machine.clock.advance(std::time::Duration::from_secs(40 * 24 * 60 * 60));
    // Another process goes over to the next month before this one looks.
    reserve(&machine.open(config()), &ctx, 1).await.unwrap().release().await.unwrap();
    reservation.settle(None, Some(usd(7))).await.unwrap();
    assert_eq!((sum(&budgets, &ctx).await, stands(&budgets, &ctx, &Scope::Tenant).await), (7, (7, 0)));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_an_error_and_nothing_is_reserved() {
    let machine = Machine::new();
    let ctx = machine.run();
    for (record, message) in [("{\"version\":2}", "another version"), ("nonsense", "expected form")] {
        let tenant = ctx.with_tenant(crate::types::TenantId::new(message).unwrap());
        let append = crate::storage::Append {
            records: vec![record.into()],
            ..crate::storage::Append::to("ledger/0000-00")
        };
        machine.storage.append(&tenant, append).await.unwrap();
        let err = machine
            .open(config())
            .reserve(&tenant, call(1, 1))
            .await
            .and_then(Decision::granted)
            .unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Corrupt);
        assert!(err.to_string().contains(message), "{err}");
    }
}
