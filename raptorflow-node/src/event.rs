//! Subscriptions: batches of events as JSON text, given when they are asked for.

use std::sync::Arc;

use futures_util::FutureExt as _;
use napi::{
    Env, Status,
    bindgen_prelude::{PromiseRaw, spawn},
    threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode},
};
use napi_derive::napi;
use raptorflow_core::{
    Error, Result,
    event::{Event, Lag, Received, Subscription},
    runtime::Cancel,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::convert::{duration, native, promise, written};

/// How many events cross at once; one by one they would cost fifty times as much.
const BATCH: usize = 256;

/// Takes an error or a batch as JSON text; weak, so that waiting for events does not keep the process alive.
pub(crate) type Deliver = ThreadsafeFunction<String, (), String, Status, true, true>;

/// A subscription that gives one batch each time it is asked to.
#[napi]
#[derive(Clone)]
pub struct NativeSubscription {
    /// Nothing for the events of a run, which are waited for.
    deliver: Option<Arc<Deliver>>,
    /// Nothing once it has ended and was emptied, so that the bus holds nothing for it.
    events: Arc<Mutex<Option<Subscription>>>,
    /// No further events are waited for.
    ended: Cancel,
    /// Not even those that are held are wanted.
    closed: Cancel,
}

/// What crosses at once; without events and without missed ones it is the end.
#[derive(Default, Serialize)]
struct Batch {
    events: Vec<Arc<Event>>,
    missed: u64,
}

#[napi]
impl NativeSubscription {
    /// Asks for the next batch, which is delivered; the process may end meanwhile.
    #[napi]
    pub fn pull(&self) {
        let this = self.clone();
        let Some(deliver) = self.deliver.clone() else { return };
        spawn(async move {
            let batch = this.batch().await.and_then(|batch| written(&batch));
            deliver.call(native(batch), ThreadsafeFunctionCallMode::NonBlocking);
        });
    }

    /// Waits for the next batch, and keeps the process alive meanwhile.
    #[napi]
    pub fn wait<'e>(&self, env: &'e Env) -> napi::Result<PromiseRaw<'e, String>> {
        let this = self.clone();
        promise(env, async move { written(&this.batch().await?) })
    }

    /// What is there now, as JSON text; nothing when there is nothing.
    #[napi]
    pub fn take(&self) -> napi::Result<Option<String>> {
        let Ok(mut held) = self.events.try_lock() else { return Ok(None) };
        let Some(events) = held.as_mut() else { return Ok(None) };
        let batch = native(ready(events))?;
        if batch.is_empty() { Ok(None) } else { native(written(&Batch::of(batch))).map(Some) }
    }

    /// Ends it at once.
    #[napi]
    pub fn close(&self) {
        self.closed.cancel();
        self.ended.cancel();
        // Where a batch is being waited for, that ends now and lets go of the events itself.
        if let Ok(mut events) = self.events.try_lock() {
            *events = None;
        }
    }
}

impl NativeSubscription {
    /// Says that the run of the events has ended: what is held now is the rest.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    pub(crate) fn new(events: Subscription, deliver: Option<Deliver>) -> Self {
        Self {
            deliver: deliver.map(Arc::new),
            events: Arc::new(Mutex::new(Some(events))),
            ended: Cancel::new(),
            closed: Cancel::new(),
        }
    }

    async fn batch(&self) -> Result<Batch> {
        let mut held = self.events.lock().await;
        let Some(events) = held.as_mut().filter(|_| !self.closed.is_cancelled()) else {
            *held = None;
            return Ok(Batch::default());
        };
        if let Ok(received) = self.ended.run("node.events", events.recv_many(BATCH)).await {
            return received.map(Batch::of);
        }
        let rest = ready(events)?;
        if rest.is_empty() {
            *held = None;
        }
        Ok(Batch::of(rest))
    }
}

/// At most a batch of what is there now.
fn ready(events: &mut Subscription) -> Result<Vec<Received>> {
    // Not `try_recv` in a loop, whose error would take the place of what came before it.
    events.recv_many(BATCH).now_or_never().unwrap_or_else(|| Ok(Vec::new()))
}

impl Batch {
    fn of(received: Vec<Received>) -> Self {
        let mut batch = Self::default();
        for it in received {
            match it {
                Received::Event(event) => batch.events.push(event),
                Received::Missed(count) => batch.missed += count,
            }
        }
        batch
    }
}

/// What happens when a subscription is full, as TypeScript says it.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhenFull {
    DropOldest,
    Fail,
    /// At most so many milliseconds.
    Block(f64),
}

impl TryFrom<WhenFull> for Lag {
    type Error = Error;

    fn try_from(lag: WhenFull) -> Result<Self> {
        Ok(match lag {
            WhenFull::DropOldest => Self::DropOldest,
            WhenFull::Fail => Self::Fail,
            WhenFull::Block(limit) => Self::Block { at_most: duration("lag.block", limit)? },
        })
    }
}
