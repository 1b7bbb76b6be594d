-- Takes KEYS[1] for ARGV[1] for ARGV[2] ms and draws a fencing token from KEYS[2], whose counter lasts ARGV[3] ms. ARGV[4] is what a quorum
-- proposes for it, or empty. Answers {1, token} or {0, PTTL of the holder}.
-- Every key is read before any is written: a script that fails half-way is not rolled back.
local holder = redis.call('GET', KEYS[1])
local stored = redis.call('GET', KEYS[2])
if holder == ARGV[1] then
  return {1, tonumber(stored)} -- our own acquire, sent twice
end
if holder then
  return {0, redis.call('PTTL', KEYS[1])}
end
local time = redis.call('TIME')
local clock = time[1] * 1000000 + time[2]
if ARGV[4] ~= '' then
  -- So that the nodes of a quorum draw one number. No client's clock pulls a node's tokens further from its own.
  clock = math.max(clock - 100000, math.min(clock + 100000, tonumber(ARGV[4])))
end
-- +1 keeps tokens rising when the clock steps back, the clock keeps them rising when the stored one is lost.
local fence = math.max((tonumber(stored) or 0) + 1, clock)
redis.call('SET', KEYS[2], string.format('%.0f', fence), 'PX', ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, fence}
