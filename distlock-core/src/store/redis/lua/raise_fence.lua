-- Raises the fencing counter, if the owner holds the lock and the counter is not higher.
-- KEYS: lock, fencing counter.
-- ARGV: owner token, the number to raise the counter to, ms that the counter lasts at the least.
-- Answers 1, or 0 if nothing was changed.
--
-- A later holder draws a token above every number that the counter was raised to: no two have one token.
local holder = redis.call('GET', KEYS[1])
local stored = redis.call('GET', KEYS[2])
if holder ~= ARGV[1] or (tonumber(stored) or 0) > tonumber(ARGV[2]) then
  return 0
end
local lasts = math.max(tonumber(ARGV[3]), redis.call('PTTL', KEYS[1]), redis.call('PTTL', KEYS[2]))
redis.call('SET', KEYS[2], ARGV[2], 'PX', string.format('%.0f', lasts))
return 1
