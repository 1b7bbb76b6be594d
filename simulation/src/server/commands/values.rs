//! The commands of strings, hashes and sorted sets that need more than a row.

use super::{count, float, integer, syntax_error, text};
use crate::server::{
    data::{Data, in_order},
    resp::Reply,
};

pub(super) fn set(data: &mut Data, words: &[Vec<u8>]) -> Result<Reply, Reply> {
    let (mut only_new, mut only_old, mut keeps, mut gets, mut ends) = (false, false, false, false, None);
    let mut options = words[2..].iter();
    while let Some(option) = options.next() {
        match text(option).to_uppercase().as_str() {
            "NX" if !only_old => only_new = true,
            "XX" if !only_new => only_old = true,
            "KEEPTTL" if ends.is_none() => keeps = true,
            "GET" => gets = true,
            unit @ ("PX" | "EX") if ends.is_none() && !keeps => {
                let last = integer(options.next().ok_or_else(syntax_error)?)?;
                let last = if unit == "EX" { last.saturating_mul(1000) } else { last };
                let at = (data.now / 1000).checked_add_signed(last).filter(|_| last > 0);
                let invalid = || Reply::error("ERR invalid expire time in 'set' command");
                ends = Some(at.ok_or_else(invalid)?);
            }
            _ => return Err(syntax_error()),
        }
    }
    let key = &words[0];
    let before = if gets { data.text(key)?.map_or(Reply::Nil, Reply::text) } else { Reply::Nil };
    let is_there = data.get(key).is_some();
    if (only_new && is_there) || (only_old && !is_there) {
        return Ok(before);
    }
    if keeps && let Ok(remaining) = u64::try_from(data.remaining(key)) {
        ends = Some(data.now / 1000 + remaining);
    }
    data.set(key, words[1].clone(), ends);
    Ok(if gets { before } else { Reply::Status("OK") })
}

pub(super) fn hash(data: &mut Data, name: &str, words: &[Vec<u8>]) -> Result<Reply, Reply> {
    let key = &words[0];
    Ok(match name {
        "HDEL" => {
            data.hash(key)?;
            let remove = |hash: &mut std::collections::BTreeMap<_, _>| {
                words[1..].iter().filter(|field| hash.remove(*field).is_some()).count()
            };
            count(data.change_hash(key, remove)?)
        }
        "HGET" => data.hash(key)?.and_then(|hash| hash.get(&words[1])).map_or(Reply::Nil, Reply::text),
        "HGETALL" => {
            let pair = |(field, value): (&Vec<u8>, &Vec<u8>)| (Reply::text(field), Reply::text(value));
            Reply::Map(data.hash(key)?.map(|hash| hash.iter().map(pair).collect()).unwrap_or_default())
        }
        "HLEN" => count(data.hash(key)?.map_or(0, std::collections::BTreeMap::len)),
        "HMGET" => {
            let hash = data.hash(key)?;
            let field = |field| hash.and_then(|hash| hash.get(field)).map_or(Reply::Nil, Reply::text);
            Reply::Array(words[1..].iter().map(field).collect())
        }
        "HSET" if words.len() % 2 == 1 => count(data.change_hash(key, |hash| {
            let set = |pair: &&[Vec<u8>]| hash.insert(pair[0].clone(), pair[1].clone()).is_none();
            words[1..].chunks(2).filter(set).count()
        })?),
        _ => Reply::error(format!("ERR wrong number of arguments for '{}' command", name.to_lowercase())),
    })
}

pub(super) fn sorted(data: &mut Data, name: &str, words: &[Vec<u8>]) -> Result<Reply, Reply> {
    let key = &words[0];
    Ok(match name {
        "ZADD" => {
            let is_option = |word: &&Vec<u8>| matches!(&*text(word).to_uppercase(), "NX" | "XX");
            let options: Vec<_> = words[1..].iter().take_while(is_option).map(|word| text(word)).collect();
            let has = |name| options.iter().any(|option| option.eq_ignore_ascii_case(name));
            let (only_new, only_old) = (has("NX"), has("XX"));
            let pairs = &words[1 + options.len()..];
            if pairs.is_empty() || pairs.len() % 2 == 1 {
                return Err(syntax_error());
            }
            let score = |pair: &[Vec<u8>]| Ok((float(&pair[0])?, pair[1].clone()));
            let pairs: Vec<_> = pairs.chunks(2).map(score).collect::<Result<_, Reply>>()?;
            count(data.change_sorted(key, |members| {
                let mut add = |(score, member): &(f64, Vec<u8>)| {
                    let is_new = !members.contains_key(member);
                    if !(only_new && !is_new || only_old && is_new) {
                        members.insert(member.clone(), *score);
                    }
                    is_new && !only_old
                };
                pairs.iter().filter(|pair| add(pair)).count()
            })?)
        }
        "ZCARD" => count(data.sorted(key)?.map_or(0, std::collections::BTreeMap::len)),
        "ZCOUNT" => {
            let bound = |word: &Vec<u8>| match &**word {
                b"-inf" => Ok(f64::NEG_INFINITY),
                b"+inf" => Ok(f64::INFINITY),
                word => float(word),
            };
            let (low, high) = (bound(&words[1])?, bound(&words[2])?);
            let inside = |score: &&f64| (low..=high).contains(*score);
            count(data.sorted(key)?.map_or(0, |members| members.values().filter(inside).count()))
        }
        "ZRANGE" if words.len() == 3 => {
            let (first, last) = (integer(&words[1])?, integer(&words[2])?);
            let Some(members) = data.sorted(key)? else { return Ok(Reply::Array(Vec::new())) };
            let length = i64::try_from(members.len()).unwrap_or(i64::MAX);
            let place = |at: i64| if at < 0 { at + length } else { at };
            let (first, last) = (place(first).max(0), place(last).min(length - 1));
            let inside = |at: usize| (first..=last).contains(&i64::try_from(at).unwrap_or(i64::MAX));
            let members = in_order(members).into_iter().enumerate().filter(|(at, _)| inside(*at));
            Reply::Array(members.map(|(_, (member, _))| Reply::text(member)).collect())
        }
        "ZRANK" => {
            let members = data.sorted(key)?.map(in_order).unwrap_or_default();
            members.iter().position(|(member, _)| **member == words[1]).map_or(Reply::Nil, count)
        }
        "ZREM" => {
            data.sorted(key)?;
            let remove = |members: &mut std::collections::BTreeMap<_, _>| {
                words[1..].iter().filter(|member| members.remove(*member).is_some()).count()
            };
            count(data.change_sorted(key, remove)?)
        }
        "ZSCORE" => {
            let score = data.sorted(key)?.and_then(|members| members.get(&words[1]));
            score.map_or(Reply::Nil, |score| Reply::text(format!("{score}")))
        }
        _ => syntax_error(),
    })
}
