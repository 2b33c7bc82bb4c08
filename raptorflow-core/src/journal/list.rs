//! Runs in short, one or many, without reading long ones from their beginning each time.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{
        Journals, RunStatus, Summary,
        entry::decode,
        shared::{Name, PAGE, PREFIX},
    },
    runtime::Context,
    storage::Expect,
    types::{RunId, Timestamp},
};

/// What the kept summaries of long runs are called before the id of the run.
const KEPT: &str = "summary/";
/// Grows when the fold counts differently: then what was kept before is not used.
const VERSION: u32 = 1;
/// A summary is kept again after this many entries.
const STEP: u64 = 256;
/// How many runs one call looks at.
const SCAN: usize = 10_000;
/// How many names of runs are read at once.
const NAMES: usize = 256;

/// Which runs to list; every condition that is set must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunFilter {
    /// How far it is; any by default.
    pub status: Option<RunStatus>,
    /// What it runs: the name of an agent, an orchestration or a workflow.
    pub target: Option<String>,
    /// It began at this time or later.
    pub started_after: Option<Timestamp>,
    /// It began before this time.
    pub started_before: Option<Timestamp>,
    /// Its id comes after this one; for the next page.
    pub after: Option<RunId>,
    /// How many runs are given at most; 100 by default.
    pub limit: usize,
}

impl Default for RunFilter {
    fn default() -> Self {
        let (started_after, started_before) = (None, None);
        Self { status: None, target: None, started_after, started_before, after: None, limit: 100 }
    }
}

impl RunFilter {
    /// Whether a run may fit, as far as its first entry tells.
    fn fits_start(&self, summary: &Summary) -> bool {
        self.target.as_ref().is_none_or(|target| *target == summary.target)
            && self.started_after.is_none_or(|time| summary.started >= time)
            && self.started_before.is_none_or(|time| summary.started < time)
    }

    fn fits(&self, summary: &Summary) -> bool {
        self.status.is_none_or(|status| status == summary.status)
    }
}

/// Some of the runs that a filter lets through.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunPage {
    /// The runs in the order of their ids, which is that of their birth where the library made the ids.
    pub runs: Vec<(RunId, Summary)>,
    /// What [`RunFilter::after`] is for the next page; `None` when there are no more runs.
    pub next: Option<RunId>,
}

/// A summary that is kept, and what tells whether it still belongs to its run.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// The time of the last entry that is in it.
    last: Timestamp,
    summary: Summary,
}

impl Journals {
    /// A run in short.
    ///
    /// The first 512 entries are read each time; of longer runs a summary is kept in the store under `summary/<run>`, by
    /// whoever read far, and only what came since is read.
    /// Nothing depends on it: one that is lost, damaged or of another run is made anew.
    ///
    /// # Errors
    /// `NotFound` when there is no such run; otherwise as [`Journals::read`].
    pub async fn summary(&self, ctx: &Context, run: RunId) -> Result<Summary> {
        self.summary_if(ctx, run, |_| true).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "journal.summary", "there is no such run").with("run", run)
        })
    }

    /// Runs of the context's tenant that a filter lets through.
    ///
    /// A call looks at 10,000 runs at most, so that a page may be short, or empty, and have a next one.
    ///
    /// # Errors
    /// As [`Journals::read`].
    pub async fn list(&self, ctx: &Context, filter: &RunFilter) -> Result<RunPage> {
        let mut page = RunPage { runs: Vec::new(), next: filter.after };
        let mut seen = 0;
        while page.runs.len() < filter.limit && seen < SCAN {
            let after = page.next.map(Name::of);
            let after = after.as_ref().map(Name::as_str);
            let wanted = NAMES.min(filter.limit - page.runs.len());
            let names = self.0.storage.streams(ctx, PREFIX, after, wanted).await?;
            for name in &names {
                let run: RunId = name.strip_prefix(PREFIX).unwrap_or_default().parse()?;
                page.next = Some(run);
                // A run that was removed since its name was read has no summary.
                let summary = self.summary_if(ctx, run, |summary| filter.fits_start(summary)).await?;
                page.runs.extend(summary.filter(|it| filter.fits(it)).map(|summary| (run, summary)));
            }
            seen += names.len();
            if names.len() < wanted {
                page.next = None;
                break;
            }
        }
        Ok(page)
    }

    /// A run in short, unless there is none or its first entry is not `wanted`.
    async fn summary_if(
        &self,
        ctx: &Context,
        run: RunId,
        wanted: impl Fn(&Summary) -> bool,
    ) -> Result<Option<Summary>> {
        let records = self.0.storage.read(ctx, Name::of(run).as_str(), 0, PAGE).await?;
        let mut summary = Summary::default();
        for record in &records {
            summary.apply(&decode(run, record)?);
            if summary.entries == 1 && !wanted(&summary) {
                return Ok(None);
            }
        }
        if records.len() == PAGE {
            self.read_on(ctx, run, &mut summary).await?;
        }
        Ok((summary.entries > 0).then_some(summary))
    }

    /// Brings the summary of a long run up to now.
    async fn read_on(&self, ctx: &Context, run: RunId, summary: &mut Summary) -> Result<()> {
        if let Some(kept) = self.kept(ctx, run).await
            && kept.summary.entries > summary.entries
        {
            // The entry that it ends with shows that the run has as many, and that it is the same run.
            let last = self.read(ctx, run, kept.summary.entries - 1, 1).await?;
            if last.first().is_some_and(|last| last.time == kept.last)
                && (kept.summary.started, &kept.summary.target) == (summary.started, &summary.target)
            {
                *summary = kept.summary;
            }
        }
        let known = summary.entries;
        let mut last = None;
        loop {
            let page = self.read(ctx, run, summary.entries, PAGE).await?;
            page.iter().for_each(|entry| summary.apply(entry));
            last = page.last().map(|entry| entry.time).or(last);
            if page.len() < PAGE {
                break;
            }
        }
        if let Some(last) = last
            && summary.entries - known >= STEP
        {
            self.keep(ctx, run, &Kept { version: VERSION, last, summary: summary.clone() }).await;
        }
        Ok(())
    }

    async fn kept(&self, ctx: &Context, run: RunId) -> Option<Kept> {
        match self.0.storage.get_json::<Kept>(ctx, &kept_key(run)).await {
            Ok(found) => found.map(|(kept, _)| kept).filter(|kept| kept.version == VERSION),
            Err(err) => {
                tracing::debug!(run = %run, error = %err, "a kept summary cannot be read, making it anew");
                None
            }
        }
    }

    async fn keep(&self, ctx: &Context, run: RunId, kept: &Kept) {
        // A slower reader may put an older one over it, which is right too.
        if let Err(err) = self.0.storage.put_json(ctx, &kept_key(run), kept, Expect::Any).await {
            tracing::debug!(run = %run, error = %err, "a summary was not kept");
        }
    }
}

pub(super) fn kept_key(run: RunId) -> String {
    format!("{KEPT}{run}")
}
