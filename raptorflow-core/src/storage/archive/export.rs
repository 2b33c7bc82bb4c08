//! `Storage::export` and `Storage::snapshot`: from the store to a file.

use std::path::PathBuf;

use tokio::sync::mpsc::{Sender, channel};

use super::{
    line::{Archive, FORMAT, Header, IMPORTING, Kind, Part},
    write::{self, Message},
};
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    runtime::Context,
    storage::{Scan, Storage},
    types::TenantId,
};

const OPERATION: &str = "storage.export";
/// How many names are read at once.
const NAMES: usize = 512;
/// How many bytes are read and sent at once, about.
const PAGE: usize = 1 << 20;
/// What a line takes in memory beside its content, about.
const LINE: usize = 64;
/// How many pages may wait for the disk.
const QUEUE: usize = 2;

impl Storage {
    /// Writes every key and stream of the context's tenant to a file that [`Storage::import`] reads, in this store or
    /// in one of another kind, and says what is in it.
    ///
    /// The form is documented in `raptorflow-core/src/storage/archive/mod.rs`: lines of JSON with a digest at the end.
    /// A file of that name is replaced once the new one is complete and on the disk, so a crash leaves the old one or
    /// the new one; what a crash leaves of the new one ends with `.partial` and may be deleted.
    /// On Unix only its owner may read it.
    ///
    /// The tenant may be used meanwhile.
    /// Then each stream is there as it was at some moment of the export, and each key with a value that it had then,
    /// no older than what the streams say, because keys are read last.
    /// For runs that is enough: a run that is read back goes on from where its stream ends.
    /// For keys that belong together, stop those who write them.
    ///
    /// Memory is bounded by some pages of about 1 MiB, and by the largest record or value.
    ///
    /// # Errors
    /// `InvalidInput` when the path is a folder; `NotFound` when its folder is missing; `PermissionDenied` when that is
    /// read-only; `Conflict` when a stream was removed while it was read, or when the tenant was imported in part;
    /// `Unavailable` when the disk is full; `Cancelled` and `Timeout` with the context; the errors of the store.
    ///
    /// # Cancellation
    /// A dropped future leaves the file that was there before.
    ///
    /// # Examples
    /// ```
    /// use raptorflow_core::{runtime::{Context, Runtime}, storage::{Expect, Storage}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let folder = tempfile::tempdir().unwrap();
    /// let file = folder.path().join("acme.jsonl");
    /// let (old, new) = (Storage::memory(), Storage::memory());
    /// let ctx = Context::new(&Runtime::current()?).with_tenant("acme".parse()?);
    /// old.put_json(&ctx, "plan/1", &["draft"], Expect::Absent).await?;
    /// let written = old.export(&ctx, &file).await?;
    /// assert_eq!(new.import(&ctx, &file).await?, written);
    /// assert_eq!(new.get(&ctx, "plan/1").await?.unwrap().value, r#"["draft"]"#);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn export(&self, ctx: &Context, path: impl Into<PathBuf> + Send) -> Result<Archive> {
        self.archive(ctx, path.into(), Kind::Export).await
    }

    /// Writes every tenant to a file that [`Storage::restore`] reads, and says what is in it.
    ///
    /// File, consistency and errors are those of [`Storage::export`], for each tenant.
    ///
    /// # Errors
    /// As [`Storage::export`].
    ///
    /// # Cancellation
    /// As [`Storage::export`].
    pub async fn snapshot(&self, ctx: &Context, path: impl Into<PathBuf> + Send) -> Result<Archive> {
        self.archive(ctx, path.into(), Kind::Snapshot).await
    }

    async fn archive(&self, ctx: &Context, path: PathBuf, kind: Kind) -> Result<Archive> {
        let header = Header { kind, format: FORMAT, time: ctx.now().to_string() };
        let unique = ctx.runtime().ids().run().to_string();
        let (queue, messages) = channel(QUEUE);
        let writing =
            ctx.runtime().tasks().spawn_blocking(move || write::write(&path, &unique, &header, messages));
        let mut out = Out { queue, parts: Vec::new(), bytes: 0 };
        let sent = match ctx.bound(OPERATION, self.send(ctx, kind, &mut out)).await.flatten() {
            Ok(()) => out.done().await,
            Err(err) => Err(err),
        };
        drop(out);
        // Waited for after a failure too: when this returns, nothing unfinished is left.
        let written = writing.await?;
        match (sent, written) {
            (Ok(()), written) => written,
            // Why the writer ended, and not only that it did.
            (Err(_), Err(own)) if own.kind() != ErrorKind::Cancelled => Err(own),
            (Err(err), _) => Err(err),
        }
    }

    async fn send(&self, ctx: &Context, kind: Kind, out: &mut Out) -> Result<()> {
        if kind == Kind::Export {
            return self.send_tenant(ctx, out).await;
        }
        let mut after: Option<TenantId> = None;
        loop {
            let tenants = self.tenants(ctx, after.as_ref(), NAMES).await?;
            for tenant in &tenants {
                self.send_tenant(&ctx.with_tenant(tenant.clone()), out).await?;
            }
            if tenants.len() < NAMES {
                return Ok(());
            }
            after = tenants.into_iter().next_back();
        }
    }

    async fn send_tenant(&self, ctx: &Context, out: &mut Out) -> Result<()> {
        if self.get(ctx, IMPORTING).await?.is_some() {
            let message = "the tenant was imported in part; erase it, then import it again";
            return Err(Error::new(ErrorKind::Conflict, OPERATION, message).with("tenant", ctx.tenant()));
        }
        out.part(Part::Tenant(ctx.tenant().clone()), 0).await?;
        let mut after: Option<String> = None;
        loop {
            let names = self.streams(ctx, "", after.as_deref(), NAMES).await?;
            for name in &names {
                self.send_stream(ctx, name, out).await?;
            }
            if names.len() < NAMES {
                break;
            }
            after = names.into_iter().next_back();
        }
        self.send_keys(ctx, out).await
    }

    async fn send_stream(&self, ctx: &Context, name: &str, out: &mut Out) -> Result<()> {
        // What is appended from now on is left for the next export: a busy stream would never end.
        let length = self.length(ctx, name).await?;
        let (mut page, mut sent) = (Page::new(), 0);
        while sent < length {
            let limit = page.limit.min(usize::try_from(length - sent).unwrap_or(usize::MAX));
            let records = self.read(ctx, name, sent, limit).await?;
            if sent == 0 && records.is_empty() {
                // Removed since its name was read.
                return Ok(());
            }
            if records.len() < limit {
                let message = "a stream was removed while it was read; try again";
                return Err(Error::new(ErrorKind::Conflict, OPERATION, message)
                    .with("stream", name)
                    .retryable(Retry::Soon));
            }
            if sent == 0 {
                out.part(Part::Stream(name.to_owned()), name.len()).await?;
            }
            sent += records.len() as u64;
            page.adapt(records.iter().map(|record| record.data.len()));
            for record in records {
                let size = record.data.len();
                out.part(Part::Payload(record.data), size).await?;
            }
        }
        Ok(())
    }

    async fn send_keys(&self, ctx: &Context, out: &mut Out) -> Result<()> {
        let mut page = Page::new();
        let mut after: Option<String> = None;
        loop {
            let scan = Scan { prefix: "", after: after.as_deref(), limit: page.limit };
            let found = self.scan(ctx, scan).await?;
            let last = found.len() < page.limit;
            page.adapt(found.iter().map(|(key, found)| key.len() + found.value.len()));
            after = found.last().map(|(key, _)| key.clone());
            for (key, found) in found {
                let (long, size) = (key.len(), found.value.len());
                out.part(Part::Key(key), long).await?;
                out.part(Part::Payload(found.value), size).await?;
            }
            if last {
                return Ok(());
            }
        }
    }
}

