-- Snippet: the end of renewals and releases, for a lock KEYS[1] that is not the owner's. A replica that lacks
-- the key must not pass for "not the owner's". It refuses every write, even one that changes nothing.
local refused = redis.pcall('HDEL', KEYS[1], ARGV[1])
if type(refused) == 'table' and string.find(refused.err, 'READONLY', 1, true) then
  return refused
end
return 0
