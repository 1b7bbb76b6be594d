-- Lets the owner's lease last for a ttl from now, on a node of a quorum.
-- KEYS: lock, broken owners.
-- ARGV: owner token, ttl in ms.
-- Answers 1, or 0 if the lock is not the owner's, or the owner was broken (in not_the_owners.lua).
--
-- A node may be told to break an owner whose acquire is still under way to it, and which it grants then: see
-- break_lock.lua.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  local broken = redis.call('GET', KEYS[2])
  if not broken or not string.find(broken, redis.sha1hex(ARGV[1]), 1, true) then
    return redis.call('PEXPIRE', KEYS[1], ARGV[2])
  end
end
