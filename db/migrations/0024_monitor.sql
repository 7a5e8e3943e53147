-- +goose Up

-- Monitors of the Remote Manager. What they tell is in the table of events
-- already: each has its place there.
create table monitor (
	id             bigint  not null primary key, -- the moment of its creation
	account_sid    text    not null references account (sid),
	type           text    not null check (type in ('http', 'polling')),
	topics         text    not null, -- JSON
	url            text    not null,
	method         text    not null,
	header_names   text    not null, -- JSON
	secrets        bytea,            -- sealed JSON: values of headers, auth token
	persistent     boolean not null,
	batch_size     bigint  not null, -- messages
	batch_duration bigint  not null, -- seconds
	compression    text    not null,
	description    text    not null,
	status         text    not null check (status in ('inactive', 'active', 'disabled')),
	version        bigint  not null, -- grows with each change that was asked for
	start_tx       bigint  not null, -- where its history begins
	start_id       bigint  not null,
	place_tx       bigint  not null, -- up to where its target has everything
	place_id       bigint  not null,
	failures       bigint  not null, -- one after the other
	failing_since  bigint  not null, -- 0 while there are none
	last_error     text    not null, -- in words
	last_connect   bigint  not null, -- the target has answered a keep-alive, 0: never
	last_sent      bigint  not null, -- it has taken messages, 0: never
	created_by     text    not null,
	updated_at     bigint  not null
);
create unique index monitor_page on monitor (account_sid, id);
create index monitor_push on monitor (id) where type = 'http' and status <> 'disabled';

-- The node that delivers, where there may be several. Another takes over when
-- its time is up.
create table monitor_lead (
	one         boolean primary key check (one),
	holder      text    not null,
	leads_until bigint  not null
);
