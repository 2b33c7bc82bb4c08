//! A stream, a key and a lease of one name, and the states that they go through one after the other.

use std::time::Duration;

use bytes::Bytes;
use raptorflow_core::{
    error::{ErrorKind, Result},
    runtime::Context,
    storage::{Append, Expect, Fence, Grant, Storage},
};

const DAY: Duration = Duration::from_secs(86_400);
/// No record of a stream has it.
const FAR: u64 = 1 << 40;

/// What a cell holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State {
    records: Vec<Bytes>,
    /// The value and its version; the version is unknown while nobody was told it.
    value: Option<(Bytes, Option<u64>)>,
    grant: Option<Grant>,
    /// A fence that was passed or released.
    stale: Option<Fence>,
}

/// One cell of one tenant.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    ctx: Context,
    name: String,
    /// Names of cells of different tenants are equal, their seeds are not.
    seed: u64,
}

/// What one step does.
enum Step {
    Append { records: Vec<Bytes>, conditions: Conditions },
    Refused { fenced: bool },
    Put(Bytes),
    Delete,
    Acquire,
    Release,
    Remove,
}

/// What an append asks for; it all holds.
struct Conditions {
    length: bool,
    fence: bool,
}

impl Cell {
    pub(crate) fn new(ctx: &Context, tenant: &str, index: u64) -> Self {
        let ctx = ctx.with_tenant(tenant.parse().unwrap());
        let seed = tenant.bytes().fold(index + 1, |seed, byte| random(seed ^ u64::from(byte)));
        Self { ctx, name: format!("cell/{index}"), seed }
    }

    /// Two tenants with so many cells each, of the same names.
    pub(crate) fn grid(ctx: &Context, each: u64) -> Vec<Self> {
        let of = |tenant| (0..each).map(move |index| Self::new(ctx, tenant, index));
        of("one").chain(of("two")).collect()
    }

    fn step(&self, number: u64) -> Step {
        let dice = random(self.seed ^ (number << 20));
        let bytes = |n: u64, size| {
            let mark = format!("{}/{}/{number}/{n}/", self.ctx.tenant(), self.name);
            Bytes::from(mark.bytes().cycle().take(size).collect::<Vec<u8>>())
        };
        match dice % 16 {
            0..=7 => Step::Append {
                records: (0..=dice / 16 % 3).map(|n| bytes(n, size(dice >> 8))).collect(),
                conditions: Conditions { length: dice & (1 << 40) != 0, fence: true },
            },
            8 => Step::Refused { fenced: false },
            9 => Step::Refused { fenced: true },
            10 | 11 => Step::Put(bytes(9, size(dice >> 8))),
            12 => Step::Delete,
            13 => Step::Acquire,
            14 => Step::Release,
            _ if dice & (3 << 40) == 0 => Step::Remove,
            _ => Step::Acquire,
        }
    }

    /// Does one step from a state and gives the next one.
    ///
    /// On an error of the disk `before` is what it was or what [`Cell::next`] says.
    pub(crate) async fn go(&self, storage: &Storage, number: u64, before: &State) -> Result<State> {
        let (ctx, mut after) = (&self.ctx, self.next(number, before));
        match self.step(number) {
            Step::Append { records, conditions } => {
                let mut append = Append::to(&self.name);
                append.expected = conditions.length.then_some(before.records.len() as u64);
                append.fence = before.grant.as_ref().filter(|_| conditions.fence).map(|grant| &grant.fence);
                append.records = records;
                let length = storage.append(ctx, append).await?;
                assert_eq!(length, after.records.len() as u64);
            }
            Step::Refused { fenced } => {
                let mut append = Append::to(&self.name);
                append.records = vec!["refused".into()];
                match &before.stale {
                    Some(stale) if fenced => append.fence = Some(stale),
                    _ => append.expected = Some(FAR),
                }
                match storage.append(ctx, append).await {
                    Err(err) if err.kind() == ErrorKind::Conflict => {}
                    other => return other.map(|_| panic!("the append was not refused")),
                }
            }
            Step::Put(value) => {
                let expect = match &before.value {
                    None => Expect::Absent,
                    Some((_, None)) => Expect::Any,
                    Some((_, Some(version))) => Expect::Version(*version),
                };
                let version = storage.put(ctx, &self.name, value.clone(), expect).await?;
                after.value = Some((value, Some(version)));
            }
            Step::Delete => {
                let existed = storage.delete(ctx, &self.name, Expect::Any).await?;
                assert_eq!(existed, before.value.is_some());
            }
            Step::Acquire => {
                let grant = storage.acquire(ctx, &self.name, "owner", DAY).await?;
                after.grant = Some(grant.expect("the owner gets its own lease"));
            }
            Step::Release => {
                if let Some(grant) = &before.grant {
                    storage.release(ctx, grant).await?;
                }
            }
            Step::Remove => {
                let existed = storage.remove(ctx, &self.name).await?;
                assert_eq!(existed, !before.records.is_empty());
            }
        }
        Ok(after)
    }

