//! Durable channels over a SQLite file whose processes are killed: no event is lost, and none comes after it was done.

use std::{
    collections::BTreeSet,
    env,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use libtest_mimic::Trial;
use raptorflow_core::{
    error::{ErrorKind, Result},
    event::{Channel, Consumer, Delivery, DurableChannels, DurableConfig, Event, EventKind, GroupConfig},
    runtime::{Context, Runtime},
    storage::Storage,
};

use crate::{backends::block_on, child::Started};

const FILE: &str = "RAPTORFLOW_TEST_CONSUMER_FILE";
/// The number of the first event that the process publishes.
const FROM: &str = "RAPTORFLOW_TEST_CONSUMER_FROM";
/// How often a process is killed, in place of [`KILLS`].
const TIMES: &str = "RAPTORFLOW_TEST_KILLS";
/// How often a process is killed when nobody says otherwise.
const KILLS: u64 = 12;
/// How many events a process publishes at most.
const MOST: u64 = 300;
/// How long a consumer has an event: what a killed one had comes again soon.
const HOLD: Duration = Duration::from_millis(40);
/// What a line of a process begins with: an event was published, taken, done.
const PUBLISHED: usize = 0;
const TAKEN: usize = 1;
const DONE: usize = 2;

pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test(
        "sqlite::kill_9_of_publishers_and_consumers_loses_no_event_of_a_durable_channel",
        || {
            kills_lose_nothing();
            Ok(())
        },
    )]
}

/// What a process does that was started to publish and to consume.
pub(crate) struct Worker {
    file: PathBuf,
    from: u64,
}

impl Worker {
    /// What this process is to do, if it is such a one.
    pub(crate) fn of_this_process() -> Option<Self> {
        Some(Self { from: env::var(FROM).ok()?.parse().ok()?, file: env::var_os(FILE)?.into() })
    }

    pub(crate) fn run(self) -> ExitCode {
        match block_on(self.work()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(err) => {
                eprintln!("{err:#}");
                ExitCode::FAILURE
            }
        }
    }

    async fn work(self) -> Result<()> {
        let (ctx, channels, consumer) = open(&self.file).await?;
        let publisher = {
            let ctx = ctx.clone();
            tokio::spawn(async move {
                for number in (self.from..self.from + MOST).step_by(2) {
                    channels.publish(&ctx, vec![event(&ctx, number), event(&ctx, number + 1)]).await?;
                    say(PUBLISHED, number);
                    say(PUBLISHED, number + 1);
                }
                Result::Ok(())
            })
        };
        let taker = tokio::spawn(async move {
            loop {
                let taken = consumer.next_many(&ctx, 3).await?;
                let numbers: Vec<u64> = taken.iter().filter_map(number).collect();
                numbers.iter().for_each(|number| say(TAKEN, *number));
                match consumer.ack_all(&ctx, taken).await {
                    // It was too slow, and some of them are with nobody or come again; nobody says which are done.
                    Err(err) if err.kind() == ErrorKind::Conflict => {}
                    Err(err) => return Result::<()>::Err(err),
                    Ok(()) => numbers.iter().for_each(|number| say(DONE, *number)),
                }
            }
        });
        publisher.await.unwrap()?;
        taker.await.unwrap()
    }
}

fn say(what: usize, number: u64) {
    let mut out = std::io::stdout().lock();
    // The parent may be gone.
    let _ = writeln!(out, "{what} {number}").and_then(|()| out.flush());
}

fn event(ctx: &Context, number: u64) -> Event {
    Event { data: number.into(), ..Event::new(ctx, EventKind::MetricRecorded) }
}

fn number(delivery: &Delivery) -> Option<u64> {
    delivery.event().data.as_u64()
}

async fn open(file: &Path) -> Result<(Context, DurableChannels, Consumer)> {
    let ctx = Context::new(&Runtime::current()?);
    let storage = Storage::open(&format!("sqlite:{}", file.display())).await?;
    // Short segments, so that kills fall on their ends too.
    let config = DurableConfig::default().with_segment(16).with_poll(Duration::from_millis(5));
    let channels = DurableChannels::new(storage, config)?;
    let group = GroupConfig::default().with_hold(HOLD).with_attempts(u32::MAX);
    let consumer = channels.consumer(&ctx, Channel::Metrics, "g", group).await?;
    Ok((ctx, channels, consumer))
}

/// What processes said until they were killed.
#[derive(Default)]
struct Heard {
    published: BTreeSet<u64>,
    taken: BTreeSet<u64>,
    done: BTreeSet<u64>,
}

impl Heard {
    fn note(&mut self, line: Option<(usize, u64)>) -> bool {
        match line {
            Some((PUBLISHED, number)) => self.published.insert(number),
            Some((TAKEN, number)) => {
                assert!(!self.done.contains(&number), "{number} comes after it was done");
                // Again is fine, where a process was killed before it was done.
                self.taken.insert(number);
                true
            }
            Some((_, number)) => self.done.insert(number),
            None => false,
        }
    }
}

fn kills_lose_nothing() {
    let kills = env::var(TIMES).ok().and_then(|it| it.parse().ok()).unwrap_or(KILLS);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    let mut heard = Heard::default();
    for kill in 0..kills {
        let mut command = Command::new(env::current_exe().unwrap());
        command.env(FILE, &file).env(FROM, (kill * MOST).to_string());
        let mut worker = Started::running(&mut command);
        for _ in 0..1 + kill * 7 % 41 {
            assert!(heard.note(worker.next()), "a process says something twice, or ended by itself");
        }
        worker.kill();
        // What it said and nobody had read yet.
        while heard.note(worker.next()) {}
    }
    let rest = block_on(rest(&file)).unwrap();
    assert!(rest.is_disjoint(&heard.done), "an event comes after it was done");
    // A process says what it took before it is done with it.
    let lost: Vec<&u64> =
        heard.published.iter().filter(|it| !heard.taken.contains(it) && !rest.contains(it)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    eprintln!("{kills} kills: {} events published, {} taken", heard.published.len(), heard.taken.len());
    assert!(heard.published.len() as u64 >= kills);
}

/// Does what is left, checks that the group is done with everything in the channel, and says what was left.
async fn rest(file: &Path) -> Result<BTreeSet<u64>> {
    let (ctx, channels, consumer) = open(file).await?;
    let kept = channels.read(&ctx, &Channel::Metrics, 0, usize::MAX).await?;
    let ids: BTreeSet<_> = kept.iter().map(|event| event.id).collect();
    let numbers: BTreeSet<_> = kept.iter().filter_map(|event| event.data.as_u64()).collect();
    assert_eq!((ids.len(), numbers.len()), (kept.len(), kept.len()), "an event is there twice");
    let (mut rest, count) = (BTreeSet::new(), kept.len() as u64);
    while consumer.stats(&ctx).await?.acked < count {
        let taken = consumer.next_many(&ctx, 50).await?;
        rest.extend(taken.iter().filter_map(number));
        match consumer.ack_all(&ctx, taken).await {
            Err(err) if err.kind() == ErrorKind::Conflict => {}
            acked => acked?,
        }
    }
    let stats = consumer.stats(&ctx).await?;
    assert_eq!((stats.acked, stats.open, stats.dead, stats.missed), (count, 0, 0, 0));
    Ok(rest)
}
