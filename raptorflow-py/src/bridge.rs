//! The bridge between Rust futures and one asyncio loop: jobs from any thread, run in batches on the loop's own.
//!
//! A job is a closure: start a coroutine, cancel its task, resolve a future.
//! The first job of a batch wakes the loop; those that come until it runs cost a lock.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::FutureExt as _;
use pyo3::{
    exceptions::PyRuntimeError,
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyTuple, PyWeakrefReference},
};
use raptorflow_core::{Error, ErrorKind, Result};
use tokio::{sync::oneshot, task::AbortHandle};

use crate::{
    error::{into_error, raise},
    runtime::runtime,
    wake::Wake,
};

type Job = Box<dyn FnOnce(Python<'_>, &Bound<'_, PyAny>) + Send>;

/// Carries jobs to one asyncio loop, which it does not keep alive.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
pub(crate) struct Bridge(Arc<Shared>);

/// The part of a bridge that Rust futures hold.
pub(crate) struct Shared {
    event_loop: Py<PyWeakrefReference>,
    wake: Wake,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    /// Whether the loop was told of them.
    told: bool,
    /// Whether the loop is closed.
    closed: bool,
}

#[pymethods]
impl Bridge {
    #[new]
    fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        let weak = PyWeakrefReference::new(event_loop)?.unbind();
        let shared = Arc::new(Shared { event_loop: weak, wake: Wake::new()?, queue: Mutex::default() });
        shared.wake.watch(event_loop, &shared)?;
        Ok(Self(shared))
    }
}

