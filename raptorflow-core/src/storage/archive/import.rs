//! `Storage::import` and `Storage::restore`: from a file to the store.

use std::{mem, path::PathBuf};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{
    line::{Archive, IMPORTING, Kind, Part, damaged},
    read::{self, Checked, stopped},
};
use crate::{
    error::{Error, ErrorKind, Result},
    runtime::{Cancel, Context},
    storage::{Append, Expect, Scan, Storage},
    types::TenantId,
};

const OPERATION: &str = "storage.import";
/// How many bytes are handed on at once, about.
const PAGE: usize = 1 << 20;
/// How many records and keys are handed on at once.
const COUNT: usize = 1024;
/// How many writes go on at the same time; a store with group commit syncs once for many.
const WRITES: usize = 64;
/// How many pages may wait for the store.
const QUEUE: usize = 1;

impl Storage {
    /// Reads what [`Storage::export`] wrote into the context's tenant, which must be empty and may have another name
    /// than the one in the file; says what was in it.
    ///
    /// The whole file is checked before the first write, so of one that was truncated or changed nothing is written.
    /// Values of keys and records of streams are as they were, each record with its sequence.
    /// Versions of keys are new, and no lease is held: runs that had not ended can be resumed at once.
    ///
    /// When a write fails, what was written before it is erased again; if that fails too, or the process ends, the
    /// tenant keeps the key `raptorflow/importing`, and until it is erased every export or import of it is refused.
    /// Nobody else may use the tenant before this has returned.
    ///
    /// # Errors
    /// `NotFound` when there is no such file; `InvalidInput` when it is a folder or a snapshot; `Corrupt` when it is no
    /// archive, was truncated or changed, or has a newer format; `Conflict` when the tenant is not empty; `Cancelled`
    /// and `Timeout` with the context; the errors of the store.
    ///
    /// # Cancellation
    /// A cancelled context is noticed and what was written is erased.
    /// A dropped future leaves the tenant imported in part, with the key that says so.
    pub async fn import(&self, ctx: &Context, path: impl Into<PathBuf> + Send) -> Result<Archive> {
        let checked = check(ctx, path.into(), Kind::Export).await?;
        self.fill(ctx, checked, Some(ctx.tenant().clone())).await
    }

