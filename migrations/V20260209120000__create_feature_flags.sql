-- The flags, owned by another system: this service only changes `enabled` and `rollout_percentage` when a schedule is due.
-- The table may be there already, made by another tool, with rows and further columns: it is adopted as it is.
create table if not exists feature_flags (
    id uuid primary key default gen_random_uuid(),
    flag_key text not null,
    enabled boolean not null default false,
    rollout_percentage integer not null default 0
        constraint feature_flags_rollout_percentage_check check (rollout_percentage between 0 and 100),
    description text,
    environment text not null default 'production',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

alter table feature_flags
    add column if not exists enabled boolean not null default false,
    add column if not exists rollout_percentage integer not null default 0,
    add column if not exists description text,
    add column if not exists environment text not null default 'production',
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists updated_at timestamptz not null default now();

-- A flag is addressed by its key and environment: exactly one row may answer. An adopted table usually has such a
-- constraint already, under a name of its own, its columns in either order.
do $$
begin
    if not exists (
        select from pg_index i
        where i.indrelid = 'feature_flags'::regclass
          and i.indisunique and i.indpred is null and i.indexprs is null
          and (
              select array_agg(a.attname::text order by a.attname)
              from unnest(i.indkey[0 : i.indnkeyatts - 1]) as k (attnum)
              join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
          ) = array['environment', 'flag_key']
    ) then
        alter table feature_flags
            add constraint feature_flags_flag_key_environment_key unique (flag_key, environment);
    end if;
end
$$;
