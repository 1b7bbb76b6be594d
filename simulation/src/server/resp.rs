//! Redis's protocol: commands from their bytes, and answers to bytes.

use std::io::Write;

/// An answer, or a message that no command has asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Status(&'static str),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    Push(Vec<Reply>),
    /// Nothing: the command answers by messages.
    None,
}

impl Reply {
    /// A text.
    pub fn text(text: impl AsRef<[u8]>) -> Self {
        Self::Bulk(text.as_ref().to_vec())
    }

    /// An error, with its code.
    pub fn error(text: impl Into<String>) -> Self {
        Self::Error(text.into())
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// Appends the bytes of the answer, in this version of the protocol.
    pub fn encode(&self, version: u8, out: &mut Vec<u8>) {
        let head = |out: &mut Vec<u8>, kind: u8, rest: &[u8]| {
            out.push(kind);
            out.extend_from_slice(rest);
            out.extend_from_slice(b"\r\n");
        };
        let count = |out: &mut Vec<u8>, kind: u8, count: usize| {
            out.push(kind);
            // A vector takes all that is written to it.
            let _ = write!(out, "{count}\r\n");
        };
        match self {
            Self::Status(status) => head(out, b'+', status.as_bytes()),
            Self::Error(error) => head(out, b'-', error.as_bytes()),
            Self::Int(number) => head(out, b':', number.to_string().as_bytes()),
            Self::Bulk(text) => {
                count(out, b'$', text.len());
                out.extend_from_slice(text);
                out.extend_from_slice(b"\r\n");
            }
            Self::Nil if version == 3 => out.extend_from_slice(b"_\r\n"),
            Self::Nil => out.extend_from_slice(b"$-1\r\n"),
            Self::Array(items) | Self::Push(items) => {
                let is_push = matches!(self, Self::Push(_)) && version == 3;
                count(out, if is_push { b'>' } else { b'*' }, items.len());
                for item in items {
                    item.encode(version, out);
                }
            }
            Self::Map(pairs) => {
                if version == 3 {
                    count(out, b'%', pairs.len());
                } else {
                    count(out, b'*', pairs.len() * 2);
                }
                for (name, value) in pairs {
                    name.encode(version, out);
                    value.encode(version, out);
                }
            }
            Self::None => {}
        }
    }
}

/// Takes the first command from the bytes that have arrived; `None` until it has arrived whole.
///
/// # Panics
/// If the bytes are not a command, which redis-rs never sends.
pub fn take_command(arrived: &mut Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let mut at = 0;
    let words = number_after(arrived, b'*', &mut at)?;
    let mut command = Vec::with_capacity(words);
    for _ in 0..words {
        let length = number_after(arrived, b'$', &mut at)?;
        let word = arrived.get(at..at + length)?;
        arrived.get(at + length + 1)?;
        command.push(word.to_vec());
        at += length + 2;
    }
    arrived.drain(..at);
    Some(command)
}

/// Reads `<kind><number>\r\n` at `at`, and moves on behind it.
fn number_after(bytes: &[u8], kind: u8, at: &mut usize) -> Option<usize> {
    let rest = &bytes[(*at).min(bytes.len())..];
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    assert_eq!(rest[0], kind, "a command begins with an array of strings");
    let number = std::str::from_utf8(&rest[1..end]).expect("a number").parse().expect("a number");
    *at += end + 2;
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_taken_when_it_has_arrived_whole() {
        let whole = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPING\r\n";
        let first = whole.len() - 14;
        for cut in 0..first {
            assert_eq!(take_command(&mut whole[..cut].to_vec()), None, "{cut}");
        }
        let mut arrived = whole.to_vec();
        assert_eq!(take_command(&mut arrived).unwrap(), [b"GET".to_vec(), b"k".to_vec()]);
        assert_eq!(take_command(&mut arrived).unwrap(), [b"PING".to_vec()]);
        assert_eq!(take_command(&mut arrived), None);
    }
}
