-- What the scripts share. KEYS[1] is the lock. Its line is a string, so that one MGET reads both: an entry a line of text, who came first above. Line
-- and fencing counter are no declared keys: where the server forbids them there are no lines, and locks work all the same.
-- An entry: owner token, ms of the lease that is handed over, 1 for a fencing token, channel of the waiter's process.

-- How long a key's counter outlives its last grant, in ms: after that the clock keeps tokens rising.
local FENCE_TTL = 2 * 24 * 60 * 60 * 1000

-- A new fencing token. +1 keeps tokens rising when the clock steps back, the clock keeps them rising when the stored one is lost.
local function draw(line)
  local counter = 'distlock-fence:' .. string.sub(line, 15)
  local time = redis.call('TIME')
  local fence = math.max((tonumber(redis.call('GET', counter)) or 0) + 1, time[1] * 1000000 + time[2])
  redis.call('SET', counter, string.format('%.0f', fence), 'PX', FENCE_TTL)
  return fence
end

-- Puts down who stands in line.
local function write(line, entries)
  -- Refused when memory is full: then all ask again.
  if entries == '' or redis.pcall('SET', line, entries, 'KEEPTTL').err then
    redis.call('DEL', line)
  end
end

-- The entries without those of an owner.
local function without(entries, owner)
  local from = string.find(entries, owner, 1, true)
  if not from then
    return entries
  end
  return string.sub(entries, 1, from - 1) .. string.sub(entries, string.find(entries, '\n', from, true) + 1)
end

-- Gives the key to the first of the entries who is there to hear of it; false when nobody is. Also, who is left in line.
local function hand_over(line, entries)
  while entries ~= '' do
    local owner, lease, fenced, channel, rest = string.match(entries, '^(%S+) (%d+) (%d) ([^\n]+)\n(.*)$')
    local fence = ''
    if fenced == '1' then
      fence = string.format('%.0f', draw(line))
    end
    -- Refused when memory is full: then nobody may be told, and the key is freed.
    if redis.pcall('SET', KEYS[1], owner, 'PX', lease).err then
      return false, entries
    end
    entries = rest
    -- Nobody listens for a process that is gone.
    local heard = redis.pcall('PUBLISH', channel, owner .. ' ' .. lease .. ' ' .. fence .. ' ' .. KEYS[1])
    if type(heard) == 'number' and heard > 0 then
      return true, entries
    end
  end
  return false, entries
end
