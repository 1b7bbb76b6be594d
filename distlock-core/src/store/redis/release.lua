-- Ends the lease of the owner ARGV[1]: the key goes to whoever is first in its line ARGV[2], or is deleted. An owner that stands in line
-- leaves it.
local both = redis.pcall('MGET', KEYS[1], ARGV[2])
if both.err then
  both = {redis.call('GET', KEYS[1]), false} -- the line is forbidden
end
if both[1] == ARGV[1] and not both[2] then
  return redis.call('DEL', KEYS[1])
end
