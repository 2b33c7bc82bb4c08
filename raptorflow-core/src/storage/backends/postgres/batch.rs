//! `Batch`: writes of many callers as the arguments of one call, and its outcome as an answer for each.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use sqlx::{Arguments as _, postgres::PgArguments};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::checksum::Sum;
use crate::{
    error::{Error, ErrorKind, Result},
    runtime::Clock,
    storage::{Expect, Fence},
    types::{TenantId, Timestamp},
};

const OPERATION: &str = "storage.commit";
/// The first outcome says whether somebody listens; two follow for each step.
const HEAD: usize = 1;
/// How many steps a write takes at most.
const PARTS: usize = 3;

/// What a caller wants to be written.
pub(super) enum Write {
    Put {
        key: String,
        value: Bytes,
        expect: Expect,
    },
    Delete {
        key: String,
        expect: Expect,
    },
    Append {
        stream: String,
        expected: Option<u64>,
        fence: Option<Fence>,
        records: Vec<Bytes>,
    },
    Remove {
        stream: String,
    },
    Acquire {
        name: String,
        owner: String,
        expires: Expiry,
    },
    Renew {
        fence: Fence,
        expires: Expiry,
    },
    Release {
        fence: Fence,
    },
    /// Everything of the tenant.
    Erase,
}

/// The end of a lease, told by the caller's clock when it is the turn of the write: it may have waited.
pub(super) struct Expiry {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ttl: std::time::Duration,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: Status,
    /// The new version, length or token, or the one that was found instead of the expected one; an erasure counts
    /// leases, streams and keys.
    pub(super) numbers: [u64; PARTS],
    /// The end of a lease.
    pub(super) expires: Timestamp,
}

impl Answer {
    pub(super) fn number(&self) -> u64 {
        self.numbers.first().copied().unwrap_or(0)
    }
}

/// Whether a write was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Done,
    /// Another version or length than expected, or somebody else holds the lease.
    Differs,
    /// The token is not the newest.
    Passed,
}

/// A write and whoever waits for it.
pub(super) struct Job {
    pub(super) tenant: TenantId,
    pub(super) write: Write,
    pub(super) reply: oneshot::Sender<Result<Answer>>,
    /// Its place among those that wait or are under way.
    pub(super) place: OwnedSemaphorePermit,
}

impl Job {
    /// How many bytes of content it has.
    pub(super) fn size(&self) -> usize {
        match &self.write {
            Write::Put { value, .. } => value.len(),
            Write::Append { records, .. } => records.iter().map(Bytes::len).sum(),
            _ => 0,
        }
    }

    /// Whether it must be the first of its batch.
    ///
    /// The records of a batch are written last, so one that was appended before a removal would outlive it.
    pub(super) fn begins_a_batch(&self) -> bool {
        matches!(self.write, Write::Remove { .. } | Write::Erase)
    }

    fn answer(self, answer: Result<Answer>) {
        // The place first: whoever is answered may write again at once. A caller that is gone needs no answer.
        drop(self.place);
        let _ = self.reply.send(answer);
    }
}

/// Jobs that are committed together.
pub(super) struct Batch {
    jobs: Vec<Job>,
    places: Vec<Place>,
    arguments: PgArguments,
}

/// The steps of a job, from 0, and the end of its lease.
#[derive(Clone, Default)]
struct Place {
    steps: Vec<usize>,
    expires: Timestamp,
}

/// One step of the function `commit_batch`; what its numbers mean stands there.
struct Step<'a> {
    kind: i16,
    tenant: &'a TenantId,
    name: &'a str,
    numbers: [i64; 4],
    owner: Option<&'a str>,
    content: Option<&'a [u8]>,
    records: &'a [Bytes],
    /// Whose lease was checked before, and which.
    checked: Option<&'a str>,
    job: Option<usize>,
    expires: Timestamp,
}

const CHECK: i16 = 0;
const ACQUIRE: i16 = 1;
const RENEW: i16 = 2;
const RELEASE: i16 = 3;
const APPEND: i16 = 4;
const REMOVE: i16 = 5;
const PUT: i16 = 6;
const DELETE: i16 = 7;
const ERASE_LEASES: i16 = 8;
const ERASE_STREAMS: i16 = 9;
const ERASE_KEYS: i16 = 10;

impl Step<'_> {
    /// What it touches, in the order in which all batches of all processes touch things.
    ///
    /// A lease that is granted comes before it is checked: a shared lock that grows can wait for another such.
    fn rank(&self) -> (u8, &str, &str, bool) {
        let class = match self.kind {
            CHECK..=RELEASE | ERASE_LEASES => 0,
            APPEND | REMOVE | ERASE_STREAMS => 1,
            _ => 2,
        };
        (class, self.tenant.as_str(), self.name, self.kind == CHECK)
    }
}

