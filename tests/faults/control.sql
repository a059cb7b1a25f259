-- Triggers on every table of the service that fail as told by rows of faults.armed: a fault is armed and cleared without
-- touching the schema.
create table faults.armed (
    table_name text not null,
    operation text not null,
    level text not null,
    -- A row is meant when it contains this text; a statement is meant in any case.
    needle text not null,
    code text not null
);

create function faults.fail() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
declare
    armed record;
begin
    for armed in
        select f.code, f.needle
        from faults.armed f
        where f.table_name = tg_table_name and f.operation = tg_op and f.level = tg_level
    loop
        if tg_level = 'STATEMENT' or strpos(to_jsonb(coalesce(new, old))::text, armed.needle) > 0 then
            raise exception 'injected %', armed.code using errcode = armed.code;
        end if;
    end loop;
    return coalesce(new, old);
end
$$;

do $$
declare
    target text;
begin
    foreach target in array array['feature_flags', 'feature_flag_schedules', 'audit_outbox'] loop
        execute format('create trigger faults_row before insert or update or delete on public.%I
            for each row execute function faults.fail()', target);
        execute format('create trigger faults_statement before insert or update or delete on public.%I
            for each statement execute function faults.fail()', target);
    end loop;
end
$$;
