-- What the scripts share. KEYS[1] is the lock; its line is a list, who came first at its head, and its fencing counter a number. These are no
-- declared keys: where the server forbids them there are no lines, and locks work all the same.
-- An entry of the line: owner token, ms of the lease that is handed over, 1 for a fencing token, channel of the waiter's process.

-- A new fencing token. +1 keeps tokens rising when the clock steps back, the clock keeps them rising when the stored one is lost.
local function draw(line, fence_ttl)
  local counter = 'distlock-fence:' .. string.sub(line, 15)
  local time = redis.call('TIME')
  local fence = math.max((tonumber(redis.call('GET', counter)) or 0) + 1, time[1] * 1000000 + time[2])
  redis.call('SET', counter, string.format('%.0f', fence), 'PX', fence_ttl)
  return fence
end

-- Gives the key to whoever is first in line and there to hear of it; false when nobody is, or `me` is the first.
local function hand_over(line, me, fence_ttl)
  while true do
    local entry = redis.pcall('LINDEX', line, 0)
    if type(entry) ~= 'string' or entry == me then
      return false
    end
    redis.call('LPOP', line)
    local owner, lease, fenced, channel = string.match(entry, '^(%S+) (%d+) (%d) (.+)$')
    local fence = ''
    if fenced == '1' then
      fence = string.format('%.0f', draw(line, fence_ttl))
    end
    -- Refused when memory is full: then nobody may be told, and the key is freed.
    if redis.pcall('SET', KEYS[1], owner, 'PX', lease).err then
      return false
    end
    -- Nobody listens for a process that is gone.
    local heard = redis.pcall('PUBLISH', channel, owner .. ' ' .. lease .. ' ' .. fence)
    if type(heard) == 'number' and heard > 0 then
      return true
    end
  end
end
