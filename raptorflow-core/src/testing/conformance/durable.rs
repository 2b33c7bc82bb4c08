//! The contract of durable channels, over the stores that they may rest on.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{FutureExt as _, future::try_join_all};

use super::{
    case::{Case, cases},
    storage::StorageSubject,
};
use crate::{
    error::{Error, ErrorKind, Result},
    event::{
        Channel, Consumer, Delivery, DurableChannels, DurableConfig, Event, EventKind, GroupConfig, Start,
    },
    runtime::{Backoff, Context},
};

/// How many events a segment of a case has.
const SEGMENT: u64 = 4;
/// How long a case keeps events.
const RETENTION: Duration = Duration::from_secs(3600);
/// How long a consumer of a case has an event.
const HOLD: Duration = Duration::from_secs(30);
/// How long an event rests that a consumer of a case gave back once.
const REST: Duration = Duration::from_secs(2);

/// Every case of durable channels.
#[must_use]
pub fn durable_cases() -> Vec<Case<StorageSubject>> {
    cases![
        an_event_whose_publishing_returned_is_delivered_to_every_group_until_one_consumer_acknowledges_it,
        events_of_a_channel_have_sequences_from_0_without_gaps_and_are_first_delivered_in_that_order,
        an_event_is_with_one_consumer_of_a_group_at_a_time_for_as_long_as_hold_and_its_extensions,
        a_delivery_that_was_never_acknowledged_comes_again_with_the_same_id_and_one_attempt_more,
        a_delivery_that_was_given_back_rests_as_long_as_the_backoff_says,
        after_so_many_attempts_an_event_is_a_dead_letter_with_the_reason_and_comes_no_more,
        a_dead_letter_comes_until_it_is_acknowledged_and_never_dies_again,
        what_is_said_about_a_delivery_that_another_consumer_has_now_is_conflict_and_changes_nothing,
        a_new_group_begins_with_the_oldest_event_or_with_the_next_one,
        at_most_in_flight_events_of_a_group_are_under_way,
        groups_of_one_channel_do_not_see_each_other_and_neither_do_tenants,
        an_event_older_than_the_retention_goes_with_its_segment_and_a_group_counts_it_as_missed,
        an_event_told_on_several_channels_is_kept_in_each,
        the_first_reply_to_a_request_is_its_reply_also_for_whoever_asks_for_it_again,
        concurrent_publishers_and_consumers_do_every_event_once,
        a_function_that_fails_or_panics_gives_its_event_back,
        a_group_goes_on_where_it_was_after_the_store_was_opened_again: "durable",
    ]
}

async fn open(subject: &StorageSubject) -> Result<(Context, DurableChannels)> {
    let (ctx, storage) = subject.open().await?;
    let config = DurableConfig::default().with_segment(SEGMENT).with_retention(Some(RETENTION));
    Ok((ctx, DurableChannels::new(storage, config)?))
}

fn group() -> GroupConfig {
    let backoff = Backoff { base: REST, factor: 2, max: 10 * REST, jitter: 0.0 };
    GroupConfig::default().with_hold(HOLD).with_backoff(backoff)
}

async fn consumer(ctx: &Context, channels: &DurableChannels, name: &str) -> Result<Consumer> {
    channels.consumer(ctx, Channel::Metrics, name, group()).await
}

fn event(ctx: &Context, number: u64) -> Event {
    Event { data: number.into(), ..Event::new(ctx, EventKind::MetricRecorded) }
}

async fn publish(ctx: &Context, channels: &DurableChannels, numbers: std::ops::Range<u64>) -> Result<()> {
    channels.publish(ctx, numbers.map(|number| event(ctx, number)).collect::<Vec<_>>()).await
}

fn numbers(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().filter_map(|it| it.event().data.as_u64()).collect()
}

async fn dead(ctx: &Context, channels: &DurableChannels) -> Result<Vec<Event>> {
    channels.read(ctx, &"metrics.dead".parse()?, 0, 100).await
}

