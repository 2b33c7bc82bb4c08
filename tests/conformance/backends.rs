//! The backends that this build and machine offer, and their trials.

use std::{future::Future, path::PathBuf, sync::Arc};

use libtest_mimic::{Completion, Failed, Trial};
use raptorflow_core::{
    error::{Error, ErrorKind, Result},
    event::Bus,
    memory::{Relevance, StorageMemory},
    rag::{
        HashingEmbedder,
        lexical::{InvertedIndex, LexicalCapability},
        vector::{Capability as VectorCapability, FlatIndex, HnswConfig, HnswIndex},
    },
    storage::{Capability, PostgresConfig, PostgresStore, SqliteConfig, SqliteStore, Storage},
    testing::conformance::{
        Case, EventSubject, LexicalSubject, MemorySubject, StorageSubject, Subject, VectorSubject,
        chat_cases, durable_cases, embedder_cases, embedding_cases, event_cases, lexical_cases, memory_cases,
        rate_store_cases, storage_cases, vector_cases,
    },
};
use raptorflow_tests::postgres::Server;
use tempfile::TempDir;

use crate::{archive, chat, embedding, mcp, rates, third_party};

/// A backend of one contract and how to get a fresh place of it.
pub(crate) struct Backend<S> {
    /// The contract: the first part of a trial's name.
    pub(crate) contract: &'static str,
    /// The backend: the second part, and the word in `RAPTORFLOW_REQUIRE`.
    pub(crate) name: &'static str,
    /// A fresh place, or why there is none on this machine.
    pub(crate) fresh: fn() -> std::result::Result<S, String>,
}

/// All trials of all contracts.
pub(crate) fn trials(required: &str) -> Vec<Trial> {
    let storage = [
        Backend { contract: "storage", name: "memory", fresh: || Ok(memory()) },
        Backend { contract: "storage", name: "sqlite", fresh: || Ok(sqlite()) },
        Backend { contract: "storage", name: "postgres", fresh: postgres },
    ];
    let durable = [
        Backend { contract: "durable", name: "memory", fresh: || Ok(memory()) },
        Backend { contract: "durable", name: "sqlite", fresh: || Ok(sqlite()) },
        Backend { contract: "durable", name: "postgres", fresh: postgres },
    ];
    let event = [Backend { contract: "event", name: "local", fresh: || Ok(local()) }];
    let lexical = [Backend { contract: "lexical", name: "inverted", fresh: || Ok(inverted()) }];
    let memory = [
        Backend { contract: "memory", name: "memory", fresh: || Ok(remembering(memory(), words)) },
        Backend { contract: "memory", name: "embedder", fresh: || Ok(remembering(memory(), embedder)) },
        Backend { contract: "memory", name: "sqlite", fresh: || Ok(remembering(sqlite(), embedder)) },
        Backend { contract: "memory", name: "postgres", fresh: || Ok(remembering(postgres()?, words)) },
    ];
    let vector = [
        Backend { contract: "vector", name: "flat", fresh: || Ok(flat()) },
        Backend { contract: "vector", name: "hnsw", fresh: || Ok(hnsw(HnswConfig::default())) },
        Backend { contract: "vector", name: "hnsw_walk", fresh: || Ok(hnsw(walking())) },
    ];
    let rates = [
        Backend { contract: "rate", name: "memory", fresh: || Ok(rates::memory()) },
        Backend { contract: "rate", name: "redis", fresh: rates::redis },
    ];
    let chat = chat::backends();
    let (embedding, embedder) = (embedding::models(), embedding::embedders());
    let required: Vec<&str> = required.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let known: Vec<&str> = [
        names(&storage),
        names(&event),
        names(&chat),
        names(&embedding),
        names(&embedder),
        names(&lexical),
        names(&memory),
        names(&vector),
        names(&rates),
        third_party::NAMES.to_vec(),
        vec![mcp::NAME],
    ]
    .concat();
    let mut trials = of_contract(&storage, &[storage_cases(), archive::cases()].concat(), &required);
    trials.extend(of_contract(&durable, &durable_cases(), &required));
    trials.extend(of_contract(&event, &event_cases(), &required));
    trials.extend(of_contract(&chat, &chat_cases(), &required));
    trials.extend(of_contract(&embedding, &embedding_cases(), &required));
    trials.extend(of_contract(&embedder, &embedder_cases(), &required));
    trials.extend(of_contract(&lexical, &lexical_cases(), &required));
    trials.extend(of_contract(&memory, &memory_cases(), &required));
    trials.extend(of_contract(&rates, &rate_store_cases(), &required));
    trials.extend(of_contract(&vector, &vector_cases(), &required));
    trials.extend(required.into_iter().filter(|name| !known.contains(name)).map(unknown));
    trials
}

/// Runs a future on a runtime of two threads.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(work)
}

fn names<S>(backends: &[Backend<S>]) -> Vec<&'static str> {
    backends.iter().map(|backend| backend.name).collect()
}

