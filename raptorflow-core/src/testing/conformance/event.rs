//! The contract of `EventBus`.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::join_all};

use super::case::{Case, Subject, cases};
use crate::{
    error::{Error, ErrorKind, Result},
    event::{
        Bus, BusConfig, Channel, Event, EventKind, Filter, History, Lag, Received, Status, Subscription,
    },
    runtime::{Context, Runtime, Tasks},
    testing::ManualClock,
    types::AgentId,
};

type Opening = Pin<Box<dyn Future<Output = Result<Bus>> + Send>>;

/// How many events the history of a case keeps.
const HISTORY: usize = 8;
/// How long it keeps them.
const RETENTION: Duration = Duration::from_secs(3600);
/// How long a `Block` subscription makes a publisher wait.
const AT_MOST: Duration = Duration::from_secs(5);

/// What the event cases run over.
#[derive(Clone)]
pub struct EventSubject {
    open: Arc<dyn Fn(Runtime, BusConfig) -> Opening + Send + Sync>,
    /// The time of every context of the subject.
    pub clock: ManualClock,
}

impl EventSubject {
    /// A subject whose `open` gives an empty bus each time.
    pub fn new<O>(open: impl Fn(Runtime, BusConfig) -> O + Send + Sync + 'static) -> Self
    where
        O: Future<Output = Result<Bus>> + Send + 'static,
    {
        let open = Arc::new(move |runtime, config| -> Opening { Box::pin(open(runtime, config)) });
        Self { open, clock: ManualClock::new() }
    }

    async fn open(&self) -> Result<(Context, Bus)> {
        let runtime = Runtime::new(Arc::new(self.clock.clone()), Tasks::current()?);
        let config = BusConfig { history: HISTORY, retention: RETENTION };
        Ok((Context::new(&runtime), (self.open)(runtime.clone(), config).await?))
    }
}

impl Subject for EventSubject {
    fn offers(&self, _need: &str) -> bool {
        false
    }
}

impl fmt::Debug for EventSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSubject").finish_non_exhaustive()
    }
}

/// Every case of `EventBus`.
#[must_use]
pub fn event_cases() -> Vec<Case<EventSubject>> {
    cases![
        publish_gives_each_event_the_next_stream_sequence_from_0_without_gaps,
        a_subscriber_sees_the_events_that_match_its_filter_in_stream_order_each_once,
        an_event_told_on_several_channels_is_stored_once_and_delivered_to_the_subscribers_of_each,
        a_full_drop_oldest_subscription_keeps_the_newest_and_says_exactly_how_many_it_missed,
        a_full_fail_subscription_ends_with_limit_exceeded_after_what_it_holds,
        a_full_block_subscription_makes_publish_wait_at_most_its_limit_then_counts_as_fail,
        a_full_block_subscription_with_room_in_time_loses_nothing,
        a_dropped_or_stalled_subscription_affects_no_other,
        history_answers_by_filter_from_an_offset_the_newest_limit_in_stream_order,
        the_history_keeps_at_most_its_bound_and_drops_the_oldest,
        the_history_forgets_what_is_older_than_its_retention,
        subscribe_from_gives_the_history_from_an_offset_and_then_live_events_without_gap_or_double,
        subscribe_from_before_the_oldest_event_kept_says_first_how_many_events_are_gone,
        concurrent_publishers_and_subscribers_agree_on_one_order,
        a_request_gets_the_reply_of_its_own_tenant_or_runs_out_of_time,
    ]
}

fn event(ctx: &Context) -> Event {
    Event::new(ctx, EventKind::StatusUpdated)
}

async fn publish(ctx: &Context, bus: &Bus, count: usize) -> Result<()> {
    for _ in 0..count {
        bus.publish(ctx, event(ctx)).await?;
    }
    Ok(())
}

fn everything(bus: &Bus, capacity: usize, lag: Lag) -> Result<Subscription> {
    bus.subscribe(Filter::default(), capacity, lag)
}

/// What a case expects to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    At(u64),
    Missed(u64),
}

fn seen(received: &Received) -> Seen {
    match received {
        Received::Event(event) => Seen::At(event.sequence),
        Received::Missed(count) => Seen::Missed(*count),
    }
}