#[track_caller]
fn assert_lost(outcome: Result<()>) {
    assert_eq!(outcome.map_err(|err| err.kind()), Err(ErrorKind::Conflict));
}

async fn an_event_whose_publishing_returned_is_delivered_to_every_group_until_one_consumer_acknowledges_it(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, channels) = open(&subject).await?;
    let (one, two) = (consumer(&ctx, &channels, "one").await?, consumer(&ctx, &channels, "two").await?);
    let sent = event(&ctx, 7);
    channels.publish(&ctx, sent.clone()).await?;
    for consumer in [&one, &two] {
        let delivery = consumer.next(&ctx).await?;
        assert_eq!(delivery.event(), &sent, "it is whole");
        delivery.ack(&ctx).await?;
        assert!(consumer.take(&ctx, 9).await?.is_empty());
    }
    subject.clock.advance(10 * HOLD);
    assert!(one.take(&ctx, 9).await?.is_empty());
    let stats = one.stats(&ctx).await?;
    assert_eq!((stats.next, stats.open, stats.acked, stats.dead, stats.missed), (1, 0, 1, 0, 0));
    Ok(())
}

async fn events_of_a_channel_have_sequences_from_0_without_gaps_and_are_first_delivered_in_that_order(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, channels) = open(&subject).await?;
    // Longer than a segment, and ending inside and at the end of one.
    publish(&ctx, &channels, 0..1).await?;
    publish(&ctx, &channels, 1..10).await?;
    publish(&ctx, &channels, 10..12).await?;
    publish(&ctx, &channels, 12..13).await?;
    channels.publish(&ctx, Vec::new()).await?;
    let kept = channels.read(&ctx, &Channel::Metrics, 0, 100).await?;
    assert!(kept.iter().map(|event| event.sequence).eq(0..13));
    assert!(kept.iter().filter_map(|event| event.data.as_u64()).eq(0..13));
    let part = channels.read(&ctx, &Channel::Metrics, 3, 6).await?;
    assert!(part.iter().map(|event| event.sequence).eq(3..9));
    let consumer = consumer(&ctx, &channels, "one").await?;
    for limit in [0, 1, 7, 100] {
        let from = consumer.stats(&ctx).await?.next;
        let taken = consumer.take(&ctx, limit).await?;
        assert!(taken.iter().map(Delivery::sequence).eq(from..(from + limit as u64).min(13)));
    }
    Ok(())
}

async fn an_event_is_with_one_consumer_of_a_group_at_a_time_for_as_long_as_hold_and_its_extensions(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, channels) = open(&subject).await?;
    publish(&ctx, &channels, 0..2).await?;
    let (one, two) = (consumer(&ctx, &channels, "g").await?, consumer(&ctx, &channels, "g").await?);
    let held = one.next(&ctx).await?;
    assert_eq!(numbers(&two.take(&ctx, 9).await?), [1]);
    subject.clock.advance(HOLD / 2);
    held.extend(&ctx, HOLD).await?;
    // Nobody takes time away from somebody.
    held.extend(&ctx, Duration::ZERO).await?;
    subject.clock.advance(HOLD - Duration::from_micros(1));
    assert_eq!(numbers(&two.take(&ctx, 9).await?), [1], "the other one is held");
    subject.clock.advance(Duration::from_micros(1));
    assert_eq!(numbers(&two.take(&ctx, 9).await?), [0]);
    assert_lost(held.extend(&ctx, HOLD).await);
    Ok(())
}

async fn a_delivery_that_was_never_acknowledged_comes_again_with_the_same_id_and_one_attempt_more(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, channels) = open(&subject).await?;
    publish(&ctx, &channels, 0..1).await?;
    let consumer = consumer(&ctx, &channels, "g").await?;
    let mut ids = BTreeSet::new();
    for attempt in 1..=3 {
        let delivery = consumer.next(&ctx).await?;
        assert_eq!(delivery.attempt(), attempt);
        ids.insert(delivery.event().id);
        assert!(consumer.take(&ctx, 9).await?.is_empty());
        subject.clock.advance(HOLD);
    }
    assert_eq!(ids.len(), 1);
    // Late, but nobody else has it: what was done is done.
    let last = consumer.next(&ctx).await?;
    subject.clock.advance(HOLD);
    last.ack(&ctx).await?;
    assert!(consumer.take(&ctx, 9).await?.is_empty());
    Ok(())
}

