-- API clients and their tokens, the secrets that sign callbacks, endpoints that fail.

-- +goose Up
create table api_client (
	id            text    primary key, -- apiclient_…
	account_sid   text    not null references account (sid),
	name          text    not null,
	owner         text    not null,
	products      text    not null,    -- JSON, a list of names
	locked        boolean,
	lifetime      bigint  not null,    -- of its tokens, seconds
	secret_hash   bytea   not null,    -- SHA-256 of random bits needs no salt
	secret_sealed bytea,               -- recoverable, of the installation's own client alone
	created_at    bigint  not null
);
create index api_client_account on api_client (account_sid, created_at, id);

create table token_key (
	kid        text   primary key,
	key_sealed bytea  not null,  -- PKCS #8
	created_at bigint not null
);

create table token_revoked (
	id         text   primary key, -- jti
	expires_at bigint not null     -- from then on nobody asks
);
create index token_revoked_expiry on token_revoked (expires_at);

create table webhook_secret (
	id          text   primary key, -- whs_…
	account_sid text   not null references account (sid),
	name        text   not null,
	status      text   not null check (status in ('active', 'pending')),
	sealed      bytea  not null,
	created_at  bigint not null,
	modified_at bigint not null
);
create index webhook_secret_account on webhook_secret (account_sid, created_at, id);
create unique index webhook_secret_active on webhook_secret (account_sid) where status = 'active';

create table callback_setting (
	account_sid text   primary key references account (sid),
	dialect     text   not null check (dialect in ('twilio', 'kore')),
	sealed      bytea  not null -- key of the Standard Webhooks signature
);

create table callback_endpoint (
	account  text   not null,
	endpoint text   not null, -- scheme, host and port
	failures bigint not null, -- one after the other
	since    bigint not null, -- the first of them
	paused   bigint,          -- since when nothing is sent there
	probe_at bigint not null, -- when one delivery is let through to see
	primary key (account, endpoint)
);
create index callback_endpoint_paused on callback_endpoint (probe_at) where paused is not null;
create index callback_held on callback_delivery (account, endpoint) where state = 'due';

-- +goose Down
drop index callback_held;
drop table callback_endpoint;
drop table callback_setting;
drop table webhook_secret;
drop table token_revoked;
drop table token_key;
drop table api_client;
