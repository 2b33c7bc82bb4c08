//! A disk that is full or fails at every operation of a workload, one after the other.

use std::{collections::BTreeMap, ops::Range, sync::OnceLock};

use bytes::Bytes;
use libtest_mimic::Trial;
use raptorflow_core::{
    error::{Error, ErrorKind, Result},
    runtime::Context,
    storage::{Append, Durability, Storage},
};
use raptorflow_tests::disk::{Disk, Failure, Lasting};
use tempfile::TempDir;

use crate::{
    cell::{Cell, State},
    place::{block_on, context, folder, open},
};

/// The operations that fail.
const OPERATIONS: usize = 2000;
/// The reads that fail; a store that has its pages in memory reads little.
const READS: usize = 50;
/// How many operations go well between two that fail; as many stores go through the workload.
const BETWEEN: usize = 250;
/// Within so many steps an operation comes.
const MOST: u64 = 1000;
/// After how many steps the large records are removed.
const STEPS: u64 = 13;
/// Steps between the opening and the closing of the store; each store has another number.
const OPEN: Range<u64> = 5..16;
/// Every so many steps write a large record, so that there are many operations in few steps.
const EVERY: u64 = 4;
const LARGE: usize = 80_000;

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name, failure, operations, between| {
        Trial::test(name, move || {
            faults(name, failure, operations, between);
            Ok(())
        })
    };
    vec![
        trial("a_full_disk_at_any_operation_loses_nothing_acknowledged", Failure::Full, OPERATIONS, BETWEEN),
        trial(
            "a_failing_disk_at_any_operation_loses_nothing_acknowledged",
            Failure::Write,
            OPERATIONS,
            BETWEEN,
        ),
        trial("a_failing_read_at_any_operation_loses_nothing_acknowledged", Failure::Read, READS, READS),
    ]
}

/// The error is what must not be.
type Checked<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Where a fault showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    AtOpening,
    ToTheCaller,
    /// In work that nobody waits for.
    ToNobody,
    AtClosing,
}

fn faults(name: &str, failure: Failure, operations: usize, between: usize) {
    block_on(async {
        let ctx = context();
        let mut all = Faults { failed: vec![false; operations], counts: BTreeMap::new() };
        for first in 0..between {
            let done = all.go(&ctx, failure, (first..operations).step_by(between)).await;
            done.unwrap_or_else(|wrong| panic!("{failure:?} from {first} on: {wrong:#}"));
        }
        let missing = all.failed.iter().position(|failed| !failed);
        assert_eq!(missing, None, "an operation that never failed");
        println!("{name}: each of {operations} operations, {:?}", all.counts);
    });
}

/// The operations that failed, and where that showed.
struct Faults {
    failed: Vec<bool>,
    counts: BTreeMap<Shown, usize>,
}

impl Faults {
    /// Takes one store through the workload while some operations fail.
    async fn go(
        &mut self,
        ctx: &Context,
        failure: Failure,
        operations: impl Iterator<Item = usize>,
    ) -> Checked<()> {
        let place = folder();
        let disk = Disk::watch(place.path());
        let mut run =
            Run { disk, ctx, place, work: Work::new(ctx), number: 0, steps: OPEN.start, store: None };
        for (index, operation) in operations.enumerate() {
            if index == 0 {
                run.steps += operation as u64 % (OPEN.end - OPEN.start);
            }
            let lasting = if index % 2 == 0 { Lasting::Once } else { Lasting::UntilHealed };
            run.disk.fail_operation(operation, failure, lasting);
            let before = run.disk.seen(failure);
            if before > operation {
                return Err(format!("operation {operation} is past, {before} were seen").into());
            }
            let shown =
                run.until_a_fault().await.map_err(|wrong| format!("{operation} {lasting:?}: {wrong:#}"))?;
            let end = operation + run.disk.heal();
            run.look(shown).await.map_err(|wrong| format!("after {operation} {lasting:?}: {wrong:#}"))?;
            self.failed.iter_mut().take(end).skip(operation).for_each(|failed| *failed = true);
            *self.counts.entry(shown).or_default() += 1;
        }
        // The file is looked at as a whole when it is opened.
        run.close().await?;
        run.look(Shown::AtClosing).await
    }
}

/// A store on its way through the workload.
struct Run<'a> {
    disk: Disk,
    ctx: &'a Context,
    place: TempDir,
    work: Work,
    /// The next step.
    number: u64,
    /// Steps between the opening and the closing.
    steps: u64,
    store: Option<Storage>,
}