    /// The state after a step, as far as it is known beforehand.
    pub(crate) fn next(&self, number: u64, before: &State) -> State {
        let mut after = before.clone();
        match self.step(number) {
            Step::Append { records, .. } => after.records.extend(records),
            Step::Refused { .. } => {}
            Step::Put(value) => after.value = Some((value, None)),
            Step::Delete => after.value = None,
            Step::Acquire | Step::Release => {
                after.stale = after.grant.take().map(|grant| grant.fence).or(after.stale);
            }
            Step::Remove => after.records.clear(),
        }
        after
    }

    /// Whether the store shows a state; the difference if not.
    pub(crate) async fn compare(&self, storage: &Storage, state: &State) -> Result<Option<String>> {
        let ctx = &self.ctx;
        let records = storage.read(ctx, &self.name, 0, usize::MAX).await?;
        let length = storage.length(ctx, &self.name).await?;
        let same = records.iter().map(|record| &record.data).eq(&state.records);
        if !same || length != state.records.len() as u64 {
            let found = (records.len(), length);
            return Ok(Some(format!("{found:?} records for {}, the same: {same}", state.records.len())));
        }
        if storage.streams(ctx, &self.name, None, 1).await?.is_empty() != records.is_empty() {
            return Ok(Some("a stream without name or a name without stream".to_owned()));
        }
        let found = storage.get(ctx, &self.name).await?.map(|found| (found.value, found.version));
        let same = match (&found, &state.value) {
            (None, None) => true,
            (Some((value, version)), Some((expected, known))) => {
                value == expected && known.is_none_or(|known| known == *version)
            }
            _ => false,
        };
        if !same {
            return Ok(Some("another value".to_owned()));
        }
        if let Some(grant) = &state.grant
            && !self.holds(storage, &grant.fence).await?
        {
            return Ok(Some("the grant is gone".to_owned()));
        }
        if let Some(stale) = &state.stale
            && self.holds(storage, stale).await?
        {
            return Ok(Some("a passed grant is back".to_owned()));
        }
        Ok(None)
    }

    /// Whether a fence is the newest: an append without records checks it and changes nothing.
    async fn holds(&self, storage: &Storage, fence: &Fence) -> Result<bool> {
        let mut append = Append::to(&self.name);
        append.fence = Some(fence);
        match storage.append(&self.ctx, append).await {
            Ok(_) => Ok(true),
            Err(err) if err.kind() == ErrorKind::Conflict => Ok(false),
            Err(err) => Err(err),
        }
    }
}

/// Sizes that share a page, fill one, and need several.
fn size(dice: u64) -> usize {
    match dice % 16 {
        0 => 0,
        1..=9 => 200,
        10..=14 => 1500,
        _ => 9000,
    }
}

/// A number that looks as if it had nothing to do with `seed`.
pub(crate) fn random(seed: u64) -> u64 {
    let mixed = (seed.wrapping_add(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
