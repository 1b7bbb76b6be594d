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
-- This first part is for the usual cases, before a function is defined: that takes longer than what follows.
local both = redis.pcall('MGET', KEYS[1], KEYS[2])
if both.err then
  both = {redis.call('GET', KEYS[1]), false} -- MGET is forbidden here: no waiters
end
if both[1] == ARGV[1] and not both[2] then
  -- No waiter, or only the named one.
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
if both[1] == ARGV[1] and both[2] == VERSION then
  -- The first waiter asks, hears, wants no token and came before the named one, which joins the queue or
  -- stays there. Nothing is unclaimed, and no other library takes the lock.
  local named, order = ARGV[2], redis.pcall('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
  local first = order[1]
  local fields = first and redis.pcall('HMGET', KEYS[4], first, UNCLAIMED, FOREIGN) or {}
  if fields[1] and not fields[2] and not fields[3] then
    local asked, ttl, channel = string.match(fields[1], '^(%d+) (%d+) 0 (.+)$')
    local time = redis.call('TIME')
    local now = time[1] * 1000000 + time[2]
    local arrival = named and now - ARGV[6]
    if asked and now - asked < SILENCE and (not named or named ~= first and order[2] - arrival <= 0) then
      local heard = redis.pcall('PUBSUB', 'NUMSUB', channel)
      if not heard.err and heard[2] > 0 and not redis.pcall('SET', KEYS[1], first, 'PX', ttl).err then
        local till, answer = string.format('%.0f', now + CLAIM_WITHIN) .. ' ' .. first, 1
        if not named then
          redis.pcall('HSET', KEYS[4], UNCLAIMED, till)
        elseif type(redis.pcall('ZADD', KEYS[3], 'NX', string.format('%.0f', arrival), named)) == 'number' then
          local entry = string.format('%.0f %s %s %s', now, ARGV[3], ARGV[4], ARGV[5])
          redis.pcall('HSET', KEYS[4], UNCLAIMED, till, named, entry)
          local keep = QUEUE_TTL + ARGV[3]
          if redis.call('PTTL', KEYS[4]) < keep - SLACK then
            redis.call('PEXPIRE', KEYS[2], keep)
            redis.call('PEXPIRE', KEYS[3], keep)
            redis.call('PEXPIRE', KEYS[4], keep)
          end
        else
          answer = -2
        end
        redis.call('ZREM', KEYS[3], first)
        redis.call('HDEL', KEYS[4], first)
        redis.pcall('PUBLISH', channel, ttl .. ' - ' .. first .. ' ' .. KEYS[1])
        return answer
      end
    end
  end
end
