//! What a server of a cluster answers instead of doing a command.

use std::{error::Error, fmt};

use crate::error::StoreError;

/// Why a server of a cluster did not do a command: the source of such a command's [`StoreError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Redirect {
    /// Another server has the slot.
    Moved { slot: u16, address: String },
    /// The slot is moving to another server, which may have the key already.
    MayBeAt { address: String },
    /// The slot is moving, and the command's keys are not all at one server.
    TryAgain,
    /// The slot is moving, and a script was stopped in its middle.
    HalfWay,
    /// No server has the slot, or the one that has it cannot serve yet.
    Down,
}

impl Redirect {
    /// What an answer's error says of the slot; `None` for any other error.
    pub(super) fn of(code: &str, details: &str) -> Option<Self> {
        let address = |place: &str| place.split_whitespace().next().map(str::to_owned);
        if details.contains("non local key") || details.contains("while the cluster is down") {
            return Some(Self::HalfWay);
        }
        let (slot, place) = details.split_once(' ').unwrap_or_default();
        match code {
            "MOVED" => Some(Self::Moved { slot: slot.parse().ok()?, address: address(place)? }),
            "ASK" => Some(Self::MayBeAt { address: address(place)? }),
            "TRYAGAIN" => Some(Self::TryAgain),
            "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" => Some(Self::Down),
            _ => None,
        }
    }

    /// The redirect that an error came from.
    #[cfg(feature = "cluster")]
    pub(super) fn behind(error: &StoreError) -> Option<&Self> {
        error.cause()
    }

    /// Adds the redirect to the error that it causes.
    pub(super) fn added_to(self, error: StoreError) -> StoreError {
        error.with_source(self)
    }
}

impl fmt::Display for Redirect {
    /// The server's own words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moved { slot, address } => {
                write!(f, "MOVED {slot}")?;
                write!(f, " {address}")
            }
            Self::MayBeAt { address } => write!(f, "ASK {address}"),
            Self::TryAgain => f.write_str("TRYAGAIN"),
            Self::HalfWay => f.write_str("half-way"),
            Self::Down => f.write_str("CLUSTERDOWN"),
        }
    }
}

impl Error for Redirect {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_known_by_its_code_and_a_stopped_script_by_its_text() {
        let moved = Redirect::Moved { slot: 3999, address: "::1:6381".to_owned() };
        let half_way =
            "Script attempted to access a non local key in a cluster node script: 1, on @user_script:1.";
        for (code, details, redirect) in [
            ("MOVED", "3999 ::1:6381", Some(moved)),
            ("ASK", "1 host:7", Some(Redirect::MayBeAt { address: "host:7".to_owned() })),
            ("ASK", "1", None),
            ("TRYAGAIN", "Multiple keys request during rehashing of slot", Some(Redirect::TryAgain)),
            ("CLUSTERDOWN", "Hash slot not served", Some(Redirect::Down)),
            ("ERR", half_way, Some(Redirect::HalfWay)),
            ("ERR", "unknown command", None),
        ] {
            assert_eq!(Redirect::of(code, details), redirect, "{code} {details}");
        }
    }
}
