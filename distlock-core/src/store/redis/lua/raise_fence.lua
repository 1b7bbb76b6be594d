-- Raises the fencing counter KEYS[2] to ARGV[2], for ARGV[3] ms, while the lock KEYS[1] is the owner ARGV[1]'s. Whoever else holds it draws a
-- higher token than any that was raised to before, so that no two have the same.
local holder = redis.call('GET', KEYS[1])
local stored = redis.call('GET', KEYS[2])
if holder ~= ARGV[1] or (tonumber(stored) or 0) > tonumber(ARGV[2]) then
  return 0
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1
