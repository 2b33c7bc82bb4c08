//! `Tavily`: the search of tavily.com, over its HTTP API.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::json;

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    model::{HttpClient, HttpRequest, HttpResponse, ReqwestClient},
    runtime::Context,
    security::{Secret, SecretStore},
    tool::builtin::search::{Search, SearchHit, SearchQuery, Topic},
};

const OPERATION: &str = "tool.search";
/// The name of the secret with the key, and of the variable where it comes from the environment.
const KEY: &str = "TAVILY_API_KEY";
const BASE_URL: &str = "https://api.tavily.com";
/// The largest answer, in bytes.
const MAX_ANSWER: usize = 2 * 1024 * 1024;

/// Asks tavily.com; the secret `TAVILY_API_KEY` holds the key and is read at each question.
///
/// ```
/// use raptorflow_core::{Engine, security::EnvSecrets, tool::{Tavily, WebSearch}};
/// Engine::builder().tool(WebSearch::new(Tavily::new(EnvSecrets::new())));
/// ```
#[derive(Clone, Debug)]
pub struct Tavily {
    secrets: Arc<dyn SecretStore>,
    client: Arc<dyn HttpClient>,
    base_url: Arc<str>,
}

impl Tavily {
    /// With the key from a secret store.
    #[must_use]
    pub fn new(secrets: impl SecretStore) -> Self {
        Self {
            secrets: Arc::new(secrets),
            client: Arc::new(ReqwestClient::default()),
            base_url: Arc::from(BASE_URL),
        }
    }

    /// Another address of the API.
    #[must_use]
    pub fn at(mut self, base_url: &str) -> Self {
        self.base_url = Arc::from(base_url.trim_end_matches('/'));
        self
    }

    /// Another client.
    #[must_use]
    pub fn with_client(mut self, client: impl HttpClient) -> Self {
        self.client = Arc::new(client);
        self
    }

    async fn request(&self, query: &SearchQuery) -> Result<HttpRequest> {
        let key = self.secrets.get(KEY).await?.ok_or_else(|| {
            Error::new(ErrorKind::Unauthenticated, OPERATION, "there is no key for the search")
                .with("secret", KEY)
        })?;
        let mut body = json!({
            "query": query.text,
            "max_results": query.results,
            "topic": if query.topic == Topic::News { "news" } else { "general" },
        });
        if let (Some(days), Some(fields)) = (query.days, body.as_object_mut()) {
            fields.insert("days".to_owned(), days.into());
        }
        let bearer = Secret::new(format!("Bearer {}", key.expose()));
        Ok(HttpRequest {
            url: Arc::from(format!("{}/search", self.base_url)),
            headers: vec![
                (Arc::from("content-type"), Secret::new("application/json")),
                (Arc::from("authorization"), bearer),
            ],
            body: Bytes::from(body.to_string()),
        })
    }
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    title: String,
    url: String,
    #[serde(default)]
    content: String,
    #[serde(default)]
    published_date: Option<String>,
}

#[async_trait]
impl Search for Tavily {
    async fn search(&self, ctx: &Context, query: &SearchQuery) -> Result<Vec<SearchHit>> {
        let request = self.request(query).await?;
        let response = self.client.post(ctx, request).await?;
        if response.status != 200 {
            return Err(refused(&response));
        }
        let body = ctx.bound(OPERATION, read(response)).await??;
        let answer: Answer = serde_json::from_slice(&body).map_err(|err| {
            Error::new(ErrorKind::InvalidOutput, OPERATION, "the search answered in another form")
                .with("reason", &err)
                .caused_by(err)
        })?;
        let hit = |found: Found| SearchHit {
            published: found.published_date,
            ..SearchHit::new(found.title, found.url, found.content)
        };
        Ok(answer.results.into_iter().take(query.results).map(hit).collect())
    }
}

async fn read(response: HttpResponse) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    let mut pieces = response.body;
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece?);
        if body.len() > MAX_ANSWER {
            let message = "the search answered too much";
            return Err(Error::new(ErrorKind::InvalidOutput, OPERATION, message)
                .with("expected", format!("at most {MAX_ANSWER} bytes")));
        }
    }
    Ok(body)
}

fn refused(response: &HttpResponse) -> Error {
    let (kind, retry) = match response.status {
        401 => (ErrorKind::Unauthenticated, Retry::Never),
        403 => (ErrorKind::PermissionDenied, Retry::Never),
        // The numbers of their own stand for a plan that is used up.
        432 | 433 => (ErrorKind::LimitExceeded, Retry::Never),
        429 => (ErrorKind::RateLimited, Retry::Soon),
        500..=599 => (ErrorKind::Unavailable, Retry::Soon),
        _ => (ErrorKind::InvalidInput, Retry::Never),
    };
    Error::new(kind, OPERATION, "the search refused the question")
        .with("status", response.status)
        .retryable(retry)
}
