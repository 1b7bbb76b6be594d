-- Ends the lease of the owner ARGV[1]: the key goes to whoever is first in the line ARGV[2], or is deleted. An owner that stands in
-- line leaves it. ARGV[3] is the fencing counter's ttl.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  if not hand_over(ARGV[2], nil, ARGV[3]) then
    redis.call('DEL', KEYS[1])
  end
  return 1
end
local line = redis.pcall('LRANGE', ARGV[2], 0, -1)
for _, entry in ipairs(line) do
  if string.sub(entry, 1, #ARGV[1]) == ARGV[1] then
    return redis.call('LREM', ARGV[2], 1, entry)
  end
end
-- A replica that lacks the key must not pass for "not the owner's": it refuses every write, also one that changes nothing.
local refused = redis.pcall('HDEL', KEYS[1], ARGV[1])
if type(refused) == 'table' and string.find(refused.err, 'READONLY', 1, true) then
  return refused
end
return 0
