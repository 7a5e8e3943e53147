-- +goose Up

-- Devices in the field. In all tables here created_at is unique within an
-- account: it is the order of lists and the place that their pages go on from.
-- Folded columns hold texts as they are compared, without regard to case.
create table device (
	device_id          text   not null primary key, -- upper case
	account_sid        text   not null,
	name               text   not null,
	name_folded        text   not null,
	description        text   not null,
	description_folded text   not null,
	contact            text   not null,
	contact_folded     text   not null,
	location           text   not null,
	location_folded    text   not null,
	notes              text   not null,
	notes_folded       text   not null,
	group_path         text   not null, -- without a slash in front
	group_folded       text   not null,
	type               text   not null,
	type_folded        text   not null,
	vendor_id          bigint,
	longitude          bigint,          -- millionths of a degree
	latitude           bigint,
	restricted_status  text   not null check (restricted_status in ('unrestricted', 'restricted', 'disabled', 'untrusted')),
	maintenance_mode   text   not null check (maintenance_mode in ('on', 'off')),
	install_code       bytea,           -- sealed
	tags               text   not null, -- JSON, beside device_tag

	-- What the device says of itself and what is seen of it.
	connection_status  text   not null check (connection_status in ('connected', 'disconnected')),
	last_connect       bigint not null, -- 0: never
	last_disconnect    bigint not null,
	last_disconnect_reason text not null,
	last_update        bigint not null,
	seen_at            bigint not null,
	esims_reported_at  bigint not null, -- when an eSIM of it was last reported
	firmware_version   text   not null,
	firmware_status    text   not null,
	mac                text   not null, -- upper case, colons
	serial_number      text   not null,
	sku                text   not null,
	product_id         text   not null,
	ip                 text   not null,
	public_ip          text   not null,
	address            text   not null,
	phone_number       text   not null,
	carrier            text   not null,
	carrier_folded     text   not null,
	carrier2           text   not null,
	carrier2_folded    text   not null,
	network            text   not null,
	network2           text   not null,
	apn                text   not null,
	apn2               text   not null,
	iccid              text   not null,
	iccid2             text   not null,
	cellular_modem_id  text   not null,
	cellular_modem2_id text   not null,
	signal_strength    bigint, -- dBm
	signal_strength2   bigint,
	signal_percent     bigint,
	signal_percent2    bigint,
	signal_quality     bigint, -- dB
	signal_quality2    bigint,

	created_at         bigint not null,
	updated_at         bigint not null
);
create unique index device_page on device (account_sid, created_at);
create index device_key on device (account_sid, device_id, created_at);
create index device_name on device (account_sid, name_folded, created_at);
create index device_group on device (account_sid, group_folded, created_at);
create index device_type on device (account_sid, type_folded, created_at);
create index device_connection on device (account_sid, connection_status, created_at);
create index device_carrier on device (account_sid, carrier_folded, created_at);
create index device_iccid on device (account_sid, iccid, created_at);
create index device_modem on device (account_sid, cellular_modem_id, created_at);
create index device_mac on device (account_sid, mac, created_at);
create index device_updated on device (account_sid, updated_at, created_at);
create index device_seen on device (seen_at) where connection_status = 'connected';

create table device_tag (
	device_id   text not null references device (device_id) on delete cascade,
	tag         text not null,
	tag_folded  text not null,
	primary key (device_id, tag)
);
create index device_tag_tag on device_tag (tag_folded, device_id);

create table esim (
	eid         text   not null primary key,
	device_id   text   not null references device (device_id),
	account_sid text   not null,
	kind        text   not null check (kind in ('iot', 'consumer')),
	agent_key   bytea,           -- SubjectPublicKeyInfo of who signs where the chip does not
	reported_at bigint not null, -- last report of its profiles, 0: none yet
	seen_at     bigint not null,
	created_at  bigint not null,
	updated_at  bigint not null
);
create unique index esim_page on esim (account_sid, created_at);
create index esim_eid on esim (account_sid, eid, created_at);
create index esim_device on esim (account_sid, device_id, created_at);
create index esim_reported on esim (account_sid, reported_at, created_at);
create index esim_of_device on esim (device_id);

