//! `StorageSubject`: a fresh place that a storage backend opens, and the time of it.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use crate::{
    error::{ErrorKind, Result},
    runtime::{Context, Runtime, Tasks},
    storage::{Capability, Storage},
    testing::{ManualClock, conformance::Subject},
};

type Opening<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// What the storage cases run over.
#[derive(Clone)]
pub struct StorageSubject {
    capability: Capability,
    open: Arc<dyn Fn(Runtime) -> Opening<Storage> + Send + Sync>,
    damage: Option<Arc<dyn Fn() -> Opening<()> + Send + Sync>>,
    /// The time of every context of the subject.
    pub clock: ManualClock,
}

impl StorageSubject {
    /// A subject that `open` opens; called again it opens the same data if the backend is durable.
    pub fn new<O>(capability: Capability, open: impl Fn(Runtime) -> O + Send + Sync + 'static) -> Self
    where
        O: Future<Output = Result<Storage>> + Send + 'static,
    {
        let open = Arc::new(move |runtime| -> Opening<Storage> { Box::pin(open(runtime)) });
        Self { capability, open, damage: None, clock: ManualClock::new() }
    }

    /// How to damage the stored bytes of the key `damaged` and of record 1 of the stream `damaged`.
    #[must_use]
    pub fn with_damage<O>(mut self, damage: impl Fn() -> O + Send + Sync + 'static) -> Self
    where
        O: Future<Output = Result<()>> + Send + 'static,
    {
        self.damage = Some(Arc::new(move || Box::pin(damage())));
        self
    }

    /// A context whose time is [`StorageSubject::clock`].
    ///
    /// # Errors
    /// `Unavailable` outside of a Tokio runtime.
    pub fn context(&self) -> Result<Context> {
        Ok(Context::new(&self.runtime()?))
    }

    /// Opens the store, and again the same data if the backend is durable; with a context of the subject's time.
    ///
    /// # Errors
    /// What the backend says.
    ///
    /// # Panics
    /// When the store has another capability than the subject declares.
    pub async fn open(&self) -> Result<(Context, Storage)> {
        let storage = (self.open)(self.runtime()?).await?;
        assert_eq!(storage.capability(), self.capability, "the subject declares another capability");
        Ok((self.context()?, storage))
    }

    pub(super) async fn damage(&self) -> Result<()> {
        match &self.damage {
            Some(damage) => damage().await,
            None => Ok(()),
        }
    }

    fn runtime(&self) -> Result<Runtime> {
        Ok(Runtime::new(Arc::new(self.clock.clone()), Tasks::current()?))
    }
}

impl Subject for StorageSubject {
    fn offers(&self, need: &str) -> bool {
        match need {
            "durable" => self.capability.durable,
            "shared" => self.capability.shared,
            "damage" => self.damage.is_some(),
            _ => false,
        }
    }
}

impl fmt::Debug for StorageSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageSubject").field("capability", &self.capability).finish_non_exhaustive()
    }
}

/// Fails unless a call was refused with `kind`.
#[track_caller]
pub(super) fn assert_refused<T: fmt::Debug>(outcome: Result<T>, kind: ErrorKind) {
    let refused = outcome.map_err(|err| err.kind());
    assert!(matches!(&refused, Err(found) if *found == kind), "expected {kind}, got {refused:?}");
}

/// Names that every backend refuses.
pub(super) fn bad_names() -> [String; 3] {
    [String::new(), "a\0b".to_owned(), "x".repeat(1025)]
}

/// Names that every backend takes.
pub(super) fn good_names() -> [String; 4] {
    ["x".repeat(1024), "a/b:c%_*?[']\"".to_owned(), "\u{10ffff}".to_owned(), " \n".to_owned()]
}
