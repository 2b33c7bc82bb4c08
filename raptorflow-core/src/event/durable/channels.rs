//! `DurableChannels`: publishes events to channels in a store, and reads them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{config::DurableConfig, record::Kept};
use crate::{
    error::Result,
    event::{Batch, Bus, Channel, Event},
    runtime::Context,
    storage::{Append, Storage},
    types::{TenantId, Timestamp},
};

/// How many names of streams are listed at a time.
const PAGE: usize = 1000;

/// Channels whose events are kept in a store until their retention is over; cloning shares them.
///
/// Every channel of [`Bus`] can be one, and every custom one; a [`Bus`] tells what happens now and forgets it, and these
/// keep it for consumers that come back.
/// Events of a context's tenant are visible to that tenant alone.
/// A group of consumers shares a channel: each event goes to one of them, and again to one of them until somebody
/// acknowledges it.
/// One that was delivered as often as allowed goes to the channel of the same name with `.dead` behind it, with its id,
/// and with `dead_letter` in its metadata, which says the group, the attempts and the reason.
/// Nothing gives up in a channel of dead letters: there an event comes again until it is acknowledged.
///
/// # Contract
/// - an event whose publishing returned is delivered to every group of its channel until one consumer acknowledges it.
/// - events of a channel have sequences from 0 without gaps, and are first delivered in that order.
/// - an event is with one consumer of a group at a time, for as long as the group's `hold` and its extensions.
/// - a delivery that was never acknowledged comes again with the same id and one attempt more.
/// - a delivery that was given back rests as long as the backoff says.
/// - after so many attempts an event is a dead letter with the reason, and comes no more.
/// - what a consumer says about a delivery that another consumer has now is `Conflict` and changes nothing.
/// - a new group begins with the oldest event or with the next one.
/// - at most `in_flight` events of a group are under way.
/// - groups of one channel do not see each other, and neither do tenants.
/// - an event older than the retention goes with its segment, and a group that had not done it counts it as missed.
/// - an event told on several channels is kept in each.
/// - the first reply to a request is its reply, also for whoever asks for it again.
///
/// # Examples
/// ```
/// use raptorflow_core::event::{Channel, DurableChannels, DurableConfig, Event, EventKind, GroupConfig};
/// use raptorflow_core::{runtime::{Context, Runtime}, storage::Storage};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let channels = DurableChannels::new(Storage::memory(), DurableConfig::default())?;
/// channels.publish(&ctx, Event::new(&ctx, EventKind::NotificationTriggered)).await?;
///
/// let consumer = channels.consumer(&ctx, Channel::Notifications, "mailer", GroupConfig::default()).await?;
/// let delivery = consumer.next(&ctx).await?;
/// assert_eq!((delivery.event().kind.name(), delivery.attempt()), ("notification_triggered", 1));
/// delivery.ack(&ctx).await?;
/// assert_eq!(consumer.stats(&ctx).await?.acked, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DurableChannels(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: Storage,
    config: DurableConfig,
    bus: Option<Bus>,
    // A std mutex: no await happens while it is held.
    heads: Mutex<HashMap<(TenantId, Channel), Head>>,
    /// Wakes who waits in this process, where the store does not tell.
    changed: Notify,
}

/// Where a channel grows.
#[derive(Clone, Copy, Debug)]
struct Head {
    segment: u64,
    /// When the store was looked at.
    seen: Timestamp,
}

impl DurableChannels {
    /// Channels in a store.
    ///
    /// # Errors
    /// `InvalidInput` when a setting is zero.
    pub fn new(storage: Storage, config: DurableConfig) -> Result<Self> {
        config.check()?;
        Ok(Self(Arc::new(Inner {
            storage,
            config,
            bus: None,
            heads: Mutex::default(),
            changed: Notify::new(),
        })))
    }

