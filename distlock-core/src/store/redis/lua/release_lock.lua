-- Ends the owner's lease without a look at the wait queue: on a node of a quorum, whose keys have none, and
-- where the server's access rules do not cover the queue's name.
-- KEYS: lock.
-- ARGV: owner token.
-- Answers 1, or 0 if the lock is not the owner's (in not_the_owners.lua).
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