/// Fails unless a subscription gives exactly this and then waits.
#[track_caller]
fn assert_received(subscription: &mut Subscription, expected: impl IntoIterator<Item = Seen>) {
    let mut all = Vec::new();
    while let Some(outcome) = subscription.recv_many(3).now_or_never() {
        let more = outcome.as_ref().is_ok_and(|batch| !batch.is_empty());
        assert!(more, "it ended with {outcome:?} after {all:?}");
        all.extend(outcome.iter().flatten().map(seen));
    }
    assert_eq!(all, expected.into_iter().collect::<Vec<_>>());
}

fn sequences(events: &[Arc<Event>]) -> Vec<u64> {
    events.iter().map(|event| event.sequence).collect()
}

async fn publish_gives_each_event_the_next_stream_sequence_from_0_without_gaps(
    subject: EventSubject,
) -> Result<()> {
    let (ctx, bus) = subject.open().await?;
    publish(&ctx, &bus, 2).await?;
    bus.publish(&ctx, vec![event(&ctx), Event { sequence: 99, ..event(&ctx) }]).await?;
    bus.publish(&ctx, Vec::new()).await?;
    publish(&ctx, &bus, 1).await?;
    let kept = bus.history(&ctx, &History::default());
    assert_eq!(sequences(&kept), [0, 1, 2, 3, 4]);
    assert!(kept.is_sorted_by_key(|event| event.id));
    assert_eq!((bus.stats().published, bus.stats().retained), (5, 5));
    Ok(())
}

async fn a_subscriber_sees_the_events_that_match_its_filter_in_stream_order_each_once(
    subject: EventSubject,
) -> Result<()> {
    let (ctx, bus) = subject.open().await?;
    let other = Context::new(ctx.runtime()).with_tenant("other".parse()?);
    let writer = |name: &str| AgentId::new(name).map(Some);
    let filters = [
        (Filter::default(), vec![0, 1, 2, 3, 4, 5]),
        (Filter { tenant: Some(ctx.tenant().clone()), ..Filter::default() }, vec![0, 1, 2, 4]),
        (Filter { run: Some(other.run_id()), ..Filter::default() }, vec![3, 5]),
        (Filter { kinds: vec![EventKind::AgentFailed], ..Filter::default() }, vec![1]),
        (
            Filter { channels: vec![Channel::ErrorHandling, Channel::Metrics], ..Filter::default() },
            vec![1, 4],
        ),
        (Filter { agents: vec!["write*".into(), "none".into()], ..Filter::default() }, vec![2, 3]),
        (Filter { domains: vec!["re*h".into()], ..Filter::default() }, vec![4]),
        (Filter { status: Some(Status::Error), ..Filter::default() }, vec![1, 5]),
        (Filter { since: Some(ctx.now().plus(AT_MOST)), ..Filter::default() }, vec![5]),
        (Filter { until: Some(ctx.now().plus(AT_MOST)), ..Filter::default() }, vec![0, 1, 2, 3, 4]),
        (
            Filter { agents: vec!["*".into()], tenant: Some(other.tenant().clone()), ..Filter::default() },
            vec![3],
        ),
    ];
    let mut open = Vec::new();
    for (filter, expected) in filters {
        open.push((bus.subscribe(filter, 16, Lag::Fail)?, expected));
    }
    bus.publish(&ctx, event(&ctx)).await?;
    bus.publish(&ctx, Event { status: Status::Error, ..Event::new(&ctx, EventKind::AgentFailed) }).await?;
    bus.publish(&ctx, Event { agent: writer("writer")?, ..event(&ctx) }).await?;
    bus.publish(&other, Event { targets: vec![AgentId::new("writer-2")?], ..event(&other) }).await?;
    let measured = Event::new(&ctx, EventKind::MetricRecorded);
    bus.publish(&ctx, Event { domain: Some("research".into()), ..measured }).await?;
    subject.clock.advance(AT_MOST);
    bus.publish(&other, Event { status: Status::Error, ..event(&other) }).await?;
    for (mut subscription, expected) in open {
        assert_received(&mut subscription, expected.into_iter().map(Seen::At));
    }
    Ok(())
}

