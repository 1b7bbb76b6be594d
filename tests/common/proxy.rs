//! A TCP proxy that can hold back and cut what passes through it.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinSet,
};

/// What happens to bytes on their way.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    On,
    /// Kept, until they flow again or the connection is cut.
    Held,
    /// Thrown away.
    Lost,
    /// Thrown away, and their receiver is told that no more will come.
    Closed,
}

/// Stands between a client and a server on this host.
pub struct Proxy {
    address: SocketAddr,
    requests: watch::Sender<Flow>,
    replies: watch::Sender<Flow>,
    held_back: Arc<Mutex<Vec<u8>>>,
    server: Arc<AtomicU16>,
    stranded: Arc<Notify>,
    connections: Arc<Mutex<JoinSet<()>>>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Listens on a free port and passes on to the server's.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (requests, replies) = (watch::Sender::new(Flow::On), watch::Sender::new(Flow::On));
        let (request_flow, reply_flow) = (requests.subscribe(), replies.subscribe());
        let connections: Arc<Mutex<JoinSet<()>>> = Arc::default();
        let mut accepting = JoinSet::new();
        let held_back: Arc<Mutex<Vec<u8>>> = Arc::default();
        let held = Arc::clone(&held_back);
        let server = Arc::new(AtomicU16::new(server));
        let stranded = Arc::new(Notify::new());
        let (to, strand) = (Arc::clone(&server), Arc::clone(&stranded));
        let all = Arc::clone(&connections);
        accepting.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let port = to.load(Ordering::Relaxed);
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let (requests, replies, held) = (request_flow.clone(), reply_flow.clone(), Arc::clone(&held));
                let strand = Arc::clone(&strand).notified_owned();
                all.lock().expect("the list").spawn(async move {
                    let nowhere = Mutex::default();
                    let mut up = pin!(pass(from_client, to_server, requests, &held));
                    let mut down = pin!(pass(from_server, to_client, replies, &nowhere));
                    tokio::select! {
                        () = &mut up => {}
                        () = &mut down => {}
                        () = strand => std::future::pending().await,
                    }
                });
            }
        });
        Self { address, requests, replies, held_back, server, stranded, connections, _accepting: accepting }
    }

    /// `redis://127.0.0.1:port/`
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// Holds back what the client sends, or lets it go on.
    pub fn let_requests_flow(&self, flow: bool) {
        self.requests.send_replace(if flow { Flow::On } else { Flow::Held });
    }

    /// Holds back what the server answers, or lets it go on.
    pub fn let_replies_flow(&self, flow: bool) {
        self.replies.send_replace(if flow { Flow::On } else { Flow::Held });
    }

    /// Loses what the client sends, without a word to anybody, until it [flows](Self::let_requests_flow) again.
    pub fn lose_requests(&self) {
        self.requests.send_replace(Flow::Lost);
    }

    /// Tells the client that the server has closed its side, while the server still gets what the client sends, until replies
    /// [flow](Self::let_replies_flow) again over new connections.
    pub fn half_close(&self) {
        self.replies.send_replace(Flow::Closed);
    }

    /// The requests that are being held back, as a server may yet get them from a broken connection; those that came first, at least.
    pub fn requests_held_back(&self) -> Vec<u8> {
        self.held_back.lock().expect("the bytes").clone()
    }

    /// Passes new connections on to another port; those that there are stay.
    pub fn redirect(&self, server: u16) {
        self.server.store(server, Ordering::Relaxed);
    }

    /// Passes nothing on any more over the connections that there are, and does not close them; new ones are as usual.
    pub fn strand(&self) {
        self.stranded.notify_waiters();
    }

    /// Breaks every connection; what was held back is lost.
    pub fn cut(&self) {
        self.connections.lock().expect("the list").abort_all();
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut flow: watch::Receiver<Flow>,
    held_back: &Mutex<Vec<u8>>,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut half_closed = flow.clone();
    let mut half_closed =
        pin!(async move { half_closed.wait_for(|flow| *flow == Flow::Closed).await.is_ok() });
    loop {
        let bytes = tokio::select! {
            read = from.read(&mut buffer) => match read {
                Ok(read @ 1..) => &buffer[..read],
                _ => return,
            },
            _ = half_closed.as_mut() => {
                let _ = to.shutdown().await;
                while matches!(from.read(&mut buffer).await, Ok(1..)) {}
                return;
            }
        };
        if *flow.borrow() == Flow::Held {
            held_back.lock().expect("the bytes").extend_from_slice(bytes);
        }
        let Ok(flow) = flow.wait_for(|flow| *flow != Flow::Held).await.map(|flow| *flow) else { return };
        if flow == Flow::On && to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
