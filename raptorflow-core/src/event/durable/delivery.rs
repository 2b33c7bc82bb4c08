//! `Delivery`: one event that a consumer has, and what becomes of it.

use std::{fmt, time::Duration};

use super::{
    consumer::Consumer,
    group::{Claim, Group},
};
use crate::{error::Result, event::Event, runtime::Context};

/// An event that a consumer has until it says what became of it, or its time is over.
///
/// Dropping it says nothing: the event comes again, to this consumer or another, when its time is over.
#[must_use = "an event that nobody acknowledges comes again"]
pub struct Delivery {
    consumer: Consumer,
    claim: Claim,
    event: Event,
}

impl Delivery {
    pub(super) fn new(consumer: Consumer, claim: Claim, event: Event) -> Self {
        Self { consumer, claim, event }
    }

    /// The event; its sequence is its place in the channel.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The place of the event in the channel.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.claim.sequence
    }

    /// How often the group was given this event, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.claim.attempt
    }

    /// Who has it.
    #[must_use]
    pub fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// The event is done and comes no more.
    ///
    /// # Errors
    /// `Conflict` when another consumer has it now, and what the storage says.
    ///
    /// # Cancellation
    /// A dropped future has said it or not.
    pub async fn ack(self, ctx: &Context) -> Result<()> {
        let Claim { sequence, token, .. } = self.claim;
        self.settle(ctx, |group| group.ack(sequence, token)).await
    }

    /// Gives the event back; it comes again after a rest, or is a dead letter when it came as often as allowed.
    ///
    /// The reason is kept, at most 500 characters of it.
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    ///
    /// # Cancellation
    /// As [`Delivery::ack`].
    pub async fn nack(self, ctx: &Context, reason: &str) -> Result<()> {
        let random = ctx.runtime().ids().unit();
        let rest = self.consumer.config().backoff.delay(self.claim.attempt, random);
        self.nack_for(ctx, reason, rest).await
    }

    /// Gives the event back for so long; see [`Delivery::nack`].
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    ///
    /// # Cancellation
    /// As [`Delivery::ack`].
    pub async fn nack_for(self, ctx: &Context, reason: &str, rest: Duration) -> Result<()> {
        let Claim { sequence, token, .. } = self.claim;
        let (config, until) = (*self.consumer.config(), ctx.now().plus(rest));
        self.settle(ctx, |group| group.nack(&config, (sequence, token), reason, until)).await?;
        self.consumer.bury(ctx).await
    }

    /// Keeps the event for so long from now, if that is longer than it was.
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    ///
    /// # Cancellation
    /// As [`Delivery::ack`].
    pub async fn extend(&self, ctx: &Context, by: Duration) -> Result<()> {
        let Claim { sequence, token, .. } = self.claim;
        let until = ctx.now().plus(by);
        self.settle(ctx, |group| group.extend(sequence, token, until)).await
    }

    pub(super) fn token(&self) -> u64 {
        self.claim.token
    }

    async fn settle(&self, ctx: &Context, change: impl Fn(&mut Group) -> bool) -> Result<()> {
        if self.consumer.change(ctx, change).await? { Ok(()) } else { Err(self.consumer.lost(1)) }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("event", &self.event.id)
            .field("sequence", &self.claim.sequence)
            .field("attempt", &self.claim.attempt)
            .finish_non_exhaustive()
    }
}
