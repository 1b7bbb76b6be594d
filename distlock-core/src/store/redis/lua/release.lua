-- Ends the owner's lease: the lock goes to the first waiter in its queue, or is deleted. An owner that is in
-- the queue leaves it.
-- KEYS: lock, wait queue, and the fencing counter if a waiter may want a token.
-- ARGV: owner token; then, to name a waiter of the owner's process, its entry from the owner token on, and us
--       for which it has waited.
-- Answers 1: released; a named waiter is in the queue.
--         {2, token}: the named waiter holds the lock; token is false if it asked for none.
--         0: the lock was not the owner's, and the owner was not in the queue (in not_the_owners.lua).
--         -1: nothing was changed, because a waiter wants a fencing token and KEYS[3] is missing.
--         -2: released; the named waiter is not in the queue, and has to ask.
--
-- Most locks are not fenced, and their releases do not pay for a third key. A script must not use a key that
-- was not named, and what the waiters want is only known when the queue has been read. So a release that
-- meets such a waiter is sent again with three keys, and the store names three from then on.
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
  local lease = tonumber(string.sub(ARGV[2], 38, 41))
  -- SET is refused when memory is full.
  if string.sub(ARGV[2], 43, 43) == '0'
      and not redis.pcall('SET', KEYS[1], string.sub(ARGV[2], 1, 36), 'PX', lease).err then
    return {2, false}
  end
end
