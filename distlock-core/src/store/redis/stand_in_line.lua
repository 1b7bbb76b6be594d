-- Takes the lock for the owner ARGV[1] for ARGV[2] ms if it is free and nobody came before, else stands in its line ARGV[3] as the entry
-- ARGV[4], which lasts ARGV[5] ms unless this is sent again. ARGV[6] is the fencing counter's ttl, ARGV[7] is 1 to draw a token.
-- Answers {1, token} or {0, PTTL of the holder}. Sent again it changes nothing more.
local line = ARGV[3]
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  -- Handed over, and the message was lost; or our own acquire, sent twice.
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {1, ARGV[7] == '1' and tonumber(redis.call('GET', 'distlock-fence:' .. string.sub(line, 15)))}
end
if not holder and not hand_over(line, ARGV[4], ARGV[6]) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  redis.call('LREM', line, 1, ARGV[4])
  return {1, ARGV[7] == '1' and draw(line, ARGV[6])}
end
if not redis.call('LPOS', line, ARGV[4]) then
  redis.call('RPUSH', line, ARGV[4])
end
redis.call('PEXPIRE', line, ARGV[5])
return {0, redis.call('PTTL', KEYS[1])}
