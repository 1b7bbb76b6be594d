-- Takes the lock for the owner ARGV[1] for ARGV[2] ms if it is free and nobody came before, else stands in its line ARGV[3] as the entry
-- ARGV[4], that came ARGV[5] us ago. ARGV[6] is 1 to draw a fencing token. An entry lapses unless somebody in its line asks again.
-- Answers {1, token} or {0, PTTL of the holder}. Sent again it changes nothing more.
local owner, line, fenced = ARGV[1], ARGV[3], ARGV[6] == '1'
local holder = redis.call('GET', KEYS[1])
if holder == owner then
  -- Handed over, and the message was lost; or our own acquire, sent twice.
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {1, fenced and tonumber(redis.call('GET', 'distlock-fence:' .. string.sub(line, 15)))}
end
local before = redis.call('GET', line) or ''
local entries = with(before, ARGV[4], ARGV[5])
if not holder then
  -- Whoever came before us is first, also to a key that has lapsed.
  local ours = place(entries, owner)
  local next, rest = hand_over(line, string.sub(entries, 1, ours - 1))
  entries = rest .. string.sub(entries, ours)
  if not next then
    redis.call('SET', KEYS[1], owner, 'PX', ARGV[2])
    write(line, without(entries, owner))
    return {1, fenced and draw(line)}
  end
end
if entries ~= before then
  redis.call('SET', line, entries, 'PX', LINE_TTL)
else
  redis.call('PEXPIRE', line, LINE_TTL)
end
return {0, redis.call('PTTL', KEYS[1])}
