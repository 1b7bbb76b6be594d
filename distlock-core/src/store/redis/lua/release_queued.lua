if both[1] == ARGV[1] then
  local line, entries, near = ARGV[2], both[2] or '', nil
  if ARGV[3] then
    near = string.sub(ARGV[3], 1, 36)
    entries = with(entries, ARGV[3], ARGV[4])
  end
  local next, rest, fence = hand_over(line, entries, near)
  if not next then
    redis.call('DEL', KEYS[1])
  end
  write(line, rest)
  if next and next == near then
    return {2, fence}
  end
  return 1
end
if not both[1] then
  redis.call('GET', KEYS[1]) -- fails where the key is of another type, which MGET passes over
end
if both[2] then
  local rest = without(both[2], ARGV[1])
  if rest ~= both[2] then
    write(ARGV[2], rest)
    return 1
  end
end
