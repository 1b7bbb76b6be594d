-- Ends the lease of a holder that was seen, whose owner token the caller does not know: the lock goes to the
-- first waiter in its queue, or is deleted.
-- KEYS: lock, wait queue, order, entries, fencing counter, broken owners.
-- ARGV: the SHA-1 of the holder's value, ms for which it cannot take the lock again at the least.
-- Answers 1, or 0 if that holder does not hold the lock.
--
-- KEYS[6] has the SHA-1 of each value that was broken. Without it, a quorum would heal this node while other
-- nodes have yet to be told. So it is written even if the lock is not the holder's here.
local MOST_BROKEN = 16 * 41
local holder = redis.call('GET', KEYS[1])
local broken = redis.call('GET', KEYS[6]) or ''
local known = is_known()
local is_held = holder and redis.sha1hex(holder) == ARGV[1]
local lasts = math.max(tonumber(ARGV[2]), redis.call('PTTL', KEYS[6]))
if is_held then
  lasts = math.max(lasts, redis.call('PTTL', KEYS[1]))
  if not known then
    redis.call('DEL', KEYS[1])
  elseif not hand_over() then
    redis.call('DEL', KEYS[1])
    forget_unclaimed()
    tidy()
  end
end
if not string.find(broken, ARGV[1], 1, true) then
  broken = string.sub(ARGV[1] .. ' ' .. broken, 1, MOST_BROKEN)
end
-- It is refused when memory is full. The lease has ended all the same.
redis.pcall('SET', KEYS[6], broken, 'PX', string.format('%.0f', lasts))
return is_held and 1 or 0
