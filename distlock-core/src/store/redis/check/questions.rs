//! The questions to a server, and its answers.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis::{Cmd, Pipeline, RedisError, RedisResult, Value, aio::ConnectionLike};

use super::super::{
    commands::RELEASE_LOCK_LUA,
    errors::{Denial, classify, error_text, hung_up},
    keys,
    redirect::Redirect,
    settings::set_client_name,
};
use crate::{error::StoreErrorKind, store::diagnosis::ClockDifference};

const CHECK_LUA: &str = include_str!("../lua/check.lua");

/// What is asked. The number is its place in the round trip.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Role,
    Info,
    ConfigOfSnapshots,
    Hello,
    Time,
    Get,
    Pttl,
    Set,
    EvalSha,
    Eval,
    Release,
    /// Asked where scripts cannot give a lock back.
    DelIfEq,
    DelEx,
    /// Asked where scripts cannot renew a lease.
    SetIfEq,
    /// Asked of a quorum's node, and for a diagnosis. It changes nothing on a connection that tracks no keys.
    Tracking,
    /// Asked of a quorum's node, and refused on a connection that tracks no keys.
    Caching,
    /// Asked of a quorum's node.
    Exists,
}

/// The commands by which waiters of a quorum are told of a key that has changed.
pub(super) const ABOUT_TRACKING: [(Question, &str); 3] = [
    (Question::Tracking, "CLIENT TRACKING"),
    (Question::Caching, "CLIENT CACHING"),
    (Question::Exists, "EXISTS"),
];

/// What a server has answered to the questions.
pub(super) struct Answers {
    values: Vec<Value>,
    /// Which question is where in the values.
    questions: Vec<Question>,
    pub(super) clock: Option<ClockDifference>,
}

/// Asks everything, in one round trip, with this name of a key and a channel. Where scripts cannot release or
/// renew, a second round trip asks for other ways.
pub(super) async fn ask_everything(
    connection: &mut (impl ConnectionLike + Send),
    name: &str,
    client_name: Option<&str>,
    is_quorum_node: bool,
) -> RedisResult<Answers> {
    use Question::{ConfigOfSnapshots, Eval, EvalSha, Get, Hello, Info, Pttl, Release, Role, Set, Time};
    let mut all = vec![Role, Info, ConfigOfSnapshots, Hello, Time, Get, Pttl, Set, EvalSha, Eval, Release];
    if is_quorum_node {
        all.extend(ABOUT_TRACKING.map(|(question, _)| question));
    }
    let mut answers = send(connection, &all, name, client_name).await?;
    if answers.failure().is_none() && !(answers.scripts_release() && answers.scripts_renew()) {
        use Question::{DelEx, DelIfEq, SetIfEq};
        let others = send(connection, &[DelIfEq, DelEx, SetIfEq], name, None).await?;
        answers.values.extend(others.values);
        answers.questions.extend(others.questions);
    }
    Ok(answers)
}

/// Asks whether the server can tell of changed keys; `None` if it does not answer.
pub(super) async fn ask_tracking(connection: &mut (impl ConnectionLike + Send)) -> Option<bool> {
    let answers = send(connection, &[Question::Tracking], "", None).await.ok()?;
    Some(answers.error(Question::Tracking).is_none())
}

/// Asks for the role, and for what INFO says of the server's start.
pub(super) async fn ask_role(
    connection: &mut (impl ConnectionLike + Send),
    wants_info: bool,
    client_name: Option<&str>,
) -> RedisResult<Answers> {
    let questions = [Question::Role, Question::Info];
    send(connection, if wants_info { &questions } else { &questions[..1] }, "", client_name).await
}

