//! `Consumer`: takes events of a channel for a group.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use serde_json::json;

use super::{
    channels::DurableChannels,
    config::{GroupConfig, Start},
    delivery::Delivery,
    group::{Claim, Dying, Group, GroupStats},
};
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    event::{Channel, Event, EventKind, Status},
    runtime::Context,
    storage::Expect,
};

/// What stands behind the name of a channel for its dead letters.
const DEAD: &str = ".dead";
/// How often a change of a group's state is tried while others change it.
const TRIES: usize = 10_000;

/// Takes events of a channel for a group; cloning shares it, and any number of them in any number of processes may
/// take for one group.
///
/// ```
/// use raptorflow_core::{runtime::{Context, Runtime}, storage::Storage};
/// use raptorflow_core::event::{Channel, DurableChannels, DurableConfig, Event, EventKind, GroupConfig};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let channels = DurableChannels::new(Storage::memory(), DurableConfig::default())?;
/// channels.publish(&ctx, Event::new(&ctx, EventKind::MetricRecorded)).await?;
///
/// let once = GroupConfig::default().with_attempts(1);
/// let consumer = channels.consumer(&ctx, Channel::Metrics, "sums", once).await?;
/// consumer.next(&ctx).await?.nack(&ctx, "no number").await?;
/// let dead = channels.read(&ctx, &"metrics.dead".parse()?, 0, 10).await?;
/// let metadata = dead[0].metadata.as_ref().unwrap();
/// assert_eq!(metadata["dead_letter"]["reason"], "no number");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Consumer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    channels: DurableChannels,
    channel: Channel,
    dead: Option<Channel>,
    group: Arc<str>,
    /// Where the state of the group is.
    key: String,
    config: GroupConfig,
}

impl DurableChannels {
    /// A consumer of a channel for a group, which begins as `config` says when there is none of this name.
    ///
    /// # Errors
    /// `InvalidInput` for a name that is not 1 to 64 characters of `a-z`, `0-9`, `_`, `-` and `.`, for a setting that is
    /// zero, and for a channel whose name is too long to have dead letters; what the storage says.
    pub async fn consumer(
        &self,
        ctx: &Context,
        channel: Channel,
        group: &str,
        config: GroupConfig,
    ) -> Result<Consumer> {
        config.check()?;
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
        if !(1..=64).contains(&group.len()) || !group.bytes().all(fits) {
            let message = "expected 1 to 64 characters of a-z, 0-9, `_`, `-` and `.`";
            return Err(Error::new(ErrorKind::InvalidInput, "event.consumer", message)
                .with("field", "group")
                .with("value", group));
        }
        let dead = match channel.name().ends_with(DEAD) {
            true => None,
            false => Some(format!("{channel}{DEAD}").parse()?),
        };
        let key = format!("event-group/{channel}/{group}");
        let consumer = Consumer(Arc::new(Inner {
            channels: self.clone(),
            dead,
            group: Arc::from(group),
            key,
            config: if channel.name().ends_with(DEAD) { config.with_attempts(u32::MAX) } else { config },
            channel,
        }));
        consumer.begin(ctx).await?;
        Ok(consumer)
    }
}

