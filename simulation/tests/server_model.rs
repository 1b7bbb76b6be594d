//! The server of the simulation answers as a real one does, to random commands and to those that distlock
//! sends.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::{SystemTime, UNIX_EPOCH},
};

use simulation::{
    chance::Chance,
    plan::Plan,
    run::run,
    server::{Server, resp::Reply},
};
use test_support::RedisServer;

type Words = Vec<Vec<u8>>;

const KEYS: [&str; 3] = ["one", "two", "three"];
const OWNERS: [&str; 4] = [
    "11111111-1111-4111-8111-111111111111",
    "22222222-2222-4222-8222-222222222222",
    "33333333-3333-4333-8333-333333333333",
    "44444444-4444-4444-8444-444444444444",
];
/// The first has a subscriber.
const CHANNELS: [&str; 2] = ["lock:\u{1f}heard", "lock:\u{1f}unheard"];
/// What the model's session of the test is called.
const SESSION: u64 = 1;
const SUBSCRIBER: u64 = 2;

/// A client of the second version of the protocol, which hides nothing of an answer.
struct Client(BufReader<TcpStream>);

impl Client {
    fn of(server: &RedisServer) -> Self {
        Self(BufReader::new(TcpStream::connect(("127.0.0.1", server.port())).unwrap()))
    }

    fn command(&mut self, words: &[Vec<u8>]) -> Reply {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend(format!("${}\r\n", word.len()).into_bytes());
            bytes.extend(word);
            bytes.extend(b"\r\n");
        }
        self.0.get_mut().write_all(&bytes).unwrap();
        read(&mut self.0)
    }

    fn text_command(&mut self, words: &str) -> Reply {
        self.command(&words_of(words))
    }
}

/// Reads an answer of the second version.
fn read(from: &mut impl BufRead) -> Reply {
    let mut head = String::new();
    from.read_line(&mut head).unwrap();
    let (kind, rest) = head.trim_end().split_at(1);
    match kind {
        "+" => Reply::Bulk(rest.into()),
        "-" => Reply::Error(rest.split(' ').next().unwrap().to_owned()),
        ":" => Reply::Int(rest.parse().unwrap()),
        "$" | "*" if rest == "-1" => Reply::Nil,
        "$" => {
            let mut text = vec![0; rest.parse::<usize>().unwrap() + 2];
            from.read_exact(&mut text).unwrap();
            text.truncate(text.len() - 2);
            Reply::Bulk(text)
        }
        "*" => Reply::Array((0..rest.parse().unwrap()).map(|_| read(from)).collect()),
        _ => panic!("{head}"),
    }
}

fn words_of(text: &str) -> Words {
    text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros().try_into().unwrap()
}

/// The model and a real server, side by side.
struct Pair {
    real: Client,
    model: Server,
    chance: Chance,
    done: Vec<String>,
}

impl Pair {
    fn new(server: &RedisServer, seed: u64) -> Self {
        let mut real = Client::of(server);
        for words in ["REPLICAOF NO ONE", "CONFIG SET maxmemory 0", "FLUSHALL", "SCRIPT FLUSH"] {
            assert!(!real.text_command(words).is_error());
        }
        let mut model = Server::default();
        model.connected(SESSION);
        model.connected(SUBSCRIBER);
        model.core.data.now = now();
        model.handle(SUBSCRIBER, &["SUBSCRIBE", CHANNELS[0]].map(|word| word.as_bytes().to_vec()));
        model.core.messages.clear();
        Self { real, model, chance: Chance::new(seed, 9), done: Vec::new() }
    }

    /// Sends a command to both, and compares the answers.
    fn send(&mut self, words: &Words) {
        self.done.push(words.iter().map(|word| shown(word)).collect::<Vec<_>>().join(" "));
        let theirs = self.real.command(words);
        self.model.core.data.now = now();
        let reply = self.model.handle(SESSION, words);
        let mut bytes = Vec::new();
        reply.encode(2, &mut bytes);
        let ours = read(&mut &bytes[..]);
        let is_unordered = words[0] == b"HGETALL";
        let (theirs, ours) = if is_unordered { (sorted(theirs), sorted(ours)) } else { (theirs, ours) };
        assert!(
            are_alike(&theirs, &ours),
            "{:#?}\n\nthe server answers {theirs:?}, the model {ours:?}",
            &self.done[self.done.len().saturating_sub(25)..]
        );
    }

    fn pick(&mut self, choices: &[&str]) -> String {
        (*self.chance.pick(&choices.iter().collect::<Vec<_>>())).to_string()
    }

