-- A replica that lacks the key must not pass for "not the owner's": it refuses every write, also one that changes nothing.
local refused = redis.pcall('HDEL', KEYS[1], ARGV[1])
if type(refused) == 'table' and string.find(refused.err, 'READONLY', 1, true) then
  return refused
end
return 0
