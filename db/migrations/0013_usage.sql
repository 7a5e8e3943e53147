-- +goose Up

-- When a reporter of sessions last said that it has begun anew: from then on it
-- may give the names of earlier sessions again.
create table usage_reporter (
	nas          text   not null primary key,
	restarted_at bigint not null -- by the reporter's clock
);