async fn a_delivery_that_was_given_back_rests_as_long_as_the_backoff_says(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, channels) = open(&subject).await?;
    publish(&ctx, &channels, 0..2).await?;
    let consumer = consumer(&ctx, &channels, "g").await?;
    for rest in [REST, 2 * REST] {
        consumer.next(&ctx).await?.nack(&ctx, "not now").await?;
        // Others are not held up.
        let other = consumer.take(&ctx, 9).await?;
        assert!(numbers(&other).iter().all(|number| *number == 1));
        subject.clock.advance(rest - Duration::from_micros(1));
        assert!(consumer.take(&ctx, 9).await?.is_empty());
        subject.clock.advance(Duration::from_micros(1));
    }
    let third = consumer.next(&ctx).await?;
    assert_eq!((third.sequence(), third.attempt()), (0, 3));
    third.nack_for(&ctx, "much later", HOLD).await?;
    subject.clock.advance(HOLD / 2);
    assert!(!numbers(&consumer.take(&ctx, 9).await?).contains(&0));
    Ok(())
}

async fn after_so_many_attempts_an_event_is_a_dead_letter_with_the_reason_and_comes_no_more(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, channels) = open(&subject).await?;
    let twice = group().with_attempts(2);
    let consumer = channels.consumer(&ctx, Channel::Metrics, "g", twice).await?;
    publish(&ctx, &channels, 0..2).await?;
    let ids: Vec<_> =
        channels.read(&ctx, &Channel::Metrics, 0, 9).await?.iter().map(|event| event.id).collect();
    for reason in ["it is odd", "it is still odd"] {
        let taken = consumer.take(&ctx, 9).await?;
        for delivery in taken {
            // The other one is never heard of again.
            if delivery.sequence() == 0 {
                delivery.nack(&ctx, reason).await?;
            }
        }
        subject.clock.advance(HOLD);
    }
    assert!(consumer.take(&ctx, 9).await?.is_empty());
    let letters = dead(&ctx, &channels).await?;
    assert_eq!(letters.iter().map(|event| event.id).collect::<Vec<_>>(), ids);
    let of = |at: usize, field: &str| -> serde_json::Value {
        let metadata = letters.get(at).and_then(|event| event.metadata.as_ref());
        metadata.and_then(|it| it.get("dead_letter")?.get(field)).cloned().unwrap_or_default()
    };
    assert_eq!(
        (of(0, "reason"), of(0, "attempts"), of(0, "group")),
        ("it is still odd".into(), 2.into(), "g".into())
    );
    assert_eq!(
        (of(1, "reason").as_str().map(|it| it.contains("never acknowledged")), of(1, "sequence")),
        (Some(true), 1.into())
    );
    let stats = consumer.stats(&ctx).await?;
    assert_eq!((stats.open, stats.acked, stats.dead), (0, 0, 2));
    subject.clock.advance(10 * HOLD);
    assert!(consumer.take(&ctx, 9).await?.is_empty());
    Ok(())
}

async fn a_dead_letter_comes_until_it_is_acknowledged_and_never_dies_again(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, channels) = open(&subject).await?;
    let once = group().with_attempts(1);
    let consumer = channels.consumer(&ctx, Channel::Metrics, "g", once).await?;
    publish(&ctx, &channels, 0..1).await?;
    consumer.next(&ctx).await?.nack(&ctx, "no").await?;
    let clerk = channels.consumer(&ctx, "metrics.dead".parse()?, "clerk", once).await?;
    for attempt in 1..=20 {
        let letter = clerk.next(&ctx).await?;
        assert_eq!(letter.attempt(), attempt);
        letter.nack(&ctx, "not now").await?;
        subject.clock.advance(10 * REST);
    }
    clerk.next(&ctx).await?.ack(&ctx).await?;
    assert_eq!((clerk.stats(&ctx).await?.acked, clerk.stats(&ctx).await?.dead), (1, 0));
    Ok(())
}

