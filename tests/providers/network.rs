//! What keeps a request from its host: a certificate that nobody vouches for, an unknown name, a proxy that refuses.

use std::{io::Read as _, net::TcpListener, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use raptorflow_core::{
    Error, ErrorKind, Retry,
    model::{HttpConfig, Model, OpenAiConfig, OpenAiModel, ReqwestClient},
    security::Secret,
    testing::ServerReply,
};
use rustls::{
    ServerConfig, ServerConnection, Stream,
    crypto::ring,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use serde_json::json;

use crate::{KEY, ctx, question, server};

/// A certificate for this machine that it signed itself, valid for a hundred years.
const CERTIFICATE: &str = concat!(
    "MIIBmzCCAUGgAwIBAgIUKgHmOoFRfOwDoaHxmnpgLtTrB6UwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJbG9jYWxob3N0MCAX",
    "DTI2MTEyMTE5NDAzMVoYDzIxMjYxMDI4MTk0MDMxWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO",
    "PQMBBwNCAASsoUKVrSgEimkiOgzDYiy5SPMgHoIQnYWQQHfMOjyOg6aj4dQJFiT43/x45q6bkKzvUAh4ao3hxHYQS+P1HHdA",
    "o28wbTAdBgNVHQ4EFgQU7WjkC6dwcHWFJ7loVPn527e2d04wHwYDVR0jBBgwFoAU7WjkC6dwcHWFJ7loVPn527e2d04wDwYD",
    "VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZIzj0EAwIDSAAwRQIgQOr/sIy5I+nkJGvf",
    "hcdatYkXwQzInbrN3Lb9NMeFou8CIQDV0qQ/RILJJAqs2AQEmPbTYbGK7jy7Cndk9lUu88mZog==",
);
/// Its key, which opens nothing else.
const CERTIFICATE_KEY: &str = concat!(
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgWnmMtVcVmiqYJ7d1AcPSdU2Zaha1j5Dl37G6tURE4MahRANC",
    "AASsoUKVrSgEimkiOgzDYiy5SPMgHoIQnYWQQHfMOjyOg6aj4dQJFiT43/x45q6bkKzvUAh4ao3hxHYQS+P1HHdA",
);

async fn refused(base_url: String, config: HttpConfig) -> Error {
    let wanted = OpenAiConfig::new("gpt-test").at(base_url);
    let client = ReqwestClient::new(config);
    let model = Model::new(OpenAiModel::new(wanted, Some(Secret::new(KEY)), client).unwrap());
    let err = model.complete(&ctx(), &question()).await.unwrap_err();
    let shown = format!("{err:#} {err:?} {}", serde_json::to_string(&err).unwrap());
    assert!(!shown.contains(KEY) && !shown.contains("elephants"), "{shown}");
    err
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_named_and_not_tried_again() {
    let key = PrivatePkcs8KeyDer::from(STANDARD.decode(CERTIFICATE_KEY).unwrap());
    let certificate = CertificateDer::from(STANDARD.decode(CERTIFICATE).unwrap());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/v1", listener.local_addr().unwrap());
    let served = tokio::task::spawn_blocking(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
        // The client hangs up when it sees the certificate, before it sends anything.
        Stream::new(&mut tls, &mut socket).read(&mut [0; 16])
    });
    let err = refused(url, HttpConfig::default()).await;
    assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Never), "{err:#}");
    assert_eq!(err.message(), "the certificate of the host is not trusted");
    assert!(served.await.unwrap().is_err());
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_named() {
    // A part of a name has at most 63 characters, so nobody has to be asked.
    let host = format!("{}.invalid", "a".repeat(64));
    let err = refused(format!("http://{host}/v1"), HttpConfig::default()).await;
    assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Soon), "{err:#}");
    assert_eq!((err.message(), err.get("host")), ("the name of the host is not known", Some(host.as_str())));
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_and_its_password_is_not_shown() {
    let proxy = server([
        ServerReply::raw("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"),
        ServerReply::json(407, &json!({})),
        ServerReply::new(502, "text/html", "<html>no such host</html>"),
    ])
    .await;
    let through = || HttpConfig {
        proxy: Some(proxy.url().replace("http://", "http://me:canary@")),
        ..HttpConfig::default()
    };
    assert!(!format!("{:?}", through()).contains("canary"));
    let err = refused("https://host.invalid/v1".into(), through()).await;
    assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Never), "{err:#}");
    assert_eq!(err.message(), "the proxy does not lead to the host");
    let unknown = refused("http://host.invalid/v1".into(), through()).await;
    assert_eq!((unknown.kind(), unknown.retry()), (ErrorKind::Unauthenticated, Retry::Never), "{unknown:#}");
    let broken = refused("http://host.invalid/v1".into(), through()).await;
    assert_eq!((broken.kind(), broken.retry()), (ErrorKind::Unavailable, Retry::Soon), "{broken:#}");
    for err in [err, unknown, broken] {
        assert!(!format!("{err:#} {err:?}").contains("canary"), "{err:?}");
    }
    assert_eq!(proxy.requests()[0].line, "CONNECT host.invalid:443");
    let nonsense = HttpConfig { proxy: Some("canary proxy".into()), ..HttpConfig::default() };
    let err = refused("https://host.invalid/v1".into(), nonsense).await;
    assert_eq!(err.kind(), ErrorKind::InvalidInput, "{err:#}");
}