    /// Compares all that both keep.
    fn compare_data(&mut self) {
        let Reply::Array(names) = self.real.text_command("KEYS *") else { panic!("KEYS answers names") };
        let theirs: BTreeSet<_> = names.iter().map(|name| format!("{name:?}")).collect();
        self.model.core.data.now = now();
        self.model.lapse();
        let names: Vec<_> = self.model.core.data.keys().cloned().collect();
        let ours = names.iter().map(|name| format!("{:?}", Reply::text(name))).collect();
        assert_eq!(theirs, ours, "{:#?}", &self.done[self.done.len().saturating_sub(10)..]);
        for name in names {
            for command in [&["TYPE"][..], &["PTTL"], &["ZRANGE", "0", "-1"], &["GET"], &["HGETALL"]] {
                let mut words: Words = command.iter().map(|word| word.as_bytes().to_vec()).collect();
                words.insert(1, name.clone());
                self.send(&words);
            }
        }
    }

    /// Changes the state of both servers.
    fn change_state(&mut self) {
        let (words, memory, replica) = match self.chance.below(4) {
            0 => ("CONFIG SET maxmemory 1", true, self.model.core.read_only),
            1 => ("REPLICAOF 127.0.0.1 1", self.model.core.out_of_memory, true),
            2 => ("REPLICAOF NO ONE", self.model.core.out_of_memory, false),
            _ => ("CONFIG SET maxmemory 0", false, self.model.core.read_only),
        };
        self.done.push(words.to_owned());
        assert!(!self.real.text_command(words).is_error());
        (self.model.core.out_of_memory, self.model.core.read_only) = (memory, replica);
    }
}

fn shown(word: &[u8]) -> String {
    String::from_utf8_lossy(&word[..word.len().min(60)]).replace('\u{1f}', "|")
}

/// The fields and values of a hash in one order.
fn sorted(reply: Reply) -> Reply {
    let Reply::Array(items) = reply else { return reply };
    let mut pairs: Vec<_> = items.chunks(2).map(|pair| Reply::Array(pair.to_vec())).collect();
    pairs.sort_by_key(|pair| format!("{pair:?}"));
    Reply::Array(pairs)
}

/// Whether two answers are the same, apart from what depends on the time at which each was given.
fn are_alike(one: &Reply, other: &Reply) -> bool {
    match (one, other) {
        (Reply::Array(one), Reply::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| are_alike(one, other))
        }
        (Reply::Int(one), Reply::Int(other)) => are_alike_numbers(*one, *other),
        (Reply::Bulk(one), Reply::Bulk(other)) => {
            let words =
                |text: &[u8]| String::from_utf8_lossy(text).split(' ').map(str::to_owned).collect::<Vec<_>>();
            let (one, other) = (words(one), words(other));
            let alike = |(one, other): (&String, &String)| match (one.parse(), other.parse()) {
                (Ok(one), Ok(other)) => are_alike_numbers(one, other),
                _ => one == other,
            };
            one.len() == other.len() && one.iter().zip(&other).all(alike)
        }
        (one, other) => one == other,
    }
}

/// Times differ by as much as the test was held up between the two answers.
fn are_alike_numbers(one: i64, other: i64) -> bool {
    let allowed = match one.min(other) {
        100_000_000_000.. => 60_000_000,
        100.. => 60_000,
        _ => 0,
    };
    one.abs_diff(other) <= allowed
}

/// A command drawn from all that the model knows, over few keys, so that they meet.
fn random_command(pair: &mut Pair) -> Words {
    let key = pair.pick(&KEYS);
    let other = pair.pick(&KEYS);
    let member = pair.pick(&["a", "b", "c", "9"]);
    let value = pair.pick(&["", "7", "text", "1 2 3", "-4"]);
    let number = pair.pick(&["0", "1", "-1", "2.5", "5", "x", "-2"]);
    let forms = [
        "GET K",
        "SET K V",
        "SET K V NX PX 100000",
        "SET K V XX",
        "SET K V PX N",
        "SET K V EX 100",
        "SET K V NX XX",
        "SET K V KEEPTTL",
        "SET K V GET",
        "DEL K",
        "DEL K O",
        "EXISTS K O K",
        "MGET K O",
        "STRLEN K",
        "INCR K",
        "PTTL K",
        "PEXPIRE K 100000",
        "PEXPIRE K N",
        "TYPE K",
        "RENAME K O",
        "HSET K M V",
        "HSET K M V 9 V",
        "HSET K M",
        "HGET K M",
        "HMGET K M a",
        "HDEL K M",
        "HDEL K a b c 9",
        "HLEN K",
        "ZADD K N M",
        "ZADD K NX N M",
        "ZADD K XX N M",
        "ZADD K 3 a 3 b",
        "ZADD K 1",
        "ZCARD K",
        "ZCOUNT K -inf +inf",
        "ZRANGE K 0 0",
        "ZRANGE K 0 -1",
        "ZRANGE K N N",
        "ZRANK K M",
        "ZREM K M",
        "ZREM K a b c 9",
        "ZSCORE K M",
        "PUBSUB NUMSUB lock:\u{1f}heard lock:\u{1f}unheard",
        "PUBLISH lock:\u{1f}heard V",
        "PING",
        "ECHO V",
        "GET",
        "EVALSHA 0000000000000000000000000000000000000000 0",
        "SCRIPT EXISTS 00",
        "NOSUCHCOMMAND",
        "WAIT 0 0",
        "PING V",
    ];
    let form = pair.pick(&forms);
    let word = |word: &str| match word {
        "K" => key.clone(),
        "O" => other.clone(),
        "M" => member.clone(),
        "V" => value.clone(),
        "N" => number.clone(),
        word => word.to_owned(),
    };
    form.split(' ').map(|each| word(each).into_bytes()).collect()
}

