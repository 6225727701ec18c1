-- Used and revoked tokens, each until its end; times are seconds since 1970 by the servers' clocks.
create table jwt_used (
    session text not null,
    jti text not null,
    used_at double precision not null,
    expires bigint not null,
    next_jti text not null,
    next_issued bigint not null,
    next_expires bigint not null,
    primary key (session, jti)
);
create index jwt_used_expires on jwt_used (expires);

create table jwt_revoked (
    session text not null,
    jti text not null,
    expires bigint not null,
    primary key (session, jti)
);
create index jwt_revoked_expires on jwt_revoked (expires);

create table jwt_ended (
    session text primary key,
    expires bigint not null
);
create index jwt_ended_expires on jwt_ended (expires);

-- Whoever changes a session does it alone, until its transaction is over.
create function jwt_alone(p_session text) returns void language sql volatile as $$
    select pg_advisory_xact_lock(hashtextextended('jwt ' || p_session, 0));
$$;

create function jwt_end(p_session text, p_expires bigint) returns void language plpgsql volatile as $$
begin
    perform jwt_alone(p_session);
    insert into jwt_ended as before (session, expires) values (p_session, p_expires)
        on conflict (session) do update set expires = greatest(before.expires, excluded.expires);
end $$;

create function jwt_revoke(p_session text, p_jti text, p_expires bigint) returns void language plpgsql volatile as $$
begin
    perform jwt_alone(p_session);
    insert into jwt_revoked as before (session, jti, expires) values (p_session, p_jti, p_expires)
        on conflict (session, jti) do update set expires = greatest(before.expires, excluded.expires);
end $$;

-- One use of a refresh token, whole or not at all. Each statement sees what was committed before it, so after the lock nothing is stale.
create function jwt_rotate(
    p_session text, p_jti text, p_expires bigint,
    p_next_jti text, p_next_issued bigint, p_next_expires bigint,
    p_grace double precision, p_end boolean, p_now double precision,
    out o_outcome text, out o_jti text, out o_issued bigint, out o_expires bigint
) language plpgsql volatile as $$
declare
    v_use jwt_used%rowtype;
begin
    perform jwt_alone(p_session);
    if exists (select from jwt_ended where session = p_session)
        or exists (select from jwt_revoked where session = p_session and jti = p_jti) then
        o_outcome := 'revoked';
        return;
    end if;
    select * into v_use from jwt_used where session = p_session and jti = p_jti;
    if not found then
        insert into jwt_used (session, jti, used_at, expires, next_jti, next_issued, next_expires)
            values (p_session, p_jti, p_now, p_expires, p_next_jti, p_next_issued, p_next_expires);
        o_outcome := 'rotated';
        return;
    end if;
    -- The successor must not have moved on: a grace for a lost answer is no second lineage.
    if p_grace > 0 and p_now - v_use.used_at <= p_grace
        and not exists (select from jwt_used where session = p_session and jti = v_use.next_jti) then
        o_outcome := 'repeated';
        o_jti := v_use.next_jti;
        o_issued := v_use.next_issued;
        o_expires := v_use.next_expires;
        return;
    end if;
    if p_end then
        -- The last successor outlives what it replaced, and must stay refused as long.
        perform jwt_end(p_session, (select max(greatest(expires, next_expires)) from jwt_used where session = p_session));
    end if;
    o_outcome := 'reused';
end $$;

-- Forgets at most so many entries of each kind; the next call goes on.
create function jwt_sweep(p_now bigint, p_limit bigint) returns void language plpgsql volatile as $$
begin
    delete from jwt_used where expires <= p_now and (session, jti) in
        (select session, jti from jwt_used where expires <= p_now order by expires limit p_limit for update skip locked);
    delete from jwt_revoked where expires <= p_now and (session, jti) in
        (select session, jti from jwt_revoked where expires <= p_now order by expires limit p_limit for update skip locked);
    delete from jwt_ended where expires <= p_now and session in
        (select session from jwt_ended where expires <= p_now order by expires limit p_limit for update skip locked);
end $$;
