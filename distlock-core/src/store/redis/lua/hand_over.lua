-- What the scripts share. KEYS[1] is the lock. Its line is a string, so that one MGET reads both: an entry a line of text, who came first above. Line
-- and fencing counter are no declared keys: where the server forbids them there are no lines, and locks work all the same.
-- An entry, each word of one length: when its owner came, in us by this server's clock; owner token; ms of the lease that is handed over; 1 for a
-- fencing token; channel of the waiter's process. Callers give it from the owner token on.

-- How long a key's counter outlives its last grant, in ms: after that the clock keeps tokens rising.
local FENCE_TTL = 2 * 24 * 60 * 60 * 1000
-- How long a line lasts in which nobody asks again, in ms: all who stood there are gone.
local LINE_TTL = 10000
-- Where an owner token stands in its entry.
local OWNER = 18

local function micros()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- A new fencing token. +1 keeps tokens rising when the clock steps back, the clock keeps them rising when the stored one is lost.
local function draw(line)
  local counter = 'distlock-fence:' .. string.sub(line, 15)
  local fence = math.max((tonumber(redis.call('GET', counter)) or 0) + 1, micros())
  redis.call('SET', counter, string.format('%.0f', fence), 'PX', FENCE_TTL)
  return fence
end

-- Puts down who stands in line.
local function write(line, entries)
  -- Refused when memory is full: then all ask again.
  if entries == '' or redis.pcall('SET', line, entries, 'PX', LINE_TTL).err then
    redis.call('DEL', line)
  end
end

-- The entries with one more, unless it is there: behind all who came before it, which mostly is at the end.
local function with(entries, entry, waited)
  if string.find(entries, string.sub(entry, 1, 36), 1, true) then
    return entries
  end
  local came = string.format('%016.0f', math.max(micros() - waited, 0))
  entry = came .. ' ' .. entry .. '\n'
  if string.sub(entries, -#entry, 15 - #entry) <= came then
    return entries .. entry
  end
  local at = 1
  while at <= #entries and string.sub(entries, at, at + 15) <= came do
    at = string.find(entries, '\n', at, true) + 1
  end
  return string.sub(entries, 1, at - 1) .. entry .. string.sub(entries, at)
end

-- Where an owner's entry begins.
local function place(entries, owner)
  local at = string.find(entries, owner, 1, true)
  return at and at - OWNER + 1
end

-- The entries without an owner's.
local function without(entries, owner)
  local from = place(entries, owner)
  if not from then
    return entries
  end
  return string.sub(entries, 1, from - 1) .. string.sub(entries, string.find(entries, '\n', from, true) + 1)
end

-- Gives the key to the first of the entries who is there to hear of it; `near` is told by the script's answer. Says who got it, who is left
-- in line, and the fencing token.
local function hand_over(line, entries, near)
  while entries ~= '' do
    local stop = string.find(entries, '\n', 1, true)
    local owner, lease = string.sub(entries, OWNER, OWNER + 35), tonumber(string.sub(entries, 55, 58))
    local fenced, channel = string.sub(entries, 60, 60) == '1', string.sub(entries, 62, stop - 1)
    local fence = fenced and draw(line)
    -- Refused when memory is full: then nobody may be told, and the key is freed.
    if redis.pcall('SET', KEYS[1], owner, 'PX', lease).err then
      return nil, entries
    end
    entries = string.sub(entries, stop + 1)
    if owner == near then
      return owner, entries, fence
    end
    -- Nobody listens for a process that is gone.
    local text = fence and string.format('%.0f', fence) or ''
    local heard = redis.pcall('PUBLISH', channel, owner .. ' ' .. lease .. ' ' .. text .. ' ' .. KEYS[1])
    if type(heard) == 'number' and heard > 0 then
      return owner, entries
    end
  end
  return nil, entries
end
