-- Snippet: the wait queue KEYS[2] of the lock KEYS[1], and how its first waiter is handed the lock.
-- KEYS[3] is the fencing counter.
--
-- How it works, and why nothing is lost
--
-- A queue is a string, so that one MGET reads it with the lock: the format's version, a line feed, then a
-- text line for each entry, in the order of service. An entry has five words, all but the last of a fixed
-- length:
--   time of arrival in us by this server's clock, owner token, ms of a handed-over lease,
--   1 for a fencing token else 0, channel
-- A hand-over sets the lock to the entry's owner and publishes it to the entry's channel.
-- - A channel without a subscriber belongs to a process that is gone: the next entry gets the lock. That is
--   asked before the lock is set. The answer of PUBLISH counts clients that listen to a pattern, and leaves
--   out subscribers at a replica or another node of a cluster, which get the message all the same.
-- - The lease is short. A waiter that hears of it renews it at once. A waiter that hangs holds the others up
--   for that long only.
-- - A waiter also asks by itself. It then finds that it holds the lock, or its entry, or neither, and is
--   enqueued again.
-- - When memory is full, SET is refused. Then no waiter is told, the lock is freed, and the waiters ask by
--   themselves.
-- - An entry of a process that is gone lapses with its queue, some time after the last waiter has asked.
-- - A value of another version belongs to a later release of the library: it is neither rewritten nor
--   deleted.

local VERSION = '1\n'
-- How long a fencing counter outlives its last grant, in ms. After that the clock keeps tokens rising.
local FENCE_TTL = 2 * 24 * 60 * 60 * 1000
-- How long a queue lasts when none of its waiters asks, in ms.
local QUEUE_TTL = 10000
-- Where the owner token is in an entry.
local OWNER_AT = 18

-- The entries of a queue's value; nil if the value has another type or version.
local function entries_of(value)
  if not value then
    return ''
  end
  if type(value) == 'string' and string.sub(value, 1, #VERSION) == VERSION then
    return string.sub(value, #VERSION + 1)
  end
end

-- Writes the queue. If memory is full, the queue is deleted, and its waiters ask again.
local function write(entries)
  if entries == '' or redis.pcall('SET', KEYS[2], VERSION .. entries, 'PX', QUEUE_TTL).err then
    redis.call('DEL', KEYS[2])
  end
end

-- The entries with one more, behind all that arrived before it, which mostly is at the end. `entry` begins
-- with the owner token.
local function with(entries, entry, waited)
  if string.find(entries, string.sub(entry, 1, 36), 1, true) then
    return entries
  end
  local arrival = string.format('%016.0f', math.max(micros() - waited, 0))
  entry = arrival .. ' ' .. entry .. '\n'
  if string.sub(entries, -#entry, 15 - #entry) <= arrival then
    return entries .. entry
  end
  local at = 1
  while at <= #entries and string.sub(entries, at, at + 15) <= arrival do
    at = string.find(entries, '\n', at, true) + 1
  end
  return string.sub(entries, 1, at - 1) .. entry .. string.sub(entries, at)
end

-- Where an owner's entry begins; nil if there is none.
local function entry_at(entries, owner)
  local at = string.find(entries, owner, 1, true)
  return at and at - OWNER_AT + 1
end

-- The entries without an owner's.
local function without(entries, owner)
  local from = entry_at(entries, owner)
  if not from then
    return entries
  end
  return string.sub(entries, 1, from - 1) .. string.sub(entries, string.find(entries, '\n', from, true) + 1)
end

-- Whether any of the entries asks for a fencing token.
local function wants_token(entries)
  return string.find('\n' .. entries, '\n[^ ]+ [^ ]+ [^ ]+ 1 ') ~= nil
end

-- Draws a fencing token for a waiter; nil if the counter is of another type, or memory is full.
local function draw_for_waiter()
  local stored = redis.pcall('GET', KEYS[3])
  if type(stored) == 'table' then
    return nil
  end
  local fence = draw(stored)
  if redis.pcall('SET', KEYS[3], string.format('%.0f', fence), 'PX', FENCE_TTL).err then
    return nil
  end
  return fence
end

-- Whether a client of this server is subscribed to the channel by its name.
local function has_subscriber(channel)
  local heard = redis.pcall('PUBSUB', 'NUMSUB', channel)
  return not heard.err and heard[2] > 0
end

-- Hands the lock to the first of the entries whose process hears of it. `named` is the owner token of a
-- waiter that hears of it by the script's answer. Gives back the new owner, or nil; the entries that are
-- left; and the named waiter's fencing token.
local function hand_over(entries, named)
  while entries ~= '' do
    local stop = string.find(entries, '\n', 1, true)
    local owner, lease = string.sub(entries, OWNER_AT, OWNER_AT + 35), tonumber(string.sub(entries, 55, 58))
    local fenced, channel = string.sub(entries, 60, 60) == '1', string.sub(entries, 62, stop - 1)
    local rest = string.sub(entries, stop + 1)
    if owner == named or has_subscriber(channel) then
      local fence = fenced and draw_for_waiter()
      if fence == nil or redis.pcall('SET', KEYS[1], owner, 'PX', lease).err then
        return nil, entries
      end
      if owner == named then
        return owner, rest, fence
      end
      local message = owner .. ' ' .. lease .. ' ' .. (fence and string.format('%.0f', fence) or '')
      if type(redis.pcall('PUBLISH', channel, message)) == 'number' then
        return owner, rest
      end
    end
    entries = rest
  end
  return nil, entries
end
