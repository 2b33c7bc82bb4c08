//! The tool `fetch` on this machine: what it makes of a page, and that no address is asked that may not be.
//!
//! 127.0.0.2 stands for the internet; 127.0.0.1 and `::1` stand for what must not be reached, on the same port.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use raptorflow_core::{
    Error, ErrorKind, Result,
    tool::{Fetch, FetchConfig, HostResolver, Tool as _},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::ctx;

const OPEN: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const CLOSED: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Answers of a name server, one a lookup; the last one stays.
#[derive(Clone, Debug, Default)]
struct Script(Arc<Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>>);

#[async_trait]
impl HostResolver for Script {
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>> {
        let mut hosts = self.0.lock().unwrap();
        let answers =
            hosts.get_mut(host).ok_or_else(|| Error::new(ErrorKind::NotFound, "test", "unknown"))?;
        Ok(if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() })
    }
}

/// A host that redirects as it is told and then has a page, and listeners that nobody may reach.
struct Net {
    port: u16,
    /// What the open host answers, request by request; a page behind that.
    plan: Arc<Mutex<VecDeque<String>>>,
    asked: Arc<AtomicUsize>,
    reached: Arc<AtomicUsize>,
}

fn page(content_type: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
}

async fn listeners() -> (TcpListener, Vec<TcpListener>) {
    for _ in 0..100 {
        let open = TcpListener::bind(SocketAddr::new(OPEN, 0)).await.unwrap();
        let port = open.local_addr().unwrap().port();
        let Ok(closed) = TcpListener::bind(SocketAddr::new(CLOSED, port)).await else { continue };
        let mut closed = vec![closed];
        // A machine without IPv6 has one way less to go wrong.
        closed.extend(TcpListener::bind(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port)).await);
        return (open, closed);
    }
    panic!("no port is free on both addresses");
}

