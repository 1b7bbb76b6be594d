-- Takes the lock if it is free and no waiter came before the owner. Otherwise the owner joins the wait queue.
-- KEYS: lock, wait queue, order, entries, fencing counter.
-- ARGV: owner token, ttl in ms, ms that the fencing counter lasts or 0 if no token is wanted, channel, us for
--       which the owner has waited.
-- Answers {1, token, every, false}: the owner holds the lock; token is false if none was asked for, or the
--                                   counter is gone.
--         {0, ms, every, value}: another owner holds it, with this value, or it is left to other libraries,
--                                and value is false. This owner is in the queue. The lock may be free after
--                                that time: PTTL, or when the first waiter has to look whether the lease was
--                                claimed.
--         {2, PTTL, false, value}: another owner holds it, and the queue has the format of another version of
--                                  the library, so that the owner is not in it.
--         every is false, unless other libraries take the lock too: then it is how often to ask, in ms.
--
-- The counter is always named: the owner, or a waiter that came before it, may want a fencing token. Sent
-- again by the same owner it renews the entry, and keeps the queue from lapsing.
local owner, ttl, lasts, channel, waited = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local fenced = lasts ~= '0'
-- The shortest time between two looks at a hand-over whose time is over, in us.
local LOOK_AGAIN = 100000
-- All that may be of another type is read before anything is written: a script that fails half-way is not
-- rolled back.
local holder = redis.call('GET', KEYS[1])
local stored = fenced and redis.call('GET', KEYS[5])
local known = is_known()
local foreign = known and foreign_seen()
if holder == owner then
  -- It was handed over and not claimed yet, or this was sent twice.
  redis.call('PEXPIRE', KEYS[1], ttl)
  if known then
    forget_unclaimed()
    tidy()
  end
  return {1, tonumber(stored) or false, ask_every(foreign, owner), false}
end
if holder and not known then
  return {2, redis.call('PTTL', KEYS[1]), false, holder}
end
-- Fails where PUBSUB is forbidden: without it no release would find the owner.
redis.call('PUBSUB', 'NUMSUB', channel)

local deadline -- of the holder's claim
if holder then
  local till, claimer, looked, witness =
      string.match(unclaimed or '', '^(%d+) (%S+ %S+) ?(%d*) ?(.*)$')
  deadline = claimer == holder and tonumber(till)
  if deadline and now > deadline and is_first(owner, waited) then
    if witness ~= owner then
      local look = till .. ' ' .. holder .. ' ' .. string.format('%.0f', now) .. ' ' .. owner
      unclaimed = look
      redis.pcall('HSET', KEYS[4], UNCLAIMED, look)
    elseif now - tonumber(looked) >= LOOK_AGAIN then
      holder = false -- deposed
    end
  end
end
local left_free = holder and 0 or left_free_for(foreign)
if not holder and left_free == 0 then
  -- Waiters that came before the owner go first, even if the lock was not released but has lapsed.
  local is_next, first = true, nil
  if known then
    is_next, first = is_first(owner, waited)
  end
  holder = not is_next and hand_over(first)
  if not holder then
    local fence = false
    if fenced then
      fence = draw(redis.call('GET', KEYS[5]))
      redis.call('SET', KEYS[5], string.format('%.0f', fence), 'PX', lasts)
    end
    redis.call('SET', KEYS[1], owner, 'PX', ttl)
    if known then
      remove(owner)
      forget_unclaimed()
      tidy()
    end
    return {1, fence, ask_every(foreign, owner), false}
  end
  deadline = now + CLAIM_WITHIN
end
local refused = enqueue(owner, waited, ttl, lasts, channel)
if refused then
  return refused
end
if holder and is_foreign(holder) then
  foreign = note_foreign(foreign)
end
local left = left_free > 0 and math.ceil(left_free / 1000) or redis.call('PTTL', KEYS[1])
if deadline and redis.call('ZRANK', KEYS[3], owner) == 0 then
  local look = math.max(deadline - now, 0)
  left = math.min(left, math.ceil((look > 0 and look or LOOK_AGAIN) / 1000))
end
return {0, left, ask_every(foreign, owner), holder or false}