async fn what_is_said_about_a_delivery_that_another_consumer_has_now_is_conflict_and_changes_nothing(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, channels) = open(&subject).await?;
    publish(&ctx, &channels, 0..3).await?;
    let (slow, quick) = (consumer(&ctx, &channels, "g").await?, consumer(&ctx, &channels, "g").await?);
    let mut late = slow.take(&ctx, 3).await?;
    subject.clock.advance(HOLD);
    let mut held = quick.take(&ctx, 2).await?;
    let before = quick.stats(&ctx).await?;
    assert_lost(late.remove(0).ack(&ctx).await);
    assert_lost(late.remove(0).nack(&ctx, "late").await);
    assert_eq!(quick.stats(&ctx).await?, before);
    held.extend(late);
    // One of the three is held by nobody else, so that late is not too late.
    quick.ack_all(&ctx, held).await?;
    assert_eq!(quick.stats(&ctx).await?.acked, 3);
    publish(&ctx, &channels, 3..5).await?;
    let late = slow.take(&ctx, 2).await?;
    subject.clock.advance(HOLD);
    quick.next(&ctx).await?.ack(&ctx).await?;
    assert_lost(slow.ack_all(&ctx, late).await);
    assert_eq!(quick.stats(&ctx).await?.acked, 5, "the other one is acknowledged all the same");
    Ok(())
}

async fn a_new_group_begins_with_the_oldest_event_or_with_the_next_one(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, channels) = open(&subject).await?;
    publish(&ctx, &channels, 0..6).await?;
    let newest = group().with_start(Start::Newest);
    let old = consumer(&ctx, &channels, "old").await?;
    let new = channels.consumer(&ctx, Channel::Metrics, "new", newest).await?;
    publish(&ctx, &channels, 6..8).await?;
    assert_eq!(numbers(&old.take(&ctx, 100).await?).len(), 8);
    // Who comes later to a group that there is takes what it has not done.
    let again = channels.consumer(&ctx, Channel::Metrics, "new", group()).await?;
    assert_eq!(numbers(&new.take(&ctx, 1).await?), [6]);
    assert_eq!(numbers(&again.take(&ctx, 100).await?), [7]);
    for name in ["", "Big", "a/b", &"x".repeat(65)] {
        let refused = consumer(&ctx, &channels, name).await.map(drop).map_err(|err| err.kind());
        assert_eq!(refused, Err(ErrorKind::InvalidInput), "{name}");
    }
    let never = channels.consumer(&ctx, Channel::Metrics, "never", group().with_attempts(0)).await;
    assert_eq!(never.map(drop).map_err(|err| err.kind()), Err(ErrorKind::InvalidInput));
    Ok(())
}

async fn at_most_in_flight_events_of_a_group_are_under_way(subject: StorageSubject) -> Result<()> {
    let (ctx, channels) = open(&subject).await?;
    publish(&ctx, &channels, 0..10).await?;
    let few = group().with_in_flight(3);
    let consumer = channels.consumer(&ctx, Channel::Metrics, "g", few).await?;
    let mut held = consumer.take(&ctx, 100).await?;
    assert_eq!(numbers(&held), [0, 1, 2]);
    assert!(consumer.take(&ctx, 100).await?.is_empty());
    // A wait ends when there is room again.
    let mut waiting = Box::pin(consumer.next(&ctx));
    assert!((&mut waiting).now_or_never().is_none());
    held.remove(0).ack(&ctx).await?;
    assert_eq!(waiting.await?.sequence(), 3);
    Ok(())
}

