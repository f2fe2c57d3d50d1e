-- Takes one member's report of a limits scope, and answers what it holds now.
--
-- `contract.py` says what a report means and `limits_rules.py` what is to be decided, and why. This is the same for many
-- members: sums are kept, so that a report costs as much with a thousand members as with one.
--
-- KEYS, all with the hash tag of the scope:
--   1  hash of sums over all members and over the last minute; `retries`; `s<tick>`, `t<tick>`: starts, tokens of a tick
--   2  hash: member -> "starts tokens slots waits_for_slot tokens_owed", what it holds and lacks
--   3  sorted set: member -> the moment at which its lease ends
--   4  sorted set: the ticks in which something was used
--   5  sorted set: member -> its place in the order of those who wait
-- ARGV: the moment if it is not the server's; member; lease; the limits rpm, tpm, max_concurrency, each below 0 if there
--   is none; starts and tokens held; attempts in flight; starts, tokens and slots wanted; tokens needed; spent from and
--   earned for the retry budget, the most it holds; 1 if the member leaves; then for each use: how long ago, starts,
--   tokens. Times are in milliseconds.

local MINUTE, TICK, LENT_POLL, SLOT_POLL, LONGEST_POLL, KEPT = 60500, 100, 250, 20, 1000, 600000
local MOST_AHEAD = 100
local SUMS, HELD, LEASES, TICKS, LINE = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local member, lease, leaves = ARGV[2], tonumber(ARGV[3]), ARGV[17] == '1'
local rpm, tpm, most_slots = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local in_flight, slots_wanted = tonumber(ARGV[9]), tonumber(ARGV[12])
local starts_wanted, tokens_wanted, tokens_needed = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[13])
local spent, earned, burst = tonumber(ARGV[14]), tonumber(ARGV[15]), tonumber(ARGV[16])

local sums = redis.call('HMGET', SUMS, 'used_starts', 'used_tokens', 'starts', 'tokens', 'slots', 'waiting', 'retries')
local used_starts, used_tokens = tonumber(sums[1] or 0), tonumber(sums[2] or 0)
local lent_starts, lent_tokens, lent_slots = tonumber(sums[3] or 0), tonumber(sums[4] or 0), tonumber(sums[5] or 0)
local waiting_for_slots, retries = tonumber(sums[6] or 0), tonumber(sums[7] or burst)

-- What a member holds is said anew each time, and is free when its lease has ended.
local function take_out(name)
  local held = redis.call('HGET', HELD, name)
  if not held then return end
  local starts, tokens, slots, waits = string.match(held, '(%S+) (%S+) (%S+) (%S+)')
  lent_starts, lent_tokens = lent_starts - tonumber(starts), lent_tokens - tonumber(tokens)
  lent_slots, waiting_for_slots = lent_slots - tonumber(slots), waiting_for_slots - tonumber(waits)
  redis.call('HDEL', HELD, name)
end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', now)) do
  take_out(name)
  redis.call('ZREM', LEASES, name)
  redis.call('ZREM', LINE, name)
end
take_out(member)

-- What was used counts from its tick on, until a minute after the tick has ended.
local last_over = math.floor((now - MINUTE) / TICK) - 1
for at = 18, #ARGV, 3 do
  local tick = math.floor((now - math.max(0, tonumber(ARGV[at]))) / TICK)
  local starts, tokens = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  if tick > last_over then
    redis.call('ZADD', TICKS, tick, tick)
    if rpm >= 0 and starts ~= 0 then
      redis.call('HINCRBY', SUMS, 's' .. tick, starts)
      used_starts = used_starts + starts
    end
    if tpm >= 0 and tokens ~= 0 then
      local before = tonumber(redis.call('HGET', SUMS, 't' .. tick) or 0)
      local after = math.max(0, before + tokens)
      redis.call('HSET', SUMS, 't' .. tick, after)
      used_tokens = used_tokens + after - before
    end
  end
end
local over = redis.call('ZRANGEBYSCORE', TICKS, '-inf', last_over)
for _, tick in ipairs(over) do
  local old = redis.call('HMGET', SUMS, 's' .. tick, 't' .. tick)
  used_starts, used_tokens = used_starts - tonumber(old[1] or 0), used_tokens - tonumber(old[2] or 0)
  redis.call('HDEL', SUMS, 's' .. tick, 't' .. tick)
end
if #over > 0 then redis.call('ZREMRANGEBYSCORE', TICKS, '-inf', last_over) end

retries = math.min(burst, math.max(0, retries - spent) + earned)