-- What devices say is on their eSIMs.
create table device_profile (
	eid                text   not null references esim (eid),
	iccid              text   not null,
	device_id          text   not null,
	account_sid        text   not null,
	number             bigint not null, -- within the eSIM, from 1
	carrier            text   not null, -- service provider name in the profile
	carrier_folded     text   not null,
	carrier_key        text   not null, -- for matching, before aliases
	normalized_carrier text   not null,
	normalized_folded  text   not null,
	code_carrier       text   not null, -- of the activation code that it came with
	code_key           text   not null,
	name               text   not null,
	status             text   not null check (status in ('active', 'inactive')),
	type               text   not null,
	type_folded        text   not null,
	created_at         bigint not null,
	updated_at         bigint not null,
	primary key (eid, iccid)
);
create unique index device_profile_page on device_profile (account_sid, created_at);
create index device_profile_iccid on device_profile (account_sid, iccid, created_at);
create index device_profile_eid on device_profile (account_sid, eid, created_at);
create index device_profile_device on device_profile (account_sid, device_id, created_at);
-- These two have all that lists are ordered and filtered by: the matches are
-- sorted without a look at their rows.
create index device_profile_carrier on device_profile (account_sid, carrier_folded, created_at, iccid, eid, device_id, status, type_folded, normalized_folded, updated_at);
create index device_profile_carrier_key on device_profile (account_sid, carrier_key);
create index device_profile_normalized on device_profile (account_sid, normalized_folded, created_at, iccid, eid, device_id, status, type_folded, carrier_folded, updated_at);
create index device_profile_status on device_profile (account_sid, status, created_at);
create index device_profile_type on device_profile (account_sid, type_folded, created_at);
create index device_profile_updated on device_profile (account_sid, updated_at, created_at);
create unique index device_profile_active on device_profile (eid) where status = 'active';

create table activation_code (
	account_sid        text    not null,
	iccid              text    not null,
	carrier            text    not null,
	carrier_folded     text    not null,
	carrier_key        text    not null,
	normalized_carrier text    not null,
	normalized_folded  text    not null,
	secret             bytea   not null, -- sealed JSON: activation code, confirmation code
	confirmation       boolean not null, -- whether it has a confirmation code
	status             text    not null check (status in ('available', 'reserved', 'downloaded', 'spent')),
	tx                 text,             -- the download that has it
	device_id          text    not null,
	eid                text    not null,
	ended_at           bigint  not null, -- when it was downloaded or spent
	created_at         bigint  not null,
	updated_at         bigint  not null,
	primary key (account_sid, iccid)
);
create unique index activation_code_page on activation_code (account_sid, created_at);
create index activation_code_key on activation_code (account_sid, iccid, created_at);
create index activation_code_carrier on activation_code (account_sid, carrier_folded, created_at);
create index activation_code_normalized on activation_code (account_sid, normalized_folded, created_at);
create index activation_code_status on activation_code (account_sid, status, created_at);
create index activation_code_device on activation_code (account_sid, device_id, created_at);
create index activation_code_eid on activation_code (account_sid, eid, created_at);
create index activation_code_updated on activation_code (account_sid, updated_at, created_at);
create index activation_code_next on activation_code (account_sid, carrier_key, created_at) where status = 'available';
create index activation_code_all on activation_code (account_sid, carrier_key);
create index activation_code_ended on activation_code (ended_at) where status in ('downloaded', 'spent');

-- One name for a carrier that has several.
create table carrier_alias (
	account_sid text   not null,
	alias_key   text   not null,
	alias       text   not null, -- as it was given
	name        text   not null, -- shown instead
	name_key    text   not null,
	created_at  bigint not null,
	primary key (account_sid, alias_key)
);
create index carrier_alias_name on carrier_alias (account_sid, name_key);

