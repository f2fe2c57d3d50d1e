-- Takes one member's report of a door, and answers how it stands now.
--
-- `contract.py` says what a report means, and `door_rules.py` what is to be decided; this is the same, word for word.
--
-- KEYS, both with the hash tag of the scope:
--   1  hash: how the door stands
--   2  sorted set: member -> the moment at which its lease ends
-- ARGV: the moment if it is not the server's; member; lease; opened for; reopened for; waits for; seconds of the rest, its
--   length, its reason; the words of what else is said; channel; scope. Times are in milliseconds; empty: not said.
--
-- A version is the moment of the change, or one more than the last: so it grows even when the server has lost its data.

local KEPT, AFTER = 600000, 60000
local DOOR, LEASES = KEYS[1], KEYS[2]

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local member, lease = ARGV[2], tonumber(ARGV[3])
local opened_for, reopened_for, waits_for = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local rest_for, said = tonumber(ARGV[7]), {}
for word in string.gmatch(ARGV[10], '%S+') do said[word] = true end

redis.call('ZREMRANGEBYSCORE', LEASES, '-inf', now)
redis.call('ZADD', LEASES, now + lease, member)

local known = redis.call('HMGET', DOOR, 'version', 'probe_at', 'waits_until', 'unled', 'rest_until', 'rest_length',
  'rest_reason', 'passing', 'pass_until')
local version, probe_at, waits_until = tonumber(known[1] or 0), tonumber(known[2]), tonumber(known[3] or 0)
local is_led, rest_until, rest_length = known[4] ~= '1', tonumber(known[5] or 0), tonumber(known[6] or 0)
local rest_reason, passing, pass_until = known[7] or '', known[8] or '', tonumber(known[9] or 0)
local before = {probe_at or -1, waits_until, is_led, rest_until, rest_length}

if said.forgets then
  probe_at, waits_until, is_led, rest_until, rest_length, passing = nil, 0, true, 0, 0, ''
end
local is_mine = passing == member
if said.closed then probe_at = nil end
if opened_for then probe_at = math.min(probe_at or now + opened_for, now + opened_for) end
if reopened_for then probe_at = now + reopened_for end
if is_mine and (said.closed or reopened_for or said.led or said.drops_pass) then passing = '' end

if said.led and now >= waits_until then is_led = true end
if waits_for then waits_until, is_led = math.max(waits_until, now + waits_for), false end
if said.rested then rest_until, rest_length = 0, 0 end
if rest_for and now + rest_for > rest_until then
  rest_until, rest_length, rest_reason = now + rest_for, tonumber(ARGV[8]), ARGV[9]
end

local after, is_changed = {probe_at or -1, waits_until, is_led, rest_until, rest_length}, false
for at = 1, #after do is_changed = is_changed or before[at] ~= after[at] end
if is_changed then version = math.max(version + 1, now) end

local is_free, is_due = passing == '' or now >= pass_until, not is_led and now >= waits_until
if probe_at then is_due = now >= probe_at or said.despite_time end
if said.keeps_pass or (said.wants_pass and is_due) then
  if is_free or passing == member then passing, pass_until = member, now + lease end
elseif is_free then
  passing = ''
end
local is_lent = passing ~= '' and now < pass_until

if version > 0 or passing ~= '' then
  redis.call('HSET', DOOR, 'version', version, 'probe_at', probe_at or '', 'waits_until', waits_until,
    'unled', is_led and '0' or '1', 'rest_until', rest_until, 'rest_length', rest_length, 'rest_reason', rest_reason,
    'passing', passing, 'pass_until', pass_until)
  redis.call('PEXPIRE', DOOR, math.ceil(math.max(KEPT, math.max(waits_until, rest_until, probe_at or 0) - now + AFTER)))
end
redis.call('PEXPIRE', LEASES, KEPT)
if is_changed then redis.call('PUBLISH', ARGV[11], ARGV[12]) end
return {
  version, tostring(probe_at and math.max(0, probe_at - now) or ''), tostring(math.max(0, waits_until - now)),
  is_led and 1 or 0, tostring(math.max(0, rest_until - now)), tostring(rest_length), rest_reason,
  is_lent and passing == member and 1 or 0, is_lent and passing ~= member and 1 or 0,
  redis.call('ZCARD', LEASES) - 1,
}