impl Run<'_> {
    /// Goes on until an operation failed, and says where that showed.
    async fn until_a_fault(&mut self) -> Checked<Shown> {
        for _ in 0..MOST {
            if let Err(err) = self.open().await {
                return expected(&err).map(|()| Shown::AtOpening);
            }
            if self.disk.failed() > 0 {
                return Ok(Shown::ToNobody);
            }
            if let Err(err) = self.step().await {
                return expected(&err).map(|()| Shown::ToTheCaller);
            }
            self.number += 1;
            if self.number.is_multiple_of(self.steps) {
                let closed = self.close().await;
                if self.disk.failed() > 0 {
                    closed.or_else(|err| expected(&err))?;
                    return Ok(Shown::AtClosing);
                }
                closed?;
            }
        }
        Err("the operation does not come".into())
    }

    async fn open(&mut self) -> Result<()> {
        if self.store.is_none() {
            self.store = Some(open(self.ctx, self.place.path(), Durability::Sync).await?);
        }
        Ok(())
    }

    async fn step(&mut self) -> Result<()> {
        match &self.store {
            Some(store) => self.work.step(store, self.number).await,
            None => Ok(()),
        }
    }

    async fn close(&mut self) -> Result<()> {
        match self.store.take() {
            Some(store) => store.close().await,
            None => Ok(()),
        }
    }

    /// Finds all that was acknowledged, and whether the step that failed was done.
    async fn look(&mut self, shown: Shown) -> Checked<()> {
        self.open().await?;
        let Some(store) = &self.store else { return Ok(()) };
        if shown == Shown::ToTheCaller && self.work.check(store).await?.is_some() {
            self.work.was_done(self.number);
            self.number += 1;
        }
        self.work.check(store).await?.map_or(Ok(()), |difference| Err(difference.into()))
    }
}

/// Checks how a failing disk is told.
fn expected(err: &Error) -> Checked<()> {
    match err.kind() {
        ErrorKind::Unavailable => Ok(()),
        _ => Err(format!("told as {err:#}").into()),
    }
}

/// A store's content as the caller knows it: a cell, and a stream of large records.
struct Work {
    cell: Cell,
    state: State,
    ctx: Context,
    large: u64,
}

/// What a step does.
enum Turn {
    Cell,
    Large,
    /// Removes the large records, so that no file becomes large.
    Remove,
}

impl Turn {
    fn of(number: u64) -> Self {
        match number % STEPS {
            0 => Self::Remove,
            inside if inside % EVERY == EVERY - 1 => Self::Large,
            _ => Self::Cell,
        }
    }
}

impl Work {
    fn new(ctx: &Context) -> Self {
        Self { cell: Cell::new(ctx, "one", 0), state: State::default(), ctx: ctx.clone(), large: 0 }
    }

    /// Different ones, made once.
    fn large(number: u64) -> Bytes {
        static LARGE_ONES: OnceLock<Vec<Bytes>> = OnceLock::new();
        let made = || (0..STEPS).map(|number| format!("{number:06} ").repeat(LARGE / 7).into()).collect();
        LARGE_ONES.get_or_init(made)[number as usize].clone()
    }

    async fn step(&mut self, storage: &Storage, number: u64) -> Result<()> {
        match Turn::of(number) {
            Turn::Large => {
                let mut append = Append::to("large");
                append.records = vec![Self::large(self.large)];
                self.large = storage.append(&self.ctx, append).await?;
            }
            Turn::Remove => {
                storage.remove(&self.ctx, "large").await?;
                self.large = 0;
            }
            Turn::Cell => self.state = self.cell.go(storage, number, &self.state).await?,
        }
        Ok(())
    }

    /// Takes note of a step that failed and was done all the same.
    fn was_done(&mut self, number: u64) {
        match Turn::of(number) {
            Turn::Large => self.large += 1,
            Turn::Remove => self.large = 0,
            Turn::Cell => self.state = self.cell.next(number, &self.state),
        }
    }

    /// What the store shows that is not so.
    async fn check(&self, storage: &Storage) -> Result<Option<String>> {
        let records = storage.read(&self.ctx, "large", 0, usize::MAX).await?;
        if !(0..self.large).map(Self::large).eq(records.into_iter().map(|record| record.data)) {
            return Ok(Some("other large records".to_owned()));
        }
        self.cell.compare(storage, &self.state).await
    }
}