create table esim_transaction (
	tx           text   not null primary key, -- UUID
	account_sid  text   not null,
	action       text   not null check (action in ('download', 'enable', 'disable', 'delete')),
	status       text   not null check (status in ('in_progress', 'complete', 'failed', 'unknown')),
	device_id    text   not null,
	eid          text   not null,
	iccid        text   not null, -- empty until it is known
	message_code text   not null,
	message      text   not null,
	operation    text   not null, -- that it is a step of, or empty
	code_iccid   text   not null, -- the registered code that it uses, or empty
	code_carrier text   not null,
	reached      boolean not null, -- whether the profile server was reached
	created_by   text   not null,
	source       text   not null,
	deadline     bigint not null,
	created_at   bigint not null,
	updated_at   bigint not null
);
create unique index esim_transaction_page on esim_transaction (account_sid, created_at);
create index esim_transaction_key on esim_transaction (account_sid, tx, created_at);
create index esim_transaction_eid on esim_transaction (account_sid, eid, created_at);
create index esim_transaction_device on esim_transaction (account_sid, device_id, created_at);
create index esim_transaction_iccid on esim_transaction (account_sid, iccid, created_at);
create index esim_transaction_status on esim_transaction (account_sid, status, created_at);
create index esim_transaction_updated on esim_transaction (account_sid, updated_at, created_at);
create unique index esim_transaction_running on esim_transaction (eid) where status = 'in_progress';
create index esim_transaction_unknown on esim_transaction (eid) where status = 'unknown';
create index esim_transaction_deadline on esim_transaction (deadline) where status = 'in_progress';
create index esim_transaction_done on esim_transaction (updated_at) where status in ('complete', 'failed', 'unknown');
create index esim_transaction_download on esim_transaction (eid, iccid) where action = 'download';

create table esim_operation (
	id            text   not null primary key, -- UUID
	account_sid   text   not null,
	operation     text   not null check (operation in ('activate', 'download', 'enable')),
	status        text   not null check (status in ('starting', 'download', 'download_verify', 'enable', 'enable_verify', 'failed', 'successful')),
	device_id     text   not null,
	eid           text   not null,
	carrier       text   not null,
	carrier_folded text  not null,
	iccid         text   not null, -- empty until it is chosen
	wanted_iccid  text   not null, -- as it was asked for
	download_tx   text   not null,
	enable_tx     text   not null,
	job_id        bigint not null,
	cause         text   not null check (cause in ('request', 'automation', 'template')),
	cause_id      text   not null,
	rollout       text   not null,
	retry_of      text   not null, -- the operation that it repeats
	created_by    text   not null,
	source        text   not null,
	message_code  text   not null,
	message       text   not null,
	step_deadline bigint not null, -- of a verify state, else 0
	deadline      bigint not null,
	created_at    bigint not null,
	updated_at    bigint not null
);
create unique index esim_operation_page on esim_operation (account_sid, created_at);
create index esim_operation_key on esim_operation (account_sid, id, created_at);
create index esim_operation_eid on esim_operation (account_sid, eid, created_at);
create index esim_operation_device on esim_operation (account_sid, device_id, created_at);
create index esim_operation_iccid on esim_operation (account_sid, iccid, created_at);
create index esim_operation_carrier on esim_operation (account_sid, carrier_folded, created_at);
create index esim_operation_status on esim_operation (account_sid, status, created_at);
create index esim_operation_cause on esim_operation (account_sid, cause_id, created_at) where cause_id <> '';
create index esim_operation_rollout on esim_operation (account_sid, rollout, created_at) where rollout <> '';
create index esim_operation_updated on esim_operation (account_sid, updated_at, created_at);
create unique index esim_operation_job on esim_operation (job_id);
create unique index esim_operation_running on esim_operation (eid) where status not in ('failed', 'successful');
create index esim_operation_deadline on esim_operation (deadline) where status not in ('failed', 'successful');
create index esim_operation_step on esim_operation (step_deadline) where status in ('download_verify', 'enable_verify');
create index esim_operation_done on esim_operation (updated_at) where status in ('failed', 'successful');