async fn an_event_told_on_several_channels_is_stored_once_and_delivered_to_the_subscribers_of_each(
    subject: EventSubject,
) -> Result<()> {
    let (ctx, bus) = subject.open().await?;
    let on = |channels: &[Channel]| Filter { channels: channels.to_vec(), ..Filter::default() };
    let mut first = bus.subscribe(on(&[Channel::Workflows]), 8, Lag::Fail)?;
    let mut second = bus.subscribe(on(&[Channel::Metrics]), 8, Lag::Fail)?;
    let mut both = bus.subscribe(on(&[Channel::Metrics, Channel::Workflows]), 8, Lag::Fail)?;
    let mut none = bus.subscribe(on(&[Channel::Notifications]), 8, Lag::Fail)?;
    let channels = [Channel::Workflows, Channel::Metrics, Channel::Analytics];
    bus.broadcast(&ctx, Event::new(&ctx, EventKind::BroadcastInitiated), channels).await?;
    for subscription in [&mut first, &mut second, &mut both] {
        assert_received(subscription, [Seen::At(0)]);
    }
    assert_received(&mut none, []);
    assert_eq!((bus.stats().published, bus.stats().retained), (1, 1));
    let nowhere = bus.broadcast(&ctx, event(&ctx), []).await.map_err(|err| err.kind());
    assert_eq!(nowhere, Err(ErrorKind::InvalidInput));
    Ok(())
}

async fn a_full_drop_oldest_subscription_keeps_the_newest_and_says_exactly_how_many_it_missed(
    subject: EventSubject,
) -> Result<()> {
    let (ctx, bus) = subject.open().await?;
    let mut subscription = everything(&bus, 3, Lag::DropOldest)?;
    publish(&ctx, &bus, 5).await?;
    assert_received(&mut subscription, [Seen::Missed(2), Seen::At(2), Seen::At(3), Seen::At(4)]);
    publish(&ctx, &bus, 4).await?;
    assert_eq!(subscription.recv().await?.as_ref().map(seen), Some(Seen::Missed(1)));
    publish(&ctx, &bus, 1).await?;
    assert_received(&mut subscription, [Seen::Missed(1), Seen::At(7), Seen::At(8), Seen::At(9)]);
    assert_eq!((bus.stats().delivered, bus.stats().dropped), (10, 4));
    let empty = everything(&bus, 0, Lag::DropOldest).map_err(|err| err.kind());
    assert!(matches!(empty, Err(ErrorKind::InvalidInput)));
    Ok(())
}

async fn assert_failed(subscription: &mut Subscription, held: &[u64]) -> Result<()> {
    for sequence in held {
        assert_eq!(subscription.recv().await?.as_ref().map(seen), Some(Seen::At(*sequence)));
    }
    let ended = subscription.recv().await.map_err(|err| err.kind());
    assert_eq!(ended, Err(ErrorKind::LimitExceeded));
    assert_eq!(subscription.recv().await?, None);
    Ok(())
}

async fn a_full_fail_subscription_ends_with_limit_exceeded_after_what_it_holds(
    subject: EventSubject,
) -> Result<()> {
    let (ctx, bus) = subject.open().await?;
    let mut subscription = everything(&bus, 2, Lag::Fail)?;
    publish(&ctx, &bus, 4).await?;
    assert_eq!(bus.stats().subscriptions, 0);
    assert_failed(&mut subscription, &[0, 1]).await
}

async fn a_full_block_subscription_makes_publish_wait_at_most_its_limit_then_counts_as_fail(
    subject: EventSubject,
) -> Result<()> {
    let (ctx, bus) = subject.open().await?;
    let mut subscription = everything(&bus, 1, Lag::Block { at_most: AT_MOST })?;
    publish(&ctx, &bus, 1).await?;
    let mut waiting = bus.publish(&ctx, event(&ctx));
    assert!((&mut waiting).now_or_never().is_none());
    subject.clock.advance(AT_MOST - Duration::from_micros(1));
    assert!((&mut waiting).now_or_never().is_none());
    subject.clock.advance(Duration::from_micros(1));
    waiting.await?;
    publish(&ctx, &bus, 2).await?;
    assert_failed(&mut subscription, &[0]).await?;
    assert_eq!((bus.stats().delivered, bus.stats().dropped), (1, 1));
    Ok(())
}

async fn a_full_block_subscription_with_room_in_time_loses_nothing(subject: EventSubject) -> Result<()> {
    let (ctx, bus) = subject.open().await?;
    let mut subscription = everything(&bus, 1, Lag::Block { at_most: AT_MOST })?;
    let publishers = (0..4).map(|_| {
        let (ctx, bus) = (ctx.clone(), bus.clone());
        async move { publish(&ctx, &bus, 25).await }
    });
    let reader = async {
        for sequence in 0..100 {
            let received = subscription.recv().await?;
            assert_eq!(received.as_ref().map(seen), Some(Seen::At(sequence)));
        }
        Result::Ok(())
    };
    let (published, read) = futures_util::future::join(join_all(publishers), reader).await;
    published.into_iter().collect::<Result<()>>()?;
    read?;
    assert_eq!((bus.stats().delivered, bus.stats().dropped), (100, 0));
    Ok(())
}

