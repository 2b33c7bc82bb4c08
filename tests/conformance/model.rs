//! The same random operations over a plain model and over each store: every answer must be the same.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use libtest_mimic::Trial;
use proptest::{prelude::*, test_runner::TestRunner};
use raptorflow_core::{
    error::{Error, ErrorKind},
    runtime::{Context, Runtime, Tasks},
    storage::{Append, Durability, Expect, Grant, Scan, SqliteConfig, SqliteStore, Storage},
    testing::ManualClock,
};

use crate::backends::block_on;

/// How many sequences are tried; each is made shorter when it fails.
const SEQUENCES: u32 = 48;
const TTL: Duration = Duration::from_secs(10);

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, sqlite: bool| {
        Trial::test(format!("storage::{name}::answers_as_the_model_does"), move || {
            let mut runner = TestRunner::new(ProptestConfig {
                cases: SEQUENCES,
                failure_persistence: None,
                ..ProptestConfig::default()
            });
            let sequences = prop::collection::vec(operation(), 1..60);
            Ok(runner.run(&sequences, |operations| {
                block_on(compare(&operations, sqlite));
                Ok(())
            })?)
        })
    };
    vec![trial("memory", false), trial("sqlite", true)]
}

/// Tenants, keys, streams and leases are few numbers, so that operations meet.
#[derive(Clone, Debug)]
enum Operation {
    Put { tenant: u8, key: u8, value: Vec<u8>, expect: Guess },
    Delete { tenant: u8, key: u8, expect: Guess },
    Scan { tenant: u8, after: Option<u8>, limit: usize },
    Append { tenant: u8, stream: u8, expected: Guess, fenced: bool, records: Vec<Vec<u8>> },
    Read { tenant: u8, stream: u8, from: u64, limit: usize },
    Remove { tenant: u8, stream: u8 },
    Acquire { tenant: u8, owner: u8 },
    Release { tenant: u8 },
    Advance,
    Reopen,
}

/// What is expected of a version or length, relative to the true one.
#[derive(Clone, Copy, Debug)]
enum Guess {
    Any,
    Nothing,
    Right,
    Wrong,
}

fn operation() -> impl Strategy<Value = Operation> {
    let (tenant, name) = (0..2_u8, 0..4_u8);
    let guess = || prop::sample::select(vec![Guess::Any, Guess::Nothing, Guess::Right, Guess::Wrong]);
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    let limit = prop::sample::select(vec![0, 1, 3, usize::MAX]);
    prop_oneof![
        (tenant.clone(), name.clone(), bytes(), guess())
            .prop_map(|(tenant, key, value, expect)| Operation::Put { tenant, key, value, expect }),
        (tenant.clone(), name.clone(), guess()).prop_map(|(tenant, key, expect)| Operation::Delete {
            tenant,
            key,
            expect
        }),
        (tenant.clone(), prop::option::of(name.clone()), limit.clone())
            .prop_map(|(tenant, after, limit)| Operation::Scan { tenant, after, limit }),
        (tenant.clone(), name.clone(), guess(), any::<bool>(), prop::collection::vec(bytes(), 0..4))
            .prop_map(|(tenant, stream, expected, fenced, records)| Operation::Append {
                tenant,
                stream,
                expected,
                fenced,
                records
            }),
        (tenant.clone(), name.clone(), 0..8_u64, limit)
            .prop_map(|(tenant, stream, from, limit)| Operation::Read { tenant, stream, from, limit }),
        (tenant.clone(), name).prop_map(|(tenant, stream)| Operation::Remove { tenant, stream }),
        (tenant.clone(), 0..2_u8).prop_map(|(tenant, owner)| Operation::Acquire { tenant, owner }),
        tenant.prop_map(|tenant| Operation::Release { tenant }),
        Just(Operation::Advance),
        Just(Operation::Reopen),
    ]
}

/// What a tenant holds, in the plainest form.
#[derive(Default)]
struct Model {
    keys: BTreeMap<u8, (Vec<u8>, u64)>,
    streams: BTreeMap<u8, Vec<Vec<u8>>>,
    /// The newest grant, who holds it, and whether it is held.
    lease: Option<(Grant, u8, bool)>,
}

