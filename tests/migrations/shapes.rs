//! How another tool may have made its tables, other than in `adopted`: what the code cannot use, and what it can.

/// Without the foreign key, for what it is in the way of.
const FREE: &str = r#"alter table feature_flag_schedules drop constraint "FK_1d44c0be";"#;

/// What another tool may have made differently, and all that `migrate` says to it.
pub const CASES: &[(&str, &[&str])] = &[
    // The flags.
    (
        r#"alter table feature_flag_schedules drop constraint "FK_1d44c0be";
           alter table feature_flags alter id drop default, alter id type bigint using 1;
           alter table feature_flag_schedules alter flag_id type bigint using 1;
           alter table feature_flag_schedules add foreign key (flag_id) references feature_flags (id)"#,
        &[
            "feature_flags.id is bigint not null, but must be uuid not null",
            "feature_flag_schedules.flag_id is bigint not null, but must be uuid not null",
        ],
    ),
    (
        "alter table feature_flags alter flag_key type varchar(40), alter flag_key drop not null",
        &["feature_flags.flag_key is character varying(40), but must be text or character varying not null"],
    ),
    (
        "alter table feature_flags alter flag_key type char(20)",
        &["feature_flags.flag_key is character(20) not null, but must be text or character varying not null"],
    ),
    (
        "alter table feature_flags drop flag_key",
        &["feature_flags.flag_key is missing, but must be text or character varying not null"],
    ),
    (
        "alter table feature_flags alter environment drop not null",
        &["feature_flags.environment is character varying(100), but must be text or character varying not null"],
    ),
    (
        "create type stage as enum ('production', 'staging');
         alter table feature_flags alter environment drop default, alter environment type stage using 'production'::stage",
        &["feature_flags.environment is the enum public.stage not null, but must be text or character varying not null"],
    ),
    (
        "alter table feature_flags alter enabled drop default, alter enabled type integer using enabled::int",
        &["feature_flags.enabled is integer not null, but must be boolean"],
    ),
    (
        "create domain switch as boolean; alter table feature_flags alter enabled type switch",
        &["feature_flags.enabled is the domain public.switch not null, but must be boolean"],
    ),
    (
        "alter table feature_flags drop enabled, add enabled boolean generated always as (flag_key = 'a') stored",
        &["feature_flags.enabled is boolean generated always as (...), but must be boolean that can be written"],
    ),
    (
        "alter table feature_flags alter rollout_percentage type smallint",
        &["feature_flags.rollout_percentage is smallint not null, but must be integer"],
    ),
    (
        "alter table feature_flags alter rollout_percentage type numeric(5, 2)",
        &["feature_flags.rollout_percentage is numeric(5,2) not null, but must be integer"],
    ),
    (
        "alter table feature_flags alter updated_at drop default, alter updated_at type date",
        &["feature_flags.updated_at is date not null, but must be timestamp with or without time zone"],
    ),
    (
        "alter table feature_flags rename to flags; create view feature_flags as select * from flags",
        &[
            "feature_flags is a view, but must be an ordinary table",
            "feature_flag_schedules.flag_id has the foreign key \"FK_1d44c0be\" to public.flags, \
             but must have a validated one to feature_flags (id)",
        ],
    ),
    // The schedules.
    (
        "alter table feature_flag_schedules alter id drop default, alter id type text",
        &["feature_flag_schedules.id is text not null, but must be uuid not null"],
    ),
    (
        r#"alter table feature_flag_schedules drop constraint "PK_e3b71c90""#,
        &["feature_flag_schedules.id is not unique, but must be the primary key or have a unique index of its own"],
    ),
    (
        r#"alter table feature_flag_schedules drop constraint "PK_e3b71c90", add primary key (id, flag_id);
           create unique index on feature_flag_schedules (id) where status = 'pending'"#,
        &["feature_flag_schedules.id is not unique, but must be the primary key or have a unique index of its own"],
    ),
    (
        "alter table feature_flag_schedules alter flag_id drop not null",
        &["feature_flag_schedules.flag_id is uuid, but must be uuid not null"],
    ),
    (FREE, &["feature_flag_schedules.flag_id has no foreign key, but must have a validated one to feature_flags (id)"]),
    (
        r#"alter table feature_flag_schedules drop constraint "FK_1d44c0be",
           add constraint unchecked foreign key (flag_id) references feature_flags (id) not valid"#,
        &["feature_flag_schedules.flag_id has the foreign key unchecked to public.feature_flags (not valid), \
           but must have a validated one to feature_flags (id)"],
    ),
    (
        "alter table feature_flag_schedules alter scheduled_at type timestamp",
        &["feature_flag_schedules.scheduled_at is timestamp without time zone not null, \
           but must be timestamp with time zone not null"],
    ),
    (
        "alter table feature_flag_schedules alter scheduled_at drop not null",
        &["feature_flag_schedules.scheduled_at is timestamp with time zone, \
           but must be timestamp with time zone not null"],
    ),
    (
        r#"alter table feature_flag_schedules drop constraint "CHK_status", alter status drop default;
           create type state as enum ('pending', 'applied', 'failed', 'cancelled');
           alter table feature_flag_schedules alter status type state using status::state"#,
        &["feature_flag_schedules.status is the enum public.state not null, but must be text"],
    ),
    (
        "alter table feature_flag_schedules alter status type char(10)",
        &["feature_flag_schedules.status is character(10) not null, but must be text"],
    ),
    (
        "alter table feature_flag_schedules drop status",
        &["feature_flag_schedules.status is missing, but must be text"],
    ),
    (
        r#"alter table feature_flag_schedules drop constraint "CHK_status",
           add constraint chk check (status in ('pending', 'applied', 'canceled')) not valid"#,
        &["feature_flag_schedules.status has the check chk, which refuses failed, cancelled, \
           but must allow pending, applied, failed and cancelled"],
    ),
    (
        r#"alter table feature_flag_schedules drop constraint "CHK_status", alter status type varchar(9),
           add constraint chk check (length(status) < 9)"#,
        &["feature_flag_schedules.status has the check chk, which refuses cancelled, \
           but must allow pending, applied, failed and cancelled"],
    ),
    (
        "alter table feature_flag_schedules alter status set default 'scheduled'",
        &["feature_flag_schedules.status has the default 'scheduled', but must have 'pending'"],
    ),
    (
        "alter table feature_flag_schedules alter updates type json",
        &["feature_flag_schedules.updates is json not null, but must be jsonb"],
    ),
    (
        "alter table feature_flag_schedules alter updates type text",
        &["feature_flag_schedules.updates is text not null, but must be jsonb"],
    ),
    (
        "alter table feature_flag_schedules alter applied_at type timestamp",
        &["feature_flag_schedules.applied_at is timestamp without time zone, but must be timestamp with time zone"],
    ),
    (
        "alter table feature_flag_schedules add cancelled_at text, add created_by integer, add apply_by date,
            add expect json",
        &[
            "feature_flag_schedules.cancelled_at is text, but must be timestamp with time zone",
            "feature_flag_schedules.created_by is integer, but must be text",
            "feature_flag_schedules.apply_by is date, but must be timestamp with time zone",
            "feature_flag_schedules.expect is json, but must be jsonb",
        ],
    ),
    (
        "alter table feature_flag_schedules add reason text not null default 'none'",
        &["feature_flag_schedules.reason is text not null, but must be text that may be null"],
    ),
    (
        "alter table feature_flag_schedules add error_code text generated always as ('none') stored",
        &["feature_flag_schedules.error_code is text generated always as (...), but must be text that can be written"],
    ),
    (
        "alter table feature_flag_schedules alter error_message type varchar(40);
         create view messages as select error_message from feature_flag_schedules",
        &["feature_flag_schedules.error_message is character varying(40), but must be text, \
           and cannot be widened: rule _RETURN on view public.messages uses it"],
    ),
    (
        "alter table feature_flag_schedules alter error_message type varchar(40), add shout text
            generated always as (upper(error_message)) stored",
        &["feature_flag_schedules.error_message is character varying(40), but must be text, and cannot be widened: \
           default value for column shout of table public.feature_flag_schedules uses it"],
    ),
    (
        "alter table feature_flag_schedules add tenant integer not null default 1;
         alter table feature_flag_schedules alter tenant drop default",
        &["feature_flag_schedules.tenant is integer not null without a default, but must have one or be nullable"],
    ),
    (
        "create rule off as on update to feature_flags do instead nothing",
        &["feature_flags is a table with rules, which do not allow RETURNING, but must be an ordinary table"],
    ),
    (
        "alter table feature_flag_schedules set unlogged",
        &["feature_flag_schedules is an unlogged table, which a crash empties, but must be an ordinary table"],
    ),
    (
        "drop table feature_flag_schedules; create table feature_flag_schedules (id uuid) partition by hash (id)",
        &["feature_flag_schedules is a partitioned table, but must be an ordinary table"],
    ),
    // The outbox.
    (
        "create table audit_outbox (event_id uuid primary key)",
        &["audit_outbox is not ours (relation \"audit_outbox\" already exists), \
           but must be made by the migration create_audit_outbox: rename it"],
    ),
    (
        "create view audit_outbox as select 1 as event_id",
        &["audit_outbox is a view, but must be made by the migration create_audit_outbox: rename it"],
    ),
];

