//! A TCP proxy that can hold back and cut what passes through it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Stands between a client and a server on this host.
pub struct Proxy {
    address: SocketAddr,
    requests_flow: watch::Sender<bool>,
    replies_flow: watch::Sender<bool>,
    held_back: Arc<Mutex<Vec<u8>>>,
    connections: Arc<Mutex<JoinSet<()>>>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Listens on a free port and passes on to the server's.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (requests_flow, requests) = watch::channel(true);
        let (replies_flow, replies) = watch::channel(true);
        let connections: Arc<Mutex<JoinSet<()>>> = Arc::default();
        let mut accepting = JoinSet::new();
        let held_back: Arc<Mutex<Vec<u8>>> = Arc::default();
        let held = Arc::clone(&held_back);
        let all = Arc::clone(&connections);
        accepting.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let (requests, replies, held) = (requests.clone(), replies.clone(), Arc::clone(&held));
                all.lock().expect("the list").spawn(async move {
                    let nowhere = Mutex::default();
                    tokio::select! {
                        () = pass(from_client, to_server, requests, &held) => {}
                        () = pass(from_server, to_client, replies, &nowhere) => {}
                    }
                });
            }
        });
        Self { address, requests_flow, replies_flow, held_back, connections, _accepting: accepting }
    }

    /// `redis://127.0.0.1:port/`
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// Holds back what the client sends, or lets it go on.
    pub fn let_requests_flow(&self, flow: bool) {
        self.requests_flow.send_replace(flow);
    }

    /// Holds back what the server answers, or lets it go on.
    pub fn let_replies_flow(&self, flow: bool) {
        self.replies_flow.send_replace(flow);
    }

    /// The requests that are being held back, as a server may yet get them from a broken connection; those that came first, at least.
    pub fn requests_held_back(&self) -> Vec<u8> {
        self.held_back.lock().expect("the bytes").clone()
    }

    /// Breaks every connection; what was held back is lost.
    pub fn cut(&self) {
        self.connections.lock().expect("the list").abort_all();
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut flow: watch::Receiver<bool>,
    held_back: &Mutex<Vec<u8>>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        if !*flow.borrow() {
            held_back.lock().expect("the bytes").extend_from_slice(&buffer[..read]);
        }
        if flow.wait_for(|flow| *flow).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