impl Batch {
    /// Jobs as one batch.
    ///
    /// # Errors
    /// The jobs, and what is wrong with them.
    pub(super) fn new(jobs: Vec<Job>) -> Result<Self, (Vec<Job>, Error)> {
        match compile(&jobs) {
            Ok((places, arguments)) => Ok(Self { jobs, places, arguments }),
            Err(err) => Err((jobs, err)),
        }
    }

    /// The arguments that follow those of the writer.
    pub(super) fn arguments(&self) -> &PgArguments {
        &self.arguments
    }

    /// Whether another process listens for what has grown.
    pub(super) fn is_listened(outcome: &[i64]) -> bool {
        outcome.first() == Some(&1)
    }

    /// Tells each caller how its write ended, and gives the streams that have grown.
    pub(super) fn answer(self, outcome: &[i64]) -> Vec<Grown> {
        let mut grown = Vec::new();
        for (mut job, place) in self.jobs.into_iter().zip(self.places) {
            let Some((status, numbers)) = of_steps(&place.steps, outcome) else {
                job.answer(Err(Error::new(ErrorKind::Internal, OPERATION, "a write has no outcome")));
                continue;
            };
            if let (Status::Done, Write::Append { stream, .. }) = (status, &mut job.write) {
                let (tenant, stream) = (job.tenant.clone(), std::mem::take(stream));
                grown.push(Grown { tenant, stream, length: numbers.first().copied().unwrap_or(0) });
            }
            job.answer(Ok(Answer { status, numbers, expires: place.expires }));
        }
        grown
    }

    pub(super) fn into_jobs(self) -> Vec<Job> {
        self.jobs
    }
}

/// A stream that has grown, and how long it is now.
pub(super) struct Grown {
    pub(super) tenant: TenantId,
    pub(super) stream: String,
    pub(super) length: u64,
}

/// Tells each caller that its job failed.
pub(super) fn fail(jobs: Vec<Job>, err: &Error) {
    jobs.into_iter().for_each(|job| job.answer(Err(err.clone())));
}

/// The status of a job's first step and the numbers of all.
fn of_steps(steps: &[usize], outcome: &[i64]) -> Option<(Status, [u64; PARTS])> {
    let of = |step: usize| Some((*outcome.get(HEAD + 2 * step)?, *outcome.get(HEAD + 2 * step + 1)?));
    let mut numbers = [0; PARTS];
    for (number, step) in numbers.iter_mut().zip(steps) {
        *number = u64::try_from(of(*step)?.1).unwrap_or(0);
    }
    let status = match of(*steps.first()?)?.0 {
        0 => Status::Done,
        1 => Status::Differs,
        _ => Status::Passed,
    };
    Some((status, numbers))
}

fn compile(jobs: &[Job]) -> Result<(Vec<Place>, PgArguments)> {
    let mut steps = steps(jobs);
    // Stable: writes to one thing stay in the order of their calls.
    steps.sort_by(|one, two| one.rank().cmp(&two.rank()));
    let mut checks = HashMap::new();
    let mut places = vec![Place::default(); jobs.len()];
    let mut columns = Columns::default();
    for (place, step) in steps.iter_mut().enumerate() {
        let number = i32::try_from(place + 1).unwrap_or(i32::MAX);
        if step.kind == CHECK {
            checks.insert((step.tenant.as_str(), step.name), number);
        }
        if let Some(lease) = step.checked {
            step.numbers[1] = checks.get(&(step.tenant.as_str(), lease)).copied().unwrap_or(0).into();
        }
        if let Some(found) = step.job.and_then(|job| places.get_mut(job)) {
            found.steps.push(place);
            found.expires = step.expires;
        }
        columns.push(step, number);
    }
    let arguments = columns.into_arguments().map_err(|err| {
        Error::new(ErrorKind::LimitExceeded, OPERATION, "the writes are too large to be sent; split them")
            .caused_by(err)
    })?;
    Ok((places, arguments))
}

