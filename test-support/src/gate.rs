//! The only way to a server, which can be closed to some of its clients.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, TcpListener as StdListener},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// A way to a server on this host. It is open to all clients, or closed to those with certain addresses, as by
/// a firewall that discards their packets.
pub struct Gate {
    port: u16,
    closed_to: watch::Sender<HashSet<IpAddr>>,
    _accepting: JoinSet<()>,
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
        let closed_to = watch::Sender::default();
        let closed = closed_to.subscribe();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, address)) = listener.accept().await {
                connections.spawn(pass(client, address.ip(), server, closed.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { port, closed_to, _accepting: accepting }
    }

    /// Returns the port of the way.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes the way to clients with these addresses, and opens it to all others. The connections of a client
    /// that is kept out stand still, new ones too, and break when the way is opened again.
    pub fn close_to(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.closed_to.send_replace(addresses.into_iter().collect());
    }
}

/// Passes the bytes of one connection on for as long as the way is open to its client.
async fn pass(
    mut client: TcpStream,
    address: IpAddr,
    server: u16,
    mut closed: watch::Receiver<HashSet<IpAddr>>,
) {
    let mut opened = closed.clone();
    let open = async {
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await?;
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        copy_bidirectional(&mut client, &mut server).await
    };
    tokio::select! {
        biased;
        Ok(_) = closed.wait_for(|closed| closed.contains(&address)) => {}
        _ = open => return,
    }
    let _ = opened.wait_for(|closed| !closed.contains(&address)).await;
}
