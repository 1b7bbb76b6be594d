//! A proxy between a client and a server, for faults of the network.

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

/// What happens to the bytes of one direction.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    /// They are passed on.
    On,
    /// They are kept until they flow again or the connection is cut.
    Held,
    /// They are discarded.
    Lost,
    /// They are discarded, and their receiver is told that the other side has closed.
    Closed,
}

/// A TCP proxy between a client and a server on this host. It can delay, discard and cut what passes through
/// it.
pub struct Proxy {
    address: SocketAddr,
    requests: watch::Sender<Flow>,
    replies: watch::Sender<Flow>,
    held_requests: Arc<Mutex<Vec<u8>>>,
    /// The port to which new connections go. Set by `to` and `redirect`.
    server: Arc<AtomicU16>,
    /// Notified by `strand`.
    stranded: Arc<Notify>,
    connections: Arc<Mutex<JoinSet<()>>>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy on a free port, to the server on the given port.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (requests, replies) = (watch::Sender::new(Flow::On), watch::Sender::new(Flow::On));
        let (request_flow, reply_flow) = (requests.subscribe(), replies.subscribe());
        let connections: Arc<Mutex<JoinSet<()>>> = Arc::default();
        let mut accepting = JoinSet::new();
        let held_requests: Arc<Mutex<Vec<u8>>> = Arc::default();
        let held = Arc::clone(&held_requests);
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
                    let ignored = Mutex::default();
                    let mut up = pin!(pass(from_client, to_server, requests, &held));
                    let mut down = pin!(pass(from_server, to_client, replies, &ignored));
                    tokio::select! {
                        () = &mut up => {}
                        () = &mut down => {}
                        () = strand => std::future::pending().await,
                    }
                });
            }
        });
        Self {
            address,
            requests,
            replies,
            held_requests,
            server,
            stranded,
            connections,
            _accepting: accepting,
        }
    }

    /// Returns `redis://127.0.0.1:port/`.
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// Lets the client's requests flow, or holds them back.
    pub fn let_requests_flow(&self, flow: bool) {
        self.requests.send_replace(if flow { Flow::On } else { Flow::Held });
    }

    /// Lets the server's replies flow, or holds them back.
    pub fn let_replies_flow(&self, flow: bool) {
        self.replies.send_replace(if flow { Flow::On } else { Flow::Held });
    }

    /// Discards the client's requests, which neither side notices, until they [flow](Self::let_requests_flow)
    /// again.
    pub fn lose_requests(&self) {
        self.requests.send_replace(Flow::Lost);
    }

    /// Tells the client that the server has closed its side, while the server still gets the client's
    /// requests. New connections are treated in the same way until replies [flow](Self::let_replies_flow)
    /// again.
    pub fn half_close(&self) {
        self.replies.send_replace(Flow::Closed);
    }

    /// Returns the requests that are held back; of each connection at least those that came first. A server
    /// may get them from the buffers of a connection that is broken already.
    ///
    /// # Panics
    ///
    /// If a task of the proxy panicked.
    pub fn requests_held_back(&self) -> Vec<u8> {
        self.held_requests.lock().expect("the bytes").clone()
    }

    /// Sends new connections to another port. Open connections stay.
    pub fn redirect(&self, server: u16) {
        self.server.store(server, Ordering::Relaxed);
    }

    /// Stops the open connections without closing them, as a firewall does that has forgotten them. New
    /// connections work.
    pub fn strand(&self) {
        self.stranded.notify_waiters();
    }

    /// Breaks every open connection. What was held back is lost.
    ///
    /// # Panics
    ///
    /// If a task of the proxy panicked.
    pub fn cut(&self) {
        self.connections.lock().expect("the list").abort_all();
    }
}

/// Passes bytes from one side to the other, as `flow` says at each moment.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut flow: watch::Receiver<Flow>,
    held: &Mutex<Vec<u8>>,
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
            held.lock().expect("the bytes").extend_from_slice(bytes);
        }
        let Ok(flow) = flow.wait_for(|flow| *flow != Flow::Held).await.map(|flow| *flow) else { return };
        if flow == Flow::On && to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
