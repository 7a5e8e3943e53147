-- +goose Up

-- When a reporter of sessions last said that it has begun anew: from then on it
-- may give the names of earlier sessions again.
create table usage_reporter (
	nas          text   not null primary key,
	restarted_at bigint not null -- by the reporter's clock
);

-- How far a kind of personal data is cleared, for kinds without an index by age.
create table privacy_mark (
	what text   not null primary key,
	done bigint not null -- key of the last row
);

-- What a policy may still have to clear, by age.
create index sms_command_age on sms_command (updated_at) where status <> 'queued' and payload <> '';
create index ip_command_age on ip_command (updated_at) where status <> 'queued' and payload <> '';
create index callback_age on callback_delivery (updated_at) where state <> 'due';
create index notification_age on notification (received_at);
create index esim_profile_age on esim_profile (updated_at) where eid is not null and status in ('installed', 'failed');
create index profile_age on profile (updated_at) where eid <> '' and state in ('installed', 'error', 'unavailable');