#[test]
fn random_commands_are_answered_as_by_a_real_server() {
    let server = RedisServer::start();
    let mut subscriber = Client::of(&server);
    subscriber.command(&["SUBSCRIBE", CHANNELS[0]].map(|word| word.as_bytes().to_vec()));
    for seed in 0..40 {
        let mut pair = Pair::new(&server, seed);
        for step in 0..150 {
            if step % 30 == 29 {
                pair.change_state();
            }
            let words = random_command(&mut pair);
            pair.send(&words);
        }
        pair.compare_data();
    }
}

/// What distlock sends in some schedules, without what is about a connection.
fn sent_by_distlock() -> Vec<Words> {
    let mut all = Vec::new();
    for seed in 0..30 {
        all.extend(run(&Plan::draw(seed), true).sent);
    }
    let mut texts = std::collections::BTreeMap::new();
    for words in all.iter().filter(|words| words[0] == b"EVAL") {
        let hash = redis::Script::new(std::str::from_utf8(&words[1]).unwrap()).get_hash().to_owned();
        texts.insert(hash.into_bytes(), words[1].clone());
    }
    let mut kept = Vec::new();
    for mut words in all {
        // By its text, because another server may have it.
        if words[0] == b"EVALSHA" && texts.contains_key(&words[1]) {
            (words[0], words[1]) = (b"EVAL".to_vec(), texts[&words[1]].clone());
        }
        if matches!(&*words[0], b"EVAL" | b"SET" | b"GET" | b"PTTL" | b"EXISTS") {
            kept.push(words);
        }
    }
    assert!(texts.len() >= 7, "schedules use the scripts: {}", texts.len());
    kept
}

/// Whether it is an owner token.
fn is_owner_token(word: &[u8]) -> bool {
    String::from_utf8_lossy(word).split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

/// The same command for one of few owners and one of two channels.
fn with_few_owners(pair: &mut Pair, words: &Words) -> Words {
    let mut words = words.clone();
    for word in words.iter_mut().skip(2) {
        if word.len() == 36 && is_owner_token(word) {
            *word = pair.pick(&OWNERS).into_bytes();
        } else if word.starts_with("lock:\u{1f}".as_bytes()) && word.len() > 20 {
            *word = pair.pick(&CHANNELS).into_bytes();
        } else if word.iter().all(u8::is_ascii_digit) && word.len() > 2 && word.len() < 7 {
            // A lease does not lapse while the test is held up.
            *word = b"400000".to_vec();
        }
    }
    words
}

#[test]
fn the_real_scripts_are_answered_as_by_a_real_server() {
    let server = RedisServer::start();
    let mut subscriber = Client::of(&server);
    subscriber.command(&["SUBSCRIBE", CHANNELS[0]].map(|word| word.as_bytes().to_vec()));
    let sent = sent_by_distlock();
    for seed in 0..40 {
        let mut pair = Pair::new(&server, seed);
        for step in 0..120 {
            if step % 40 == 39 {
                pair.change_state();
            }
            let words = pair.chance.pick(&sent);
            let words = with_few_owners(&mut pair, &words);
            pair.send(&words);
            // What distlock reads of times: an entry that is old, and hand-overs that were not claimed.
            if pair.chance.one_in(15) && !pair.model.core.read_only && !pair.model.core.out_of_memory {
                make_old(&mut pair);
            }
        }
        pair.compare_data();
    }
}

/// Moves what a queue's entries say of times into the past.
fn make_old(pair: &mut Pair) {
    let names: Vec<_> = pair.model.core.data.keys().cloned().collect();
    for name in names.iter().filter(|name| name.windows(2).any(|pair| pair == [0x1f, b'e'])) {
        let owner = pair.pick(&OWNERS);
        let mut words = vec![b"HSET".to_vec(), name.clone()];
        if pair.chance.one_in(2) {
            let channel = pair.pick(&CHANNELS);
            words.extend([owner.into_bytes(), format!("1700000000000000 400000 0 {channel}").into_bytes()]);
        } else {
            let witness = pair.pick(&OWNERS);
            let mark = format!("{owner} 1700000000000000 {witness} 1700000000000000");
            words.extend([b"unclaimed".to_vec(), mark.into_bytes()]);
        }
        pair.send(&words);
    }
}
