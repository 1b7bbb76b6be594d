-- Takes a lock again that the server has lost, if it is free.
-- KEYS: lock, broken owners, fencing counter (for a fenced lease only).
-- ARGV: owner token, ms that are left of the ttl, the lease's fencing token or '', ms that the counter lasts.
-- Answers 1, or 0 if another owner holds the lock, or this one was broken: see break_lock.lua.
--
-- A counter that is higher stays as it is and is not a reason to refuse: a failed attempt of a contender
-- leaves one.
local fence = tonumber(ARGV[3])
-- Both keys are read before one is written: a script that fails half-way is not rolled back.
local holder = redis.call('GET', KEYS[1])
local broken = redis.call('GET', KEYS[2])
local stored = fence and redis.call('GET', KEYS[3])
if holder then
  return holder == ARGV[1] and 1 or 0 -- 1: sent twice
end
if broken and string.find(broken, redis.sha1hex(ARGV[1]), 1, true) then
  return 0
end
if fence then
  local highest = math.max(tonumber(stored) or 0, fence)
  redis.call('SET', KEYS[3], string.format('%.0f', highest), 'PX', ARGV[4])
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