/// What another tool may have made differently, and the code can use.
pub const ACCEPTED: &[&str] = &[
    "",
    "alter table feature_flags alter flag_key type text, alter environment type varchar(10)",
    "alter table feature_flags alter enabled drop not null, alter rollout_percentage drop not null",
    "alter table feature_flags alter updated_at type timestamptz, drop created_at",
    "alter table feature_flags alter updated_at drop not null, alter created_at type date",
    "alter table feature_flags add further text, add tenant integer not null default 1, add n int generated always as identity",
    "alter table feature_flag_schedules alter status type varchar(20), alter status drop default, alter status drop not null",
    r#"alter table feature_flag_schedules drop constraint "CHK_status""#,
    "alter table feature_flag_schedules add check (status <> 'applied' or applied_at is not null), add check (retry_count >= 0)",
    "alter table feature_flag_schedules alter created_at drop not null, alter created_at drop default, alter updated_at drop default",
    "alter table feature_flag_schedules alter updates drop not null, drop applied_at, drop error_message",
    "alter table feature_flag_schedules alter error_message type varchar(40), add reason varchar(10), add created_by varchar not null default 'me'",
    "alter table feature_flag_schedules add tenant int not null default 1, add n int generated always as identity, add note text",
    r#"alter table feature_flag_schedules drop constraint "FK_1d44c0be",
       add foreign key (flag_id) references feature_flags (id) on delete restrict deferrable"#,
    r#"alter table feature_flag_schedules drop constraint "PK_e3b71c90"; create unique index on feature_flag_schedules (id) include (status)"#,
    "create view of_mine as select id, scheduled_at from feature_flag_schedules",
    "drop table feature_flag_schedules",
];
