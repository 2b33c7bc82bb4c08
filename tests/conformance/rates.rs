//! The stores that count rates, and what Redis promises beyond the contract: keys, restarts and errors.

use std::{net::TcpListener, sync::Arc, time::Duration};

use libtest_mimic::Trial;
use raptorflow_core::{
    error::{Error, ErrorKind, Retry},
    model::{
        ChatRequest, CircuitBreakerLayer, Layers, LayersConfig, MemoryRates, Model, ModelRegistry, Rate,
        RateAlgorithm, RateCount, RateLimitLayer, RateStore, RedisRates,
    },
    runtime::{Context, Runtime},
    testing::{Reply, ScriptedModel, conformance::RateStoreSubject},
    types::Message,
};
use raptorflow_tests::redis::Server;
use serde_json::json;

use crate::postgres::{run, trial};

const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn memory() -> RateStoreSubject {
    let rates = MemoryRates::default();
    RateStoreSubject::new(move || {
        let rates = rates.clone();
        async { Ok(Arc::new(rates) as _) }
    })
}

pub(crate) fn redis() -> Result<RateStoreSubject, String> {
    let address = Server::shared()?.fresh();
    Ok(RateStoreSubject::new(move || {
        let rates = RedisRates::new(&address);
        async { Ok(Arc::new(rates?.with_timeout(Duration::from_secs(20))) as _) }
    }))
}

pub(crate) fn trials(required: &str) -> Vec<Trial> {
    let must = required.split(',').any(|name| name.trim() == "redis");
    let shared = |name: &str, test: fn(&'static Server)| {
        trial(&format!("redis::{name}"), must, move || Server::shared().map(test))
    };
    let own = |name: &str, settings: &'static [&str], test: fn(Server)| {
        trial(&format!("redis::{name}"), must, move || Server::start(settings).map(test))
    };
    vec![
        shared("a_counter_is_one_key_that_names_nobody_and_ends_by_itself", a_counter_ends_by_itself),
        shared("layers_of_one_address_share_their_rates", layers_share_their_rates),
        own("a_server_that_was_started_again_is_asked_again", &[], a_restart_is_asked_again),
        own("a_server_that_is_gone_fails_the_call_and_names_its_host", &[], a_server_that_is_gone),
        own("a_wrong_password_is_an_error_without_it", &["--requirepass", "right"], a_wrong_password),
        shared("a_server_that_says_nothing_is_unavailable", |_| silence()),
        shared("an_address_that_cannot_be_meant_is_refused_without_its_password", |_| wrong_addresses()),
    ]
}

fn context() -> Context {
    Context::new(&Runtime::current().unwrap())
}

fn once(key: &str) -> [RateCount<'_>; 1] {
    let rate = Rate::new(1, HOUR).unwrap().with_burst(1.0);
    [RateCount { rule: "user", key, rate, calls: 1 }]
}

fn allows(err: &Error, kind: ErrorKind, retry: Retry, host: &str) {
    assert_eq!((err.kind(), err.retry(), err.get("host")), (kind, retry, Some(host)), "{err:#}");
    assert!(!format!("{err:#} {err:?}").contains("secret"), "{err:#}");
}

fn a_counter_ends_by_itself(server: &'static Server) {
    run(async {
        let rates = RedisRates::new(&server.address()).unwrap().with_prefix("mine:rates");
        for algorithm in
            [RateAlgorithm::TokenBucket, RateAlgorithm::SlidingWindow, RateAlgorithm::FixedWindow]
        {
            let rate = Rate::new(10, Duration::from_secs(80)).unwrap().with_algorithm(algorithm);
            let count = RateCount { rule: algorithm.name(), key: "asha", rate, calls: 5 };
            assert!(rates.take(&context(), &[count]).await.unwrap().refused.is_none());
            let keys = server.ask(&format!("KEYS mine:rates:{}:*", algorithm.name())).unwrap();
            assert_eq!(keys.len(), 1, "{keys:?}");
            assert!(!keys[0].contains("asha"), "{keys:?}");
            let ttl = server.ask(&format!("PTTL {}", keys[0])).unwrap();
            let ttl: i64 = ttl[0].trim_start_matches(':').parse().unwrap();
            // Half of the bucket is missing, a window has nine slots, and each has a second more.
            let most = match algorithm {
                RateAlgorithm::TokenBucket => 41_000,
                RateAlgorithm::SlidingWindow => 91_000,
                RateAlgorithm::FixedWindow => 81_000,
            };
            assert!((1..=most).contains(&ttl), "{algorithm:?}: {ttl}");
        }
    });
}