struct World {
    storage: Storage,
    /// The file of a store that is still there when it is opened again.
    file: Option<PathBuf>,
    runtime: Runtime,
    clock: ManualClock,
    tenants: [(Context, Model); 2],
}

async fn compare(operations: &[Operation], sqlite: bool) {
    let clock = ManualClock::new();
    let runtime = Runtime::new(Arc::new(clock.clone()), Tasks::current().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = sqlite.then(|| folder.path().join("store.db"));
    let storage = open(&runtime, file.as_ref()).await;
    let tenants = ["one", "two"]
        .map(|name| (Context::new(&runtime).with_tenant(name.parse().unwrap()), Model::default()));
    let mut world = World { storage, file, runtime, clock, tenants };
    for operation in operations {
        world.step(operation).await;
    }
    world.storage.close().await.unwrap();
}

async fn open(runtime: &Runtime, file: Option<&PathBuf>) -> Storage {
    let Some(file) = file else { return Storage::memory() };
    let config = SqliteConfig::new(file).with_durability(Durability::None);
    Storage::from_store(Arc::new(SqliteStore::open(runtime, config).await.unwrap()))
}

fn name(number: u8) -> String {
    format!("name/{number}")
}

/// Fails unless a call was refused as a conflict exactly when it should have been.
fn granted<T: std::fmt::Debug>(outcome: Result<T, Error>, allowed: bool) -> Option<T> {
    match outcome {
        Ok(value) => {
            assert!(allowed, "should be a conflict: {value:?}");
            Some(value)
        }
        Err(err) => {
            assert_eq!((err.kind(), allowed), (ErrorKind::Conflict, false), "{err}");
            None
        }
    }
}

impl World {
    async fn step(&mut self, operation: &Operation) {
        match operation {
            Operation::Put { tenant, key, value, expect } => self.put(*tenant, *key, value, *expect).await,
            Operation::Delete { tenant, key, expect } => self.delete(*tenant, *key, *expect).await,
            Operation::Scan { tenant, after, limit } => self.scan(*tenant, *after, *limit).await,
            Operation::Append { tenant, stream, expected, fenced, records } => {
                self.append(*tenant, *stream, *expected, *fenced, records).await;
            }
            Operation::Read { tenant, stream, from, limit } => {
                self.read(*tenant, *stream, *from, *limit).await;
            }
            Operation::Remove { tenant, stream } => self.remove(*tenant, *stream).await,
            Operation::Acquire { tenant, owner } => self.acquire(*tenant, *owner).await,
            Operation::Release { tenant } => self.release(*tenant).await,
            Operation::Advance => self.clock.advance(TTL),
            Operation::Reopen => self.reopen().await,
        }
    }

    async fn reopen(&mut self) {
        if self.file.is_some() {
            self.storage.close().await.unwrap();
            self.storage = open(&self.runtime, self.file.as_ref()).await;
        }
    }

    async fn put(&mut self, tenant: u8, key: u8, value: &[u8], guess: Guess) {
        let (ctx, model) = &mut self.tenants[usize::from(tenant)];
        let found = model.keys.get(&key).map(|(_, version)| *version);
        let (expect, allowed) = expectation(guess, found);
        let outcome = self.storage.put(ctx, &name(key), value.to_vec(), expect).await;
        if let Some(version) = granted(outcome, allowed) {
            assert!(version > found.unwrap_or(0));
            model.keys.insert(key, (value.to_vec(), version));
        }
    }

    async fn delete(&mut self, tenant: u8, key: u8, guess: Guess) {
        let (ctx, model) = &mut self.tenants[usize::from(tenant)];
        let found = model.keys.get(&key).map(|(_, version)| *version);
        let (expect, allowed) = expectation(guess, found);
        if let Some(existed) = granted(self.storage.delete(ctx, &name(key), expect).await, allowed) {
            assert_eq!(existed, model.keys.remove(&key).is_some());
        }
    }

    async fn scan(&mut self, tenant: u8, after: Option<u8>, limit: usize) {
        let (ctx, model) = &self.tenants[usize::from(tenant)];
        let after_name = after.map(name);
        let scan = Scan { prefix: "name/", after: after_name.as_deref(), limit };
        let found = self.storage.scan(ctx, scan).await.unwrap();
        let found: Vec<_> =
            found.into_iter().map(|(key, entry)| (key, entry.value.to_vec(), entry.version)).collect();
        let expected: Vec<_> = model
            .keys
            .iter()
            .filter(|(key, _)| after.is_none_or(|after| **key > after))
            .take(limit)
            .map(|(key, (value, version))| (name(*key), value.clone(), *version))
            .collect();
        assert_eq!(found, expected);
    }

    async fn append(&mut self, tenant: u8, stream: u8, guess: Guess, fenced: bool, records: &[Vec<u8>]) {
        let (ctx, model) = &mut self.tenants[usize::from(tenant)];
        let length = model.streams.get(&stream).map_or(0, |records| records.len() as u64);
        let (expected, mut allowed) = match guess {
            Guess::Any => (None, true),
            Guess::Nothing => (Some(0), length == 0),
            Guess::Right => (Some(length), true),
            Guess::Wrong => (Some(length + 1), false),
        };
        let held = model.lease.as_ref().filter(|_| fenced);
        allowed &= held.is_none_or(|(_, _, held)| *held);
        let text = name(stream);
        let append = Append {
            stream: &text,
            expected,
            fence: held.map(|(grant, ..)| &grant.fence),
            records: records.iter().cloned().map(Bytes::from).collect(),
        };
        if let Some(end) = granted(self.storage.append(ctx, append).await, allowed) {
            assert_eq!(end, length + records.len() as u64);
            if !records.is_empty() {
                model.streams.entry(stream).or_default().extend_from_slice(records);
            }
        }
        let names: Vec<String> = model.streams.keys().map(|stream| name(*stream)).collect();
        assert_eq!(self.storage.streams(ctx, "name/", None, 99).await.unwrap(), names);
    }

    async fn read(&mut self, tenant: u8, stream: u8, from: u64, limit: usize) {
        let (ctx, model) = &self.tenants[usize::from(tenant)];
        let records = self.storage.read(ctx, &name(stream), from, limit).await.unwrap();
        let found: Vec<_> =
            records.into_iter().map(|record| (record.sequence, record.data.to_vec())).collect();
        let all = model.streams.get(&stream).cloned().unwrap_or_default();
        assert_eq!(self.storage.length(ctx, &name(stream)).await.unwrap(), all.len() as u64);
        let rest = (0..).zip(all).filter(|(sequence, _)| *sequence >= from);
        assert_eq!(found, rest.take(limit).collect::<Vec<_>>());
    }

    async fn remove(&mut self, tenant: u8, stream: u8) {
        let (ctx, model) = &mut self.tenants[usize::from(tenant)];
        let existed = self.storage.remove(ctx, &name(stream)).await.unwrap();
        assert_eq!(existed, model.streams.remove(&stream).is_some());
    }

    async fn acquire(&mut self, tenant: u8, owner: u8) {
        let (ctx, model) = &mut self.tenants[usize::from(tenant)];
        let free = model
            .lease
            .as_ref()
            .is_none_or(|(grant, holder, held)| !held || *holder == owner || grant.expires <= ctx.now());
        let newest = model.lease.as_ref().map_or(0, |(grant, ..)| grant.fence.token);
        let grant = self.storage.acquire(ctx, "lease", &name(owner), TTL).await.unwrap();
        assert_eq!(grant.is_some(), free);
        if let Some(grant) = grant {
            assert!(grant.fence.token > newest);
            model.lease = Some((grant, owner, true));
        }
    }

    async fn release(&mut self, tenant: u8) {
        let (ctx, model) = &mut self.tenants[usize::from(tenant)];
        if let Some((grant, _, held)) = &mut model.lease {
            self.storage.release(ctx, grant).await.unwrap();
            *held = false;
        }
    }
}

/// The expectation that a guess means of a key with version `found`, and whether it holds.
fn expectation(guess: Guess, found: Option<u64>) -> (Expect, bool) {
    match (guess, found) {
        (Guess::Any, _) => (Expect::Any, true),
        (Guess::Nothing, found) => (Expect::Absent, found.is_none()),
        (Guess::Right, Some(version)) => (Expect::Version(version), true),
        (Guess::Right, None) => (Expect::Version(1), false),
        (Guess::Wrong, found) => (Expect::Version(found.unwrap_or(0) + 1), false),
    }
}
