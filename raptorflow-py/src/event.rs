//! The bus, its events, and subscriptions whose events cross in batches.

use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use pyo3::{
    prelude::*,
    types::{PyDateTime, PyDict},
};
use raptorflow_core::{
    Error, ErrorKind, Result,
    engine::Outcome,
    event::{Bus, Event as CoreEvent, Filter, History, Lag, Received, Subscription as CoreSubscription},
    runtime::{Cancel, Context, Runtime, Task},
};
use tokio::sync::{Mutex, watch};

use crate::{
    agent::duration,
    bridge::Bridge,
    context::datetime,
    convert::{deserialized, serialized, to_dict, to_object},
    error::raise,
};

/// How a run ended, once it has; several may wait for it.
pub(crate) type Ended = watch::Receiver<Option<Result<Outcome>>>;

/// One event.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct Event(Arc<CoreEvent>);

#[pymethods]
impl Event {
    #[getter]
    fn id(&self) -> String {
        self.0.id.to_string()
    }

    #[getter]
    fn sequence(&self) -> u64 {
        self.0.sequence
    }

    #[getter]
    fn time<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDateTime>> {
        datetime(py, self.0.time)
    }

    #[getter]
    fn tenant(&self) -> &str {
        self.0.tenant.as_str()
    }

    #[getter]
    fn run_id(&self) -> Option<String> {
        self.0.run.map(|run| run.to_string())
    }

    #[getter]
    fn path(&self) -> &str {
        &self.0.path
    }

    #[getter]
    fn kind(&self) -> &str {
        self.0.kind.name()
    }

    #[getter]
    fn channel(&self) -> &str {
        self.0.channel.name()
    }

    #[getter]
    fn agent(&self) -> Option<&str> {
        self.0.agent.as_ref().map(raptorflow_core::types::AgentId::as_str)
    }

    #[getter]
    fn domain(&self) -> Option<&str> {
        self.0.domain.as_deref()
    }

    #[getter]
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        serialized(py, &self.0.status)
    }

    #[getter]
    fn priority<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        serialized(py, &self.0.priority)
    }

    #[getter]
    fn duration(&self) -> Option<f64> {
        self.0.duration.map(|duration| duration.as_secs_f64())
    }

    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if self.0.data.is_null() { Ok(PyDict::new(py).into_any()) } else { to_object(py, &self.0.data) }
    }

    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.0.metadata.as_ref().map_or_else(|| Ok(PyDict::new(py)), |metadata| to_dict(py, metadata))
    }

    /// Everything in it, as JSON types.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        serialized(py, &*self.0)
    }

    fn __repr__(&self) -> String {
        let agent = self.0.agent.as_ref().map(|agent| format!(", agent='{agent}'")).unwrap_or_default();
        format!("Event(kind='{}'{agent}, sequence={})", self.0.kind, self.0.sequence)
    }
}

/// The bus of an engine.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct EventBus {
    pub(crate) bus: Bus,
    pub(crate) runtime: Runtime,
}

#[pymethods]
impl EventBus {
    #[pyo3(signature = (filter, *, lag, capacity, at_most))]
    fn subscribe(
        &self,
        filter: &Bound<'_, PyAny>,
        lag: &str,
        capacity: usize,
        at_most: f64,
    ) -> PyResult<Subscription> {
        let open = || {
            let events =
                self.bus.subscribe(deserialized(filter, "filter")?, capacity, lag_of(lag, at_most)?)?;
            Ok(Subscription::new(events, None, None))
        };
        open().map_err(|err| raise(filter.py(), &err))
    }

