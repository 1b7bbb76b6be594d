if both[1] == ARGV[1] then
  local done, rest = hand_over(ARGV[2], both[2])
  if not done then
    redis.call('DEL', KEYS[1])
  end
  write(ARGV[2], rest)
  return 1
end
if not both[1] then
  redis.call('GET', KEYS[1]) -- fails where the key is of another type, which MGET passes over
end
if both[2] then
  local rest = without(both[2], ARGV[1])
  if rest ~= both[2] then
    write(ARGV[2], rest)
    return 1
  end
end
-- A replica that lacks the key must not pass for "not the owner's": it refuses every write, also one that changes nothing.
local refused = redis.pcall('HDEL', KEYS[1], ARGV[1])
if type(refused) == 'table' and string.find(refused.err, 'READONLY', 1, true) then
  return refused
end
return 0
