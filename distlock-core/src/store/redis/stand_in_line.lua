-- Takes the lock for the owner ARGV[1] for ARGV[2] ms if it is free and nobody came before, else stands in its line ARGV[3] as the entry
-- ARGV[4], which lasts ARGV[5] ms unless this is sent again. ARGV[6] is 1 to draw a fencing token.
-- Answers {1, token} or {0, PTTL of the holder}. Sent again it changes nothing more.
local owner, line, fenced = ARGV[1], ARGV[3], ARGV[6] == '1'
local holder = redis.call('GET', KEYS[1])
if holder == owner then
  -- Handed over, and the message was lost; or our own acquire, sent twice.
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {1, fenced and tonumber(redis.call('GET', 'distlock-fence:' .. string.sub(line, 15)))}
end
local before = redis.call('GET', line) or ''
local entries = before
if not holder then
  -- Whoever came before us is first, also to a key that has lapsed.
  local ours = string.find(entries, owner, 1, true) or #entries + 1
  local done, rest = hand_over(line, string.sub(entries, 1, ours - 1))
  entries = rest .. string.sub(entries, ours)
  if not done then
    redis.call('SET', KEYS[1], owner, 'PX', ARGV[2])
    write(line, without(entries, owner))
    return {1, fenced and draw(line)}
  end
end
if not string.find(entries, owner, 1, true) then
  entries = entries .. ARGV[4] .. '\n'
end
if entries ~= before then
  redis.call('SET', line, entries, 'PX', ARGV[5])
else
  redis.call('PEXPIRE', line, ARGV[5])
end
return {0, redis.call('PTTL', KEYS[1])}
