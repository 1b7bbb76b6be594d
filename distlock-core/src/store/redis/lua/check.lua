-- Finds out which commands of the other scripts the server's access rules forbid, and changes nothing: the
-- key does not exist, and what would create it has an argument that is refused.
-- KEYS: a key that is never written.
-- ARGV: a channel without subscribers.
-- Answers for each command, in the order in which they stand here, the error that it gave, or '' for none.
local answers = {
  redis.pcall('GET', KEYS[1]),
  redis.pcall('PEXPIRE', KEYS[1], 'x'),
  redis.pcall('DEL', KEYS[1]),
  redis.pcall('SET', KEYS[1], '', 'PX', 'x'),
  redis.pcall('PTTL', KEYS[1]),
  redis.pcall('TIME'),
  redis.pcall('MGET', KEYS[1]),
  redis.pcall('HDEL', KEYS[1], 'x'),
  redis.pcall('HGET', KEYS[1], 'x'),
  redis.pcall('HMGET', KEYS[1], 'x'),
  redis.pcall('HSET', KEYS[1], 'x', 'x', 'x'),
  redis.pcall('ZADD', KEYS[1], 'x', 'x'),
  redis.pcall('ZCARD', KEYS[1]),
  redis.pcall('ZRANGE', KEYS[1], 0, 0),
  redis.pcall('ZRANK', KEYS[1], 'x'),
  redis.pcall('ZREM', KEYS[1], 'x'),
  redis.pcall('ZSCORE', KEYS[1], 'x'),
  redis.pcall('PUBSUB', 'NUMSUB', ARGV[1]),
  redis.pcall('PUBLISH', ARGV[1], ''),
}
local errors = {}
for at, answer in ipairs(answers) do
  errors[at] = type(answer) == 'table' and answer.err or ''
end
return errors
