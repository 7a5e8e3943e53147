-- +goose Up

-- SIMs that are made elsewhere: cards of plastic and profiles that a factory
-- has put on eUICCs. A customer who has the code registers one.
create table card (
	iccid      text   not null primary key,
	imsi       text   not null,
	msisdn     text   not null,
	eid        text   not null, -- of the eUICC it is on, empty for plastic
	secrets    bytea  not null, -- keys and registration code: sealed JSON
	sim_sid    text,            -- once it is registered
	source     text   not null,
	created_at bigint not null
);
create unique index card_imsi on card (imsi);
create index card_msisdn on card (msisdn) where msisdn <> '';
create index card_eid on card (eid) where eid <> '';

-- Settings that were brought to Sims, and what came of it. They belong to
-- whoever has the Sim.
create table settings_update (
	sid          text   not null primary key,
	sim_sid      text   not null references sim (sid),
	iccid        text   not null,
	status       text   not null check (status in ('scheduled', 'in-progress', 'successful', 'failed')),
	package      text   not null,
	version      text   not null,
	settings     text   not null, -- what was to be brought: JSON
	reason       text   not null, -- why it failed
	lease        bigint not null, -- until when a job holds it, or waits
	completed_at bigint not null, -- 0 until it has ended
	created_at   bigint not null,
	updated_at   bigint not null
);
create index settings_update_sim on settings_update (sim_sid, created_at, sid);
create index settings_update_page on settings_update (created_at, sid);
create index settings_update_waiting on settings_update (lease, created_at) where status in ('scheduled', 'in-progress');

-- Networks beyond those that come with the program.
create table network (
	country     text   not null,
	name        text   not null,
	identifiers text   not null, -- MCC/MNC with blanks between them
	source      text   not null,
	created_at  bigint not null,
	primary key (country, name)
);
