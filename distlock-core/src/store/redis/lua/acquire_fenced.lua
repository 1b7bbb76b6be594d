-- Takes the lock if it is free, and draws a fencing token.
-- KEYS: lock, fencing counter.
-- ARGV: owner token, ttl in ms, ms that the counter lasts, the number that a quorum proposes or ''.
-- Answers {1, token, false}: the owner holds the lock; token is false if the counter is gone.
--         {0, PTTL, value}: another owner holds it, with this value.
--
-- Both keys are read before one is written: a script that fails half-way is not rolled back.
local holder = redis.call('GET', KEYS[1])
local stored = redis.call('GET', KEYS[2])
if holder == ARGV[1] then
  return {1, tonumber(stored) or false, false} -- sent twice
end
if holder then
  return {0, redis.call('PTTL', KEYS[1]), holder}
end
local fence = draw(stored, tonumber(ARGV[4]))
redis.call('SET', KEYS[2], string.format('%.0f', fence), 'PX', ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, fence, false}