    /// Reads what [`Storage::snapshot`] wrote into a store without tenants, and says what was in it.
    ///
    /// As [`Storage::import`] for each tenant, under the names that they had.
    /// Processes that used the store which the file is from must not find this one under its address before they end:
    /// tokens of leases begin anew here.
    ///
    /// # Errors
    /// `InvalidInput` when the file is the export of one tenant; `Conflict` when the store has tenants; otherwise as
    /// [`Storage::import`].
    ///
    /// # Cancellation
    /// As [`Storage::import`].
    ///
    /// # Examples
    /// ```
    /// use raptorflow_core::{runtime::{Context, Runtime}, storage::{Append, Storage}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let folder = tempfile::tempdir().unwrap();
    /// let file = folder.path().join("all.jsonl");
    /// let (old, new) = (Storage::memory(), Storage::memory());
    /// let ctx = Context::new(&Runtime::current()?);
    /// for tenant in ["acme", "zenith"] {
    ///     let append = Append { records: vec!["first".into()], ..Append::to("notes") };
    ///     old.append(&ctx.with_tenant(tenant.parse()?), append).await?;
    /// }
    /// old.snapshot(&ctx, &file).await?;
    /// assert_eq!(new.restore(&ctx, &file).await?.tenants, 2);
    /// assert_eq!(new.length(&ctx.with_tenant("zenith".parse()?), "notes").await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn restore(&self, ctx: &Context, path: impl Into<PathBuf> + Send) -> Result<Archive> {
        let checked = check(ctx, path.into(), Kind::Snapshot).await?;
        if let Some(tenant) = self.tenants(ctx, None, 1).await?.first() {
            let message = "the store has tenants; restore into a new store, or erase them first";
            return Err(Error::new(ErrorKind::Conflict, OPERATION, message).with("tenant", tenant));
        }
        self.fill(ctx, checked, None).await
    }

    /// Writes what a file holds; `only` is the tenant that it goes to, if not to those that it names.
    async fn fill(&self, ctx: &Context, checked: Checked, only: Option<TenantId>) -> Result<Archive> {
        let archive = checked.archive;
        let (out, mut pages) = channel(QUEUE);
        let cancel = ctx.cancel().clone();
        // It ends when nobody takes its pages any more, also when this future is dropped.
        let reading = ctx.runtime().tasks().spawn_blocking(move || send(&checked, &cancel, out));
        let mut claimed = Vec::new();
        let written = self.write_pages(ctx, only, &mut pages, &mut claimed).await;
        drop(pages);
        let outcome = match (written, reading.await.flatten()) {
            // Why the reader ended, and not only that it did.
            (_, Err(err)) if err.kind() != ErrorKind::Cancelled => Err(err),
            (Err(err), _) | (Ok(()), Err(err)) => Err(err),
            (Ok(()), Ok(())) => self.unclaim(&claimed).await,
        };
        match outcome {
            Ok(()) => Ok(archive),
            Err(err) => Err(self.undo(&claimed, err).await),
        }
    }

    async fn write_pages(
        &self,
        ctx: &Context,
        only: Option<TenantId>,
        pages: &mut Receiver<Page>,
        claimed: &mut Vec<Context>,
    ) -> Result<()> {
        while let Some(page) = ctx.bound(OPERATION, pages.recv()).await? {
            let tenant = only.as_ref().unwrap_or(&page.tenant);
            let there = match claimed.last() {
                Some(there) if there.tenant() == tenant => there.clone(),
                _ => {
                    let there = ctx.with_tenant(tenant.clone());
                    self.claim(&there, claimed).await?;
                    there
                }
            };
            // Each is another key or stream, so their order does not matter. They are not dropped half-way: a write
            // whose future is gone may still come, after what it belongs to was erased.
            let writes = page.writes.into_iter().map(|write| self.write(&there, write));
            let done: Vec<Result<()>> = stream::iter(writes).buffer_unordered(WRITES).collect().await;
            done.into_iter().collect::<Result<()>>()?;
        }
        Ok(())
    }

    async fn write(&self, ctx: &Context, write: Write) -> Result<()> {
        match write {
            Write::Value { key, value } => {
                self.put(ctx, &key, value, Expect::Absent).await?;
            }
            Write::Records { stream, from, records } => {
                let append = Append { expected: Some(from), records, ..Append::to(&stream) };
                self.append(ctx, append).await?;
            }
        }
        Ok(())
    }

    /// Takes a tenant that must be empty, and leaves the key that says so.
    async fn claim(&self, ctx: &Context, claimed: &mut Vec<Context>) -> Result<()> {
        let refused =
            |message| Error::new(ErrorKind::Conflict, OPERATION, message).with("tenant", ctx.tenant());
        let in_part = "the tenant is imported now or was imported in part; erase it first";
        if self.get(ctx, IMPORTING).await?.is_some() {
            return Err(refused(in_part));
        }
        // Before the key is there: it must never stand in a tenant that somebody uses.
        let keys = self.scan(ctx, Scan { prefix: "", after: None, limit: 1 }).await?;
        if !keys.is_empty() || !self.streams(ctx, "", None, 1).await?.is_empty() {
            return Err(refused("the tenant has data; import into an empty one, or erase it first"));
        }
        match self.put(ctx, IMPORTING, "", Expect::Absent).await {
            Ok(_) => claimed.push(ctx.clone()),
            Err(err) if err.kind() == ErrorKind::Conflict => return Err(refused(in_part).caused_by(err)),
            Err(err) => return Err(err),
        }
        Ok(())
    }

    /// Makes the tenants ready for use.
    async fn unclaim(&self, claimed: &[Context]) -> Result<()> {
        for ctx in claimed {
            self.delete(ctx, IMPORTING, Expect::Any).await?;
        }
        Ok(())
    }

    /// Erases what was written before a failure, and gives the failure.
    async fn undo(&self, claimed: &[Context], mut err: Error) -> Error {
        for ctx in claimed {
            if let Err(left) = self.erase(ctx).await {
                err = err.with("left in part", ctx.tenant()).with("because", left);
            }
        }
        err
    }
}

