//! `CachedSecrets`: remembers secrets for a time, so that a vault is not asked for each use, and notices new ones.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    error::Result,
    runtime::Clock,
    security::{Secret, SecretStore},
};

/// How long a secret is remembered by default, and how long the one before it counts.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// How many names are remembered at once by default.
const MAX_NAMES: usize = 1024;

/// A store that asks another one at most once an hour for each name.
///
/// A secret that is not there is asked for again each time, so that one that is set late is found at once.
/// When the time is up and the store behind cannot be reached, its error is given and the old secret is not: it may
/// have been taken back.
///
/// When a secret is replaced, the one before counts for another hour; [`CachedSecrets::versions`] gives both, newest
/// first, so that what was signed with the old one can be verified.
/// [`CachedSecrets::forget`] makes the next use ask at once, such as after a provider has refused a key.
///
/// It remembers 1,024 names; beyond that the one whose time is up first is forgotten.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use raptorflow_core::runtime::SystemClock;
/// use raptorflow_core::security::{CachedSecrets, EnvSecrets, SecretStore as _};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let vault = EnvSecrets::from_lookup(|name| (name == "API_KEY").then(|| "hidden".to_owned()));
/// let secrets = CachedSecrets::new(Arc::new(vault), Arc::new(SystemClock::default()));
/// assert!(secrets.known("API_KEY").is_none(), "nobody has asked yet");
/// assert!(secrets.get("API_KEY").await?.is_some());
/// assert!(secrets.known("API_KEY").is_some());
/// # Ok(())
/// # }
/// ```
pub struct CachedSecrets {
    inner: Arc<dyn SecretStore>,
    clock: Arc<dyn Clock>,
    ttl: Duration,
    overlap: Duration,
    max_names: usize,
    // A std lock: no await happens while it is held.
    names: RwLock<HashMap<Box<str>, Kept>>,
}

/// A secret, until when it is good, and the one before it.
struct Kept {
    secret: Secret,
    until: Duration,
    before: Option<(Secret, Duration)>,
}

impl CachedSecrets {
    /// Remembers what `inner` gives for an hour by `clock`.
    #[must_use]
    pub fn new(inner: Arc<dyn SecretStore>, clock: Arc<dyn Clock>) -> Self {
        Self { inner, clock, ttl: HOUR, overlap: HOUR, max_names: MAX_NAMES, names: RwLock::default() }
    }

    /// How long a secret is remembered; at zero the store behind is asked each time.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How long a secret counts after another has taken its place.
    #[must_use]
    pub fn with_overlap(mut self, overlap: Duration) -> Self {
        self.overlap = overlap;
        self
    }

    /// How many names are remembered at once, at least one.
    #[must_use]
    pub fn with_max_names(mut self, names: usize) -> Self {
        self.max_names = names.max(1);
        self
    }

    /// The secret of this name if it is remembered and still good; nobody is asked.
    #[must_use]
    pub fn known(&self, name: &str) -> Option<Secret> {
        let names = self.read();
        let kept = names.get(name)?;
        (self.clock.elapsed() < kept.until).then(|| kept.secret.clone())
    }

    /// The secret of this name and, for a time, the one before it; newest first, and empty when there is none.
    ///
    /// # Errors
    /// Those of the store behind.
    ///
    /// # Cancellation
    /// A dropped future has asked the store behind or not, and changes nothing here.
    pub async fn versions(&self, name: &str) -> Result<Vec<Secret>> {
        let Some(newest) = self.get(name).await? else { return Ok(Vec::new()) };
        let now = self.clock.elapsed();
        let names = self.read();
        let before = names.get(name).and_then(|kept| kept.before.as_ref());
        let before = before.filter(|(_, until)| now < *until).map(|(secret, _)| secret.clone());
        Ok([newest].into_iter().chain(before).collect())
    }

    /// Makes the next use ask the store behind; says whether the name was remembered.
    ///
    /// The secret stays known as the one before, should another have taken its place.
    pub fn forget(&self, name: &str) -> bool {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.get_mut(name).is_some_and(|kept| {
            kept.until = Duration::ZERO;
            true
        })
    }

