-- Lets the owner's lease last for a ttl from now.
-- KEYS: lock.
-- ARGV: owner token, ttl in ms.
-- Answers 1, or 0 if the lock is not the owner's (in not_the_owners.lua).
--
-- PEXPIRE, not SET: it works when memory is full, and it never creates the key.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