/// How many records or keys to read next, so that a page has about [`PAGE`] bytes.
struct Page {
    limit: usize,
}

impl Page {
    const fn new() -> Self {
        Self { limit: 16 }
    }

    fn adapt(&mut self, sizes: impl ExactSizeIterator<Item = usize>) {
        let count = sizes.len().max(1);
        let bytes: usize = sizes.sum();
        self.limit = (PAGE / (bytes / count).max(1)).clamp(1, 4 * NAMES);
    }
}

/// The way to the file: lines are sent together.
struct Out {
    queue: Sender<Message>,
    parts: Vec<Part>,
    bytes: usize,
}

impl Out {
    async fn part(&mut self, part: Part, size: usize) -> Result<()> {
        self.parts.push(part);
        self.bytes += size + LINE;
        if self.bytes < PAGE { Ok(()) } else { self.flush().await }
    }

    async fn flush(&mut self) -> Result<()> {
        self.bytes = 0;
        let parts = std::mem::take(&mut self.parts);
        self.queue.send(Message::Parts(parts)).await.map_err(|_| ended())
    }

    async fn done(&mut self) -> Result<()> {
        self.flush().await?;
        self.queue.send(Message::Done).await.map_err(|_| ended())
    }
}

/// The writer has ended; it knows why.
fn ended() -> Error {
    Error::new(ErrorKind::Internal, OPERATION, "the writer ended without a reason")
}