    fn keep(&self, name: &str, secret: &Secret) {
        let now = self.clock.elapsed();
        let until = now.saturating_add(self.ttl);
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = names.get_mut(name) {
            if kept.secret != *secret {
                let before = std::mem::replace(&mut kept.secret, secret.clone());
                kept.before = Some((before, now.saturating_add(self.overlap)));
            }
            kept.until = until;
            return;
        }
        if names.len() >= self.max_names {
            let first = names.iter().min_by_key(|(_, kept)| kept.until).map(|(name, _)| name.clone());
            first.map(|name| names.remove(&name));
        }
        names.insert(name.into(), Kept { secret: secret.clone(), until, before: None });
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Box<str>, Kept>> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CachedSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedSecrets")
            .field("ttl", &self.ttl)
            .field("overlap", &self.overlap)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl SecretStore for CachedSecrets {
    async fn get(&self, name: &str) -> Result<Option<Secret>> {
        if let Some(secret) = self.known(name) {
            return Ok(Some(secret));
        }
        let secret = self.inner.get(name).await?;
        match &secret {
            Some(secret) => self.keep(name, secret),
            // It was taken back; what is remembered of it counts no longer, not even as the one before.
            None => drop(self.names.write().unwrap_or_else(PoisonError::into_inner).remove(name)),
        }
        Ok(secret)
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{
        error::{Error, ErrorKind},
        testing::ManualClock,
    };

    /// Gives what it was last told, and counts how often it was asked.
    #[derive(Debug, Default)]
    struct Vault(Mutex<(Option<&'static str>, u32, bool)>);

    #[async_trait]
    impl SecretStore for Vault {
        async fn get(&self, _name: &str) -> Result<Option<Secret>> {
            let mut vault = self.0.lock().unwrap();
            vault.1 += 1;
            if vault.2 {
                return Err(Error::new(ErrorKind::Unavailable, "test.get", "away"));
            }
            Ok(vault.0.map(Secret::new))
        }
    }

    struct Desk {
        vault: Arc<Vault>,
        clock: Arc<ManualClock>,
        secrets: CachedSecrets,
    }

    impl Desk {
        fn new() -> Self {
            let (vault, clock) = (Arc::new(Vault::default()), Arc::new(ManualClock::default()));
            let inner: Arc<dyn SecretStore> = Arc::<Vault>::clone(&vault);
            let secrets = CachedSecrets::new(inner, Arc::<ManualClock>::clone(&clock) as Arc<dyn Clock>);
            Self { vault, clock, secrets }
        }

        fn set(&self, secret: Option<&'static str>) {
            self.vault.0.lock().unwrap().0 = secret;
        }

        fn asked(&self) -> u32 {
            self.vault.0.lock().unwrap().1
        }

        async fn get(&self) -> Option<String> {
            self.secrets.get("KEY").await.unwrap().map(|secret| secret.expose().to_owned())
        }

        async fn versions(&self) -> Vec<String> {
            let versions = self.secrets.versions("KEY").await.unwrap();
            versions.iter().map(|secret| secret.expose().to_owned()).collect()
        }
    }

    #[tokio::test]
    async fn the_store_behind_is_asked_once_an_hour() {
        let desk = Desk::new();
        desk.set(Some("a"));
        for _ in 0..3 {
            assert_eq!(desk.get().await.as_deref(), Some("a"));
        }
        assert_eq!(desk.asked(), 1);
        desk.clock.advance(HOUR);
        assert!(desk.secrets.known("KEY").is_none());
        assert_eq!((desk.get().await.as_deref(), desk.asked()), (Some("a"), 2));
    }

    #[tokio::test]
    async fn a_secret_that_is_set_late_is_found_at_once_and_one_that_is_taken_back_is_gone() {
        let desk = Desk::new();
        assert_eq!(desk.get().await, None);
        desk.set(Some("a"));
        assert_eq!(desk.get().await.as_deref(), Some("a"));
        desk.set(None);
        assert!(desk.secrets.forget("KEY"));
        assert_eq!((desk.get().await, desk.versions().await), (None, Vec::new()));
    }

    #[tokio::test]
    async fn the_secret_before_counts_for_another_hour() {
        let desk = Desk::new();
        desk.set(Some("old"));
        assert_eq!(desk.versions().await, ["old"]);
        desk.set(Some("new"));
        assert_eq!(desk.versions().await, ["old"], "nobody has told it");
        desk.secrets.forget("KEY");
        assert_eq!(desk.versions().await, ["new", "old"]);
        desk.clock.advance(HOUR - Duration::from_millis(1));
        assert_eq!(desk.versions().await, ["new", "old"]);
        desk.clock.advance(Duration::from_millis(1));
        assert_eq!(desk.versions().await, ["new"]);
    }

    #[tokio::test]
    async fn a_store_that_is_away_is_an_error_and_no_old_secret() {
        let desk = Desk::new();
        desk.set(Some("a"));
        desk.get().await;
        desk.vault.0.lock().unwrap().2 = true;
        assert_eq!(desk.get().await.as_deref(), Some("a"), "it is still good");
        desk.clock.advance(HOUR);
        assert_eq!(desk.secrets.get("KEY").await.unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn the_name_whose_time_is_up_first_makes_room() {
        let desk = Desk::new();
        desk.set(Some("a"));
        let secrets = desk.secrets.with_max_names(2);
        for name in ["first", "second", "third"] {
            secrets.get(name).await.unwrap();
            desk.clock.advance(Duration::from_secs(1));
        }
        let known = ["first", "second", "third"].map(|name| secrets.known(name).is_some());
        assert_eq!(known, [false, true, true]);
    }

    #[tokio::test]
    async fn nothing_of_a_secret_shows() {
        let desk = Desk::new();
        desk.set(Some("hidden"));
        desk.get().await;
        assert!(!format!("{:?}", desk.secrets).contains("hidden"));
    }
}