fn layers_share_their_rates(server: &'static Server) {
    run(async {
        let address = server.fresh();
        let open = async || {
            let layers = json!({ "rate_limit": {
                "rules": [{ "scope": "user", "limit": 2, "per_seconds": 3600, "burst": 1.0 }],
                "longest_wait_seconds": 0,
                "store": address,
            } });
            let config: LayersConfig = serde_json::from_value(layers).unwrap();
            assert!(!format!("{config:?}").contains(&address));
            let models = ModelRegistry::default();
            let layers = config.build(&models, None, None).unwrap();
            models.with_layers(layers).open("offline:extractive").await.unwrap()
        };
        let (one, two) = (open().await, open().await);
        let ask = async |model: &Model| {
            let request = ChatRequest::new(vec![Message::user("What is a journal?")]);
            model.complete(&context().with_principal("asha"), &request).await
        };
        ask(&one).await.unwrap();
        ask(&two).await.unwrap();
        for model in [&one, &two] {
            let err = ask(model).await.unwrap_err();
            assert_eq!((err.kind(), err.get("scope")), (ErrorKind::RateLimited, Some("user")));
            assert!(matches!(err.retry(), Retry::After(_)), "{err:?}");
        }
    });
}

fn a_restart_is_asked_again(server: Server) {
    run(async move {
        let rates = RedisRates::new(&server.address()).unwrap();
        let ctx = context();
        assert!(rates.take(&ctx, &once("asha")).await.unwrap().refused.is_none());
        server.kill().unwrap();
        server.start_again().unwrap();
        // It keeps nothing, and the connection and the script are gone as well.
        let answer = rates.take(&ctx, &once("asha")).await.unwrap();
        assert!(answer.refused.is_none());
        rates.correct(&ctx, answer.at, &once("asha"), 0).await.unwrap();
        assert!(rates.take(&ctx, &once("asha")).await.unwrap().refused.is_none());
    });
}

fn a_server_that_is_gone(server: Server) {
    run(async move {
        let address = server.address().replace("127", "app:secret@127");
        let host = server.address().replace("redis://", "").replace("/0", "");
        server.kill().unwrap();
        let rates = RedisRates::new(&address).unwrap();
        let err = rates.take(&context(), &once("asha")).await.unwrap_err();
        allows(&err, ErrorKind::Unavailable, Retry::Soon, &host);
        // The model is not asked, and its breaker does not take it for the failing one.
        let script = ScriptedModel::new([]).always(Reply::text("Here."));
        let breakers = CircuitBreakerLayer::default();
        let limits = RateLimitLayer::per_model(Rate::USUAL).with_store(Arc::new(rates));
        let model = Layers::new().with(breakers).with(limits).wrap(Model::new(script.clone()));
        for _ in 0..8 {
            let request = ChatRequest::new(vec![Message::user("Where?")]);
            let err = model.complete(&context(), &request).await.unwrap_err();
            allows(&err, ErrorKind::Unavailable, Retry::Soon, &host);
        }
        assert!(script.requests().is_empty());
    });
}

fn a_wrong_password(server: Server) {
    run(async move {
        let address = server.address().replace("127", ":secret@127");
        let host = server.address().replace("redis://", "").replace("/0", "");
        let err = RedisRates::new(&address).unwrap().take(&context(), &once("asha")).await.unwrap_err();
        allows(&err, ErrorKind::Unauthenticated, Retry::Never, &host);
        let right = RedisRates::new(&address.replace("secret", "right")).unwrap();
        assert!(right.take(&context(), &once("asha")).await.is_ok());
    });
}

fn silence() {
    run(async {
        // It takes connections and says nothing.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let rates = RedisRates::new(&format!("redis://:secret@{host}/0")).unwrap();
        let rates = rates.with_timeout(Duration::from_millis(100));
        let err = rates.take(&context(), &once("asha")).await.unwrap_err();
        allows(&err, ErrorKind::Unavailable, Retry::Soon, &host);
    });
}

fn wrong_addresses() {
    for address in [
        "redis:",
        "redis://",
        "redis://:secret@host:port/0",
        "redis://:secret@host/first",
        "redis://:secret@host/0?prefix=",
        "redis://:secret@host/0?secrets=1",
        "http://:secret@host/0",
    ] {
        let err = RedisRates::new(address).unwrap_err();
        assert_eq!(err.kind(), ErrorKind::InvalidInput, "{address}");
        assert!(!format!("{err:#} {err:?}").contains(":secret"), "{err:#}");
    }
}