    fn history(&self, filter: &Bound<'_, PyAny>, start: u64, limit: usize) -> PyResult<Vec<Event>> {
        let filter = deserialized(filter, "filter").map_err(|err| raise(filter.py(), &err))?;
        let query = History { filter, from: start, limit };
        let events = self.bus.history(&Context::new(&self.runtime), &query);
        Ok(events.into_iter().map(Event).collect())
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.bus.stats();
        let out = PyDict::new(py);
        out.set_item("published", stats.published)?;
        out.set_item("delivered", stats.delivered)?;
        out.set_item("dropped", stats.dropped)?;
        out.set_item("subscriptions", stats.subscriptions)?;
        out.set_item("retained", stats.retained)?;
        Ok(out)
    }
}

fn lag_of(name: &str, at_most: f64) -> Result<Lag> {
    match name {
        "drop_oldest" => Ok(Lag::DropOldest),
        "fail" => Ok(Lag::Fail),
        "block" => Ok(Lag::Block { at_most: duration("at_most", at_most)? }),
        other => {
            Err(Error::new(ErrorKind::InvalidInput, "event.subscribe", "expected drop_oldest, block or fail")
                .with("field", "lag")
                .with("value", other))
        }
    }
}

/// Stops the work behind a stream when nobody listens to it any more.
pub(crate) struct StopOnDrop(pub(crate) Task<()>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Events that are taken in batches; `None` inside is a subscription that was closed and let go.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct Subscription {
    events: Arc<Mutex<Option<CoreSubscription>>>,
    closed: Cancel,
    /// The run whose end is the end of the events.
    ended: Option<Ended>,
    work: StdMutex<Option<StopOnDrop>>,
}

impl Subscription {
    pub(crate) fn new(events: CoreSubscription, ended: Option<Ended>, work: Option<StopOnDrop>) -> Self {
        let events = Arc::new(Mutex::new(Some(events)));
        Self { events, closed: Cancel::new(), ended, work: StdMutex::new(work) }
    }
}

#[pymethods]
impl Subscription {
    /// A future of at least one event and at most `max`, and how many were missed before or among them.
    ///
    /// No events and none missed is the end.
    fn next_batch<'py>(&self, py: Python<'py>, bridge: &Bridge, max: usize) -> PyResult<Bound<'py, PyAny>> {
        let (events, ended, closed) = (Arc::clone(&self.events), self.ended.clone(), self.closed.clone());
        let work = async move {
            let mut place = events.lock().await;
            let Some(events) = &mut *place else { return Ok(Vec::new()) };
            tokio::select! {
                biased;
                () = closed.cancelled() => {}
                batch = next_batch(events, ended, max) => return batch,
            }
            *place = None;
            Ok(Vec::new())
        };
        bridge.spawn(py, work, |py, batch| {
            let mut missed: u64 = 0;
            let mut events = Vec::with_capacity(batch.len());
            for received in batch {
                match received {
                    Received::Event(event) => events.push(Event(event)),
                    Received::Missed(count) => missed = missed.saturating_add(count),
                }
            }
            Ok((events, missed).into_pyobject(py)?.into_any().unbind())
        })
    }

    /// Ends it; a run that was started for it stops and can be resumed.
    fn close(&self) {
        drop(self.work.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.closed.cancel();
        // Who waits for a batch right now lets go of it instead.
        if let Ok(mut events) = self.events.try_lock() {
            *events = None;
        }
    }
}

async fn next_batch(
    events: &mut CoreSubscription,
    ended: Option<Ended>,
    max: usize,
) -> Result<Vec<Received>> {
    let Some(mut ended) = ended else { return events.recv_many(max).await };
    tokio::select! {
        biased;
        batch = events.recv_many(max) => return batch,
        // A sender that is gone was aborted; nothing more comes from its run.
        _ = ended.wait_for(Option::is_some) => {}
    }
    // What was published before the end is in the queue by now.
    let mut batch = Vec::new();
    while batch.len() < max {
        match events.try_recv()? {
            Some(received) => batch.push(received),
            None => break,
        }
    }
    Ok(batch)
}

/// The filter of one run.
pub(crate) fn of_run(run: raptorflow_core::types::RunId) -> Filter {
    Filter { run: Some(run), ..Filter::default() }
}
