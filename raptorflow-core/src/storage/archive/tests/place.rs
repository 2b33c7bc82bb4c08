//! A folder, a time that stands still, and stores to compare.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use bytes::Bytes;
use tempfile::TempDir;

use crate::{
    runtime::{Context, Runtime, Tasks},
    storage::{Append, Expect, Scan, Storage},
    testing::ManualClock,
};

/// Where a test writes its archives.
pub(super) struct Place {
    folder: TempDir,
    pub(super) ctx: Context,
}

impl Place {
    pub(super) fn new() -> Self {
        let runtime = Runtime::new(Arc::new(ManualClock::new()), Tasks::current().unwrap());
        Self { folder: tempfile::tempdir().unwrap(), ctx: Context::new(&runtime) }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn of(&self, tenant: &str) -> Context {
        self.ctx.with_tenant(tenant.parse().unwrap())
    }

    /// The names of the files in the folder.
    pub(super) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Everything that a tenant has but for versions and leases.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Held {
    pub(super) keys: BTreeMap<String, Bytes>,
    pub(super) streams: BTreeMap<String, Vec<Bytes>>,
}

impl Held {
    pub(super) async fn of(storage: &Storage, ctx: &Context) -> Self {
        let mut held = Self::default();
        for (key, found) in
            storage.scan(ctx, Scan { prefix: "", after: None, limit: usize::MAX }).await.unwrap()
        {
            held.keys.insert(key, found.value);
        }
        for name in storage.streams(ctx, "", None, usize::MAX).await.unwrap() {
            let records = storage.read(ctx, &name, 0, usize::MAX).await.unwrap();
            assert!(records.iter().zip(0..).all(|(record, sequence)| record.sequence == sequence));
            held.streams.insert(name, records.into_iter().map(|record| record.data).collect());
        }
        held
    }

    pub(super) async fn put_into(&self, storage: &Storage, ctx: &Context) {
        for (key, value) in &self.keys {
            storage.put(ctx, key, value.clone(), Expect::Absent).await.unwrap();
        }
        for (name, records) in &self.streams {
            let append = Append { expected: Some(0), records: records.clone(), ..Append::to(name) };
            storage.append(ctx, append).await.unwrap();
        }
    }

    /// Some of everything: two streams, two keys, and payloads of each form.
    pub(super) fn sample() -> Self {
        let bytes = |texts: &[&'static str]| texts.iter().map(|text| Bytes::from(*text)).collect();
        Self {
            keys: [("note", Bytes::from("draft")), ("plan/1", Bytes::from_static(&[0, 255]))]
                .map(|(key, value)| (key.to_owned(), value))
                .into(),
            streams: [("a", bytes(&["{\"t\":1}", "", "two"])), ("b", bytes(&["1"]))]
                .map(|(name, records)| (name.to_owned(), records))
                .into(),
        }
    }
}
