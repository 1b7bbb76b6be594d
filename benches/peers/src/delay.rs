//! A proxy to a server that is far away.
//!
//! It runs on threads, because tokio's timer rounds to milliseconds.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::Outcome;

/// Starts a proxy that delays the bytes of each direction by half of `round_trip`. It runs until the process
/// ends. Returns its URL.
pub fn proxy(server: u16, round_trip: Duration) -> Outcome<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("redis://{}/", listener.local_addr()?);
    thread::spawn(move || {
        for client in listener.incoming() {
            if let Err(error) = client.and_then(|client| connect(&client, server, round_trip / 2)) {
                eprintln!("the proxy lost a connection: {error}");
            }
        }
    });
    Ok(url)
}

fn connect(client: &TcpStream, server: u16, delay: Duration) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    pass(client.try_clone()?, server.try_clone()?, delay);
    pass(server, client.try_clone()?, delay);
    Ok(())
}

/// Passes on what comes, each time after the delay. Bytes that come meanwhile do not wait for each other.
fn pass(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, on_the_way) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut bytes = vec![0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            if sender.send((Instant::now() + delay, bytes[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in on_the_way {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}
