-- All that the store does, each call whole or not at all.
-- KEYS: the contents' name, the index of ends, the session's used tokens, its revoked tokens, its end.
-- ARGV: the name that the caller knows, a verb, what the verb needs.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return redis.error_reply('LOST these are not the contents that were here before')
end
local ends, used, revoked, ended = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local verb, session = ARGV[2], ARGV[3]

-- An entry's name in the index: its kind, its session with the length, its identifier.
local function entry(kind, jti)
    return kind .. #session .. ':' .. session .. jti
end

local function end_session(expires)
    local before = redis.call('GET', ended)
    if not before or tonumber(before) < tonumber(expires) then
        redis.call('SET', ended, expires)
        redis.call('ZADD', ends, expires, entry('e', ''))
    end
end

local function is_revoked(jti)
    return redis.call('EXISTS', ended) == 1 or redis.call('HEXISTS', revoked, jti) == 1
end

local verbs = {}

function verbs.rotate(jti, expires, next_jti, next_issued, next_expires, grace, may_end, now)
    if is_revoked(jti) then
        return {'revoked'}
    end
    local use = redis.call('HGET', used, jti)
    if not use then
        redis.call('HSET', used, jti, table.concat({now, expires, next_issued, next_expires, next_jti}, ' '))
        redis.call('ZADD', ends, expires, entry('u', jti))
        return {'rotated'}
    end
    local at, _, issued, last, successor = string.match(use, '^(%S+) (%S+) (%S+) (%S+) (.*)$')
    -- The successor must not have moved on: a grace for a lost answer is no second lineage.
    if tonumber(grace) > 0 and tonumber(now) - tonumber(at) <= tonumber(grace)
        and redis.call('HEXISTS', used, successor) == 0 then
        return {'repeated', successor, issued, last}
    end
    if may_end == '1' then
        -- The last successor outlives what it replaced, and must stay refused as long.
        local until_then = expires
        for _, other in ipairs(redis.call('HVALS', used)) do
            local _, own, _, its_next = string.match(other, '^(%S+) (%S+) (%S+) (%S+) ')
            if tonumber(own) > tonumber(until_then) then until_then = own end
            if tonumber(its_next) > tonumber(until_then) then until_then = its_next end
        end
        end_session(until_then)
    end
    return {'reused'}
end

function verbs.finish(expires)
    end_session(expires)
    return 1
end

function verbs.revoke(jti, expires)
    local before = redis.call('HGET', revoked, jti)
    if not before or tonumber(before) < tonumber(expires) then
        redis.call('HSET', revoked, jti, expires)
        redis.call('ZADD', ends, expires, entry('r', jti))
    end
    return 1
end

function verbs.is_revoked(jti)
    return is_revoked(jti) and 1 or 0
end

function verbs.is_used(jti)
    return redis.call('HEXISTS', used, jti)
end

function verbs.used()
    return redis.call('HLEN', used)
end

function verbs.remembered()
    return redis.call('ZCARD', ends)
end

-- Forgets at most `limit` entries; tells how many.
function verbs.sweep(now, limit, used_keys, revoked_keys, ended_keys)
    local over = redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, limit)
    for _, name in ipairs(over) do
        local kind, length, rest = string.match(name, '^(%a)(%d+):(.*)$')
        local of, jti = string.sub(rest, 1, length), string.sub(rest, length + 1)
        if kind == 'u' then
            redis.call('HDEL', used_keys .. of, jti)
        elseif kind == 'r' then
            redis.call('HDEL', revoked_keys .. of, jti)
        else
            redis.call('DEL', ended_keys .. of)
        end
        redis.call('ZREM', ends, name)
    end
    return #over
end

return verbs[verb](unpack(ARGV, 4))
