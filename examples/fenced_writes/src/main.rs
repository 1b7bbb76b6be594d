//! A worker is stopped until its lease has ended. Then it wakes up and writes, and the database refuses the
//! write because the worker's fencing token is too old.
//!
//! ```sh
//! DISTLOCK_URL=redis://127.0.0.1/ cargo run -p fenced_writes
//! DISTLOCK_URL=redis://127.0.0.1/ cargo run -p fenced_writes -- --unfenced
//! ```
//! The second command plays the same without the check, and loses a withdrawal. The exit code is 1 if the
//! late write was accepted.

use std::{
    env, fs,
    io::{self, BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
};

use distlock::{FencingToken, LockManager, distributed_lock};
use rusqlite::{Connection, OptionalExtension, params};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Each row stores the highest fencing token that it was read or written with.
const TABLE: &str = "
    DROP TABLE IF EXISTS accounts;
    CREATE TABLE accounts (id TEXT PRIMARY KEY, balance INTEGER NOT NULL, token INTEGER NOT NULL) STRICT;
    INSERT INTO accounts VALUES ('ada', 100, 0);
";

/// Reading stores the fencing token too. Otherwise an earlier holder could still write between this holder's
/// read and its write.
const READ: &str = "UPDATE accounts SET token = ?2 WHERE id = ?1 AND token <= ?2 RETURNING balance";

/// The check and the write are one statement, so that no other write can come between them.
const WRITE: &str = "UPDATE accounts SET token = ?2, balance = ?3 WHERE id = ?1 AND token <= ?2";

const WRITE_UNFENCED: &str = "UPDATE accounts SET token = ?2, balance = ?3 WHERE id = ?1";

struct Accounts {
    db: Connection,
    write: &'static str,
}

impl Accounts {
    fn open(file: &Path, unfenced: bool) -> Result<Self, Error> {
        let write = if unfenced { WRITE_UNFENCED } else { WRITE };
        Ok(Self { db: Connection::open(file)?, write })
    }

    fn balance(&self, id: &str, token: FencingToken) -> Result<i64, Error> {
        let params = params![id, i64::try_from(token.value())?];
        let balance = self.db.query_row(READ, params, |row| row.get(0)).optional()?;
        balance.ok_or_else(|| stale(token))
    }

    fn set_balance(&self, id: &str, balance: i64, token: FencingToken) -> Result<(), Error> {
        let rows = self.db.execute(self.write, params![id, i64::try_from(token.value())?, balance])?;
        if rows == 0 { Err(stale(token)) } else { Ok(()) }
    }
}

fn stale(token: FencingToken) -> Error {
    format!("fencing token {token} is stale, a later holder has used the account").into()
}

/// Withdraws from an account. `work` runs between the read and the write.
#[distributed_lock(key = "account:{id}", ttl = "1s", wait = "20s", fenced, guard = lock)]
async fn withdraw(
    worker: &str,
    accounts: &Accounts,
    id: &str,
    amount: i64,
    work: impl FnOnce(),
) -> Result<(), Error> {
    let token = lock.fencing_token().ok_or("a fenced lock has a fencing token")?;
    let balance = accounts.balance(id, token)?;
    println!("{worker}: granted with fencing token {token}, reads {balance}");
    work();
    // There was no await since the read, so the body was not stopped when its lease ended. Asking the lock
    // here, before the write, would not help either: the process may be stopped between the answer and the
    // write.
    let held = lock.is_held();
    let balance = balance - amount;
    let written = accounts.set_balance(id, balance, token);
    let outcome = written.as_ref().map_or_else(|error| format!("refused, {error}"), |()| "accepted".into());
    println!("{worker}: writes {balance} with fencing token {token}, lease held: {held}: {outcome}");
    written
}

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    let url = env::var("DISTLOCK_URL").unwrap_or_else(|_| "redis://127.0.0.1/".to_owned());
    distlock::set_default(LockManager::connect(&url).await?);
    let args: Vec<String> = env::args().skip(1).collect();
    let unfenced = args.iter().any(|arg| arg == "--unfenced");
    if let [worker, file, ..] = args.as_slice() {
        withdraw_slowly(worker, &Accounts::open(Path::new(file), unfenced)?).await;
        return Ok(ExitCode::SUCCESS);
    }
    let file = env::temp_dir().join(format!("distlock-fenced-writes-{}.db", std::process::id()));
    let balance = play(&file, unfenced).await?;
    if balance == 70 {
        println!("The account holds {balance}: B's withdrawal stands, and A's was not made.");
        Ok(ExitCode::SUCCESS)
    } else {
        println!("The account holds {balance}: A's late write has undone B's withdrawal.");
        Ok(ExitCode::FAILURE)
    }
}

/// Worker A, in a process of its own. Its work ends when its standard input is closed.
async fn withdraw_slowly(worker: &str, accounts: &Accounts) {
    let work = || drop(io::copy(&mut io::stdin(), &mut io::sink()));
    if let Err(error) = withdraw(worker, accounts, "ada", 10, work).await {
        println!("{worker}: told afterwards: {error}");
    }
}

/// Stops A in the middle of its work, lets B withdraw, and lets A go on. Returns the balance in the end.
async fn play(file: &Path, unfenced: bool) -> Result<i64, Error> {
    let accounts = Accounts::open(file, unfenced)?;
    accounts.db.execute_batch(TABLE)?;
    let mut a = Command::new(env::current_exe()?)
        .arg("A")
        .arg(file)
        .args(unfenced.then_some("--unfenced"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(a.stdout.take().ok_or("A has an output")?).lines();
    println!("{}", said.next().ok_or("A was not granted the lock")??);

    signal(&a, "STOP")?;
    println!("A: stopped, as by a garbage collector or a suspended machine; its lease ends");
    let b = withdraw("B", &accounts, "ada", 30, || ()).await;
    drop(a.stdin.take());
    println!("A: continued");
    // This comes before a return with B's error, so that A does not stay stopped.
    signal(&a, "CONT")?;
    for line in said {
        println!("{}", line?);
    }
    a.wait()?;
    b?;
    let balance =
        accounts.db.query_row("SELECT balance FROM accounts WHERE id = 'ada'", [], |row| row.get(0))?;
    fs::remove_file(file)?;
    Ok(balance)
}

fn signal(process: &Child, signal: &str) -> Result<(), Error> {
    let kill = format!("kill -{signal} {}", process.id());
    let sent = Command::new("sh").args(["-c", &kill]).status()?.success();
    if sent { Ok(()) } else { Err(format!("could not send SIG{signal}").into()) }
}