impl Net {
    async fn start() -> Self {
        let (open, closed) = listeners().await;
        let net = Self {
            port: open.local_addr().unwrap().port(),
            plan: Arc::default(),
            asked: Arc::default(),
            reached: Arc::default(),
        };
        let tasks = ctx().runtime().tasks().clone();
        for listener in closed {
            let reached = Arc::clone(&net.reached);
            tasks.spawn("closed", async move {
                while listener.accept().await.is_ok() {
                    reached.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let (plan, asked) = (Arc::clone(&net.plan), Arc::clone(&net.asked));
        tasks.spawn("open", async move {
            while let Ok((socket, _)) = open.accept().await {
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = plan.lock().unwrap().pop_front();
                // Who hangs up early is no concern of the server.
                let _ = serve(socket, &answer.unwrap_or_else(|| page("text/plain", "the page"))).await;
            }
        });
        net
    }

    /// Fetches `http://start.test:port/` with these answers of the open host and of the name server.
    async fn fetch(
        &self,
        answers: impl IntoIterator<Item = String>,
        names: impl IntoIterator<Item = (&str, Vec<Vec<IpAddr>>)>,
        config: FetchConfig,
        arguments: Value,
    ) -> Result<Value> {
        *self.plan.lock().unwrap() = answers.into_iter().collect();
        self.asked.store(0, Ordering::SeqCst);
        let mut hosts = HashMap::from([("start.test".to_owned(), VecDeque::from([vec![OPEN]]))]);
        hosts.extend(names.into_iter().map(|(host, answers)| (host.to_owned(), answers.into())));
        let fetch = Fetch::with_resolver(config, Script(Arc::new(Mutex::new(hosts))));
        fetch.call(&ctx(), arguments).await
    }

    fn config(&self) -> FetchConfig {
        let mut config = FetchConfig::default();
        config.ports = vec![self.port];
        config.addresses = vec![OPEN];
        config
    }

    fn start_page(&self) -> Value {
        json!({ "url": format!("http://start.test:{}/", self.port) })
    }

    async fn read(&self, answer: String, more: Value) -> Result<Value> {
        let mut arguments = self.start_page();
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.fetch([answer], [], self.config(), arguments).await
    }
}

async fn serve(mut socket: TcpStream, answer: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut piece = [0; 1024];
        match socket.read(&mut piece).await? {
            0 => return Ok(()),
            read => request.extend_from_slice(&piece[..read]),
        }
    }
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await
}

/// What the name server says of the last host, where not every answer is open.
fn bad_names() -> Vec<Vec<Vec<IpAddr>>> {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let mut scripts: Vec<Vec<Vec<IpAddr>>> = [
        "127.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "fd00:ec2::254",
        "2002:7f00:1::",
    ]
    .iter()
    .map(|text| vec![vec![ip(text)]])
    .collect();
    scripts.push(vec![vec![OPEN, CLOSED]]);
    scripts.push(vec![vec![CLOSED, OPEN]]);
    scripts.push(vec![vec![OPEN, ip("::1")]]);
    scripts
}

/// Addresses that lead to this machine without a name, or to no page at all.
fn bad_targets(port: u16) -> Vec<String> {
    let hosts = [
        "127.0.0.1",
        "127.1",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "0",
        "0.0.0.0",
        "127.0.0.1.",
        "①②⑦.⓪.⓪.①",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "user@start.test",
        "user:word@127.0.0.1",
    ];
    let mut targets: Vec<String> = hosts.iter().map(|host| format!("http://{host}:{port}/")).collect();
    targets.push(format!("//127.0.0.1:{port}/"));
    targets.push(format!("https://127.0.0.1:{port}/"));
    targets.push(format!("http://start.test:{}/", port.wrapping_add(1)));
    targets.extend(
        ["file:///etc/hostname", "ftp://start.test/", "gopher://start.test/", "data:text/plain,x"]
            .map(str::to_owned),
    );
    targets
}

#[tokio::test]
async fn no_redirect_and_no_change_of_a_name_leads_to_an_address_that_is_denied() {
    let net = Net::start().await;
    let good = |hops: usize| (1..=hops).map(|hop| redirect(&format!("/hop/{hop}"))).collect::<Vec<_>>();
    let mut sequences = 0;
    for hops in 0..=2 {
        for names in bad_names() {
            let last = redirect(&format!("http://end.test:{}/", net.port));
            let answers = good(hops).into_iter().chain([last]);
            let shown = format!("{hops} {names:?}");
            let got = net.fetch(answers, [("end.test", names)], net.config(), net.start_page()).await;
            assert_eq!(got.unwrap_err().kind(), ErrorKind::PermissionDenied, "{shown}");
            assert_eq!(net.asked.load(Ordering::SeqCst), hops + 1, "{shown}");
            sequences += 1;
        }
        for target in bad_targets(net.port) {
            let answers = good(hops).into_iter().chain([redirect(&target)]);
            let got = net.fetch(answers, [], net.config(), net.start_page()).await;
            let err = got.expect_err(&target);
            assert!(
                matches!(err.kind(), ErrorKind::PermissionDenied | ErrorKind::InvalidOutput),
                "{target}: {err}"
            );
            assert_eq!(net.asked.load(Ordering::SeqCst), hops + 1, "{target}");
            sequences += 1;
        }
        // The name is good until the page redirects to itself, and leads inside from then on.
        let names = (0..=hops).map(|_| vec![OPEN]).chain([vec![CLOSED]]).collect();
        let got = net.fetch(good(5), [("start.test", names)], net.config(), net.start_page()).await;
        assert_eq!(got.unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(net.asked.load(Ordering::SeqCst), hops + 1);
        sequences += 1;
    }
    // And without any redirect.
    for target in bad_targets(net.port) {
        let target = target.strip_prefix("//").map_or(target.clone(), |rest| format!("http://{rest}"));
        net.fetch([], [], net.config(), json!({ "url": target })).await.expect_err(&target);
        assert_eq!(net.asked.load(Ordering::SeqCst), 0, "{target}");
        sequences += 1;
    }
    assert!(sequences >= 100, "{sequences}");
    assert_eq!(net.reached.load(Ordering::SeqCst), 0, "of {sequences}");
}

#[tokio::test]
async fn redirects_between_open_hosts_are_followed_up_to_their_number() {
    let net = Net::start().await;
    let hop = || redirect(&format!("http://other.test:{}/x", net.port));
    for hops in [0, 1, 5] {
        let names = [("other.test", vec![vec![OPEN]])];
        let answers: Vec<_> = (0..hops).map(|_| hop()).collect();
        let got = net.fetch(answers, names, net.config(), net.start_page()).await.unwrap();
        assert_eq!(got["text"], "the page");
    }
    let names = [("other.test", vec![vec![OPEN]])];
    let got = net.fetch((0..6).map(|_| hop()), names, net.config(), net.start_page()).await;
    assert_eq!(got.unwrap_err().kind(), ErrorKind::LimitExceeded);
}

#[tokio::test]
async fn only_the_hosts_that_are_named_are_asked_where_some_are() {
    let net = Net::start().await;
    for (hosts, target, allowed) in [
        (vec!["start.test".to_owned()], "a.start.test", false),
        (vec![".start.test".to_owned()], "a.start.test", true),
        (vec![".start.test".to_owned()], "xstart.test", false),
    ] {
        let mut config = net.config();
        config.hosts = hosts;
        let answers = [redirect(&format!("http://{target}:{}/", net.port))];
        let got = net.fetch(answers, [(target, vec![vec![OPEN]])], config, net.start_page()).await;
        assert_eq!(got.is_ok(), allowed, "{target}");
    }
}

#[tokio::test]
async fn a_page_of_html_is_markdown_whole_or_by_section_and_in_pieces() {
    let net = Net::start().await;
    let html = || {
        page("text/html; charset=utf-8", "<title>Shop</title><h1>Plans</h1><p>All.<h2>Basic</h2><p>Costs 5.")
    };
    let whole = net.read(html(), json!({})).await.unwrap();
    assert_eq!(whole["title"], "Shop");
    assert_eq!(whole["text"], "# Plans\n\nAll.\n\n## Basic\n\nCosts 5.");
    assert!(whole.get("next_start").is_none() && whole.get("cut").is_none(), "{whole}");
    let part = net.read(html(), json!({ "section": "basic" })).await.unwrap();
    assert_eq!(part["text"], "## Basic\n\nCosts 5.");
    let err = net.read(html(), json!({ "section": "premium" })).await.unwrap_err();
    assert_eq!((err.kind(), err.get("known")), (ErrorKind::NotFound, Some("Plans | Basic")));

    let mut config = net.config();
    config.max_chars = 8;
    let mut arguments = net.start_page();
    let first = net.fetch([html()], [], config.clone(), arguments.clone()).await.unwrap();
    assert_eq!((&first["text"], &first["next_start"]), (&json!("# Plans\n"), &json!(8)));
    arguments["start"] = json!(8);
    let second = net.fetch([html()], [], config, arguments).await.unwrap();
    assert_eq!(second["text"], "\nAll.\n\n#");
}

#[tokio::test]
async fn a_body_is_read_up_to_its_limit_and_bytes_that_are_no_text_are_replaced() {
    let net = Net::start().await;
    let mut config = net.config();
    config.max_bytes = 10;
    let long = page("text/plain", &"é".repeat(1000));
    let got = net.fetch([long], [], config, net.start_page()).await.unwrap();
    assert_eq!(got["text"], "ééééé");
    assert!(got["cut"].is_string());
    // The server sends text only, so the bytes are those of a letter that the limit cuts apart.
    let mut config = net.config();
    config.max_bytes = 3;
    let got = net.fetch([page("text/plain", "éé")], [], config, net.start_page()).await.unwrap();
    assert_eq!(got["text"], "é\u{fffd}");
}

#[tokio::test]
async fn what_is_no_page_of_text_is_refused_with_the_reason() {
    let net = Net::start().await;
    let status = |status: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    for (answer, kind) in [
        (page("image/png", "x"), ErrorKind::Unsupported),
        (page("application/octet-stream", "x"), ErrorKind::Unsupported),
        (page("text/plain\r\ncontent-encoding: gzip", "x"), ErrorKind::Unsupported),
        (status("404 Not Found"), ErrorKind::NotFound),
        (status("403 Forbidden"), ErrorKind::PermissionDenied),
        (status("429 Too Many Requests"), ErrorKind::RateLimited),
        (status("503 Service Unavailable"), ErrorKind::Unavailable),
        (status("302 Found"), ErrorKind::InvalidOutput),
        ("nonsense".to_owned(), ErrorKind::Unavailable),
        (String::new(), ErrorKind::Unavailable),
    ] {
        let err = net.read(answer.clone(), json!({})).await.expect_err(&answer);
        assert_eq!(err.kind(), kind, "{answer}: {err:#}");
    }
    for text in ["application/json", "application/ld+json", "text/markdown", "application/atom+xml"] {
        assert_eq!(net.read(page(text, "{}"), json!({})).await.unwrap()["text"], "{}", "{text}");
    }
}
