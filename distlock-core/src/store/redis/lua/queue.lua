-- Snippet: the wait queue of the lock KEYS[1]: how it is stored, and how waiters join and leave it.
-- KEYS: lock, wait queue, order, entries, and the fencing counter if a waiter may be handed the lock.
--
-- How it works, and why nothing is lost
--
-- - KEYS[2] is the version of the format. It exists while there are waiters or an unclaimed hand-over, and
--   while other libraries take the lock too. So one MGET tells whether the lock can simply be deleted.
-- - KEYS[3] is a sorted set of owners by their time of arrival, in us by this server's clock. An owner is
--   what a lock's value says: the owner token, a space and the owner's label, which has no space.
-- - KEYS[4] is a hash: for each owner when it last asked (us), its ttl (ms), how long the fencing counter
--   lasts (ms) or 0 if it wants no token, and its channel. One more field, `unclaimed`, is the latest
--   hand-over that was not claimed yet: until when the owner has time (us), the owner, and when the first
--   waiter looked after that (us), with that waiter. The field `foreign` tells of other libraries that take
--   the lock too: see foreign.lua.
--
-- A hand-over sets the lock to the first waiter's owner token, for the whole ttl, and publishes that to the
-- waiter's channel. The waiter claims the lease at once.
-- - A channel without a subscriber belongs to a process that is gone, and a waiter that has not asked for
--   three intervals hangs or cannot reach the server: the next waiter gets the lock. That is found out before
--   the lock is set. PUBLISH's answer would count clients that listen to a pattern, and leave out subscribers
--   at a replica or another node of a cluster, which get the message all the same.
-- - A waiter that was handed the lock and does not claim it in time is deposed by the first waiter, which has
--   to look twice: when it looks again after its first answer, a server that stood still has read the claim.
-- - A waiter also asks by itself. It then finds that it holds the lock, which counts as its claim, or its
--   entry, or neither, and is enqueued again with its first time of arrival.
-- - If the lock cannot be set because memory is full, it is freed, and the waiters ask by themselves.
-- - All three keys lapse some time after the last waiter has asked.
-- - A queue of another version is neither rewritten nor deleted.

local VERSION = '3'
-- How long a queue lasts when none of its waiters asks, in ms.
local QUEUE_TTL = 10000
-- A waiter that has not asked for this long is passed over, in us. Waiters ask every 1.2 s.
local SILENCE = 3600000
-- The field of KEYS[4] for the unclaimed hand-over.
local UNCLAIMED = 'unclaimed'
-- The field of KEYS[4] for other libraries.
local FOREIGN = 'foreign'

-- How many waiters there are, and the two fields: set by is_known, and kept up to date by what writes them.
-- Each command of a script costs the server about as much as a short command of a client.
local waiters, unclaimed, foreign_note

-- Whether the queue is absent, or of this format. `version` is KEYS[2] if it was read before.
local function is_known(version)
  version = version or redis.pcall('GET', KEYS[2])
  if version and version ~= VERSION then
    return false
  end
  waiters = redis.pcall('ZCARD', KEYS[3])
  local fields = redis.pcall('HMGET', KEYS[4], UNCLAIMED, FOREIGN)
  unclaimed, foreign_note = fields[1], fields[2]
  return type(waiters) == 'number' and not fields.err
end

-- Removes an owner's entry. Gives back whether it was queued.
local function remove(owner)
  redis.call('HDEL', KEYS[4], owner)
  local removed = redis.call('ZREM', KEYS[3], owner)
  waiters = waiters - removed
  return removed == 1
end

-- Forgets the unclaimed hand-over: it was claimed, or has ended.
local function forget_unclaimed()
  if unclaimed then
    redis.call('HDEL', KEYS[4], UNCLAIMED)
    unclaimed = false
  end
end

-- Deletes the queue if it has neither waiters nor an unclaimed hand-over. With a note of other libraries it
-- lapses instead: a release within the owner's process, which joins no queue, has to find the note.
local function tidy()
  if waiters > 0 or unclaimed then
    return
  end
  if foreign_note then
    redis.call('PEXPIRE', KEYS[2], QUEUE_TTL)
    redis.call('PEXPIRE', KEYS[4], QUEUE_TTL)
  else
    redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
  end
end
