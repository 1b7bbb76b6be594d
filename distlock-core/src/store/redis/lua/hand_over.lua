-- Snippet: how a waiter of the queue in queue.lua is handed the lock KEYS[1].
-- KEYS: lock, wait queue, order, entries, fencing counter.

local now = micros()

-- Writes a waiter's entry, and keeps its first time of arrival. Gives back an error if memory is full.
local function enqueue(owner, waited, ttl, lasts, channel)
  local asked = string.format('%.0f', now)
  local added = redis.pcall('ZADD', KEYS[3], 'NX', string.format('%.0f', math.max(now - waited, 0)), owner)
  if type(added) == 'table' then
    return added
  end
  waiters = waiters + added
  redis.call('HSET', KEYS[4], owner, asked .. ' ' .. ttl .. ' ' .. lasts .. ' ' .. channel)
  local left, keep = redis.call('PTTL', KEYS[4]), QUEUE_TTL + ttl
  if not exists then
    redis.call('SET', KEYS[2], VERSION)
  end
  -- The first waiter has made the order anew. The other two may last for longer, for an unclaimed hand-over.
  if left < keep - SLACK or not exists or waiters == 1 then
    keep = string.format('%.0f', math.max(left, keep))
    redis.call('PEXPIRE', KEYS[2], keep)
    redis.call('PEXPIRE', KEYS[3], keep)
    redis.call('PEXPIRE', KEYS[4], keep)
  end
end

-- When an owner has arrived that is queued, or else has waited for so many us.
local function arrival_of(owner, waited)
  return tonumber(redis.call('ZSCORE', KEYS[3], owner)) or now - waited
end

-- Whether a client of this server is subscribed to the channel by its name.
local function has_subscriber(channel)
  local heard = redis.pcall('PUBSUB', 'NUMSUB', channel)
  return not heard.err and heard[2] > 0
end

-- The first waiter that asks and hears, or nil. Those before it are removed. `asking` does so for certain.
local function first_waiter(asking)
  while true do
    local owner = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
    if not owner then
      return nil
    end
    local entry = redis.call('HGET', KEYS[4], owner) or ''
    local asked, ttl, lasts, channel = string.match(entry, '^(%d+) (%d+) (%d+) (.+)$')
    local hears = owner == asking or asked and now - tonumber(asked) < SILENCE and has_subscriber(channel)
    if hears then
      return {owner = owner, ttl = ttl, lasts = lasts, channel = channel}
    end
    remove(owner)
  end
end

-- Whether no waiter that asks and hears came before this one. Gives back also the first waiter, if any.
local function is_first(owner, waited)
  local first = first_waiter(owner)
  return not first or first.owner == owner or arrival_of(first.owner) > arrival_of(owner, waited), first
end

-- Sets the lock to a waiter. The fencing counter lasts for so many ms; 0 for a waiter that wants no token. A
-- mark is written before the entry goes: the entries have to keep a field, or they would lose their ttl.
-- Gives back the token, which is false if none is wanted; nil if memory is full, or the counter is of another
-- type.
local function give(owner, ttl, lasts, mark)
  local fence = false
  if lasts ~= '0' then
    local stored = redis.pcall('GET', KEYS[5])
    if type(stored) == 'table' then
      return nil
    end
    fence = draw(stored)
    if redis.pcall('SET', KEYS[5], string.format('%.0f', fence), 'PX', lasts).err then
      return nil
    end
  end
  if redis.pcall('SET', KEYS[1], owner, 'PX', ttl).err then
    return nil
  end
  if mark then
    redis.pcall('HSET', KEYS[4], UNCLAIMED, mark)
  end
  remove(owner)
  return fence
end

-- Hands the lock to the first waiter that hears of it, which was found before or is looked for. Gives back
-- its owner token; nil if there is none.
local function hand_over(first)
  while true do
    first = first or first_waiter()
    local mark = first and string.format('%.0f', now + CLAIM_WITHIN) .. ' ' .. first.owner
    local fence = first and give(first.owner, first.ttl, first.lasts, mark)
    if fence == nil then
      return nil
    end
    unclaimed = mark
    local token = fence and string.format('%.0f', fence) or '-'
    local message = first.ttl .. ' ' .. token .. ' ' .. first.owner .. ' ' .. KEYS[1]
    if type(redis.pcall('PUBLISH', first.channel, message)) == 'number' then
      return first.owner
    end
    first = nil
  end
end