async fn groups_of_one_channel_do_not_see_each_other_and_neither_do_tenants(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, channels) = open(&subject).await?;
    let other = ctx.with_tenant("other".parse()?);
    publish(&ctx, &channels, 0..2).await?;
    publish(&other, &channels, 5..6).await?;
    let (one, two) = (consumer(&ctx, &channels, "one").await?, consumer(&ctx, &channels, "two").await?);
    let theirs = consumer(&other, &channels, "one").await?;
    for delivery in one.take(&ctx, 9).await? {
        delivery.ack(&ctx).await?;
    }
    assert_eq!(numbers(&two.take(&ctx, 9).await?), [0, 1]);
    assert_eq!(numbers(&theirs.take(&other, 9).await?), [5]);
    assert_eq!(theirs.stats(&other).await?.acked, 0);
    Ok(())
}

async fn an_event_older_than_the_retention_goes_with_its_segment_and_a_group_counts_it_as_missed(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, channels) = open(&subject).await?;
    let slow = consumer(&ctx, &channels, "slow").await?;
    publish(&ctx, &channels, 0..5).await?;
    let held = slow.take(&ctx, 2).await?;
    subject.clock.advance(RETENTION);
    assert_eq!(channels.trim(&ctx, &Channel::Metrics).await?, 0, "it is not older");
    subject.clock.advance(Duration::from_micros(1));
    // A segment that begins takes those with it that are over; the newest stays, however old it is.
    publish(&ctx, &channels, 5..8).await?;
    publish(&ctx, &channels, 8..9).await?;
    let kept = channels.read(&ctx, &Channel::Metrics, 0, 100).await?;
    assert!(kept.iter().map(|event| event.sequence).eq(4..9));
    assert_eq!(numbers(&slow.take(&ctx, 100).await?), [4, 5, 6, 7, 8]);
    let stats = slow.stats(&ctx).await?;
    assert_eq!((stats.missed, stats.open), (4, 5));
    drop(held);
    let late = consumer(&ctx, &channels, "late").await?;
    assert_eq!(numbers(&late.take(&ctx, 1).await?), [4]);
    Ok(())
}

async fn an_event_told_on_several_channels_is_kept_in_each(subject: StorageSubject) -> Result<()> {
    let (ctx, channels) = open(&subject).await?;
    let custom: Channel = "shop.orders".parse()?;
    let told = Event { also: [Channel::Workflows, custom.clone()].into(), ..event(&ctx, 1) };
    channels.publish(&ctx, vec![told.clone(), event(&ctx, 2)]).await?;
    for (channel, count) in
        [(Channel::Metrics, 2), (Channel::Workflows, 1), (custom, 1), (Channel::Analytics, 0)]
    {
        let kept = channels.read(&ctx, &channel, 0, 9).await?;
        assert_eq!((kept.len(), kept.first().is_none_or(|event| event.id == told.id)), (count, true));
    }
    Ok(())
}

