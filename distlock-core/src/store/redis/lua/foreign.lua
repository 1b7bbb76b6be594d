-- Snippet: other libraries that take the lock KEYS[1] too. They poll by SET NX and join no queue, so a lock
-- that is always handed over would never be theirs.
-- KEYS: lock, wait queue, order, entries.
--
-- The field `foreign` of KEYS[4] has three numbers: when a waiter last saw a value of another library (us),
-- how many releases there were since one left the lock free, and until when that one left it free (us).

-- How long a value counts after it was seen, in us.
local SEEN_FOR = 10000000
-- The value is noted again after this time, in us: a waiter that polls does not write each time.
local NOTE_AGAIN = 1000000
-- One release in so many leaves the lock free, for as long as a lease lasted on average since the last such
-- release, between these bounds (us). Other libraries poll every 5 to 250 ms.
local RELEASES = 8
local SHORTEST, LONGEST = 10000, 250000
-- How often the first waiter asks, in ms. The n-th waiter asks n times less often, but not below SELDOM.
local ASK_EVERY, SELDOM = 5, 100

-- Whether another library has set the lock to this value. This one writes an owner token, which is a UUID v4,
-- a space and a label. Written out, because a pattern that is put together costs each script.
local function is_foreign(value)
  local owner = '^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x [!-~]+$'
  return not string.find(value, owner)
end

-- What is known of other libraries; nil if none was seen lately.
local function foreign_seen()
  if not foreign_note then
    return nil
  end
  local at, releases, free_until = string.match(foreign_note, '^(%d+) (%d+) (%d+)$')
  -- The distance, because the clock may be stepped back.
  if at and math.abs(now - tonumber(at)) < SEEN_FOR then
    return {at = tonumber(at), releases = tonumber(releases), free_until = tonumber(free_until)}
  end
  redis.call('HDEL', KEYS[4], FOREIGN)
  foreign_note = false
  return nil
end

-- Writes what is known. Gives back whether that worked: it does not if memory is full.
local function write_foreign(seen)
  local text = string.format('%.0f %.0f %.0f', seen.at, seen.releases, seen.free_until)
  local is_written = type(redis.pcall('HSET', KEYS[4], FOREIGN, text)) == 'number'
  foreign_note = is_written and text or foreign_note
  return is_written
end

-- Notes that another library holds the lock. Gives back what is known now.
local function note_foreign(seen)
  if not seen or math.abs(now - seen.at) >= NOTE_AGAIN then
    seen = seen or {releases = 0, free_until = now}
    seen.at = now
    write_foreign(seen)
  end
  return seen
end

-- For how long the lock is still left to other libraries, in us.
local function left_free_for(seen)
  local left = seen and seen.free_until - now or 0
  return left > 0 and left <= LONGEST and left or 0
end

-- Counts a release. Gives back whether it leaves the lock free.
local function leaves_free()
  local seen = foreign_seen()
  if not seen then
    return false
  end
  seen.releases = seen.releases + 1
  local leaves = seen.releases >= RELEASES
  if leaves then
    local lease = (now - seen.free_until) / seen.releases
    seen.releases = 0
    seen.free_until = now + math.max(SHORTEST, math.min(lease, LONGEST))
  end
  return write_foreign(seen) and leaves
end

-- How often an owner is to ask, in ms; false if no other library was seen lately.
local function ask_every(seen, owner)
  if not seen then
    return false
  end
  local ahead = redis.call('ZRANK', KEYS[3], owner) or 0
  return math.min(ASK_EVERY * (ahead + 1), SELDOM)
end
