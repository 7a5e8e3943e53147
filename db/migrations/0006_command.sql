-- +goose Up

-- Short messages to devices and from them.
create table sms_command (
	sid             text   not null primary key,
	account_sid     text   not null,
	sim_sid         text   not null references sim (sid),
	direction       text   not null check (direction in ('to_sim', 'from_sim')),
	status          text   not null check (status in ('queued', 'sent', 'delivered', 'received', 'failed')),
	payload         text   not null,
	reason          text   not null, -- why it failed, in words
	callback_url    text,
	callback_method text   not null,
	reference       bigint not null, -- user_message_reference: ours, or the device's; 0 for none
	message_id      text   not null, -- the SMSC's, from sent on
	lease           bigint not null, -- while queued: until when a job holds it, or waits
	doubt_at        bigint not null, -- while queued: when it was handed to the SMSC with no answer yet; 0 for not
	attempts        bigint not null,
	created_at      bigint not null,
	updated_at      bigint not null,
	check ((direction = 'from_sim') = (status = 'received'))
);
create index sms_command_page on sms_command (account_sid, created_at, sid);
create index sms_command_status on sms_command (account_sid, status, created_at, sid);
create index sms_command_sim on sms_command (sim_sid, created_at, sid);
create index sms_command_waiting on sms_command (lease, created_at) where status = 'queued';
create index sms_command_message on sms_command (message_id) where message_id <> '';

-- Receipts that have overtaken the SMSC's answer to the message.
create table sms_receipt (
	sim_sid    text   not null references sim (sid),
	message_id text   not null,
	state      text   not null,
	error      text   not null,
	raw        bytea  not null, -- the deliver_sm
	created_at bigint not null,
	primary key (sim_sid, message_id, state)
);
create index sms_receipt_age on sms_receipt (created_at);

-- Datagrams to devices and from them.
create table ip_command (
	sid             text   not null primary key,
	account_sid     text   not null,
	sim_sid         text   not null references sim (sid),
	sim_iccid       text   not null,
	direction       text   not null check (direction in ('to_sim', 'from_sim')),
	status          text   not null check (status in ('queued', 'sent', 'received', 'failed')),
	device_ip       text   not null, -- empty until sent
	device_port     bigint not null check (device_port between 1 and 65535),
	payload_type    text   not null check (payload_type in ('text', 'binary')),
	payload         text   not null, -- base64 for binary
	error_code      text   not null,
	error_message   text   not null,
	callback_url    text,
	callback_method text   not null,
	lease           bigint not null, -- while queued: until when a job holds it
	created_at      bigint not null,
	updated_at      bigint not null,
	check ((direction = 'from_sim') = (status = 'received'))
);
create index ip_command_page on ip_command (account_sid, created_at, sid);
create index ip_command_status on ip_command (account_sid, status, created_at, sid);
create index ip_command_sim on ip_command (sim_sid, created_at, sid);
create index ip_command_waiting on ip_command (lease, created_at) where status = 'queued';

-- Whose number a device's message comes from is found by the indexes of 0005.

-- Whose address a device's datagram comes from.
create index usage_session_address on usage_session (addresses) where is_open;
create index usage_session_addresses on usage_session (last_at) where is_open and addresses like '% %';
