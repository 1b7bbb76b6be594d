-- Lets the owner's lease last ARGV[2] ms from now. PEXPIRE, never SET: it works when memory is full, and never creates the key.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
-- A replica that lacks the key must not pass for "not the owner's": it refuses every write, also one that changes nothing.
local refused = redis.pcall('HDEL', KEYS[1], ARGV[1])
if type(refused) == 'table' and string.find(refused.err, 'READONLY', 1, true) then
  return refused
end
return 0
