-- Confirms a lease that was handed over, and lets it last for a ttl from now.
-- KEYS: lock, wait queue, order, entries.
-- ARGV: owner token, ttl in ms.
-- Answers 1, or 0 if the lock is not the owner's (in not_the_owners.lua).
--
-- None of its commands is refused when memory is full.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  if is_known() then
    forget_unclaimed()
    tidy()
  end
  return 1
end
