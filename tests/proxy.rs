//! A proxy on the loopback address that loses answers with their connection, or keeps them back.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// The proxy; its tasks end with the Tokio runtime.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    lose: AtomicBool,
    lost: AtomicUsize,
    requests: AtomicUsize,
    /// How many answers pass before the rest is kept back.
    passes: AtomicUsize,
    silent: watch::Sender<bool>,
}

impl Proxy {
    /// A proxy before a server on a port of the loopback address.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State {
            lose: AtomicBool::new(false),
            lost: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            passes: AtomicUsize::new(usize::MAX),
            silent: watch::Sender::new(false),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await {
                    tokio::spawn(carry(client, server, Arc::clone(&shared)));
                }
            }
        });
        Self { port, state }
    }

    /// The port that takes connections.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Swallows what the server says next, and ends the connection that it says it to.
    pub fn lose_the_next_answer(&self) {
        self.state.lose.store(true, Ordering::SeqCst);
    }

    /// How many answers were lost.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.state.lost.load(Ordering::SeqCst)
    }

    /// How many requests came by.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Lets so many answers pass and keeps back what follows, on every connection; requests still arrive.
    pub fn hang_after(&self, answers: usize) {
        self.state.silent.send_replace(false);
        self.state.passes.store(answers, Ordering::SeqCst);
    }

    /// Gives out what was kept back, and keeps nothing back any more.
    pub fn go_on(&self) {
        self.hang_after(usize::MAX);
    }

    /// Waits until an answer is kept back.
    pub async fn hangs(&self) {
        let mut silent = self.state.silent.subscribe();
        // The state outlives the waiting.
        let _ = silent.wait_for(|silent| *silent).await;
    }
}

/// Carries bytes both ways until one side ends or an answer is lost.
async fn carry(client: TcpStream, server: TcpStream, state: Arc<State>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::select! {
        () = forward(&mut from_client, &mut to_server, &state) => {}
        () = answer(&mut from_server, &mut to_client, &state) => {}
    }
}

async fn forward(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, state: &State) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        state.requests.fetch_add(1, Ordering::SeqCst);
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

async fn answer(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, state: &State) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if state.lose.swap(false, Ordering::SeqCst) {
            state.lost.fetch_add(1, Ordering::SeqCst);
            return;
        }
        let pass = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
        if state.passes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, pass).is_err() {
            let mut silent = state.silent.subscribe();
            state.silent.send_replace(true);
            let _ = silent.wait_for(|silent| !*silent).await;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