/// Opens a file on a blocking thread and checks all of it.
async fn check(ctx: &Context, path: PathBuf, kind: Kind) -> Result<Checked> {
    let cancel = ctx.cancel().clone();
    let shown = path.display().to_string();
    let checking = ctx.runtime().tasks().spawn_blocking(move || read::check(&path, &cancel));
    let checked = ctx.bound(OPERATION, checking).await???;
    let expected = match (kind, checked.header.kind) {
        (Kind::Export, Kind::Snapshot) => "the file is the snapshot of a store; use restore",
        (Kind::Snapshot, Kind::Export) => "the file is the export of one tenant; use import",
        _ if kind == Kind::Export && checked.archive.tenants != 1 => {
            return Err(damaged("an export has one tenant").with("path", shown));
        }
        _ => return Ok(checked),
    };
    Err(Error::new(ErrorKind::InvalidInput, OPERATION, expected).with("path", shown))
}

/// Writes to one tenant, each to another key or stream.
struct Page {
    tenant: TenantId,
    writes: Vec<Write>,
}

enum Write {
    Value { key: String, value: Bytes },
    Records { stream: String, from: u64, records: Vec<Bytes> },
}

/// Reads a file and sends it in pages.
fn send(checked: &Checked, cancel: &Cancel, out: Sender<Page>) -> Result<()> {
    let mut pager = Pager { out, tenant: None, place: None, writes: Vec::new(), bytes: 0, count: 0 };
    checked.walk(cancel, |part| pager.next(part))?;
    pager.flush()
}

/// Gathers lines to pages.
struct Pager {
    out: Sender<Page>,
    tenant: Option<TenantId>,
    place: Option<Place>,
    writes: Vec<Write>,
    bytes: usize,
    count: usize,
}

/// What a record or a value belongs to.
enum Place {
    Key(String),
    Stream { name: String, next: u64 },
}

impl Pager {
    fn next(&mut self, part: Part) -> Result<()> {
        match part {
            Part::Tenant(tenant) => {
                self.flush()?;
                self.tenant = Some(tenant);
                // A tenant without anything is a page too.
                self.send()
            }
            Part::Stream(name) => {
                self.place = Some(Place::Stream { name, next: 0 });
                Ok(())
            }
            Part::Key(key) => {
                self.place = Some(Place::Key(key));
                Ok(())
            }
            Part::Payload(bytes) => self.payload(bytes),
        }
    }

    fn payload(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes += bytes.len();
        self.count += 1;
        match &mut self.place {
            Some(Place::Stream { name, next }) => {
                let from = *next;
                *next += 1;
                match self.writes.last_mut() {
                    Some(Write::Records { stream, records, .. }) if stream == name => records.push(bytes),
                    _ => {
                        self.writes.push(Write::Records { stream: name.clone(), from, records: vec![bytes] });
                    }
                }
            }
            Some(Place::Key(key)) => self.writes.push(Write::Value { key: mem::take(key), value: bytes }),
            None => return Err(damaged("a record or a value is out of place")),
        }
        if self.bytes < PAGE && self.count < COUNT { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<()> {
        if self.writes.is_empty() { Ok(()) } else { self.send() }
    }

    fn send(&mut self) -> Result<()> {
        (self.bytes, self.count) = (0, 0);
        let Some(tenant) = self.tenant.clone() else { return Ok(()) };
        let page = Page { tenant, writes: mem::take(&mut self.writes) };
        self.out.blocking_send(page).map_err(|_| stopped())
    }
}
