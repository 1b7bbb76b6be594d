-- Ends the lease of the owner ARGV[1]: the key goes to whoever is first in its line ARGV[2], or is deleted. An owner that stands in line
-- leaves it. ARGV[3], if there is one, is the entry of somebody who waits beside the owner, and joins the line: came ARGV[4] us ago.
-- Answers 1, 0 when the key was not the owner's, or {2, token} when it has gone to who waits beside it.
local both = redis.pcall('MGET', KEYS[1], ARGV[2])
if both.err then
  both = {redis.call('GET', KEYS[1]), false} -- the line is forbidden
end
if both[1] == ARGV[1] and not both[2] then
  if not ARGV[3] then
    return redis.call('DEL', KEYS[1])
  end
  -- Nobody else stands there. Refused when memory is full.
  local lease = tonumber(string.sub(ARGV[3], 38, 41))
  if string.sub(ARGV[3], 43, 43) == '0' and not redis.pcall('SET', KEYS[1], string.sub(ARGV[3], 1, 36), 'PX', lease).err then
    return {2, false}
  end
end