-- An operation or a rollout as a job of the system.
create table device_job (
	job_id      bigint not null primary key,
	account_sid text   not null,
	type        text   not null check (type in ('esim_operation', 'esim_rollout')),
	subject     text   not null, -- the operation or rollout
	status      text   not null check (status in ('in_progress', 'complete', 'failed', 'canceled')),
	description text   not null,
	created_by  text   not null,
	created_at  bigint not null,
	updated_at  bigint not null
);
create unique index device_job_page on device_job (account_sid, created_at);
create index device_job_key on device_job (account_sid, job_id, created_at);
create index device_job_status on device_job (account_sid, status, created_at);
create index device_job_type on device_job (account_sid, type, created_at);
create index device_job_updated on device_job (account_sid, updated_at, created_at);

-- One operation over many eSIMs.
create table esim_rollout (
	id           text   not null primary key, -- UUID
	account_sid  text   not null,
	name         text   not null,
	name_folded  text   not null,
	status       text   not null check (status in ('gathering', 'running', 'stopped', 'cancelled', 'complete')),
	operation    text   not null,
	carrier      text   not null,
	query        text   not null,
	asked_at     bigint not null, -- from which the query's offsets of time count
	waves        text   not null, -- JSON: percent of all, growing, the last 100
	failure_rate bigint not null, -- percent that may fail
	retries      bigint not null, -- of one eSIM's operation
	wave         bigint not null, -- from 0
	gathered     bigint not null, -- created_at of the device that was gathered last
	targets      bigint not null,
	wave_end     bigint not null, -- how many are to have begun at the end of this wave
	begun        bigint not null,
	succeeded    bigint not null,
	failed       bigint not null,
	forgiven     bigint not null, -- of failed: those that were there when it was continued
	message      text   not null,
	job_id       bigint not null,
	created_by   text   not null,
	source       text   not null,
	created_at   bigint not null,
	updated_at   bigint not null
);
create unique index esim_rollout_page on esim_rollout (account_sid, created_at);
create index esim_rollout_status on esim_rollout (account_sid, status, created_at);
create index esim_rollout_live on esim_rollout (updated_at) where status in ('gathering', 'running');
create index esim_rollout_done on esim_rollout (updated_at) where status in ('cancelled', 'complete');

create table esim_rollout_item (
	rollout   text   not null references esim_rollout (id) on delete cascade,
	eid       text   not null,
	device_id text   not null,
	turn      bigint not null, -- the order in which they begin: as good as random
	state     text   not null check (state in ('waiting', 'running', 'succeeded', 'failed')),
	operation text   not null,
	attempts  bigint not null,
	due       bigint not null, -- not before
	message_code text not null,
	primary key (rollout, eid)
);
create index esim_rollout_item_turn on esim_rollout_item (rollout, turn, eid) where state = 'waiting';
create index esim_rollout_item_state on esim_rollout_item (rollout, state, eid);
create index esim_rollout_item_operation on esim_rollout_item (operation) where state = 'running';

-- Operations that begin by themselves.
create table esim_rule (
	id           text    not null primary key,
	account_sid  text    not null,
	cause        text    not null check (cause in ('automation', 'template')),
	name         text    not null,
	name_folded  text    not null,
	enabled      boolean not null,
	on_first     boolean not null, -- automations: a device first appears
	on_lost      boolean not null, -- automations: a profile is gone that was there
	group_path   text    not null, -- templates: this group and those below
	group_folded text    not null,
	type         text    not null, -- of devices; empty: any
	type_folded  text    not null,
	operation    text    not null check (operation in ('activate', 'download', 'enable')),
	carrier      text    not null,
	scanned      bigint  not null, -- created_at of the eSIM up to which a scan has come
	scan_at      bigint  not null, -- when the next scan begins
	created_by   text    not null,
	created_at   bigint  not null,
	updated_at   bigint  not null
);
create unique index esim_rule_page on esim_rule (account_sid, created_at);
create unique index esim_rule_template on esim_rule (account_sid, group_folded, type_folded) where enabled and cause = 'template';

-- +goose Down
drop table esim_rule;
drop table esim_rollout_item;
drop table esim_rollout;
drop table device_job;
drop table esim_operation;
drop table esim_transaction;
drop table carrier_alias;
drop table activation_code;
drop table device_profile;
drop table esim;
drop table device_tag;
drop table device;
