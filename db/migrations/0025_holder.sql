-- Work that is taken up again at once, and EIDs in orders that may go.

-- +goose Up

-- The job that has claimed a row, by its number. Where its process dies, the job
-- is worked again, and what it held need not wait for the end of its lease.
alter table esim_profile add column holder bigint not null default 0;
alter table sim_change add column holder bigint not null default 0;
alter table settings_update add column holder bigint not null default 0;
alter table ip_command add column holder bigint not null default 0;

-- Whether the lines may name EIDs; privacy takes them out of orders that are over.
alter table bulk_lines add column has_eid boolean not null default true;
create index bulk_lines_age on bulk_lines (created_at) where has_eid;

alter table api_key add column updated_at bigint not null default 0; -- when it was renamed

-- +goose Down
alter table api_key drop column updated_at;
drop index bulk_lines_age;
alter table bulk_lines drop column has_eid;
alter table ip_command drop column holder;
alter table settings_update drop column holder;
alter table sim_change drop column holder;
alter table esim_profile drop column holder;