fn of_contract<S>(backends: &[Backend<S>], cases: &[Case<S>], required: &[&str]) -> Vec<Trial>
where
    S: Subject + Send + 'static,
{
    let mut trials = Vec::new();
    for backend in backends {
        for case in cases {
            let name = format!("{}::{}::{}", backend.contract, backend.name, case.name);
            let (fresh, case) = (backend.fresh, *case);
            let must = required.contains(&backend.name);
            trials.push(Trial::ignorable_test(name, move || check(fresh, case, must)));
        }
    }
    trials
}

fn check<S: Subject>(
    fresh: fn() -> std::result::Result<S, String>,
    case: Case<S>,
    must: bool,
) -> std::result::Result<Completion, Failed> {
    let subject = match fresh() {
        Ok(subject) => subject,
        Err(absent) if must => return Err(format!("required, but absent: {absent}").into()),
        Err(absent) => return Ok(Completion::ignored_with(absent)),
    };
    if let Some(need) = case.missing(&subject) {
        return Ok(Completion::ignored_with(format!("needs {need}")));
    }
    block_on((case.run)(subject)).map_err(|err| format!("{err:#}"))?;
    Ok(Completion::Completed)
}

fn unknown(name: &str) -> Trial {
    let message = format!("RAPTORFLOW_REQUIRE names a backend that this build does not have: {name}");
    Trial::test(format!("require::{name}"), move || Err(message.into()))
}

fn local() -> EventSubject {
    EventSubject::new(|_runtime, config| async { Ok(Bus::local(config)) })
}

fn memory() -> StorageSubject {
    StorageSubject::new(Capability::new(false, false), |_runtime| async { Ok(Storage::memory()) })
}

fn sqlite() -> StorageSubject {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let file = |folder: &TempDir| folder.path().join("store.db");
    let damaged = Arc::clone(&folder);
    StorageSubject::new(Capability::new(true, true), move |runtime| {
        let config = SqliteConfig::new(file(&folder));
        async move { Ok(Storage::from_store(Arc::new(SqliteStore::open(&runtime, config).await?))) }
    })
    .with_damage(move || {
        let path = file(&damaged);
        async move { damage(path) }
    })
}

#[cfg(unix)]
fn postgres() -> std::result::Result<StorageSubject, String> {
    let server = Server::shared()?;
    let schema = server.schema();
    let config = PostgresConfig::new(server.address()).with_schema(&schema);
    let subject = StorageSubject::new(Capability::new(true, true), move |runtime| {
        let config = config.clone();
        async move { Ok(Storage::from_store(Arc::new(PostgresStore::open(&runtime, config).await?))) }
    });
    Ok(subject.with_damage(move || {
        let changed = server.sql(
            &schema,
            "UPDATE entries SET value = 'x' WHERE key = 'damaged';
             UPDATE records SET data = 'x' WHERE sequence = 1
                 AND stream = (SELECT id FROM streams WHERE name = 'damaged') RETURNING 'changed'",
        );
        async move {
            assert_eq!(changed.as_deref(), Ok("changed"), "nothing was damaged");
            Ok(())
        }
    }))
}

#[cfg(not(unix))]
fn postgres() -> std::result::Result<StorageSubject, String> {
    Err("the test server needs a Unix machine".to_owned())
}

fn words() -> Relevance {
    Relevance::Words
}

fn embedder() -> Relevance {
    Relevance::by(HashingEmbedder::default())
}

/// A memory over what a storage subject opens.
fn remembering(storage: StorageSubject, relevance: fn() -> Relevance) -> MemorySubject {
    MemorySubject::new(storage, move |storage, bounds| {
        Arc::new(StorageMemory::new(storage, relevance(), bounds)) as _
    })
}

fn inverted() -> LexicalSubject {
    LexicalSubject::new(LexicalCapability::new(false), || async {
        Ok(Arc::new(InvertedIndex::default()) as _)
    })
}

fn flat() -> VectorSubject {
    VectorSubject::new(VectorCapability::new(true, false), |dimension, metric| async move {
        Ok(Arc::new(FlatIndex::new(dimension, metric)?) as _)
    })
}

fn hnsw(config: HnswConfig) -> VectorSubject {
    VectorSubject::new(VectorCapability::new(false, false), move |dimension, metric| async move {
        Ok(Arc::new(HnswIndex::new(dimension, metric, config)?) as _)
    })
}

/// A graph that is walked also where comparing all would be as good.
fn walking() -> HnswConfig {
    let mut config = HnswConfig::default();
    (config.exact_below, config.ef_construction) = (0, 100);
    config
}

fn damage(path: PathBuf) -> Result<()> {
    let work = || {
        let raw = rusqlite::Connection::open(path)?;
        raw.execute("UPDATE entries SET value = x'00' WHERE key = 'damaged'", [])?;
        let stream = "SELECT id FROM streams WHERE name = 'damaged'";
        raw.execute(
            &format!("UPDATE arrivals SET data = x'00' WHERE stream = ({stream}) AND sequence = 1"),
            [],
        )
    };
    let changed = work().map_err(|err| {
        Error::new(ErrorKind::Internal, "conformance.damage", "cannot damage").caused_by(err)
    })?;
    assert_eq!(changed, 1, "nothing was damaged");
    Ok(())
}
