-- +goose Up

-- A network access profile: which networks a Fleet's Sims may use.
create table network_access_profile (
	sid         text   not null primary key,
	account_sid text   not null,
	unique_name text,
	created_at  bigint not null,
	updated_at  bigint not null
);
create unique index network_access_profile_name on network_access_profile (account_sid, unique_name) where unique_name is not null;
create index network_access_profile_page on network_access_profile (account_sid, created_at, sid);

-- Its networks. The catalogue of networks is part of the program, so that
-- network_sid refers to no table.
create table network_access_profile_network (
	network_access_profile_sid text   not null references network_access_profile (sid),
	network_sid                text   not null,
	created_at                 bigint not null,
	primary key (network_access_profile_sid, network_sid)
);

create table fleet (
	sid                        text    not null primary key,
	account_sid                text    not null,
	unique_name                text,
	data_enabled               boolean not null,
	data_limit                 bigint  not null check (data_limit between 1 and 2000000), -- megabytes per Sim and billing period
	sms_commands_enabled       boolean not null,
	sms_commands_url           text,
	sms_commands_method        text    not null check (sms_commands_method in ('GET', 'POST')),
	ip_commands_url            text,
	ip_commands_method         text    not null check (ip_commands_method in ('GET', 'POST')),
	network_access_profile_sid text    not null references network_access_profile (sid),
	created_at                 bigint  not null,
	updated_at                 bigint  not null
);
create unique index fleet_name on fleet (account_sid, unique_name) where unique_name is not null;
create index fleet_page on fleet (account_sid, created_at, sid);
create index fleet_access on fleet (network_access_profile_sid, created_at, sid);

create table sim (
	sid         text   not null primary key,
	account_sid text   not null,
	unique_name text,
	iccid       text   not null unique,
	status      text   not null check (status in ('new', 'ready', 'active', 'inactive', 'scheduled')),
	fleet_sid   text   references fleet (sid),
	created_at  bigint not null,
	updated_at  bigint not null,
	check (fleet_sid is not null or status in ('new', 'inactive', 'scheduled'))
);
create unique index sim_name on sim (account_sid, unique_name) where unique_name is not null;
create index sim_page on sim (account_sid, created_at, sid);
create index sim_status on sim (account_sid, status, created_at, sid);
create index sim_fleet on sim (fleet_sid, created_at, sid) where fleet_sid is not null;

-- The update that a scheduled Sim is going through. A Sim is scheduled exactly
-- as long as it has a row here.
create table sim_change (
	sim_sid         text   not null primary key references sim (sid),
	id              text   not null, -- names this one change: a late job for an earlier one finds nothing to do
	from_status     text   not null,
	to_status       text   not null,
	to_fleet_sid    text   references fleet (sid),
	callback_url    text,
	callback_method text   not null,
	lease           bigint not null, -- until when a job holds it, or waits before it tries again
	attempts        bigint not null, -- how often the core network has failed to answer
	created_at      bigint not null
);
create index sim_change_waiting on sim_change (lease, created_at);

-- A reservation: the ESimProfile of the API.
create table esim_profile (
	sid                  text    not null primary key,
	account_sid          text    not null,
	status               text    not null check (status in ('new', 'reserving', 'available', 'downloaded', 'installed', 'failed')),
	eid                  text,    -- as asked for, else of the eUICC that took it
	generate_matching_id boolean not null,
	profile_type         text    not null,
	iccid                text,    -- known from reserving on; shown from available on
	matching_id          text,
	smdp_plus_address    text,
	sim_sid              text    unique,
	error_code           text,
	error_message        text,
	callback_url         text,
	callback_method      text    not null,
	lease                bigint  not null, -- while new or reserving: until when a job holds it
	created_at           bigint  not null,
	updated_at           bigint  not null,
	check (status not in ('available', 'downloaded', 'installed') or (iccid is not null and sim_sid is not null))
);
create unique index esim_profile_iccid on esim_profile (iccid) where iccid is not null and status <> 'failed';
create index esim_profile_failed_iccid on esim_profile (iccid, created_at) where iccid is not null and status = 'failed';
create index esim_profile_page on esim_profile (account_sid, created_at, sid);
create index esim_profile_status on esim_profile (account_sid, status, created_at, sid);
create index esim_profile_eid on esim_profile (account_sid, eid, created_at, sid) where eid is not null;
create index esim_profile_waiting on esim_profile (lease, created_at) where status in ('new', 'reserving');
