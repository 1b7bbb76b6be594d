-- Ends the lease of the owner ARGV[1] on a quorum's node, where nobody stands in line.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