local starts, tokens, slots, next_in, waits_for_slot, tokens_owed = 0, 0, 0, -1, 0, 0
local is_contended = waiting_for_slots > 0 and not leaves

-- Return the milliseconds until `missing` more are free; `kind` is what a tick's field begins with.
local function free_in(kind, missing, some_lent, place)
  if missing <= 0 then return 0 end
  local poll = math.min(LONGEST_POLL, place * LENT_POLL)
  for _, tick in ipairs(redis.call('ZRANGE', TICKS, 0, -1)) do
    missing = missing - tonumber(redis.call('HGET', SUMS, kind .. tick) or 0)
    if missing <= 0 then
      local free = math.max(0, (tonumber(tick) + 1) * TICK + MINUTE - now)
      return some_lent and math.min(poll, free) or free
    end
  end
  return poll
end

if leaves then
  redis.call('ZREM', LEASES, member)
  redis.call('ZREM', LINE, member)
else
  local rank = redis.call('ZRANK', LINE, member)
  local ahead = rank or redis.call('ZCARD', LINE)
  local owed_ahead = 0
  if tpm >= 0 and ahead > 0 then
    -- Where so many wait, nothing is left beyond what is owed to them.
    local before = redis.call('ZRANGE', LINE, 0, math.min(ahead, MOST_AHEAD) - 1)
    for _, held in ipairs(redis.call('HMGET', HELD, unpack(before))) do
      if held then owed_ahead = owed_ahead + tonumber(string.match(held, '%S+$')) end
    end
  end

  starts, tokens = math.min(tonumber(ARGV[7]), starts_wanted), math.min(tonumber(ARGV[8]), tokens_wanted)
  local lacks_slot = false
  if most_slots < 0 then
    slots = math.max(in_flight, slots_wanted)
  else
    slots = math.max(in_flight, math.min(slots_wanted, most_slots - lent_slots - ahead))
    lacks_slot = slots_wanted > in_flight and in_flight >= slots
  end
  if not (lacks_slot and is_contended) then
    if rpm >= 0 then
      local free = rpm - used_starts - lent_starts - starts
      local others = redis.call('ZCARD', LINE) - (rank and 1 or 0)
      local share = others > 0 and math.max(1, math.floor(free / (others + 1))) or free
      starts = starts + math.max(0, math.min(starts_wanted - starts, share, free - ahead))
    end
    if tpm >= 0 then
      local free = tpm - used_tokens - lent_tokens - tokens - owed_ahead
      tokens = tokens + math.max(0, math.min(tokens_wanted - tokens, free))
    end
  end

  local lacks_start = rpm >= 0 and starts_wanted > 0 and starts == 0
  local lacks_tokens = tpm >= 0 and tokens_wanted > 0 and tokens < tokens_needed
  if lacks_tokens then tokens_owed = tokens_needed - tokens end
  if lacks_slot then waits_for_slot = 1 end
  if lacks_slot or lacks_start or lacks_tokens then
    if not rank then redis.call('ZADD', LINE, redis.call('HINCRBY', SUMS, 'next_place', 1), member) end
    local place = ahead + 1
    next_in = lacks_slot and math.min(LONGEST_POLL, place * SLOT_POLL) or 0
    if lacks_start then
      local missing = place - (rpm - used_starts - lent_starts - starts)
      next_in = math.max(next_in, free_in('s', missing, lent_starts > 0, place))
    end
    if lacks_tokens then
      local missing = tokens_owed + owed_ahead - (tpm - used_tokens - lent_tokens - tokens)
      next_in = math.max(next_in, free_in('t', missing, lent_tokens > 0, place))
    end
  elseif rank then
    redis.call('ZREM', LINE, member)
  end

  redis.call('HSET', HELD, member, string.format('%d %d %d %d %d', starts, tokens, slots, waits_for_slot, tokens_owed))
  redis.call('ZADD', LEASES, now + lease, member)
  lent_starts, lent_tokens, lent_slots = lent_starts + starts, lent_tokens + tokens, lent_slots + slots
  waiting_for_slots = waiting_for_slots + waits_for_slot
end

if retries < burst then redis.call('HSET', SUMS, 'retries', retries) else redis.call('HDEL', SUMS, 'retries') end
redis.call('HSET', SUMS, 'used_starts', used_starts, 'used_tokens', used_tokens, 'starts', lent_starts,
  'tokens', lent_tokens, 'slots', lent_slots, 'waiting', waiting_for_slots)
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, KEPT) end
return {starts, tokens, slots, tostring(next_in), is_contended and 1 or 0, tostring(retries)}