impl Consumer {
    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.0.channel
    }

    /// The name of the group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.0.group
    }

    /// Waits for the next event that is not with another consumer.
    ///
    /// # Errors
    /// `Cancelled` and `Timeout` with the context, `Corrupt` for an event that was damaged, what the storage says.
    ///
    /// # Cancellation
    /// An event that was taken by a dropped future comes again when its time is over.
    pub async fn next(&self, ctx: &Context) -> Result<Delivery> {
        let mut deliveries = self.next_many(ctx, 1).await?;
        deliveries.pop().ok_or_else(|| {
            Error::new(ErrorKind::Internal, "event.next", "a wait for events ended without one")
        })
    }

    /// Waits for events, and takes at most `limit` of those that there are; none only when `limit` is 0.
    ///
    /// # Errors
    /// As [`Consumer::next`].
    ///
    /// # Cancellation
    /// As [`Consumer::next`].
    pub async fn next_many(&self, ctx: &Context, limit: usize) -> Result<Vec<Delivery>> {
        let waiting = async {
            loop {
                // Before it looks, so that nothing is missed in between.
                let mut changed = pin!(self.0.channels.changed().notified());
                changed.as_mut().enable();
                let (deliveries, group) = self.take_with(ctx, limit).await?;
                if !deliveries.is_empty() || limit == 0 {
                    return Ok(deliveries);
                }
                tokio::select! {
                    () = changed => {}
                    rested = self.rest(ctx, &group) => rested?,
                }
            }
        };
        ctx.bound("event.next", waiting).await?
    }

    /// Takes at most `limit` events that there are now, the ones that come again first.
    ///
    /// # Errors
    /// As [`Consumer::next`].
    ///
    /// # Cancellation
    /// As [`Consumer::next`].
    pub async fn take(&self, ctx: &Context, limit: usize) -> Result<Vec<Delivery>> {
        Ok(self.take_with(ctx, limit).await?.0)
    }

    /// Acknowledges several deliveries of this group with one write.
    ///
    /// # Errors
    /// `Conflict` with `lost` in the context when others have some of them now; the rest is acknowledged.
    /// What the storage says.
    ///
    /// # Cancellation
    /// A dropped future has acknowledged all of them or none.
    pub async fn ack_all(&self, ctx: &Context, deliveries: impl IntoIterator<Item = Delivery>) -> Result<()> {
        let held: Vec<(u64, u64)> = deliveries.into_iter().map(|it| (it.sequence(), it.token())).collect();
        let acked = self
            .change(ctx, |group| held.iter().filter(|(sequence, token)| group.ack(*sequence, *token)).count())
            .await?;
        if acked == held.len() { Ok(()) } else { Err(self.lost(held.len() - acked)) }
    }

    /// Hands events to a function, one after another, until the context is cancelled or its deadline is over.
    ///
    /// What the function does well is acknowledged; an error or a panic gives the event back with it as the reason.
    /// While it works the event is held for it.
    ///
    /// # Errors
    /// `Corrupt` for an event that was damaged, and what the storage says.
    ///
    /// # Cancellation
    /// What was under way in a dropped future comes again when its time is over.
    pub async fn work<F, W>(&self, ctx: &Context, mut handle: F) -> Result<()>
    where
        F: FnMut(Event) -> W,
        W: Future<Output = Result<()>>,
    {
        loop {
            let delivery = match self.next(ctx).await {
                Ok(delivery) => delivery,
                Err(_) if ctx.cancel().is_cancelled() || ctx.is_overdue() => return Ok(()),
                Err(err) => return Err(err),
            };
            let work = AssertUnwindSafe(handle(delivery.event().clone())).catch_unwind();
            let ended = self.held_while(ctx, &delivery, work).await?;
            let settled = match ended {
                // Somebody else has it, and what this one did of it is theirs to repeat.
                None => Ok(()),
                Some(Ok(Ok(()))) => delivery.ack(ctx).await,
                Some(Ok(Err(err))) => delivery.nack(ctx, &err.to_string()).await,
                Some(Err(_)) => delivery.nack(ctx, "the function panicked").await,
            };
            match settled {
                Err(err) if err.kind() == ErrorKind::Conflict => {}
                settled => settled?,
            }
        }
    }

    /// What the group did, and has under way.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn stats(&self, ctx: &Context) -> Result<GroupStats> {
        Ok(self.load(ctx).await?.0.stats())
    }

    pub(super) fn channels(&self) -> &DurableChannels {
        &self.0.channels
    }

    pub(super) fn config(&self) -> &GroupConfig {
        &self.0.config
    }

    /// Changes the state of the group, and gives what the change gave; done again when others were faster.
    pub(super) async fn change<T>(&self, ctx: &Context, change: impl Fn(&mut Group) -> T) -> Result<T> {
        for _ in 0..TRIES {
            let (before, version) = self.load(ctx).await?;
            let mut group = before.clone();
            let given = change(&mut group);
            if self.store(ctx, &before, &group, version).await? {
                return Ok(given);
            }
        }
        Err(self.contended())
    }

    /// Brings what was delivered often enough to the dead letters.
    pub(super) async fn bury(&self, ctx: &Context) -> Result<()> {
        for Dying { sequence, attempts, reason } in self.load(ctx).await?.0.dying() {
            let kept = self.0.channels.kept(ctx, &self.0.channel, sequence, 1).await?.pop();
            let (Some(kept), Some(dead)) = (kept, &self.0.dead) else {
                self.change(ctx, |group| group.miss(sequence)).await?;
                continue;
            };
            let mut event = kept.event;
            let mut metadata = event.metadata.take().unwrap_or_default();
            let letter = json!({
                "channel": self.0.channel, "group": &*self.0.group, "sequence": sequence, "attempts": attempts,
                "reason": reason,
            });
            metadata.insert("dead_letter".to_owned(), letter);
            event.metadata = Some(metadata);
            event.channel = dead.clone();
            event.also = Box::default();
            let id = event.id;
            self.0.channels.publish(ctx, event).await?;
            if self.change(ctx, |group| group.bury(sequence)).await?
                && let Some(bus) = self.0.channels.bus()
            {
                let mut told = Event::new(ctx, EventKind::ErrorOccurred);
                told.status = Status::Error;
                told.causation = Some(id);
                told.data = json!({
                    "dead_letter": id, "channel": self.0.channel, "group": &*self.0.group, "attempts": attempts,
                });
                bus.publish(ctx, told).await?;
            }
        }
        Ok(())
    }

    /// The error of somebody who speaks of deliveries that others have now.
    pub(super) fn lost(&self, count: usize) -> Error {
        let message = "another consumer has the event now, or it is done";
        Error::new(ErrorKind::Conflict, "event.settle", message)
            .with("channel", &self.0.channel)
            .with("group", &self.0.group)
            .with("lost", count)
    }

    async fn begin(&self, ctx: &Context) -> Result<()> {
        let channels = &self.0.channels;
        if channels.storage().get(ctx, &self.0.key).await?.is_some() {
            return Ok(());
        }
        let next = match self.0.config.start {
            Start::Oldest => channels.first(ctx, &self.0.channel).await?,
            Start::Newest => channels.end(ctx, &self.0.channel).await?,
        };
        let group = Group::starting_at(next);
        match channels.storage().put_json(ctx, &self.0.key, &group, Expect::Absent).await {
            // Another consumer was the first.
            Err(err) if err.kind() == ErrorKind::Conflict => Ok(()),
            put => put.map(drop),
        }
    }

    async fn take_with(&self, ctx: &Context, limit: usize) -> Result<(Vec<Delivery>, Group)> {
        for _ in 0..TRIES {
            let (before, version) = self.load(ctx).await?;
            let mut group = before.clone();
            let taken = self.claim(ctx, &mut group, limit).await?;
            if !self.store(ctx, &before, &group, version).await? {
                continue;
            }
            if !group.dying().is_empty() {
                self.bury(ctx).await?;
            }
            let deliveries =
                taken.into_iter().map(|(claim, event)| Delivery::new(self.clone(), claim, event));
            return Ok((deliveries.collect(), group));
        }
        Err(self.contended())
    }

    /// What is to be delivered, as far as nobody else changes the group meanwhile.
    async fn claim(&self, ctx: &Context, group: &mut Group, limit: usize) -> Result<Vec<(Claim, Event)>> {
        let Inner { channels, channel, config, .. } = &*self.0;
        let (mut taken, now) = (Vec::new(), ctx.now());
        for claim in group.take_due(config, now, limit) {
            match channels.kept(ctx, channel, claim.sequence, 1).await?.pop() {
                Some(kept) => taken.push((claim, kept.event)),
                None => group.miss(claim.sequence),
            }
        }
        let room = limit.saturating_sub(taken.len()).min(group.room(config));
        if room == 0 {
            return Ok(taken);
        }
        let mut fresh = channels.kept(ctx, channel, group.next, room).await?;
        if fresh.is_empty() {
            let first = channels.first(ctx, channel).await?;
            if first > group.next {
                group.forget_before(first);
                fresh = channels.kept(ctx, channel, first, room).await?;
            }
        }
        let claims = group.take_new(config, now, fresh.len());
        taken.extend(claims.into_iter().zip(fresh.into_iter().map(|kept| kept.event)));
        Ok(taken)
    }

    /// Waits until there may be something to take.
    async fn rest(&self, ctx: &Context, group: &Group) -> Result<()> {
        let poll = self.0.channels.config().poll;
        let due = group.next_due().map(|due| due.since(ctx.now()));
        let patience = due.map_or(poll, |due| due.min(poll)).max(Duration::from_millis(1));
        if group.room(&self.0.config) == 0 {
            ctx.runtime().clock().sleep(patience).await;
            return Ok(());
        }
        let (stream, length) = self.0.channels.stream_at(&self.0.channel, group.next);
        self.0.channels.storage().grown(ctx, &stream, length, patience).await
    }

    /// Works, and holds a delivery meanwhile; `None` when somebody else has it.
    async fn held_while<T>(
        &self,
        ctx: &Context,
        delivery: &Delivery,
        work: impl Future<Output = T>,
    ) -> Result<Option<T>> {
        let mut work = pin!(work);
        let hold = self.0.config.hold;
        loop {
            tokio::select! {
                biased;
                ended = &mut work => return Ok(Some(ended)),
                () = ctx.runtime().clock().sleep(hold / 3) => {}
            }
            match delivery.extend(ctx, hold).await {
                Err(err) if err.kind() == ErrorKind::Conflict => return Ok(None),
                extended => extended?,
            }
        }
    }

    async fn load(&self, ctx: &Context) -> Result<(Group, u64)> {
        let found = self.0.channels.storage().get_json(ctx, &self.0.key).await?;
        found.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "event.consumer", "the group is gone")
                .with("channel", &self.0.channel)
                .with("group", &self.0.group)
        })
    }

    /// Writes a state where nobody changed it; whether it stands now.
    async fn store(&self, ctx: &Context, before: &Group, group: &Group, version: u64) -> Result<bool> {
        if before == group {
            return Ok(true);
        }
        let storage = self.0.channels.storage();
        match storage.put_json(ctx, &self.0.key, group, Expect::Version(version)).await {
            Ok(_) => {
                self.0.channels.changed().notify_waiters();
                Ok(true)
            }
            Err(err) if err.kind() == ErrorKind::Conflict => {
                tokio::task::yield_now().await;
                Ok(false)
            }
            Err(err) => Err(err),
        }
    }

    fn contended(&self) -> Error {
        Error::new(ErrorKind::Conflict, "event.consumer", "too many consumers change the group at once")
            .with("group", &self.0.group)
            .with("tries", TRIES)
            .retryable(Retry::Soon)
    }
}
