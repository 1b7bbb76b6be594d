-- Takes the lock if it is free, and draws a fencing token.
-- KEYS: lock, fencing counter.
-- ARGV: owner token, ttl in ms, ms that the counter lasts, the number that a quorum proposes or ''.
-- Answers token: the owner holds the lock.
--         {0, PTTL, value}: another owner holds it, with this value.
--         {1, false, value}: the owner holds the lock, and the counter is gone.
--
-- A script that fails half-way is not rolled back. So the counter is read, which shows its type, before the
-- lock is set. When memory is full, the first SET fails and none after it.
local stored = redis.call('GET', KEYS[2])
local fence = draw(stored, tonumber(ARGV[4]))
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  redis.call('SET', KEYS[2], string.format('%.0f', fence), 'PX', ARGV[3])
  return fence
end
local holder = redis.call('GET', KEYS[1])
if holder ~= ARGV[1] then
  return {0, redis.call('PTTL', KEYS[1]), holder}
end
-- Sent twice.
return tonumber(stored) or {1, false, holder}
