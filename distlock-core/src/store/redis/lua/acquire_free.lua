-- Takes the lock if it is free and no waiter came before the owner. Otherwise the owner joins the wait queue.
-- KEYS: lock, wait queue, order, entries, fencing counter.
-- ARGV: owner token, ttl in ms, ms that the fencing counter lasts or 0 if no token is wanted, channel, us for
--       which the owner has waited.
-- Answers {1, token, every, false, 0}: the owner holds the lock; token is false if none was asked for, or the
--                                      counter is gone.
--         {0, ms, every, value, first}: another owner holds it, with this value, or it is left to other
--                                       libraries, and value is false. This owner is in the queue. The lock
--                                       may be free after that time: PTTL, or when the first waiter has to
--                                       look whether the lease was claimed. first is 1 if no waiter that asks
--                                       and hears is before this one, else 0.
--         {2, PTTL, false, value, 0}: another owner holds it, and the queue has the format of another version
--                                     of the library, so that the owner is not in it.
--         every is false, unless other libraries take the lock too: then it is how often to ask, in ms.
--
-- The counter is always named: the owner, or a waiter that came before it, may want a fencing token. Sent
-- again by the same owner it renews the entry, and keeps the queue from lapsing.
--
-- This first part is for a key that is free and has no queue, before most functions are defined. A key of
-- another type, which MGET passes over, is left to what follows.
local both = redis.pcall('MGET', KEYS[1], KEYS[2])
if not both.err and not both[1] and not both[2] then
  local fence = false
  if ARGV[3] ~= '0' then
    fence = draw(redis.call('GET', KEYS[5]))
    redis.call('SET', KEYS[5], string.format('%.0f', fence), 'PX', ARGV[3])
  end
  if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
    return {1, fence, false, false, 0}
  end
end