fn steps(jobs: &[Job]) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::with_capacity(jobs.len() * 2);
    let mut checked = HashMap::new();
    for (index, job) in jobs.iter().enumerate() {
        let step = |kind, name| Step {
            kind,
            tenant: &job.tenant,
            name,
            numbers: [0; 4],
            owner: None,
            content: None,
            records: &[],
            checked: None,
            job: Some(index),
            expires: Timestamp::default(),
        };
        let sum = |name: &str, content: &[u8]| Sum::new(job.tenant.as_str(), name).of(content);
        match &job.write {
            Write::Put { key, value, expect } => steps.push(Step {
                numbers: [version(*expect), sum(key, value).into(), 0, 0],
                content: Some(value),
                ..step(PUT, key)
            }),
            Write::Delete { key, expect } => {
                steps.push(Step { numbers: [version(*expect), 0, 0, 0], ..step(DELETE, key) });
            }
            Write::Append { stream, expected, fence, records } => {
                if let Some(fence) = fence
                    && checked.insert((&job.tenant, &fence.lease), ()).is_none()
                {
                    steps.push(Step { job: None, ..step(CHECK, &fence.lease) });
                }
                let many = i64::try_from(records.len()).unwrap_or(i64::MAX);
                let token = fence.as_ref().map_or(0, |fence| token(fence.token));
                steps.push(Step {
                    numbers: [expected.map_or(-1, signed), 0, token, many],
                    records,
                    checked: fence.as_ref().map(|fence| &*fence.lease),
                    ..step(APPEND, stream)
                });
            }
            Write::Remove { stream } => steps.push(step(REMOVE, stream)),
            Write::Acquire { name, owner, expires } => {
                let now = expires.clock.now();
                let end = now.plus(expires.ttl);
                steps.push(Step {
                    numbers: [now.as_micros(), end.as_micros(), 0, 0],
                    owner: Some(owner),
                    expires: end,
                    ..step(ACQUIRE, name)
                });
            }
            Write::Renew { fence, expires } => {
                let end = expires.clock.now().plus(expires.ttl);
                steps.push(Step {
                    numbers: [token(fence.token), end.as_micros(), 0, 0],
                    expires: end,
                    ..step(RENEW, &fence.lease)
                });
            }
            Write::Release { fence } => {
                steps.push(Step { numbers: [token(fence.token), 0, 0, 0], ..step(RELEASE, &fence.lease) });
            }
            // The empty name: before all that the tenant may write in the same batch.
            Write::Erase => {
                steps.extend([ERASE_LEASES, ERASE_STREAMS, ERASE_KEYS].map(|kind| step(kind, "")));
            }
        }
    }
    steps
}

/// The arrays that the function takes.
#[derive(Default)]
struct Columns<'a> {
    kinds: Vec<i16>,
    tenants: Vec<&'a str>,
    names: Vec<&'a str>,
    numbers: [Vec<i64>; 4],
    owners: Vec<Option<&'a str>>,
    contents: Vec<Option<&'a [u8]>>,
    record_steps: Vec<i32>,
    record_places: Vec<i32>,
    record_checksums: Vec<i32>,
    record_data: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, step: &Step<'a>, number: i32) {
        self.kinds.push(step.kind);
        self.tenants.push(step.tenant.as_str());
        self.names.push(step.name);
        for (column, value) in self.numbers.iter_mut().zip(step.numbers) {
            column.push(value);
        }
        self.owners.push(step.owner);
        self.contents.push(step.content);
        let sum = Sum::new(step.tenant.as_str(), step.name);
        for (index, record) in (0..).zip(step.records) {
            self.record_steps.push(number);
            self.record_places.push(index);
            self.record_checksums.push(sum.of(record));
            self.record_data.push(record);
        }
    }

    fn into_arguments(self) -> Result<PgArguments, sqlx::error::BoxDynError> {
        let mut arguments = PgArguments::default();
        arguments.add(self.kinds)?;
        arguments.add(self.tenants)?;
        arguments.add(self.names)?;
        for numbers in self.numbers {
            arguments.add(numbers)?;
        }
        arguments.add(self.owners)?;
        arguments.add(self.contents)?;
        arguments.add(self.record_steps)?;
        arguments.add(self.record_places)?;
        arguments.add(self.record_checksums)?;
        arguments.add(self.record_data)?;
        Ok(arguments)
    }
}

/// What the function takes for an expected version.
fn version(expect: Expect) -> i64 {
    match expect {
        Expect::Any => -1,
        Expect::Absent => 0,
        // No key has version 0, and none has the largest number.
        Expect::Version(0) => i64::MAX,
        Expect::Version(version) => signed(version),
    }
}

/// A token to compare with stored ones; 0 and what is beyond the range equal none of them.
fn token(token: u64) -> i64 {
    if token == 0 { -1 } else { signed(token) }
}

/// A number to compare with stored ones; what is beyond the range equals none of them.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
