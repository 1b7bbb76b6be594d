-- Counts as the claim of a hand-over while the lock's slot moves, when the keys of its wait queue may be at
-- two servers: removes the mark that lets the first waiter depose the owner.
-- KEYS: the entries of the lock's wait queue.
-- ARGV: owner.
-- Answers 1, or 0 if there is no mark of the owner's.
local mark = redis.call('HGET', KEYS[1], 'unclaimed')
if mark and string.match(mark, '^%d+ (%S+ %S+)') == ARGV[1] then
  return redis.call('HDEL', KEYS[1], 'unclaimed')
end
return 0
