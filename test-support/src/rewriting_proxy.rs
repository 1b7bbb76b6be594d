//! A proxy that sends a server other commands than its clients have sent.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};

/// A command's words.
pub type Words = Vec<Vec<u8>>;

/// A proxy between clients and a server on this host that replaces commands, each by one other command. So a
/// server can be shown to its clients as one that refuses some commands, or has others: an `EVAL` can answer
/// any error.
pub struct RewritingProxy {
    address: SocketAddr,
    _accepting: JoinSet<()>,
}

impl RewritingProxy {
    /// Starts a proxy on a free port, to the server on the given port. `rewrite` is given each command.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub async fn to(server: u16, rewrite: impl Fn(Words) -> Words + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let rewrite = Arc::new(rewrite);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let ((from_client, mut to_client), (mut from_server, to_server)) =
                    (client.into_split(), server.into_split());
                connections.spawn(pass_on(from_client, to_server, Arc::clone(&rewrite)));
                connections.spawn(async move { _ = copy(&mut from_server, &mut to_client).await });
            }
        });
        Self { address, _accepting: accepting }
    }

    /// The proxy's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// A command that answers this error.
    #[must_use]
    pub fn error(text: &str) -> Words {
        ["EVAL", &format!("return redis.error_reply('{text}')"), "0"]
            .map(|word| word.as_bytes().to_vec())
            .into()
    }
}

async fn pass_on(
    from_client: OwnedReadHalf,
    mut to_server: OwnedWriteHalf,
    rewrite: Arc<impl Fn(Words) -> Words>,
) {
    let mut from_client = BufReader::new(from_client);
    while let Some(words) = read_command(&mut from_client).await {
        let words = rewrite(words);
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in &words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        if to_server.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Reads a command; `None` if the client has closed the connection.
async fn read_command(from: &mut BufReader<OwnedReadHalf>) -> Option<Words> {
    let mut words = Vec::new();
    for _ in 0..read_number(from, '*').await? {
        let mut word = vec![0; read_number(from, '$').await?];
        from.read_exact(&mut word).await.ok()?;
        from.read_exact(&mut [0; 2]).await.ok()?;
        words.push(word);
    }
    Some(words)
}

async fn read_number(from: &mut BufReader<OwnedReadHalf>, kind: char) -> Option<usize> {
    let mut text = String::new();
    from.read_line(&mut text).await.ok()?;
    text.trim_end().strip_prefix(kind)?.parse().ok()
}
