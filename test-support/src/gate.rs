//! The only way to a server, which can be closed to some of its clients.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, Ipv4Addr, TcpListener as StdListener},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// A way to a server on this host. It is open to all clients, or closed to those with certain addresses, as
/// by a firewall that discards their packets.
pub struct Gate {
    port: u16,
    state: watch::Sender<State>,
    _accepting: JoinSet<()>,
}

#[derive(Default)]
struct State {
    closed_to: HashSet<IpAddr>,
    keeps_replies: bool,
}

impl Gate {
    /// The address of clients that have none of their own.
    pub const CLIENTS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// Makes an open way, by a free port, to the server on the given port.
    ///
    /// # Panics
    ///
    /// If no port is free, and outside of a tokio runtime.
    pub fn to(server: u16) -> Self {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let port = listener.local_addr().expect("its address").port();
        let listener = TcpListener::from_std(listener).expect("a runtime");
        let state = watch::Sender::default();
        let seen = state.subscribe();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, address)) = listener.accept().await {
                connections.spawn(pass(client, address.ip(), server, seen.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { port, state, _accepting: accepting }
    }

    /// Returns the port of the way.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes the way to clients with these addresses, and opens it to all others. The connections of a
    /// client that is kept out stand still, new ones too, and break when the way is opened again.
    pub fn close_to(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.state.send_modify(|state| state.closed_to = addresses.into_iter().collect());
    }

    /// Lets requests pass, and keeps replies and messages to [`CLIENTS`](Self::CLIENTS) back.
    pub fn keep_replies(&self) {
        self.state.send_modify(|state| state.keeps_replies = true);
    }

    /// Discards the replies that were kept back with their connections, and lets others pass.
    pub fn lose_kept_replies(&self) {
        self.state.send_modify(|state| state.keeps_replies = false);
    }
}

/// Passes the bytes of one connection on for as long as the way is open to its client.
async fn pass(client: TcpStream, address: IpAddr, server: u16, mut state: watch::Receiver<State>) {
    let (mut opened, seen) = (state.clone(), state.clone());
    let is_closed = |state: &State| state.closed_to.contains(&address);
    let open = async {
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await?;
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((mut requests, to_client), (replies, mut to_server)) =
            (client.into_split(), server.into_split());
        tokio::select! {
            ended = copy(&mut requests, &mut to_server) => ended.map(|_| ()),
            ended = pass_replies(replies, to_client, seen, address) => ended,
        }
    };
    tokio::select! {
        biased;
        Ok(_) = state.wait_for(is_closed) => {}
        _ = open => return,
    }
    let _ = opened.wait_for(|state| !is_closed(state)).await;
}

/// Passes replies on. The connection ends if some of them were kept back.
async fn pass_replies(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
    address: IpAddr,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        if address == Gate::CLIENTS && state.borrow().keeps_replies {
            let _ = state.wait_for(|state| !state.keeps_replies).await;
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
    }
}