async fn a_dropped_or_stalled_subscription_affects_no_other(subject: EventSubject) -> Result<()> {
    let (ctx, bus) = subject.open().await?;
    let mut healthy = everything(&bus, 16, Lag::Fail)?;
    let _stalled = everything(&bus, 1, Lag::DropOldest)?;
    let dropped = everything(&bus, 1, Lag::Block { at_most: AT_MOST })?;
    let panicking = everything(&bus, 1, Lag::Fail)?;
    publish(&ctx, &bus, 1).await?;
    let panicked = ctx.runtime().tasks().spawn("conformance.panic", async move {
        let held = Some(panicking);
        assert!(held.is_none(), "a subscriber panics, as this case wants it");
    });
    assert_eq!(panicked.await.map_err(|err: Error| err.kind()), Err::<(), _>(ErrorKind::Internal));
    let waiting = bus.publish(&ctx, event(&ctx));
    assert_eq!(bus.stats().subscriptions, 3);
    drop(dropped);
    waiting.await?;
    publish(&ctx, &bus, 1).await?;
    assert_received(&mut healthy, (0..3).map(Seen::At));
    assert_eq!(bus.stats().subscriptions, 2);
    Ok(())
}

async fn history_answers_by_filter_from_an_offset_the_newest_limit_in_stream_order(
    subject: EventSubject,
) -> Result<()> {
    let (ctx, bus) = subject.open().await?;
    for _ in 0..4 {
        bus.publish(&ctx, vec![event(&ctx), Event::new(&ctx, EventKind::AgentFailed)]).await?;
    }
    let filter = Filter { kinds: vec![EventKind::AgentFailed], ..Filter::default() };
    for (from, limit, expected) in [
        (0, 0, &[1, 3, 5, 7][..]),
        (2, 0, &[3, 5, 7]),
        (0, 2, &[5, 7]),
        (2, 9, &[3, 5, 7]),
        (8, 0, &[]),
        (u64::MAX, 1, &[]),
    ] {
        let query = History { filter: filter.clone(), from, limit };
        assert_eq!(sequences(&bus.history(&ctx, &query)), expected);
    }
    Ok(())
}

async fn the_history_keeps_at_most_its_bound_and_drops_the_oldest(subject: EventSubject) -> Result<()> {
    let (ctx, bus) = subject.open().await?;
    publish(&ctx, &bus, HISTORY + 3).await?;
    bus.publish(&ctx, vec![event(&ctx), event(&ctx)]).await?;
    let expected: Vec<u64> = (5..).take(HISTORY).collect();
    assert_eq!(sequences(&bus.history(&ctx, &History::default())), expected);
    assert_eq!((bus.stats().published, bus.stats().retained), (HISTORY as u64 + 5, HISTORY));
    Ok(())
}

async fn the_history_forgets_what_is_older_than_its_retention(subject: EventSubject) -> Result<()> {
    let (ctx, bus) = subject.open().await?;
    let late = Event { time: ctx.now().plus(RETENTION), ..event(&ctx) };
    bus.publish(&ctx, late).await?;
    publish(&ctx, &bus, 1).await?;
    subject.clock.advance(RETENTION / 2);
    publish(&ctx, &bus, 2).await?;
    subject.clock.advance(RETENTION / 2);
    assert_eq!(sequences(&bus.history(&ctx, &History::default())), [0, 1, 2, 3]);
    subject.clock.advance(Duration::from_micros(1));
    assert_eq!(sequences(&bus.history(&ctx, &History::default())), [0, 2, 3]);
    subject.clock.advance(RETENTION);
    assert!(bus.history(&ctx, &History::default()).is_empty());
    assert_eq!(bus.stats().retained, 0);
    Ok(())
}