async fn the_first_reply_to_a_request_is_its_reply_also_for_whoever_asks_for_it_again(
    subject: StorageSubject,
) -> Result<()> {
    let (ctx, channels) = open(&subject).await?;
    let desk = consumer(&ctx, &channels, "desk").await?;
    let request = event(&ctx, 1);
    let id = request.id;
    let answering = async {
        for answer in [10, 20] {
            let asked = desk.next(&ctx).await?;
            asked.reply(&ctx, event(&ctx, answer)).await?;
            // It is given back before it is acknowledged, so that it comes again and is answered twice.
            asked.nack_for(&ctx, "again", Duration::ZERO).await?;
        }
        Result::Ok(())
    };
    let ((), reply) = futures_util::future::try_join(answering, channels.request(&ctx, request)).await?;
    assert_eq!((reply.data, reply.correlation), (10.into(), Some(id)));
    assert_eq!(channels.reply_to(&ctx, id).await?.data, 10);
    // Nobody answers this one.
    let soon = ctx.with_timeout(REST);
    let mut lonely = Box::pin(channels.reply_to(&soon, event(&ctx, 3).id));
    while subject.clock.sleepers() == 0 {
        assert!((&mut lonely).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    subject.clock.advance(REST);
    assert_eq!(lonely.await.map(drop).map_err(|err| err.kind()), Err(ErrorKind::Timeout));
    assert_eq!(channels.trim_replies(&ctx).await?, 0);
    subject.clock.advance(2 * RETENTION);
    assert_eq!(channels.trim_replies(&ctx).await?, 1);
    Ok(())
}

async fn concurrent_publishers_and_consumers_do_every_event_once(subject: StorageSubject) -> Result<()> {
    const EACH: u64 = 25;
    let (ctx, channels) = open(&subject).await?;
    let writers = (0..3).map(|writer| {
        let (ctx, channels) = (ctx.clone(), channels.clone());
        async move {
            for number in 0..EACH {
                publish(&ctx, &channels, writer * EACH + number..writer * EACH + number + 1).await?;
            }
            Result::Ok(Vec::new())
        }
        .boxed()
    });
    let mut readers = Vec::new();
    for _ in 0..3 {
        let (ctx, consumer) = (ctx.clone(), consumer(&ctx, &channels, "g").await?);
        let work = async move {
            let mut done = Vec::new();
            while consumer.stats(&ctx).await?.acked < 3 * EACH {
                let taken = consumer.take(&ctx, 4).await?;
                done.extend(numbers(&taken));
                consumer.ack_all(&ctx, taken).await?;
                tokio::task::yield_now().await;
            }
            Ok(done)
        };
        readers.push(work.boxed());
    }
    let mut done = try_join_all(writers.chain(readers)).await?.concat();
    done.sort_unstable();
    assert!(done.into_iter().eq(0..3 * EACH));
    let kept = channels.read(&ctx, &Channel::Metrics, 0, 1000).await?;
    assert!(kept.iter().map(|event| event.sequence).eq(0..3 * EACH));
    Ok(())
}

async fn a_function_that_fails_or_panics_gives_its_event_back(subject: StorageSubject) -> Result<()> {
    let (ctx, channels) = open(&subject).await?;
    let once = group().with_attempts(1);
    let consumer = channels.consumer(&ctx, Channel::Metrics, "g", once).await?;
    publish(&ctx, &channels, 0..3).await?;
    let stop = ctx.with_cancel(crate::runtime::Cancel::new());
    let work = consumer.work(&stop, |event| {
        let stop = stop.clone();
        async move {
            match event.data.as_u64() {
                Some(0) => Err(Error::new(ErrorKind::Callback, "host.work", "no")),
                Some(1) => std::panic::resume_unwind(Box::new("a fault of the function")),
                _ => {
                    stop.cancel().cancel();
                    Ok(())
                }
            }
        }
    });
    work.await?;
    let stats = consumer.stats(&ctx).await?;
    assert_eq!((stats.acked, stats.dead, stats.open), (1, 2, 0));
    Ok(())
}

async fn a_group_goes_on_where_it_was_after_the_store_was_opened_again(
    subject: StorageSubject,
) -> Result<()> {
    {
        let (ctx, storage) = subject.open().await?;
        let channels = DurableChannels::new(storage.clone(), DurableConfig::default().with_segment(SEGMENT))?;
        publish(&ctx, &channels, 0..6).await?;
        let consumer = consumer(&ctx, &channels, "g").await?;
        let taken = consumer.take(&ctx, 3).await?;
        for delivery in taken.into_iter().take(2) {
            delivery.ack(&ctx).await?;
        }
        storage.close().await?;
    }
    let (ctx, channels) = open(&subject).await?;
    let consumer = consumer(&ctx, &channels, "g").await?;
    assert_eq!(numbers(&consumer.take(&ctx, 100).await?), [3, 4, 5]);
    subject.clock.advance(HOLD);
    let again = consumer.take(&ctx, 100).await?;
    assert_eq!(numbers(&again), [2, 3, 4, 5]);
    assert!(again.iter().all(|delivery| delivery.attempt() == 2));
    publish(&ctx, &channels, 6..7).await?;
    assert_eq!(numbers(&consumer.take(&ctx, 100).await?), [6]);
    Ok(())
}
