//! Forks: a new run that begins with what another did.

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{
        Fact, Journals,
        entry::decode,
        shared::{Name, PAGE},
    },
    runtime::Context,
    storage::Append,
    types::RunId,
};

impl Journals {
    /// Makes the context's run out of the first `at` entries of another; returns how many entries it has.
    ///
    /// The entries are the same to the byte, their times too, and [`Fact::ExecutionForked`] follows them.
    /// The new run belongs to nobody until it is opened: then it goes on behind what it has, with idempotency keys of
    /// its own, children of its own, and no regard for a pause or a wish to cancel that the other was told.
    /// The other run is left as it is, and may still be at work.
    ///
    /// ```
    /// # use raptorflow_core::journal::{Fact, JournalConfig, Journals, Opened};
    /// # use raptorflow_core::{runtime::{Context, Runtime}, storage::Storage};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// # let runtime = Runtime::current()?;
    /// # let journals = Journals::new(Storage::memory(), runtime.clone(), JournalConfig::default());
    /// # let ctx = Context::new(&runtime);
    /// # let started =
    /// #     Fact::ExecutionStarted { target: "sum".into(), input: 2.into(), capability: None, background: None, user: None };
    /// let journal = journals.create(&ctx, &[started]).await?;
    /// journal.step(&ctx, "first", |_| async { Ok(1) }).await?;
    /// journal.step(&ctx, "second", |_| async { Ok(2) }).await?;
    ///
    /// let other = Context::new(&runtime);
    /// journals.fork(&other, ctx.run_id(), 2).await?;
    /// let Opened::Running { journal, .. } = journals.open(&other).await? else { unreachable!() };
    /// assert_eq!(journal.step(&other, "first", |_| async { Ok(10) }).await?, 1);
    /// assert_eq!(journal.step(&other, "second", |_| async { Ok(20) }).await?, 20);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is no such run to take from; `InvalidInput` with `at` and `length` when `at` is 0, beyond
    /// the end, or behind the end of a run that is complete or was cancelled; `AlreadyExists` when the context's run
    /// has entries; `Corrupt` for an entry that cannot be read; the errors of the store.
    ///
    /// # Cancellation
    /// A dropped future has made the new run or not.
    pub async fn fork(&self, ctx: &Context, from: RunId, at: u64) -> Result<u64> {
        let none =
            || Error::new(ErrorKind::NotFound, "journal.fork", "there is no such run").with("run", from);
        let length = self.0.length(ctx, from).await?;
        if length == 0 {
            return Err(none());
        }
        let refuse = |message: &'static str| {
            Error::new(ErrorKind::InvalidInput, "journal.fork", message)
                .with("run", from)
                .with("at", at)
                .with("length", length)
        };
        if at == 0 || at > length {
            return Err(refuse("expected a number of entries from 1 to the length of the run"));
        }
        let name = Name::of(from);
        let mut records = Vec::new();
        while (records.len() as u64) < at {
            let next = records.len() as u64;
            let left = usize::try_from(at - next).unwrap_or(PAGE).min(PAGE);
            let page = self.0.storage.read(ctx, name.as_str(), next, left).await?;
            // Nothing follows the end of a run, so only the last entry can be one.
            if let Some(last) = page.last()
                && decode(from, last)?.fact.is_final()
            {
                return Err(refuse("expected entries before the end of the run"));
            }
            if page.is_empty() {
                return Err(none());
            }
            records.extend(page.into_iter().map(|record| record.data));
        }
        records.extend(self.0.encode(ctx.now(), "", &[Fact::ExecutionForked { from, at }])?);
        let name = Name::of(ctx.run_id());
        let append = Append { expected: Some(0), records, ..Append::to(name.as_str()) };
        let length = self.0.storage.append(ctx, append).await.map_err(|err| {
            if err.kind() != ErrorKind::Conflict {
                return err;
            }
            Error::new(ErrorKind::AlreadyExists, "journal.fork", "there is such a run")
                .with("run", ctx.run_id())
                .caused_by(err)
        })?;
        self.0.tails.notify(ctx.tenant(), ctx.run_id());
        Ok(length)
    }
}
