//! HTTP for the models: a seam that tests replace, the client behind it, and what answers mean.
//!
//! `client` is the seam, `transport` the real client, `endpoint` sends a request of a model, `status` turns
//! refusals into errors, `events` reads event streams.

mod client;
mod endpoint;
mod events;
mod status;
mod transport;

pub use client::{HttpBody, HttpClient, HttpRequest, HttpResponse};
pub(crate) use endpoint::{Endpoint, Extras, check_tools};
pub(crate) use events::{Dialect, answer_parts};
pub(crate) use status::{Origin, provider_error};
#[cfg(feature = "model-genai")]
pub(crate) use transport::refused;
#[cfg(feature = "tool-fetch")]
pub(crate) use transport::tls_config;
pub use transport::{HttpConfig, ReqwestClient};