impl Bridge {
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.0)
    }

    /// Runs `work` on the runtime and gives an asyncio future of it.
    ///
    /// Cancelling that future drops `work`; a panic in it is an `InternalError`.
    pub(crate) fn spawn<'py, T: Send + 'static>(
        &self,
        py: Python<'py>,
        work: impl Future<Output = Result<T>> + Send + 'static,
        convert: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> PyResult<Bound<'py, PyAny>> {
        let runtime = runtime(py)?;
        let future = self.0.event_loop(py)?.call_method0(intern!(py, "create_future"))?;
        let (shared, promise) = (self.shared(), future.clone().unbind());
        let task = runtime.spawn(async move {
            let ended = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Internal, "python.await", "the work behind the call panicked"))
            });
            shared.push(Box::new(move |py, _| {
                let value = ended.map_err(|err| raise(py, &err)).and_then(|value| convert(py, value));
                resolve(promise.bind(py), value);
            }));
        });
        future.call_method1(intern!(py, "add_done_callback"), (Abort(task.abort_handle()),))?;
        Ok(future)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn event_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let upgraded = self.event_loop.bind(py).call0()?;
        if upgraded.is_none() {
            return Err(PyRuntimeError::new_err("the event loop is gone"));
        }
        Ok(upgraded)
    }

    /// Queues a job; jobs for a loop that is closed are dropped.
    fn push(self: &Arc<Self>, job: Job) {
        let mut queue = self.lock();
        if queue.closed {
            // Outside of the lock: what a job holds may queue another one when it goes.
            drop(queue);
            drop(job);
            return;
        }
        queue.jobs.push(job);
        if std::mem::replace(&mut queue.told, true) {
            return;
        }
        drop(queue);
        if !self.wake.tell(self) {
            self.close();
        }
    }

    /// Runs the jobs that wait, on the loop's thread.
    pub(crate) fn drain(&self, py: Python<'_>) -> PyResult<()> {
        self.wake.hear();
        let jobs = {
            let mut queue = self.lock();
            queue.told = false;
            std::mem::take(&mut queue.jobs)
        };
        let event_loop = self.event_loop(py)?;
        for job in jobs {
            job(py, &event_loop);
        }
        Ok(())
    }

    /// Drops the jobs that wait and all later ones.
    pub(crate) fn close(&self) {
        let left = {
            let mut queue = self.lock();
            queue.closed = true;
            std::mem::take(&mut queue.jobs)
        };
        drop(left);
    }

    /// Calls a plain function on a thread of Python's own and waits for its value.
    ///
    /// Dropping the future of this lets the function run to its end, unheard.
    pub(crate) async fn run_on_thread<T: Send + 'static>(
        self: &Arc<Self>,
        operation: &'static str,
        call: impl FnOnce(Python<'_>) -> PyResult<Py<PyTuple>> + Send + 'static,
        convert: impl FnOnce(&Bound<'_, PyAny>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        static SUBMIT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let (end, receiver) = ending(operation, convert);
        let end = Arc::new(Mutex::new(Some(end)));
        self.push(Box::new(move |py, _| {
            let submit = || -> PyResult<()> {
                let arguments = (call(py)?, Returned(Arc::clone(&end)));
                SUBMIT.import(py, "raptorflow._threads", "submit")?.call1(arguments).map(drop)
            };
            if let Err(err) = submit()
                && let Some(end) = take(&end)
            {
                end(py, Err(err));
            }
        }));
        ended(operation, receiver.await)
    }

    /// Starts an awaitable on the loop and waits for its value.
    ///
    /// `start` gives the awaitable's task, on the loop's thread; dropping the future of this cancels that task.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        operation: &'static str,
        start: impl FnOnce(Python<'_>, &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> + Send + 'static,
        convert: impl FnOnce(&Bound<'_, PyAny>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (end, receiver) = ending(operation, convert);
        let slot = Arc::new(Mutex::new(Slot::Waiting));
        let running = Arc::clone(&slot);
        self.push(Box::new(move |py, event_loop| {
            if matches!(*lock(&running), Slot::Over) {
                return;
            }
            match start(py, event_loop) {
                Ok(task) => watch(task.bind(py), &running, end),
                Err(err) => end(py, Err(err)),
            }
        }));
        let guard = CancelOnDrop { slot, shared: Arc::clone(self) };
        let value = receiver.await;
        drop(guard);
        ended(operation, value)
    }
}

/// Where the task of a coroutine is.
enum Slot {
    Waiting,
    Running(Py<PyAny>),
    Over,
}

type End = Box<dyn for<'py> FnOnce(Python<'py>, PyResult<Bound<'py, PyAny>>) + Send>;

fn take(end: &Mutex<Option<End>>) -> Option<End> {
    end.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// What takes the end of a function, and where its value arrives.
fn ending<T: Send + 'static>(
    operation: &'static str,
    convert: impl FnOnce(&Bound<'_, PyAny>) -> Result<T> + Send + 'static,
) -> (End, oneshot::Receiver<Result<T>>) {
    let (sender, receiver) = oneshot::channel();
    let end: End = Box::new(move |py, ended| {
        let value = ended.map_err(|err| into_error(py, err, operation)).and_then(|value| convert(&value));
        // When nobody waits any more, the value is not wanted.
        let _ = sender.send(value);
    });
    (end, receiver)
}

fn ended<T>(
    operation: &'static str,
    value: std::result::Result<Result<T>, oneshot::error::RecvError>,
) -> Result<T> {
    value.unwrap_or_else(|_| {
        let message = "the event loop that the function belongs to is closed";
        Err(Error::new(ErrorKind::Unavailable, operation, message))
    })
}

// No interpreter is taken while a slot is locked, so that the two locks cannot wait for each other.
fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(task: &Bound<'_, PyAny>, slot: &Arc<Mutex<Slot>>, end: End) {
    *lock(slot) = Slot::Running(task.clone().unbind());
    let done = Done { slot: Arc::clone(slot), end: Mutex::new(Some(end)) };
    // Dropping `end` tells who waits; nothing else is left to do when a task takes no callback.
    let _ = task.call_method1(intern!(task.py(), "add_done_callback"), (done,));
}

/// Cancels the coroutine when who waits for it is gone.
struct CancelOnDrop {
    slot: Arc<Mutex<Slot>>,
    shared: Arc<Shared>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let left = std::mem::replace(&mut *lock(&self.slot), Slot::Over);
        if let Slot::Running(task) = left {
            self.shared.push(Box::new(move |py, _| {
                // A task that has ended meanwhile says so by a return value, not by an error.
                let _ = task.bind(py).call_method0(intern!(py, "cancel"));
            }));
        }
    }
}

/// A thread calls it with what a plain function gave or raised.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
struct Returned(Arc<Mutex<Option<End>>>);

#[pymethods]
impl Returned {
    fn __call__(&self, py: Python<'_>, value: Bound<'_, PyAny>, raised: Option<Bound<'_, PyAny>>) {
        if let Some(end) = take(&self.0) {
            end(py, raised.map_or(Ok(value), |raised| Err(PyErr::from_value(raised))));
        }
    }
}

/// A task calls it at its end.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
struct Done {
    slot: Arc<Mutex<Slot>>,
    end: Mutex<Option<End>>,
}

#[pymethods]
impl Done {
    fn __call__(&self, task: &Bound<'_, PyAny>) {
        *lock(&self.slot) = Slot::Over;
        if let Some(end) = take(&self.end) {
            end(task.py(), task.call_method0(intern!(task.py(), "result")));
        }
    }
}

/// A future calls it at its end; a cancelled one stops the work behind it.
#[pyclass(frozen, module = "raptorflow._raptorflow")]
struct Abort(AbortHandle);

#[pymethods]
impl Abort {
    fn __call__(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        if future.call_method0(intern!(future.py(), "cancelled"))?.is_truthy()? {
            self.0.abort();
        }
        Ok(())
    }
}

fn resolve(future: &Bound<'_, PyAny>, value: PyResult<Py<PyAny>>) {
    let py = future.py();
    let told = || -> PyResult<()> {
        if future.call_method0(intern!(py, "done"))?.is_truthy()? {
            return Ok(());
        }
        match value {
            Ok(value) => future.call_method1(intern!(py, "set_result"), (value,))?,
            Err(err) => future.call_method1(intern!(py, "set_exception"), (err,))?,
        };
        Ok(())
    };
    if let Err(err) = told() {
        err.write_unraisable(py, Some(future));
    }
}
