//! `McpAuth`: who asks for access to a server that wants OAuth, and the session's part of it.

use std::sync::Arc;

use futures_util::StreamExt as _;
use hyper::Response;
use rmcp::transport::auth::{
    AuthClient, AuthorizationCallback, AuthorizationManager, AuthorizationRequest, OAuthHttpClient,
    OAuthHttpClientError, OAuthHttpClientFuture, OAuthHttpRequest, OAuthState,
};

use crate::{
    error::{Error, ErrorKind, Result},
    model::ReqwestClient,
    security::Secret,
    tool::mcp::{
        fault::{Challenge, of_auth},
        handler::McpHandler,
    },
};

/// The operation that errors name.
const OPERATION: &str = "mcp.authorize";
/// The largest answer of an authorization server, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// Who asks for access to a server that wants OAuth 2.1.
///
/// The session finds the authorization server, registers where it has to, asks the user through
/// [`McpHandler::authorize`], renews tokens, and asks again where a call needs more scopes.
/// Tokens stay in memory; they are never logged.
///
/// ```
/// use raptorflow_core::tool::mcp::McpAuth;
/// let mut auth = McpAuth::new("http://127.0.0.1:8765/callback");
/// auth.client_name = "Notebook".to_owned();
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct McpAuth {
    /// Where the browser is sent after the user has decided.
    pub redirect_uri: String,
    /// What the user sees; `raptorflow` by default.
    pub client_name: String,
    /// The name that the authorization server knows us by, where it was arranged before.
    pub client_id: Option<String>,
    /// The secret of that name.
    pub client_secret: Option<Secret>,
    /// The address of a document about us, for servers that read one instead of a registration.
    pub client_metadata_url: Option<String>,
    /// What to ask for; what the server names by default.
    pub scopes: Vec<String>,
}

impl McpAuth {
    /// Asks under the name `raptorflow`, registered on the way.
    pub fn new(redirect_uri: impl Into<String>) -> Self {
        Self {
            redirect_uri: redirect_uri.into(),
            client_name: "raptorflow".to_owned(),
            client_id: None,
            client_secret: None,
            client_metadata_url: None,
            scopes: Vec::new(),
        }
    }

    fn request(&self, challenge: &str) -> AuthorizationRequest {
        let mut request = AuthorizationRequest::new(&self.redirect_uri)
            .with_client_name(&self.client_name)
            .with_challenge(challenge);
        if !self.scopes.is_empty() {
            request = request.with_scopes(self.scopes.iter().cloned());
        }
        if let Some(id) = &self.client_id {
            request = request.with_preregistered_client(id);
        }
        if let Some(secret) = &self.client_secret {
            request = request.with_client_secret(secret.expose());
        }
        match &self.client_metadata_url {
            Some(address) => request.with_client_metadata_url(address),
            None => request,
        }
    }
}

/// The access of one session.
#[derive(Debug)]
pub(super) struct Access {
    config: McpAuth,
    address: String,
    http: Arc<OAuthHttp>,
    client: AuthClient<reqwest::Client>,
    /// One question to the user at a time.
    turn: tokio::sync::Semaphore,
}

impl Access {
    pub(super) async fn new(
        address: &str,
        http: ReqwestClient,
        client: reqwest::Client,
        config: McpAuth,
    ) -> Result<Self> {
        let http = Arc::new(OAuthHttp(http));
        let manager =
            AuthorizationManager::new_with_oauth_http_client(address.to_owned(), Arc::clone(&http) as _)
                .await
                .map_err(|err| of_auth(&err, OPERATION))?;
        let client = AuthClient::new(client, manager);
        Ok(Self { config, address: address.to_owned(), http, client, turn: tokio::sync::Semaphore::new(1) })
    }

    /// The client whose requests carry the token of the moment.
    pub(super) fn client(&self) -> AuthClient<reqwest::Client> {
        self.client.clone()
    }

    /// Gets what the server asks for.
    pub(super) async fn obtain(&self, handler: &dyn McpHandler, challenge: &Challenge) -> Result<()> {
        let _turn = self.turn.acquire().await;
        match challenge {
            Challenge::Scope(_, Some(scope)) if self.client.get_access_token().await.is_ok() => {
                self.widen(handler, scope).await
            }
            Challenge::Credentials(text) | Challenge::Scope(text, _) => self.begin(handler, text).await,
        }
    }

    async fn begin(&self, handler: &dyn McpHandler, challenge: &str) -> Result<()> {
        let failed = |err| of_auth(&err, OPERATION);
        let mut state =
            OAuthState::new_with_oauth_http_client(self.address.clone(), Arc::clone(&self.http) as _)
                .await
                .map_err(failed)?;
        state.start_authorization(self.config.request(challenge)).await.map_err(failed)?;
        let address = state.get_authorization_url().await.map_err(failed)?;
        let returned = handler.authorize(&address).await?;
        state.handle_callback_url(&returned).await.map_err(failed)?;
        let manager = state
            .into_authorization_manager()
            .ok_or_else(|| Error::new(ErrorKind::Internal, OPERATION, "an authorization without an end"))?;
        *self.client.auth_manager.lock().await = manager;
        Ok(())
    }

    /// Asks for one more scope beside those that were granted; the SDK bounds how often.
    async fn widen(&self, handler: &dyn McpHandler, scope: &str) -> Result<()> {
        let refused = |err| {
            Error::new(ErrorKind::PermissionDenied, OPERATION, "the server wants ever more scopes")
                .with("scope", scope)
                .caused_by(err)
        };
        let asked = self.client.auth_manager.lock().await.request_scope_upgrade(scope).await;
        let returned = handler.authorize(&asked.map_err(refused)?).await?;
        let callback =
            AuthorizationCallback::from_redirect_url(&returned).map_err(|err| of_auth(&err, OPERATION))?;
        let manager = self.client.auth_manager.lock().await;
        manager
            .exchange_code_for_token_with_issuer(
                &callback.code,
                &callback.csrf_token,
                callback.issuer.as_deref(),
            )
            .await
            .map_err(|err| of_auth(&err, OPERATION))?;
        Ok(())
    }
}

/// Our HTTPS for the SDK's OAuth; redirects are handed back and never followed.
#[derive(Debug)]
struct OAuthHttp(ReqwestClient);

impl OAuthHttpClient for OAuthHttp {
    fn execute(&self, request: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        Box::pin(async move {
            let boxed = |err: reqwest::Error| Box::new(err.without_url()) as OAuthHttpClientError;
            let request = reqwest::Request::try_from(request.request).map_err(boxed)?;
            let (_, client) = self.0.reach(request.url().as_str())?;
            let answer = client.execute(request).await.map_err(boxed)?;
            let mut response = Response::builder().status(answer.status()).version(answer.version());
            for (name, value) in answer.headers() {
                response = response.header(name, value);
            }
            let (mut body, mut pieces) = (Vec::new(), answer.bytes_stream());
            while let Some(piece) = pieces.next().await {
                let piece = piece.map_err(boxed)?;
                if body.len().saturating_add(piece.len()) > MAX_BODY {
                    return Err("the answer of the authorization server is too large".into());
                }
                body.extend_from_slice(&piece);
            }
            Ok(response.body(body)?)
        })
    }
}