async fn subscribe_from_gives_the_history_from_an_offset_and_then_live_events_without_gap_or_double(
    subject: EventSubject,
) -> Result<()> {
    let (ctx, bus) = subject.open().await?;
    publish(&ctx, &bus, 5).await?;
    bus.publish(&ctx, Event::new(&ctx, EventKind::AgentFailed)).await?;
    let filter = Filter { kinds: vec![EventKind::StatusUpdated], ..Filter::default() };
    let mut part = bus.subscribe_from(&ctx, 3, filter, 2, Lag::Fail)?;
    let mut live = bus.subscribe_from(&ctx, 6, Filter::default(), 2, Lag::Fail)?;
    publish(&ctx, &bus, 2).await?;
    assert_received(&mut part, [3, 4, 6, 7].map(Seen::At));
    assert_received(&mut live, [6, 7].map(Seen::At));
    Ok(())
}

async fn subscribe_from_before_the_oldest_event_kept_says_first_how_many_events_are_gone(
    subject: EventSubject,
) -> Result<()> {
    let (ctx, bus) = subject.open().await?;
    publish(&ctx, &bus, HISTORY + 3).await?;
    let mut subscription = bus.subscribe_from(&ctx, 1, Filter::default(), 2, Lag::DropOldest)?;
    publish(&ctx, &bus, 3).await?;
    let live = [Seen::Missed(1), Seen::At(12), Seen::At(13)];
    let expected = [Seen::Missed(2)].into_iter().chain((3..11).map(Seen::At)).chain(live);
    assert_received(&mut subscription, expected);
    Ok(())
}

async fn concurrent_publishers_and_subscribers_agree_on_one_order(subject: EventSubject) -> Result<()> {
    const EACH: u64 = 50;
    let (ctx, bus) = subject.open().await?;
    let tasks = ctx.runtime().tasks();
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let mut subscription = everything(&bus, 4 * EACH as usize, Lag::Fail)?;
            Ok(tasks.spawn("conformance.read", async move {
                let mut ids = Vec::new();
                for sequence in 0..4 * EACH {
                    let received = subscription.recv().await?.and_then(Received::into_event);
                    assert_eq!(received.as_ref().map(|event| event.sequence), Some(sequence));
                    ids.extend(received.map(|event| event.id));
                }
                Result::Ok(ids)
            }))
        })
        .collect::<Result<_>>()?;
    let writers = (0..4).map(|_| {
        let (ctx, bus) = (ctx.clone(), bus.clone());
        let work = async move {
            for _ in 0..EACH / 2 {
                bus.publish(&ctx, vec![event(&ctx), event(&ctx)]).await?;
                tokio::task::yield_now().await;
            }
            Result::Ok(())
        };
        tasks.spawn("conformance.write", work)
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await??;
    }
    let mut orders = Vec::new();
    for reader in readers {
        orders.push(reader.await??);
    }
    assert!(orders.windows(2).all(|pair| pair.first() == pair.last()));
    Ok(())
}

async fn a_request_gets_the_reply_of_its_own_tenant_or_runs_out_of_time(subject: EventSubject) -> Result<()> {
    let (ctx, bus) = subject.open().await?;
    let asker = AgentId::new("asker")?;
    let question = || Event { source: Some(asker.clone()), ..Event::new(&ctx, EventKind::MessageSent) };
    let mut inbox = everything(&bus, 8, Lag::Fail)?;
    let answerer = async {
        let request = inbox.recv().await?.and_then(Received::into_event);
        let request =
            request.ok_or_else(|| Error::new(ErrorKind::Internal, "conformance.request", "no request"))?;
        let forged = Event {
            correlation: Some(request.id),
            ..Event::new(&ctx.with_tenant("other".parse()?), EventKind::ResponseDelivered)
        };
        bus.publish(&ctx, forged).await?;
        bus.reply(&ctx, &request, Event { data: 42.into(), ..Event::new(&ctx, EventKind::ResponseDelivered) })
            .await
    };
    let (reply, answered) = futures_util::future::join(bus.request(&ctx, question()), answerer).await;
    answered?;
    let reply = reply?;
    assert_eq!((&reply.data, &reply.targets), (&42.into(), &vec![asker.clone()]));
    assert_eq!(reply.causation, reply.correlation);

    let soon = ctx.with_timeout(AT_MOST);
    let mut lonely = Box::pin(bus.request(&soon, question()));
    assert!((&mut lonely).now_or_never().is_none());
    subject.clock.advance(AT_MOST);
    assert_eq!(lonely.await.map(|_| ()).map_err(|err| err.kind()), Err(ErrorKind::Timeout));
    assert_eq!(bus.stats().subscriptions, 1);
    Ok(())
}
