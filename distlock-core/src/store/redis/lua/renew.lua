-- Lets the owner's lease last ARGV[2] ms from now. PEXPIRE, never SET: it works when memory is full, and never creates the key.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