    /// Tells on a bus of every event that becomes a dead letter, as `error_occurred`.
    #[must_use]
    pub fn with_bus(self, bus: Bus) -> Self {
        let (storage, config) = (self.0.storage.clone(), self.0.config);
        Self(Arc::new(Inner {
            storage,
            config,
            bus: Some(bus),
            heads: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// Publishes one event or several to their channels; they are kept when this returns.
    ///
    /// Events of one channel are in order, with those of others between them at most where a segment ends.
    ///
    /// # Errors
    /// What the storage says; some of the events may be kept then, and published again they are there twice, with the
    /// same ids.
    ///
    /// # Cancellation
    /// A dropped future has published a part of the events from the first on, or all, or none.
    pub async fn publish(&self, ctx: &Context, events: impl Into<Batch>) -> Result<()> {
        let events = match events.into() {
            Batch::One(event) => vec![event],
            Batch::Many(events) => events,
        };
        let mut channels: Vec<(Channel, Vec<Bytes>)> = Vec::new();
        for event in events {
            let to: Vec<Channel> = std::iter::once(&event.channel).chain(&event.also).cloned().collect();
            let record = Kept::write(ctx.now(), event)?;
            for channel in to {
                match channels.iter_mut().find(|(known, _)| *known == channel) {
                    Some((_, records)) => records.push(record.clone()),
                    None => channels.push((channel, vec![record.clone()])),
                }
            }
        }
        for (channel, records) in channels {
            self.append(ctx, &channel, records).await?;
        }
        self.0.changed.notify_waiters();
        Ok(())
    }

    /// Events of a channel from a sequence on, at most `limit`, whether they are done or not; also dead letters.
    ///
    /// The sequence of each is its place in the channel.
    ///
    /// # Errors
    /// `Corrupt` for an event that was damaged, and what the storage says.
    pub async fn read(
        &self,
        ctx: &Context,
        channel: &Channel,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Event>> {
        let from = from.max(self.first(ctx, channel).await?);
        let kept = self.kept(ctx, channel, from, limit).await?;
        Ok(kept.into_iter().map(|kept| kept.event).collect())
    }

    /// Removes segments of a channel all of whose events are older than the retention, and says how many.
    ///
    /// This is also done whenever a segment begins.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn trim(&self, ctx: &Context, channel: &Channel) -> Result<u64> {
        let Some(retention) = self.0.config.retention else { return Ok(0) };
        let segments = self.segments(ctx, channel).await?;
        let Some((_, old)) = segments.split_last() else { return Ok(0) };
        let mut removed = 0;
        for segment in old {
            let stream = stream(channel, *segment);
            let last = self.0.storage.read(ctx, &stream, self.segment() - 1, 1).await?;
            let Some(record) = last.first() else { break };
            let sequence = segment.saturating_mul(self.segment()).saturating_add(record.sequence);
            if ctx.now().since(Kept::read(record, sequence)?.at) <= retention {
                break;
            }
            removed += u64::from(self.0.storage.remove(ctx, &stream).await?);
        }
        Ok(removed)
    }

    /// Told of what is published, done or answered in this process.
    pub(super) fn changed(&self) -> &Notify {
        &self.0.changed
    }

    pub(super) fn storage(&self) -> &Storage {
        &self.0.storage
    }

    pub(super) fn config(&self) -> &DurableConfig {
        &self.0.config
    }

    pub(super) fn bus(&self) -> Option<&Bus> {
        self.0.bus.as_ref()
    }

    /// Events from a sequence on that is not before the first one kept.
    pub(super) async fn kept(
        &self,
        ctx: &Context,
        channel: &Channel,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Kept>> {
        let mut kept = Vec::new();
        let mut next = from;
        while kept.len() < limit {
            let (segment, at) = self.place(next);
            // What lies behind the end of a segment was published again in the next one.
            let room = usize::try_from(self.segment() - at).unwrap_or(usize::MAX);
            let wanted = room.min(limit - kept.len());
            let records = self.0.storage.read(ctx, &stream(channel, segment), at, wanted).await?;
            let complete = records.len() == wanted;
            for record in &records {
                kept.push(Kept::read(record, next)?);
                next += 1;
            }
            if !complete {
                break;
            }
        }
        Ok(kept)
    }

    /// The sequence of the oldest event that is kept, or 0 when there was none yet.
    pub(super) async fn first(&self, ctx: &Context, channel: &Channel) -> Result<u64> {
        let names = self.0.storage.streams(ctx, &prefix(channel), None, 1).await?;
        let segment = names.first().and_then(|name| segment_of(name)).unwrap_or_default();
        Ok(segment.saturating_mul(self.segment()))
    }

    /// The sequence that the next event gets.
    pub(super) async fn end(&self, ctx: &Context, channel: &Channel) -> Result<u64> {
        let newest = self.segments(ctx, channel).await?.last().copied().unwrap_or_default();
        let length = self.0.storage.length(ctx, &stream(channel, newest)).await?;
        Ok(newest.saturating_mul(self.segment()).saturating_add(length.min(self.segment())))
    }

    /// The stream that an event of a sequence is, or will be, in; and its place there.
    pub(super) fn stream_at(&self, channel: &Channel, sequence: u64) -> (String, u64) {
        let (segment, at) = self.place(sequence);
        (stream(channel, segment), at)
    }

    async fn append(&self, ctx: &Context, channel: &Channel, mut records: Vec<Bytes>) -> Result<()> {
        while !records.is_empty() {
            let head = self.head(ctx, channel).await?;
            let most = usize::try_from(self.segment()).unwrap_or(usize::MAX);
            let batch: Vec<Bytes> = records.iter().take(most).cloned().collect();
            let count = batch.len() as u64;
            let stream = stream(channel, head.segment);
            let append = Append { records: batch, ..Append::to(&stream) };
            let length = self.0.storage.append(ctx, append).await?;
            let start = length.saturating_sub(count);
            // Several append at once, so that some may land behind the end, where nobody reads them.
            let landed = self.segment().saturating_sub(start).min(count);
            records.drain(..usize::try_from(landed).unwrap_or(usize::MAX).min(records.len()));
            if length >= self.segment() {
                self.trim(ctx, channel).await?;
                let head = Head { segment: head.segment + 1, ..head };
                self.heads().insert((ctx.tenant().clone(), channel.clone()), head);
            }
        }
        Ok(())
    }

    /// The segment that grows, by the store where what is known may be out of date.
    ///
    /// A segment is removed only when all of it is older than the retention and a newer one exists.
    /// So one that was the newest half a retention ago can still be appended to, and no removed one comes back.
    async fn head(&self, ctx: &Context, channel: &Channel) -> Result<Head> {
        let key = (ctx.tenant().clone(), channel.clone());
        let now = ctx.now();
        let known = self.heads().get(&key).copied();
        let fresh = |head: &Head| self.0.config.retention.is_none_or(|it| now.since(head.seen) < it / 2);
        if let Some(head) = known.filter(fresh) {
            return Ok(head);
        }
        let segment = self.segments(ctx, channel).await?.last().copied().unwrap_or_default();
        let head = Head { segment, seen: now };
        self.heads().insert(key, head);
        Ok(head)
    }

    /// The numbers of the segments that there are, oldest first.
    async fn segments(&self, ctx: &Context, channel: &Channel) -> Result<Vec<u64>> {
        let (prefix, mut found, mut after) = (prefix(channel), Vec::new(), None::<String>);
        loop {
            let names = self.0.storage.streams(ctx, &prefix, after.as_deref(), PAGE).await?;
            found.extend(names.iter().filter_map(|name| segment_of(name)));
            match names.into_iter().nth(PAGE - 1) {
                Some(last) => after = Some(last),
                None => return Ok(found),
            }
        }
    }

    fn segment(&self) -> u64 {
        self.0.config.segment.max(1)
    }

    fn place(&self, sequence: u64) -> (u64, u64) {
        (sequence / self.segment(), sequence % self.segment())
    }

    fn heads(&self) -> MutexGuard<'_, HashMap<(TenantId, Channel), Head>> {
        self.0.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn prefix(channel: &Channel) -> String {
    format!("event/{channel}/")
}

/// Names sort like their numbers.
fn stream(channel: &Channel, segment: u64) -> String {
    format!("event/{channel}/{segment:020}")
}

fn segment_of(name: &str) -> Option<u64> {
    name.rsplit_once('/')?.1.parse().ok()
}
