//! Requests over durable channels: the reply waits in the store for whoever asked.

use std::{pin::pin, time::Duration};

use super::{channels::DurableChannels, delivery::Delivery, record::Kept};
use crate::{
    error::{ErrorKind, Result},
    event::Event,
    runtime::Context,
    storage::Append,
    types::EventId,
};

/// How long a request waits when its context has no deadline.
const REPLY_WITHIN: Duration = Duration::from_secs(30);
/// How many replies are looked at together.
const PAGE: usize = 1000;

impl DurableChannels {
    /// Publishes a request and waits for its reply, within the context's deadline or 30 seconds.
    ///
    /// Whoever knows the id of the request can wait again with [`DurableChannels::reply_to`], after a crash too.
    ///
    /// # Errors
    /// `Timeout` when nobody answered in time, `Cancelled` with the context, what the storage says.
    ///
    /// # Examples
    /// ```
    /// use raptorflow_core::event::{Channel, DurableChannels, DurableConfig, Event, EventKind, GroupConfig};
    /// use raptorflow_core::{runtime::{Context, Runtime}, storage::Storage};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let ctx = Context::new(&Runtime::current()?);
    /// let channels = DurableChannels::new(Storage::memory(), DurableConfig::default())?;
    /// let desk = channels.consumer(&ctx, Channel::AgentCommunication, "desk", GroupConfig::default()).await?;
    /// let answering = async {
    ///     let request = desk.next(&ctx).await?;
    ///     request.reply(&ctx, Event { data: 42.into(), ..Event::new(&ctx, EventKind::ResponseDelivered) }).await?;
    ///     request.ack(&ctx).await
    /// };
    /// let request = Event::new(&ctx, EventKind::MessageSent);
    /// let (reply, ()) = futures_util::try_join!(channels.request(&ctx, request), answering)?;
    /// assert_eq!(reply.data, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn request(&self, ctx: &Context, request: Event) -> Result<Event> {
        let id = request.id;
        self.publish(ctx, request).await?;
        self.reply_to(ctx, id).await
    }

    /// Waits for the reply to a request that was published, within the context's deadline or 30 seconds.
    ///
    /// # Errors
    /// As [`DurableChannels::request`].
    pub async fn reply_to(&self, ctx: &Context, request: EventId) -> Result<Event> {
        let bounded;
        let ctx = match ctx.deadline() {
            Some(_) => ctx,
            None => {
                bounded = ctx.with_timeout(REPLY_WITHIN);
                &bounded
            }
        };
        let stream = stream(request);
        let waiting = async {
            loop {
                let mut changed = pin!(self.changed().notified());
                changed.as_mut().enable();
                if let Some(record) = self.storage().read(ctx, &stream, 0, 1).await?.first() {
                    return Ok(Kept::read(record, 0)?.event);
                }
                tokio::select! {
                    () = changed => {}
                    grown = self.storage().grown(ctx, &stream, 0, self.config().poll) => grown?,
                }
            }
        };
        ctx.bound("event.request", waiting)
            .await?
            .map_err(|err: crate::error::Error| err.with("request", request))
    }

    /// Removes replies that are older than the retention, and says how many.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn trim_replies(&self, ctx: &Context) -> Result<u64> {
        let Some(retention) = self.config().retention else { return Ok(0) };
        let (mut removed, mut after) = (0, None::<String>);
        loop {
            let names = self.storage().streams(ctx, PREFIX, after.as_deref(), PAGE).await?;
            for name in &names {
                let first = self.storage().read(ctx, name, 0, 1).await?;
                let Some(record) = first.first() else { continue };
                if ctx.now().since(Kept::read(record, 0)?.at) > retention {
                    removed += u64::from(self.storage().remove(ctx, name).await?);
                }
            }
            match names.into_iter().nth(PAGE - 1) {
                Some(last) => after = Some(last),
                None => return Ok(removed),
            }
        }
    }
}

impl Delivery {
    /// Answers the event as a request; the first answer counts, and a later one changes nothing.
    ///
    /// It does not acknowledge the request.
    ///
    /// # Errors
    /// What the storage says.
    ///
    /// # Cancellation
    /// A dropped future has answered or not.
    pub async fn reply(&self, ctx: &Context, mut reply: Event) -> Result<()> {
        let request = self.event();
        reply.correlation = Some(request.id);
        reply.causation = Some(request.id);
        reply.tenant = request.tenant.clone();
        if reply.targets.is_empty() {
            reply.targets = request.source.iter().cloned().collect();
        }
        let (stream, record) = (stream(request.id), Kept::write(ctx.now(), reply)?);
        let append = Append { expected: Some(0), records: vec![record], ..Append::to(&stream) };
        match self.consumer().channels().storage().append(ctx, append).await {
            Err(err) if err.kind() == ErrorKind::Conflict => Ok(()),
            appended => {
                appended?;
                self.consumer().channels().changed().notify_waiters();
                Ok(())
            }
        }
    }
}

/// Where replies are.
const PREFIX: &str = "event-reply/";

fn stream(request: EventId) -> String {
    format!("{PREFIX}{request}")
}
