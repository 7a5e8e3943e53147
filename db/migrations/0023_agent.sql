-- +goose Up

-- An agent on a device in the field. Its token is kept as a hash. The token
-- before it stays good until the new one has been used, so that an agent that
-- lost its power before it had kept the new one is not shut out.
create table agent (
	device_id     text   not null primary key,
	account_sid   text   not null,
	token_hash    bytea  not null unique,
	previous_hash bytea  unique,
	version       text   not null default '', -- of the agent
	platform      text   not null default '', -- operating system and processor
	hostname      text   not null default '',
	booted_at     bigint not null default 0,  -- of the device, by its own word
	enrolled_by   text   not null,            -- who vouched for it: a user, an install code, its token
	enrolled_at   bigint not null,
	reported_at   bigint not null default 0
);
