-- How a schedule leaves the database, for pages and for audit events: one JSON object of named columns. Rows of an adopted
-- table may hold values of any size; what is longer than anything this service stores is truncated, so that no row makes
-- a page or an event too large: texts to 1 000 characters, `updates` of more than 4 096 bytes to the first 1 000 characters
-- of its text. Qualified throughout, because roles may be able to create functions and operators in this schema.
create function flag_schedule_document(s feature_flag_schedules, flag_key pg_catalog.text, environment pg_catalog.text)
returns pg_catalog.jsonb
language sql stable parallel safe
as $$
    select pg_catalog.jsonb_build_object(
        'id', s.id,
        'flag_key', pg_catalog.left(flag_key, 1000),
        'environment', pg_catalog.left(environment, 1000),
        'scheduled_at', s.scheduled_at,
        'apply_by', s.apply_by,
        'status', pg_catalog.left(s.status, 1000),
        'updates', case
            when pg_catalog.octet_length(s.updates::pg_catalog.text) operator(pg_catalog.<=) 4096 then s.updates
            else pg_catalog.to_jsonb(pg_catalog.left(s.updates::pg_catalog.text, 1000))
        end,
        'reason', pg_catalog.left(s.reason, 1000),
        'created_at', s.created_at,
        'created_by', pg_catalog.left(s.created_by, 1000),
        'cancelled_at', s.cancelled_at,
        'cancelled_by', pg_catalog.left(s.cancelled_by, 1000),
        'cancel_reason', pg_catalog.left(s.cancel_reason, 1000),
        'applied_at', s.applied_at,
        'failed_at', s.failed_at,
        'error_code', pg_catalog.left(s.error_code, 1000),
        'error_message', pg_catalog.left(s.error_message, 1000)
    )
$$;