/// Whether the connection does not follow a key of a cluster to its node. Asks for some keys of different
/// slots: a node may have some of them itself.
pub(super) async fn is_moved(connection: &mut (impl ConnectionLike + Send)) -> RedisResult<bool> {
    for number in 0..8 {
        let key = keys::channel(&format!("{number}"), "check");
        match redis::cmd("GET").arg(key).exec_async(connection).await {
            Err(error) if error.code() == Some("MOVED") => return Ok(true),
            Err(error) if hung_up(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(false)
}

async fn send(
    connection: &mut (impl ConnectionLike + Send),
    questions: &[Question],
    name: &str,
    client_name: Option<&str>,
) -> RedisResult<Answers> {
    let mut pipeline = Pipeline::with_capacity(questions.len() + 1);
    for question in questions {
        pipeline.add_command(question.command(name));
    }
    // The answer is not read.
    if let Some(name) = client_name {
        pipeline.add_command(set_client_name(name));
    }
    let (sent, started) = (SystemTime::now(), Instant::now());
    let commands = questions.len() + usize::from(client_name.is_some());
    let mut values = connection.req_packed_commands(&pipeline, 0, commands).await?;
    values.truncate(questions.len());
    let mut answers = Answers { values, questions: questions.to_vec(), clock: None };
    answers.clock = answers.clock(sent, started.elapsed());
    Ok(answers)
}

/// The commands that scripts use, in the order in which the question about them names them.
pub(super) fn commands_in_scripts() -> impl Iterator<Item = &'static str> {
    CHECK_LUA.split("redis.pcall('").skip(1).filter_map(|rest| rest.split('\'').next())
}

impl Question {
    fn command(self, name: &str) -> Cmd {
        let words: &[&str] = match self {
            Self::Role => &["ROLE"],
            Self::Info => &["INFO"],
            Self::ConfigOfSnapshots => &["CONFIG", "GET", "save"],
            Self::Hello => &["HELLO"],
            Self::Time => &["TIME"],
            Self::Get => &["GET", name],
            Self::Pttl => &["PTTL", name],
            // Refused, because the time is not a number.
            Self::Set => &["SET", name, "", "PX", "x"],
            // Refused, because no script has this hash.
            Self::EvalSha => &["EVALSHA", "0000000000000000000000000000000000000000", "0"],
            Self::Eval => &["EVAL", CHECK_LUA, "1", name, name],
            Self::Tracking => &["CLIENT", "TRACKING", "OFF"],
            Self::Caching => &["CLIENT", "CACHING", "YES"],
            Self::Exists => &["EXISTS", name],
            // These change nothing, because the key does not exist.
            Self::DelIfEq => &["DELIFEQ", name, "no owner"],
            Self::DelEx => &["DELEX", name, "IFEQ", "no owner"],
            Self::SetIfEq => &["SET", name, "no owner", "IFEQ", "no owner", "PX", "1"],
            // Of a lock that nobody holds.
            Self::Release => &["EVAL", RELEASE_LOCK_LUA, "1", name, "no owner"],
        };
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command
    }
}

impl Answers {
    /// The answer, if the question was asked.
    fn answer(&self, question: Question) -> Option<&Value> {
        let at = self.questions.iter().position(|asked| *asked == question)?;
        self.values.get(at)
    }

    /// Whether the question was asked and answered, even if by an error.
    pub(super) fn was_answered(&self, question: Question) -> bool {
        self.answer(question).is_some()
    }

    /// The error that a question was answered with, with its code.
    pub(super) fn error(&self, question: Question) -> Option<String> {
        match self.answer(question)? {
            Value::ServerError(error) => Some(error_text(error)),
            _ => None,
        }
    }

    /// What the server denied when it was asked.
    pub(super) fn denial(&self, question: Question) -> Option<Denial> {
        Denial::of(&self.error(question)?)
    }

    /// Whether the server does not run the script, although it answers other commands, and for another reason
    /// than the key or the state that it is in.
    pub(super) fn refuses_scripts(&self, question: Question) -> bool {
        let Some(Value::ServerError(error)) = self.answer(question) else { return false };
        let is_refused = classify(error.clone().into()).kind() == StoreErrorKind::Refused;
        let is_script = error.code() != "NOSCRIPT" && Denial::of(&error_text(error)) != Some(Denial::Key);
        is_refused && is_script && self.failure().is_none()
    }

    /// Whether a script can give a lock back, as far as is known.
    pub(super) fn scripts_release(&self) -> bool {
        self.runs_scripts() && !self.is_denied_to_scripts(&["GET", "DEL"])
    }

    /// Whether a script can renew a lease, as far as is known.
    pub(super) fn scripts_renew(&self) -> bool {
        self.runs_scripts() && !self.is_denied_to_scripts(&["GET", "PEXPIRE"])
    }

    /// Those of the two commands for scripts that the server refuses whatever the script is. Some servers
    /// refuse a script because of its text, and take the short one that only gives a lock back.
    pub(super) fn refused_script_commands(&self) -> impl Iterator<Item = &'static str> {
        let is_eval_refused = self.refuses_scripts(Question::Eval) && self.refuses_scripts(Question::Release);
        let refused = [("EVALSHA", self.refuses_scripts(Question::EvalSha)), ("EVAL", is_eval_refused)];
        refused.into_iter().filter_map(|(name, is_refused)| is_refused.then_some(name))
    }

    fn runs_scripts(&self) -> bool {
        self.refused_script_commands().next().is_none()
    }

    fn is_denied_to_scripts(&self, commands: &[&str]) -> bool {
        let denied = self.denied_to_scripts().unwrap_or_default();
        denied.iter().any(|(name, denial)| *denial == Denial::Command && commands.contains(name))
    }

    /// Whether a lock can be given back, by a script or by a command of the server's.
    pub(super) fn releases(&self) -> bool {
        self.scripts_release() || self.has_worked(Question::DelIfEq) || self.has_worked(Question::DelEx)
    }

    /// Whether a lease can be renewed, by a script or by a command of the server's.
    pub(super) fn renews(&self) -> bool {
        self.scripts_renew() || self.has_worked(Question::SetIfEq)
    }

    /// Whether the server has the command of the question and allows it, for other keys at the least.
    fn has_worked(&self, question: Question) -> bool {
        let is_error = self.error(question).is_some() && self.denial(question) != Some(Denial::Key);
        self.was_answered(question) && !is_error
    }

    /// What INFO says; `None` if the server refused it.
    pub(super) fn info(&self) -> Option<&str> {
        match self.answer(Question::Info)? {
            Value::BulkString(info) => std::str::from_utf8(info).ok(),
            Value::VerbatimString { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether the server is a node of a cluster.
    pub(super) fn is_cluster(&self) -> bool {
        self.mode() == Some("cluster")
    }

    /// Whether the server is `standalone`, of a `cluster`, or a `sentinel`. Valkey has a word of its own for
    /// it.
    pub(super) fn mode(&self) -> Option<&str> {
        self.field("redis_mode").or_else(|| self.field("server_mode"))
    }

    /// A field of INFO.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.info()?.lines().find_map(|text| text.trim().strip_prefix(name)?.strip_prefix(':'))
    }

    /// The words of the answer to ROLE; empty if the server refused it.
    pub(super) fn role(&self) -> Vec<String> {
        let Some(Value::Array(words)) = self.answer(Question::Role) else { return Vec::new() };
        words.iter().map(|word| redis::from_redis_value_ref(word).unwrap_or_default()).collect()
    }

    /// When the server takes snapshots, in its own words; `None` if it does not tell.
    pub(super) fn snapshots(&self) -> Option<String> {
        let answer = self.answer(Question::ConfigOfSnapshots)?;
        let pairs: Vec<(String, String)> = redis::from_redis_value_ref(answer).ok()?;
        pairs.into_iter().find_map(|(name, value)| (name == "save").then_some(value))
    }

    /// The commands that scripts may not use; `None` if that is not known.
    pub(super) fn denied_to_scripts(&self) -> Option<Vec<(&'static str, Denial)>> {
        let errors: Vec<String> = match self.answer(Question::Eval)? {
            answer @ Value::Array(_) => redis::from_redis_value_ref(answer).ok()?,
            _ => return None,
        };
        Some(
            commands_in_scripts()
                .zip(errors)
                .filter_map(|(name, error)| Some((name, Denial::of(&error)?)))
                .collect(),
        )
    }

    /// The error of a server that cannot serve at the moment, or serves nobody.
    pub(super) fn failure(&self) -> Option<RedisError> {
        match self.answer(Question::Get)? {
            Value::ServerError(error)
                if Denial::of(&error_text(error)).is_none() && error.code() != "WRONGTYPE" =>
            {
                Some(error.clone().into())
            }
            _ => None,
        }
    }

    /// Whether the server does not have the slot of the key that was asked for.
    pub(super) fn is_redirected(&self) -> bool {
        let Some(Value::ServerError(error)) = self.answer(Question::Get) else { return false };
        let redirect = Redirect::of(error.code(), error.details().unwrap_or_default());
        matches!(redirect, Some(Redirect::Moved { .. } | Redirect::MayBeAt { .. } | Redirect::TryAgain))
    }

    /// The server's clock, for which it was asked at `sent`.
    fn clock(&self, sent: SystemTime, round_trip: Duration) -> Option<ClockDifference> {
        let (seconds, micros): (u64, u64) = redis::from_redis_value_ref(self.answer(Question::Time)?).ok()?;
        let theirs = Duration::from_secs(seconds) + Duration::from_micros(micros);
        let ours = sent.duration_since(UNIX_EPOCH).ok()? + round_trip / 2;
        let micros = |time: Duration| i64::try_from(time.as_micros()).ok();
        Some(ClockDifference::new(micros(theirs)? - micros(ours)?, round_trip / 2))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    fn commands_of(script: &str) -> BTreeSet<String> {
        let calls = script.split("call('").skip(1).filter_map(|rest| rest.split('\'').next());
        calls.map(str::to_owned).collect()
    }

    #[test]
    fn every_command_of_a_script_is_asked_for() {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/redis/lua");
        let paths = fs::read_dir(scripts).unwrap().map(|script| script.unwrap().path());
        let others = paths.filter(|path| !path.ends_with("check.lua"));
        let used: BTreeSet<_> =
            others.flat_map(|path| commands_of(&fs::read_to_string(path).unwrap())).collect();
        assert_eq!(commands_of(CHECK_LUA), used);
    }
}
