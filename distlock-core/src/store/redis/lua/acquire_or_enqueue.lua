-- Takes the lock if it is free and no waiter came before the owner. Otherwise the owner joins the wait queue.
-- KEYS: lock, wait queue, fencing counter.
-- ARGV: owner token, ttl in ms, the owner's entry from the owner token on, us for which the owner has waited,
--       1 to draw a fencing token, else 0.
-- Answers {1, token}: the owner holds the lock; token is false if none was asked for, or the counter is gone.
--         {0, PTTL}: another owner holds it, and this one is in the queue.
--         {2, PTTL}: another owner holds it, and the queue has the format of another version of the library,
--                    so that the owner is not in it.
--
-- The counter is always named: the owner, or a waiter that came before it, may want a fencing token. Sent
-- again by the same owner it changes nothing more, and keeps the queue from lapsing.
local owner, fenced = ARGV[1], ARGV[5] == '1'
-- All that may be of another type is read before anything is written: a script that fails half-way is not
-- rolled back.
local holder = redis.call('GET', KEYS[1])
local stored = fenced and redis.call('GET', KEYS[3])
local value = redis.pcall('GET', KEYS[2])
if holder == owner then
  -- It was handed over and the message was lost, or this was sent twice.
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {1, tonumber(stored) or false}
end
local before = entries_of(value)
local entries = before and with(before, ARGV[3], ARGV[4])
if not holder then
  local successor
  if entries then
    -- Waiters that came before the owner go first, even if the lock was not released but has lapsed.
    local at, rest = entry_at(entries, owner), nil
    successor, rest = hand_over(string.sub(entries, 1, at - 1))
    entries = rest .. string.sub(entries, at)
  end
  if not successor then
    local fence = false
    if fenced then
      fence = draw(redis.call('GET', KEYS[3]))
      redis.call('SET', KEYS[3], string.format('%.0f', fence), 'PX', FENCE_TTL)
    end
    redis.call('SET', KEYS[1], owner, 'PX', ARGV[2])
    if entries then
      write(without(entries, owner))
    end
    return {1, fence}
  end
end
if not entries then
  return {2, redis.call('PTTL', KEYS[1])}
end
-- Fails where PUBSUB is forbidden: without it no release would find the owner.
redis.call('PUBSUB', 'NUMSUB', string.sub(ARGV[3], 45))
if entries ~= before then
  redis.call('SET', KEYS[2], VERSION .. entries, 'PX', QUEUE_TTL)
else
  redis.call('PEXPIRE', KEYS[2], QUEUE_TTL)
end
return {0, redis.call('PTTL', KEYS[1])}
