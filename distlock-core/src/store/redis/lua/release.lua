-- Ends the owner's lease: the lock goes to the first waiter in its queue, or is deleted. If other libraries
-- take the lock too, one release in 8 deletes it. An owner that is in the queue leaves it.
-- KEYS: lock, wait queue, and order, entries and fencing counter if there may be waiters.
-- ARGV: owner token; then, to name a waiter of the owner's process: its owner token, ttl in ms, ms that the
--       fencing counter lasts or 0 if it wants no token, channel, and us for which it has waited.
-- Answers 1: released; a named waiter is in the queue.
--         {2, token}: the named waiter holds the lock; token is false if it asked for none.
--         0: the lock was not the owner's, and the owner was not in the queue (in not_the_owners.lua).
--         -1: nothing was changed, because there is a queue, or a token to draw, and KEYS[5] is missing.
--         -2: released; the named waiter is not in the queue, and has to ask.
--
-- Most releases meet no waiter, and do not pay for three more keys. A script must not use a key that was not
-- named. So a release that meets a queue is sent again with all keys, and the store names all for some time.
--
-- This first part is for the usual cases, before a function is defined: no waiter, or only the named one.
local both = redis.pcall('MGET', KEYS[1], KEYS[2])
if both.err then
  both = {redis.call('GET', KEYS[1]), false} -- MGET is forbidden here: no waiters
end
if both[1] == ARGV[1] and not both[2] then
  if not ARGV[2] then
    return redis.call('DEL', KEYS[1])
  end
  -- SET is refused when memory is full.
  if ARGV[4] == '0' and not redis.pcall('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]).err then
    return {2, false}
  end
end
if (both[1] == ARGV[1] or both[2]) and not KEYS[5] then
  return -1
end
