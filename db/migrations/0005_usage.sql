-- +goose Up

-- What counters are about: one Sim in one account, or with an empty sim_sid
-- all Sims of the account together. A Sim that moves leaves its counters behind,
-- so that it is another subject in its new account. Numbers instead of SIDs
-- keep the rows of the counters short: there are very many.
create table usage_subject (
	id          bigint not null primary key,
	account_sid text   not null,
	sim_sid     text   not null,
	unique (account_sid, sim_sid)
);

-- In which Fleet and where data was used. Empty members are unknown.
create table usage_place (
	id          bigint not null primary key,
	account_sid text   not null,
	fleet_sid   text   not null,
	network_sid text   not null,
	iso_country text   not null,
	unique (account_sid, fleet_sid, network_sid, iso_country)
);

-- The counters: octets of a subject in one hour or day (whole hours and days
-- since 1970 UTC), at one place. The rows of an account's whole are the
-- sums of those of its Sims.
create table usage_hour (
	subject  bigint not null,
	hour     bigint not null,
	place    bigint not null,
	upload   bigint not null check (upload >= 0),
	download bigint not null check (download >= 0),
	primary key (subject, hour, place)
);
create index usage_hour_place on usage_hour (place, hour);
create table usage_day (
	subject  bigint not null,
	day      bigint not null,
	place    bigint not null,
	upload   bigint not null check (upload >= 0),
	download bigint not null check (download >= 0),
	primary key (subject, day, place)
);
create index usage_day_place on usage_day (place, day);

-- One data session as accounting reports have told of it: the highest
-- counters seen, which make repeated and late reports harmless.
create table usage_session (
	nas       text    not null, -- who reports it
	id        text    not null, -- its name there
	sim_sid   text    not null,
	seconds   bigint  not null, -- duration at the latest report that had one, -1 for none
	upload    bigint  not null,
	download  bigint  not null,
	wide      boolean not null, -- whether counters beyond 32 bits were reported as such
	addresses text    not null, -- of the device, with blanks between them
	is_open   boolean not null,
	began_at  bigint  not null,
	last_at   bigint  not null, -- of the latest report, by the reporter's clock
	primary key (nas, id)
);
create index usage_session_sim on usage_session (sim_sid, last_at) where is_open;
create index usage_session_nas on usage_session (nas) where is_open;
create index usage_session_last on usage_session (last_at);

-- Billing periods. The latest one of a Sim is open until the next follows or
-- it has ended without one.
create table billing_period (
	sid         text    not null primary key,
	account_sid text    not null,
	sim_sid     text    not null,
	period_type text    not null check (period_type in ('ready', 'active')),
	start_time  bigint  not null,
	end_time    bigint  not null,
	anchor      bigint  not null, -- where the row of months began
	used        bigint  not null, -- octets
	blocked     boolean not null, -- data service is off, because the data limit is used up
	is_open     boolean not null,
	created_at  bigint  not null,
	updated_at  bigint  not null
);
create unique index billing_period_open on billing_period (sim_sid) where is_open;
create index billing_period_sim on billing_period (sim_sid, account_sid, created_at, sid);
create index billing_period_start on billing_period (sim_sid, start_time);
create index billing_period_end on billing_period (end_time) where is_open;

-- Sims that are ready, and what makes them active by itself.
create table usage_ready (
	sim_sid  text   not null primary key,
	since    bigint not null,
	used     bigint not null, -- octets
	commands bigint not null,
	due_at   bigint not null
);
create index usage_ready_due on usage_ready (due_at);

-- Files and requests that were imported, so that repeating one changes nothing.
create table usage_import (
	account_sid text   not null,
	digest      text   not null,
	records     bigint not null,
	created_at  bigint not null,
	primary key (account_sid, digest)
);

-- Where an account wants to hear of data limits.
create table usage_callback (
	account_sid text   not null primary key,
	url         text   not null,
	method      text   not null check (method in ('GET', 'POST')),
	updated_at  bigint not null
);

-- Accounting names subscribers by these.
create index profile_imsi on profile (imsi);
create index profile_msisdn on profile (msisdn) where msisdn <> '';
